//! What a Flyte endpoint says about logging in, checked.
//!
//! The thing to get wrong: it decides where secrets go and into which header a token is written, so nothing is used that
//! was not checked here, be it from the network or from the disk.

use http::HeaderName;

use crate::flyte::message::Said;
use crate::oauth::{EndpointUrl, Endpoints, InvalidEndpoint, LoopbackHttp, S256};
use crate::token::Scope;

/// Headers that mean something to whoever passes a request on; a token in one of them would break it or get lost.
const RESERVED: [&str; 13] = [
    "accept",
    "connection",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const RESERVED_PREFIXES: [&str; 4] = ["accept-", "content-", "grpc-", "sec-"];

/// What every server takes a token in.
const USUAL_HEADER: &str = "authorization";

/// What a Flyte endpoint says. Absent is what it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthMetadata {
    /// Where requests go, whosoever they are: the issuer is often another one than Flyte itself.
    pub(crate) endpoints: Endpoints,
    /// The client to be.
    pub(crate) client_id: Option<String>,
    /// Where the browser goes after a login, for whoever logs in with one to check.
    pub(crate) redirect_uri: Option<String>,
    /// What to ask for.
    pub(crate) scope: Scope,
    /// For whom.
    pub(crate) audience: Option<String>,
    /// The header that it wants its token in, where that is an unusual one.
    pub(crate) header: Option<String>,
}

/// Why that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// Nothing can be obtained anywhere.
    #[error("names no token endpoint: it may be one without authentication")]
    NoTokenEndpoint,
    /// Nothing may be sent there.
    #[error("names an unusable {member}: {reason}")]
    Endpoint {
        /// Which.
        member: &'static str,
        /// Why.
        reason: Box<InvalidEndpoint>,
    },
    /// It would break a request.
    #[error("names an unusable {0}")]
    Value(&'static str),
}

impl AuthMetadata {
    /// Checks what was said.
    pub(crate) fn of(said: &Said, loopback: LoopbackHttp) -> Result<Self, Unusable> {
        let (metadata, client) = (&said.metadata, &said.client);
        let endpoint = |member, text: &str| endpoint(member, text, loopback);
        let token = endpoint("token_endpoint", &metadata.token_endpoint)?.ok_or(Unusable::NoTokenEndpoint)?;
        Ok(Self {
            endpoints: Endpoints {
                device_authorization: endpoint(
                    "device_authorization_endpoint",
                    &metadata.device_authorization_endpoint,
                )?,
                authorization: endpoint("authorization_endpoint", &metadata.authorization_endpoint)?,
                issuer: visible("issuer", &metadata.issuer)?,
                s256: s256(&metadata.code_challenge_methods_supported),
                ..Endpoints::at(token)
            },
            client_id: visible("client_id", &client.client_id)?,
            redirect_uri: Some(client.redirect_uri.clone()).filter(|text| !text.is_empty()),
            scope: scope(&client.scopes)?,
            audience: visible("audience", &client.audience)?,
            header: header(&client.authorization_metadata_key)?,
        })
    }
}

fn endpoint(
    member: &'static str,
    text: &str,
    loopback: LoopbackHttp,
) -> Result<Option<EndpointUrl>, Unusable> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = EndpointUrl::parse(text, loopback);
    parsed.map(Some).map_err(|reason| Unusable::Endpoint { member, reason: Box::new(reason) })
}

/// An endpoint that says nothing is taken for one that can.
fn s256(methods: &[String]) -> S256 {
    let lacks = !methods.is_empty() && !methods.iter().any(|method| method == "S256");
    if lacks { S256::Lacking } else { S256::Assumed }
}

