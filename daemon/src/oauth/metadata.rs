//! An issuer's metadata (RFC 8414, OpenID Connect Discovery 1.0): where its endpoints are.
//!
//! The thing to get wrong: only "there is no such document" leads on to the next address. If trouble did, whoever can
//! make one address fail could choose the other.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::clock::Now;
use crate::oauth::answer::Answer;
use crate::oauth::error::{self, Kind, Presented};
use crate::oauth::http::Http;
use crate::oauth::json::{self, Member};
use crate::oauth::{
    Dpop, EndpointUrl, Endpoints, InvalidEndpoint, LoopbackHttp, Redirects, S256, dpop, pkce,
};
use crate::token::failure::Failure;

/// Why an issuer's endpoints are unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No answer, or an unusable one.
    #[error(transparent)]
    Request(#[from] error::Error),
    /// The configured issuer cannot be one.
    #[error("issuer cannot be used: {0}")]
    Issuer(InvalidEndpoint),
    /// No metadata at either address.
    #[error("{0} publishes no metadata: check issuer, or configure token_endpoint instead")]
    Missing(String),
    /// They are another issuer's.
    #[error(
        "the metadata of {configured} is for the issuer \"{}\": configure exactly that, if you trust it",
        plain(.found)
    )]
    OtherIssuer {
        /// What the account has.
        configured: String,
        /// What the document has.
        found: String,
    },
    /// They lack what every grant needs.
    #[error("the metadata of {0} has no token_endpoint")]
    NoTokenEndpoint(String),
    /// They have an endpoint that nothing may be sent to.
    #[error("the metadata of {issuer} has an unusable {member}: {reason}")]
    Endpoint {
        /// Whose.
        issuer: String,
        /// Which.
        member: &'static str,
        /// Why.
        reason: Box<InvalidEndpoint>,
    },
}

impl Error {
    /// Decides what the account should do about it.
    pub(crate) fn classify(&self) -> Failure {
        match self {
            Self::Request(error) => error.classify(Presented::ClientAlone),
            Self::Issuer(_)
            | Self::Missing(_)
            | Self::OtherIssuer { .. }
            | Self::NoTokenEndpoint(_)
            | Self::Endpoint { .. } => Failure::misconfigured(self.to_string()),
        }
    }
}

/// The longest name of another issuer that is shown.
const LONGEST_NAME: usize = 128;

/// Returns a foreign name as what it is: letters of other scripts can look like those of a name that somebody trusts.
fn plain(foreign: &str) -> String {
    foreign.chars().take(LONGEST_NAME).collect::<String>().escape_default().to_string()
}

/// RFC 8414 §2. `signed_metadata` is not supported, and so is passed over (§2.1).
#[derive(Deserialize)]
struct MetadataMembers<'a> {
    #[serde(borrow)]
    issuer: Member<'a>,
    #[serde(borrow)]
    token_endpoint: Member<'a>,
    #[serde(borrow)]
    authorization_endpoint: Member<'a>,
    #[serde(borrow)]
    device_authorization_endpoint: Member<'a>,
    #[serde(borrow)]
    revocation_endpoint: Member<'a>,
    #[serde(borrow)]
    authorization_response_iss_parameter_supported: Member<'a>,
    #[serde(borrow)]
    code_challenge_methods_supported: Member<'a>,
    #[serde(borrow)]
    dpop_signing_alg_values_supported: Member<'a>,
}

/// What an issuer says of itself.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// Where its endpoints are.
    pub(crate) endpoints: Endpoints,
    /// For how long it says that this is good.
    pub(crate) max_age: Option<Duration>,
}

/// Fetches an issuer's metadata.
pub(crate) async fn fetch(
    http: &Http,
    issuer: &str,
    loopback: LoopbackHttp,
    now: Now,
) -> Result<Metadata, Error> {
    for address in addresses(issuer, loopback).map_err(Error::Issuer)? {
        let answer = http.get(&address, now).await.map_err(|kind| trouble(&address, kind))?;
        if let Some(metadata) = read(&answer, &address, issuer, loopback)? {
            return Ok(metadata);
        }
    }
    Err(Error::Missing(issuer.to_owned()))
}

