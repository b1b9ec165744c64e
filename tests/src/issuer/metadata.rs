//! The metadata documents (RFC 8414, OpenID Connect Discovery).

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::json;

use super::books::Books;
use super::reply::Reply;
use super::settings::{Discovery, RedirectIssuer};

/// The path of RFC 8414 §3.
pub(crate) const OAUTH_PATH: &str = "/.well-known/oauth-authorization-server";

/// The path of OpenID Connect Discovery §4.
pub(crate) const OPENID_PATH: &str = "/.well-known/openid-configuration";

/// Answers a request for a metadata document.
pub(crate) fn answer(books: &mut Books, path: &str) -> Reply {
    books.ledger.metadata_requests += 1;
    let exists = match books.settings.discovery {
        Discovery::OAuth => path == OAUTH_PATH,
        Discovery::OpenId => path == OPENID_PATH,
        Discovery::Both => true,
        Discovery::Nowhere => false,
    };
    if !exists {
        return Reply::html(404, "There is nothing here.");
    }
    let url = &books.url;
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "device_authorization_endpoint": format!("{url}/device_authorization"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": books.settings.redirect_issuer == RedirectIssuer::Own,
        "grant_types_supported":
            [
                "authorization_code",
                "urn:ietf:params:oauth:grant-type:device_code",
                "refresh_token",
                "client_credentials",
            ],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "scopes_supported": books.settings.scopes,
    });
    if books.settings.dpop.advertised {
        document["dpop_signing_alg_values_supported"] = json!(["ES256"]);
    }
    if books.settings.offers_revocation {
        document["revocation_endpoint"] = format!("{url}/revoke").into();
    }
    let now = Timestamp::from_second(books.unix_time()).expect("a time of this century");
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).expect("a date of this century");
    Reply::json(200, &document).with("date", &date)
}
