//! Configurations that stories have in common, as a user would write them.

use crate::issuer::FakeIssuer;

/// Returns a configuration with one account `prod` that logs in by a device code.
pub fn device_code(issuer: &FakeIssuer) -> String {
    format!(
        r#"default_account = "prod"

[store]
key = "file"
{}"#,
        account("prod", issuer)
    )
}

/// Returns the section of an account that logs in by a device code.
pub fn account(name: &str, issuer: &FakeIssuer) -> String {
    format!(
        r#"
[accounts.{name}]
issuer = "{}"
client_id = "cli"
grant = "device_code"
scopes = ["all", "offline"]
tls = {{ allow_http_loopback = true }}
"#,
        issuer.url()
    )
}
