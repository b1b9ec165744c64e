//! Configurations that stories have in common, as a user would write them.

use crate::issuer::FakeIssuer;

/// The head of every configuration: no story may reach for the keyring of whoever runs it.
pub const HEAD: &str = r#"default_account = "prod"

[store]
key = "file"
"#;

/// Returns a configuration with one account `prod` that logs in by a device code.
pub fn device_code(issuer: &FakeIssuer) -> String {
    format!("{HEAD}{}", account("prod", issuer))
}

/// Returns a configuration with one account `prod` that logs in in a browser, and these lines beside.
pub fn browser(issuer: &FakeIssuer, lines: &str) -> String {
    format!(
        r#"{HEAD}
[accounts.prod]
issuer = "{}"
client_id = "cli"
grant = "authorization_code"
tls = {{ allow_http_loopback = true }}
{lines}
"#,
        issuer.url()
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

/// Returns the section of an account that is a client of its own name, with these lines beside. The endpoints are named: a
/// daemon that starts has nothing to discover.
pub fn of_its_own(name: &str, issuer: &str, lines: &str) -> String {
    format!(
        r#"
[accounts.{name}]
token_endpoint = "{issuer}/token"
device_authorization_endpoint = "{issuer}/device_authorization"
client_id = "{name}"
grant = "device_code"
scopes = ["all", "offline"]
{lines}
"#
    )
}