/// Reads the answer of an address. Nothing is "there is no such document".
pub(crate) fn read(
    answer: &Answer,
    address: &EndpointUrl,
    issuer: &str,
    loopback: LoopbackHttp,
) -> Result<Option<Metadata>, Error> {
    if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Ok(None);
    }
    let members: MetadataMembers<'_> = answer.members().map_err(|kind| trouble(address, kind))?;
    let nameless = || trouble(address, answer.unusable("it has no issuer"));
    let found = json::text(members.issuer).ok_or_else(nameless)?;
    let endpoints = endpoints(&members, found, issuer, loopback)?;
    Ok(Some(Metadata { endpoints, max_age: answer.max_age }))
}

fn trouble(address: &EndpointUrl, kind: Kind) -> Error {
    Error::Request(error::Error { host: address.host(), kind })
}

/// Returns where the metadata may be: RFC 8414 §3.1 inserts the well-known part before the issuer's path, OpenID
/// Connect Discovery §4 appends it.
pub(crate) fn addresses(issuer: &str, loopback: LoopbackHttp) -> Result<[EndpointUrl; 2], InvalidEndpoint> {
    let base = EndpointUrl::parse(issuer, loopback)?.url().clone();
    if base.query().is_some() {
        return Err(InvalidEndpoint::HasPart { url: base, part: "query" });
    }
    let path = base.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url: Url = base.clone();
        url.set_path(&path);
        EndpointUrl(url)
    };
    Ok([
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ])
}

