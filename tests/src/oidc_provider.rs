//! The certified issuer `oidc-provider`, and a person who logs in on its pages.
//!
//! It shares no line with keyfob: where this project has misread an RFC, its own fake issuer may have misread it as
//! well, and this one has not.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::companion::{Companion, installed, source};
use crate::home::Home;
use crate::http;

/// More pages than any login has.
const MAX_PAGES: usize = 10;

/// A running issuer. It is gone when this is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    program: Companion,
    ready: Ready,
}

/// A client with a secret, both full of characters that must be encoded.
#[derive(Clone, Debug, Deserialize)]
pub struct ConfidentialClient {
    /// Its identifier.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

#[derive(Debug, Deserialize)]
struct Ready {
    issuer: String,
    confidential: Confidential,
}

#[derive(Debug, Deserialize)]
struct Confidential {
    basic: ConfidentialClient,
    post: ConfidentialClient,
}

impl OidcProvider {
    /// The public client: device and authorization code grant, with refresh tokens.
    pub const PUBLIC_CLIENT: &str = "cli";

    /// The identifier and the secret with which a resource server asks about tokens (RFC 7662).
    pub const RESOURCE_SERVER: [&str; 2] = ["resource-server", "resource-server-secret"];

    /// Starts the issuer; its access tokens live this long.
    pub fn start(access_lifetime: Duration) -> Self {
        Self::start_with(access_lifetime, &[])
    }

    /// Starts the issuer with proofs of possession (RFC 9449): it wants its nonce in them, and binds access tokens as well.
    pub fn start_with_dpop(access_lifetime: Duration) -> Self {
        Self::start_with(access_lifetime, &["--dpop"])
    }

    fn start_with(access_lifetime: Duration, more: &[&str]) -> Self {
        let program = Companion::start(
            Command::new(installed("venv/bin/node"))
                .arg(source("oidc_provider/server.mjs"))
                .args(["--access-ttl", &access_lifetime.as_secs().to_string()])
                .args(more)
                .current_dir(installed("node")),
        );
        let ready = serde_json::from_value(program.first("ready")).unwrap();
        Self { program, ready }
    }

    /// Returns its issuer identifier.
    pub fn url(&self) -> &str {
        &self.ready.issuer
    }

    /// Returns the client that must use `client_secret_basic`.
    pub fn basic_client(&self) -> &ConfidentialClient {
        &self.ready.confidential.basic
    }

    /// Returns the client that must use `client_secret_post`.
    pub fn post_client(&self) -> &ConfidentialClient {
        &self.ready.confidential.post
    }

    /// Returns the section of an account that is named for its client authentication, and writes the secret into its home.
    pub fn client_credentials(
        &self,
        home: &Home,
        authentication: &str,
        client: &ConfidentialClient,
    ) -> String {
        let secret = home.write(authentication, &client.secret, 0o600);
        // TOML literals take every character but a quote.
        format!(
            r#"
[accounts.{authentication}]
issuer = "{}"
client_id = '{}'
client_secret = {{ file = "{}" }}
client_authentication = "{authentication}"
grant = "client_credentials"
scopes = ["all"]
tls = {{ allow_http_loopback = true }}
"#,
            self.url(),
            client.id,
            secret.display(),
        )
    }

    /// Returns how many tokens it has given for a grant.
    pub fn tokens_given(&self, grant: &str) -> usize {
        self.count(&json!({ "event": "token", "grant": grant }))
    }

    /// Returns how many tokens of a type it has given.
    pub fn tokens_of_type(&self, token_type: &str) -> usize {
        self.count(&json!({ "event": "token", "type": token_type }))
    }

    /// Returns how many tokens it has given for a code that came with the parameters of the authorization request.
    pub fn tokens_given_for_repetition(&self) -> usize {
        self.count(&json!({ "event": "token", "grant": "authorization_code", "repeats": true }))
    }

    /// Tells whether it takes a token for good (RFC 7662).
    pub fn honours(&self, token: &str) -> bool {
        let authorization = format!("Basic {}", STANDARD.encode(Self::RESOURCE_SERVER.join(":")));
        let answer = http::post_form(
            &format!("{}/token/introspection", self.url()),
            &[("authorization", &authorization)],
            &[("token", token)],
        )
        .unwrap();
        answer.json::<Value>()["active"].as_bool().unwrap_or_else(|| panic!("{answer:?}"))
    }

    /// Returns how often it has refused a token request with this error.
    pub fn refusals(&self, error: &str) -> usize {
        self.count(&json!({ "event": "refused", "error": error }))
    }

    /// Returns how many refresh tokens have been replaced.
    pub fn rotations(&self) -> usize {
        self.count(&json!({ "event": "refresh_token_consumed" }))
    }

    /// Returns how many logins have been ended, by revocation or because a replaced refresh token came back.
    pub fn logins_ended(&self) -> usize {
        self.count(&json!({ "event": "login_ended" }))
    }

    fn count(&self, members: &Value) -> usize {
        self.program.matching(members).len()
    }
}

/// Goes through the issuer's pages as a person does: enters the code if there is one, confirms, logs in, consents.
/// Returns the page that asks for nothing more.
///
/// # Panics
/// Panics where the pages do not come to an end.
pub fn log_in(first_page: &str, user_code: &str) -> Page {
    let browser = Browser::open();
    let mut page = browser.visit(first_page);
    for _ in 0..MAX_PAGES {
        let Some(mut form) = page.form() else { return page };
        form.fill("user_code", user_code);
        form.fill("login", "alice");
        form.fill("password", "any will do");
        page = browser.submit(&page, &form);
    }
    panic!("more than {MAX_PAGES} pages; the last one: {page:?}");
}
