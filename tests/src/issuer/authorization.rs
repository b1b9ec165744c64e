//! The authorization endpoint (RFC 6749 §3.1) with PKCE, and the exchange of its codes.
//!
//! The person at it has signed in before: they agree or refuse at once, and what a browser gets is the redirect.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::books::{Books, Given};
use super::dpop::{self, Proven};
use super::form::Form;
use super::reply::Reply;
use super::settings::{Client, Consent, RedirectIssuer};
use crate::patience;

/// A code that is out.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    code: String,
    client: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    /// The key that it is bound to.
    thumbprint: Option<String>,
    scope: String,
    /// The login that it was exchanged for: a code works once.
    family: Option<usize>,
}

/// Answers a browser: with a redirect, or with a page where that would not be safe (RFC 6749 §4.1.2.1).
pub(crate) fn answer(books: &mut Books, query: &str) -> Reply {
    let form = match Form::of_query(query) {
        Ok(form) => form,
        Err(violation) => return page(books, &violation),
    };
    books.ledger.authorizations.push(form.fields().to_vec());
    let Some(client) =
        books.settings.clients.iter().find(|client| form.get("client_id") == Some(&client.id)).cloned()
    else {
        return page(books, "an unknown client");
    };
    let redirect_uri = form.get("redirect_uri").unwrap_or_default().to_owned();
    if !is_registered(&client.redirect_uri, &redirect_uri) {
        return page(books, "a redirect_uri that is not registered");
    }
    let mut url: Url = redirect_uri.parse().expect("what is registered is a URL");
    match outcome(books, &client, &form) {
        Ok(code) => url.query_pairs_mut().append_pair("code", &code),
        Err(error) => url
            .query_pairs_mut()
            .append_pair("error", error)
            .append_pair("error_description", "the fake issuer says no"),
    };
    if let Some(state) = form.get("state") {
        url.query_pairs_mut().append_pair("state", state);
    }
    let named = match &books.settings.redirect_issuer {
        RedirectIssuer::Unnamed => None,
        RedirectIssuer::Own => Some(books.url.clone()),
        RedirectIssuer::Foreign(other) => Some(other.clone()),
    };
    if let Some(named) = named {
        url.query_pairs_mut().append_pair("iss", &named);
    }
    Reply::html(302, "You are sent back.").with("location", url.as_str())
}

fn page(books: &mut Books, violation: &str) -> Reply {
    books.ledger.violations.push(format!("Authorization: {violation}"));
    Reply::html(400, violation)
}

fn outcome(books: &mut Books, client: &Client, form: &Form) -> Result<String, &'static str> {
    if form.get("response_type") != Some("code") {
        return Err("unsupported_response_type");
    }
    let challenge = form.get("code_challenge").filter(|challenge| challenge.len() == 43);
    let (Some("S256"), Some(challenge)) = (form.get("code_challenge_method"), challenge) else {
        books.ledger.violations.push("Authorization: no S256 challenge".to_owned());
        return Err("invalid_request");
    };
    let scope = books.scope(form).map_err(|_| "invalid_scope")?;
    match books.settings.consent {
        Consent::Given => {}
        Consent::Denied => return Err("access_denied"),
    }
    let code = Code {
        code: books.mint("AC"),
        client: client.id.clone(),
        redirect_uri: form.get("redirect_uri").unwrap_or_default().to_owned(),
        challenge: challenge.to_owned(),
        nonce: form.get("nonce").map(str::to_owned),
        thumbprint: form.get("dpop_jkt").map(str::to_owned),
        scope,
        family: None,
    };
    books.codes.push(code.clone());
    Ok(code.code)
}

/// Tells whether a redirect URI is the registered one; on loopback its port may be any (RFC 8252 §7.3).
fn is_registered(registered: &str, presented: &str) -> bool {
    let without_port = |text: &str| {
        let mut url: Url = text.parse().ok()?;
        url.set_port(None).ok()?;
        Some((url, text.ends_with('/')))
    };
    without_port(presented).is_some_and(|presented| Some(presented) == without_port(registered))
}

/// Exchanges a code (RFC 6749 §4.1.3, RFC 7636 §4.6).
pub(crate) fn redeem(
    books: &mut Books,
    client: &Client,
    form: &Form,
    (proven, now): (&Proven, Duration),
) -> Reply {
    let presented = form.get("code").unwrap_or_default();
    let Some(index) = books.codes.iter().position(|code| code.code == presented && code.client == client.id)
    else {
        return Reply::error(400, "invalid_grant");
    };
    let code = books.codes[index].clone();
    if let Some(family) = code.family {
        books.ledger.violations.push("Token: a code came twice".to_owned());
        books.ledger.end_family(family);
        return Reply::error(400, "invalid_grant");
    }
    let verifier = form.get("code_verifier").unwrap_or_default();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    if challenge != code.challenge || form.get("redirect_uri") != Some(&code.redirect_uri) {
        books.ledger.violations.push("Token: a code with another verifier or redirect_uri".to_owned());
        return Reply::error(400, "invalid_grant");
    }
    if let Err(reply) = dpop::may_redeem(books, code.thumbprint.as_ref(), proven) {
        return reply;
    }
    let first = books.mint("RT");
    let family = books.ledger.open_family(&client.id, &code.scope, first.clone(), now);
    books.codes[index].family = Some(family);
    let is_openid = code.scope.split(' ').any(|scope| scope == "openid");
    let id_token = is_openid.then(|| id_token(books, &code));
    let given = Given { scope: code.scope, family: Some(family), refresh_token: Some(first), id_token };
    books.grant(&given, now)
}

/// Makes an ID token. Its signature is none: who gets it straight from here need not look at it.
fn id_token(books: &Books, code: &Code) -> String {
    let lifetime = i64::try_from(books.settings.access_lifetime.as_secs()).expect("a story is short");
    let claims = json!({
        "iss": books.url,
        "sub": "ann",
        "aud": code.client,
        "exp": patience::unix_time() + lifetime,
        "nonce": books.settings.id_token_nonce.as_ref().or(code.nonce.as_ref()),
    });
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let [head, claims] = [json!({ "alg": "ES256" }), claims].map(|json| part(json.to_string()));
    format!("{head}.{claims}.{}", part("signature".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_alone_of_a_redirect_uri_may_differ() {
        for (presented, expected) in [
            ("http://127.0.0.1:1234/callback", true),
            ("http://127.0.0.1/callback", true),
            ("http://127.0.0.1:1234/callback/", false),
            ("http://127.0.0.1:1234/other", false),
            ("http://localhost:1234/callback", false),
            ("https://127.0.0.1:1234/callback", false),
            ("http://127.0.0.1:1234/callback?a=b", false),
            ("", false),
        ] {
            assert_eq!(is_registered("http://127.0.0.1/callback", presented), expected, "{presented}");
        }
    }
}