fn endpoints(
    members: &MetadataMembers<'_>,
    found: String,
    issuer: &str,
    loopback: LoopbackHttp,
) -> Result<Endpoints, Error> {
    if found != issuer {
        return Err(Error::OtherIssuer { configured: issuer.to_owned(), found });
    }
    let endpoint = |member: &'static str, value: Member<'_>| {
        let parsed = json::text(value).map(|text| EndpointUrl::parse(&text, loopback)).transpose();
        parsed.map_err(|reason| Error::Endpoint {
            issuer: issuer.to_owned(),
            member,
            reason: Box::new(reason),
        })
    };
    let names_issuer = json::flag(members.authorization_response_iss_parameter_supported);
    let methods = json::texts(members.code_challenge_methods_supported);
    let lacks_s256 = methods.is_some_and(|methods| methods.iter().all(|method| method != pkce::METHOD));
    let algorithms = json::texts(members.dpop_signing_alg_values_supported).unwrap_or_default();
    let takes_proofs = algorithms.iter().any(|algorithm| algorithm == dpop::ALGORITHM);
    Ok(Endpoints {
        token: endpoint("token_endpoint", members.token_endpoint)?
            .ok_or_else(|| Error::NoTokenEndpoint(issuer.to_owned()))?,
        authorization: endpoint("authorization_endpoint", members.authorization_endpoint)?,
        device_authorization: endpoint(
            "device_authorization_endpoint",
            members.device_authorization_endpoint,
        )?,
        revocation: endpoint("revocation_endpoint", members.revocation_endpoint)?,
        issuer: Some(found),
        redirects: if names_issuer { Redirects::NameIssuer } else { Redirects::MayNameIssuer },
        s256: if lacks_s256 { S256::Lacking } else { S256::Assumed },
        dpop: if takes_proofs { Dpop::Supported } else { Dpop::Lacking },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::oauth::scripted_server::{ScriptedServer, answer, json};

    async fn fetched(issuer: &str) -> Result<Endpoints, Error> {
        let now = Clock::system().now();
        fetch(&Http::new().unwrap(), issuer, LoopbackHttp::Allowed, now).await.map(|found| found.endpoints)
    }

    fn document(issuer: &str, more: &str) -> Vec<u8> {
        json(200, &format!(r#"{{"issuer":"{issuer}","x":1e400{more}}}"#))
    }

    fn read(body: &str, issuer: &str) -> Result<Endpoints, Error> {
        let members: MetadataMembers<'_> = json::object(body.as_bytes()).unwrap();
        endpoints(&members, json::text(members.issuer).unwrap(), issuer, LoopbackHttp::Allowed)
    }

    #[test]
    fn the_well_known_part_is_inserted_first_and_appended_second_8414_2() {
        for (issuer, inserted, appended) in [
            (
                "https://h",
                "https://h/.well-known/oauth-authorization-server",
                "https://h/.well-known/openid-configuration",
            ),
            (
                "https://h/",
                "https://h/.well-known/oauth-authorization-server",
                "https://h/.well-known/openid-configuration",
            ),
            (
                "https://h:8443/a/b",
                "https://h:8443/.well-known/oauth-authorization-server/a/b",
                "https://h:8443/a/b/.well-known/openid-configuration",
            ),
            (
                "https://h/tenant/",
                "https://h/.well-known/oauth-authorization-server/tenant",
                "https://h/tenant/.well-known/openid-configuration",
            ),
        ] {
            let found = addresses(issuer, LoopbackHttp::Refused).unwrap().map(|address| address.to_string());
            assert_eq!(found, [inserted, appended]);
        }
    }

    #[test]
    fn an_issuer_is_https_without_query_or_fragment_8414_3() {
        for issuer in ["http://h", "https://h?a", "https://h#a", "https://u:p@h", "h", "file:///h", ""] {
            assert!(addresses(issuer, LoopbackHttp::Refused).is_err(), "{issuer}");
        }
    }

    #[test]
    fn the_issuer_in_the_document_is_the_same_to_the_letter_8414_1() {
        for found in [
            "https://a/",
            "https://A",
            "https://a:443",
            "HTTPS://a",
            "https://a.",
            "https://xn--a-bja",
            "https://b",
        ] {
            let body = format!(r#"{{"issuer":"{found}","token_endpoint":"https://a/token"}}"#);
            let error = read(&body, "https://a").unwrap_err();
            assert!(matches!(error, Error::OtherIssuer { .. }), "{found}");
            assert!(matches!(error.classify(), Failure::Misconfigured { .. }));
        }
        assert!(read(r#"{"issuer":"https://a/","token_endpoint":"https://a/t"}"#, "https://a/").is_ok());
    }

    /// What a document of somebody else's may have in place of an endpoint.
    fn bad_endpoints() -> Vec<String> {
        let short = [
            "http://a/t",
            "http://169.254.169.254/latest/meta-data",
            "http://127.0.0.1.evil.example/t",
            "http://localhost.evil.example/t",
            "https://a/t#f",
            "https://a/t#",
            "https://u@a/t",
            "https://u:p@a/t",
            "https://a:b@c@a/t",
            "https://",
            "https://:443/t",
            "https://a:99999/t",
            "https://[::1/t",
            "https://a b/t",
            "https://a%00b/t",
            "https://a\nb/t",
            " https://a/t",
            "java\tscript:alert(1)",
            "file:///etc/passwd",
            "file://a/t",
            "ftp://a/t",
            "ws://a/t",
            "javascript:alert(1)",
            "data:text/html,<script>",
            "about:blank",
            "/t",
            "//a/t",
            "a/t",
            "--flag",
            "-oProxyCommand=id",
            "$(id)",
            "`id`",
            "; id",
            "\u{1b}]8;;https://a\u{7}",
            "\u{202e}https://a/t",
        ];
        let long = format!("https://a/{}", "x".repeat(64 * 1024));
        short.map(str::to_owned).into_iter().chain([long]).collect()
    }

    #[test]
    fn no_endpoint_may_be_somewhere_that_nothing_is_sent_to_6749_12_7009_1_8414_4_i8() {
        for bad in bad_endpoints() {
            for member in [
                "token_endpoint",
                "authorization_endpoint",
                "device_authorization_endpoint",
                "revocation_endpoint",
            ] {
                let other = if member == "token_endpoint" { "x" } else { "token_endpoint" };
                let quoted = serde_json::to_string(&bad).unwrap();
                let body = format!(r#"{{"issuer":"https://a","{other}":"https://a/t","{member}":{quoted}}}"#);
                let error = read(&body, "https://a").unwrap_err();
                assert!(matches!(error, Error::Endpoint { .. }), "{member} {bad:?}: {error}");
                let failure = error.classify();
                assert!(matches!(failure, Failure::Misconfigured { .. }));
                let told = failure.to_string();
                assert!(told.len() < 400 && !told.contains(['\u{1b}', '\u{202e}']), "{told:?}");
            }
        }
    }

    #[test]
    fn a_host_that_looks_like_another_is_shown_as_what_it_is_i8() {
        // A Cyrillic letter, and a whole word of them.
        for (host, shown) in
            [("https://\u{430}pple.com", "xn--pple-43d.com"), ("https://\u{441}\u{430}", "xn--80a7a")]
        {
            let endpoint = EndpointUrl::parse(&format!("{host}/t"), LoopbackHttp::Refused).unwrap();
            assert_eq!(endpoint.host(), shown);
            assert!(endpoint.to_string().is_ascii());
            // Whoever copies the name of another issuer should see what they copy.
            let body = format!(r#"{{"issuer":"{host}","token_endpoint":"https://a/t"}}"#);
            let told = read(&body, "https://a").unwrap_err().to_string();
            assert!(told.is_ascii() && told.contains("\\u{4"), "{told}");
        }
        let long = format!(r#"{{"issuer":"{}","token_endpoint":"https://a/t"}}"#, "x".repeat(100_000));
        assert!(read(&long, "https://a").unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn what_an_issuer_promises_about_its_redirects_is_read_9207_2() {
        for (value, expected) in [
            ("true", Redirects::NameIssuer),
            ("false", Redirects::MayNameIssuer),
            ("null", Redirects::MayNameIssuer),
            (r#""true""#, Redirects::MayNameIssuer),
        ] {
            let body = format!(
                r#"{{"issuer":"https://a","token_endpoint":"https://a/t","authorization_response_iss_parameter_supported":{value}}}"#
            );
            let endpoints = read(&body, "https://a").unwrap();
            assert_eq!((endpoints.redirects, endpoints.issuer.as_deref()), (expected, Some("https://a")));
        }
    }

    #[test]
    fn s256_is_lacking_only_where_others_are_listed_without_it_7636_2() {
        for (value, expected) in [
            (r#"["S256"]"#, S256::Assumed),
            (r#"["plain","S256"]"#, S256::Assumed),
            (r#"["plain"]"#, S256::Lacking),
            (r#"["s256"]"#, S256::Lacking),
            ("[]", S256::Lacking),
            ("null", S256::Assumed),
            (r#""S256""#, S256::Assumed),
        ] {
            let body = format!(
                r#"{{"issuer":"https://a","token_endpoint":"https://a/t","code_challenge_methods_supported":{value}}}"#
            );
            assert_eq!(read(&body, "https://a").unwrap().s256, expected, "{value}");
        }
    }

    #[test]
    fn an_issuer_takes_proofs_of_possession_where_it_lists_our_algorithm_9449_1() {
        for (value, expected) in [
            (r#"["ES256"]"#, Dpop::Supported),
            (r#"["RS256","ES256"]"#, Dpop::Supported),
            (r#"["RS256"]"#, Dpop::Lacking),
            (r#"["es256"]"#, Dpop::Lacking),
            ("[]", Dpop::Lacking),
            ("null", Dpop::Lacking),
            ("true", Dpop::Lacking),
            (r#""ES256""#, Dpop::Lacking),
        ] {
            let body = format!(
                r#"{{"issuer":"https://a","token_endpoint":"https://a/t","dpop_signing_alg_values_supported":{value}}}"#
            );
            assert_eq!(read(&body, "https://a").unwrap().dpop, expected, "{value}");
        }
        assert_eq!(
            read(r#"{"issuer":"https://a","token_endpoint":"https://a/t"}"#, "https://a").unwrap().dpop,
            Dpop::Lacking
        );
    }

    #[test]
    fn metadata_without_a_token_endpoint_are_of_no_use_8414_5() {
        for body in [r#"{"issuer":"https://a"}"#, r#"{"issuer":"https://a","token_endpoint":null}"#] {
            let error = read(body, "https://a").unwrap_err();
            assert!(matches!(error, Error::NoTokenEndpoint(_)));
            assert!(matches!(error.classify(), Failure::Misconfigured { .. }));
        }
    }

    #[tokio::test]
    async fn only_a_document_that_is_not_there_leads_to_the_next_address_8414_2() {
        for (status, leads_on) in
            [(404, true), (410, true), (400, false), (403, false), (500, false), (503, false)]
        {
            let server = ScriptedServer::answering([json(status, ""), json(404, "")]).await;
            let error = fetched(&server.issuer()).await.unwrap_err();
            assert_eq!(server.requests().len(), if leads_on { 2 } else { 1 }, "{status}");
            assert_eq!(matches!(error, Error::Missing(_)), leads_on, "{status}");
            assert_eq!(matches!(error.classify(), Failure::Misconfigured { .. }), leads_on, "{status}");
        }
        // An answer that breaks off may have been any.
        let server = ScriptedServer::answering([Vec::new(), json(404, "")]).await;
        let error = fetched(&server.issuer()).await.unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{error}");
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn what_is_signed_in_the_metadata_is_passed_over_8414_6() {
        // {"issuer":"https://evil","token_endpoint":"https://evil/t"}
        let signed = "eyJhbGciOiJub25lIn0.\
             eyJpc3N1ZXIiOiJodHRwczovL2V2aWwiLCJ0b2tlbl9lbmRwb2ludCI6Imh0dHBzOi8vZXZpbC90In0.";
        for signed in [format!("{signed:?}"), "\"\"".to_owned(), "7".to_owned(), "{}".to_owned()] {
            let body = format!(
                r#"{{"issuer":"https://a","signed_metadata":{signed},"token_endpoint":"https://a/t"}}"#
            );
            let endpoints = read(&body, "https://a").unwrap();
            assert_eq!(endpoints.token.to_string(), "https://a/t");
            assert_eq!(endpoints.issuer.as_deref(), Some("https://a"));
        }
    }

    #[tokio::test]
    async fn a_page_or_a_redirect_instead_of_metadata_is_trouble_8414_4() {
        let elsewhere = ScriptedServer::answering([json(200, "{}")]).await;
        let moved = format!("Location: {}/next\r\n", elsewhere.issuer());
        for trouble in [
            answer(200, "", "<html>"),
            answer(301, &moved, ""),
            answer(302, "Location: /next\r\n", ""),
            answer(308, &moved, ""),
            json(200, "{}"),
        ] {
            let server = ScriptedServer::answering([trouble]).await;
            let error = fetched(&server.issuer()).await.unwrap_err();
            assert_eq!(server.requests().len(), 1);
            assert!(matches!(error.classify(), Failure::Transient { .. }), "{error}");
        }
        assert!(elsewhere.requests().is_empty());
    }

    #[tokio::test]
    async fn the_endpoints_are_read_from_the_second_address_too() {
        let listener = ScriptedServer::answering([json(404, "")]).await;
        let issuer = listener.issuer();
        let found =
            document(&issuer, r#","token_endpoint":"https://a/t","revocation_endpoint":"https://a/r""#);
        listener.then([json(404, ""), found]);
        let endpoints = fetched(&issuer).await.unwrap();
        assert_eq!(endpoints.token.to_string(), "https://a/t");
        assert_eq!(endpoints.revocation.unwrap().to_string(), "https://a/r");
        assert_eq!(endpoints.device_authorization, None);
        assert!(
            listener.requests()[0].starts_with("GET /.well-known/oauth-authorization-server HTTP/1.1\r\n")
        );
        assert!(listener.requests()[1].starts_with("GET /.well-known/openid-configuration HTTP/1.1\r\n"));
    }
}