fn visible(member: &'static str, text: &str) -> Result<Option<String>, Unusable> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Unusable::Value(member));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// RFC 6749 §3.3; several values in one text are as many.
fn scope(values: &[String]) -> Result<Scope, Unusable> {
    let values = || values.iter().flat_map(|value| value.split(' ')).filter(|value| !value.is_empty());
    let is_scope =
        |value: &str| value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if !values().all(is_scope) {
        return Err(Unusable::Value("scope"));
    }
    Ok(values().collect())
}

fn header(text: &str) -> Result<Option<String>, Unusable> {
    if text.is_empty() {
        return Ok(None);
    }
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| Unusable::Value("authorization_metadata_key"))?;
    let is_reserved = RESERVED.contains(&name.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    if is_reserved {
        return Err(Unusable::Value("authorization_metadata_key"));
    }
    Ok(Some(name.as_str().to_owned()).filter(|name| name != USUAL_HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn changed(change: impl FnOnce(&mut Said)) -> Result<AuthMetadata, Unusable> {
        let mut said = Said::example(ISSUER);
        change(&mut said);
        AuthMetadata::of(&said, LoopbackHttp::Refused)
    }

    #[test]
    fn what_is_said_is_what_is_used() {
        let found = changed(|_| {}).unwrap();
        assert_eq!(found.endpoints.token.to_string(), "https://login.example.com/token");
        assert_eq!(
            found.endpoints.device_authorization.unwrap().to_string(),
            "https://login.example.com/device"
        );
        assert_eq!(found.endpoints.authorization.unwrap().to_string(), "https://login.example.com/authorize");
        assert_eq!(found.client_id.as_deref(), Some("flytectl"));
        assert_eq!(found.redirect_uri.as_deref().unwrap(), "http://localhost:53593/callback");
        assert_eq!(found.scope, Scope::parse("all offline"));
        assert_eq!(found.audience.as_deref(), Some("https://flyte.example.com"));
        assert_eq!(found.header.as_deref(), Some("flyte-authorization"));
    }

    #[test]
    fn an_empty_text_is_an_absent_value() {
        let said = |said: &mut Said| {
            said.client = crate::flyte::message::PublicClientConfig::default();
            said.metadata.device_authorization_endpoint = String::new();
            said.metadata.authorization_endpoint = String::new();
        };
        let found = changed(said).unwrap();
        assert_eq!(found.endpoints.device_authorization, None);
        assert_eq!((found.endpoints.authorization, found.client_id, found.audience), (None, None, None));
        assert_eq!((found.header, found.redirect_uri, found.scope), (None, None, Scope::default()));
        let nothing = changed(|said| said.metadata.token_endpoint = String::new());
        assert_eq!(nothing, Err(Unusable::NoTokenEndpoint));
    }

    #[test]
    fn nothing_is_sent_in_plain_text_whatever_the_endpoint_says() {
        for (member, change) in [
            (
                "token_endpoint",
                (|said: &mut Said| &mut said.metadata.token_endpoint) as fn(&mut Said) -> &mut String,
            ),
            ("authorization_endpoint", |said| &mut said.metadata.authorization_endpoint),
            ("device_authorization_endpoint", |said| &mut said.metadata.device_authorization_endpoint),
        ] {
            for url in ["http://login.example.com/x", "http://127.0.0.1/x", "nonsense", "https://a:b@c/x"] {
                let refused = changed(|said| url.clone_into(change(said))).unwrap_err();
                assert!(
                    matches!(&refused, Unusable::Endpoint { member: found, .. } if *found == member),
                    "{url}"
                );
            }
        }
        let sandbox = Said::example("http://127.0.0.1:30080");
        assert!(AuthMetadata::of(&sandbox, LoopbackHttp::Allowed).is_ok());
    }

    #[test]
    fn a_token_goes_into_a_header_that_can_carry_one() {
        for (key, expected) in [
            ("Flyte-Authorization", Some("flyte-authorization")),
            ("Authorization", None),
            ("proxy-authorization", Some("proxy-authorization")),
        ] {
            let found = changed(|said| key.clone_into(&mut said.client.authorization_metadata_key)).unwrap();
            assert_eq!(found.header.as_deref(), expected);
        }
        for key in
            ["Host", "content-length", "connection", "grpc-timeout", "te", "a b", "a:b", "a\r\nb", "\u{e9}"]
        {
            let refused = changed(|said| key.clone_into(&mut said.client.authorization_metadata_key));
            assert_eq!(refused, Err(Unusable::Value("authorization_metadata_key")), "{key:?}");
        }
    }

    #[test]
    fn a_value_that_would_break_a_request_is_refused() {
        let scopes = |scopes: &[&str]| scopes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            changed(|said| said.client.scopes = scopes(&["all offline", ""])).unwrap().scope,
            Scope::parse("all offline")
        );
        assert_eq!(changed(|said| said.client.scopes = scopes(&["a\nb"])), Err(Unusable::Value("scope")));
        assert_eq!(
            changed(|said| said.client.client_id = "a\nb".to_owned()),
            Err(Unusable::Value("client_id"))
        );
        assert_eq!(
            changed(|said| said.client.audience = "\u{7}".to_owned()),
            Err(Unusable::Value("audience"))
        );
    }
}
