//! The query of the token path. By hand, because some of its parameters may come several times.

use keyfob_protocol::token::{TokenKind, TokenQuery};
use url::{Url, form_urlencoded};

/// Resources that one request can name at most: an issuer takes few, and each is part of a key in memory.
const MAX_RESOURCES: usize = 16;

/// Bytes of a query at most: each target that is asked for is kept for a while.
const MAX_LENGTH: usize = 8 * 1024;

/// Why a query is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistake {
    #[error(
        "there is no parameter {0:?}: those of this path are min_ttl, wait, scope, audience, resource and kind"
    )]
    UnknownParameter(String),
    #[error("{0} can come only once")]
    Repeated(&'static str),
    #[error("{0} takes a whole number of seconds")]
    NoSeconds(&'static str),
    #[error("kind is access or id")]
    UnknownKind,
    #[error("{0} must not be empty")]
    Empty(&'static str),
    #[error("a resource is an absolute URI without a fragment (RFC 8707), such as https://api.example.com")]
    NoResource,
    #[error("scope has a character that no scope may have (RFC 6749 section 3.3)")]
    NoScope,
    #[error("there are more than {MAX_RESOURCES} resources")]
    TooManyResources,
    #[error("the query is longer than {MAX_LENGTH} bytes")]
    TooLong,
}

/// Reads a query.
pub(super) fn read(query: &str) -> Result<TokenQuery, Mistake> {
    if query.len() > MAX_LENGTH {
        return Err(Mistake::TooLong);
    }
    let mut read = TokenQuery::default();
    let mut kind = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "min_ttl" => once(&mut read.min_ttl, "min_ttl", seconds("min_ttl", &value)?)?,
            "wait" => once(&mut read.wait, "wait", seconds("wait", &value)?)?,
            "audience" => once(&mut read.audience, "audience", text("audience", &value)?)?,
            "kind" => once(&mut kind, "kind", token_kind(&value)?)?,
            "scope" => read.scope.extend(scopes(&value)?),
            "resource" => read.resource.push(resource(&value)?),
            _ => return Err(Mistake::UnknownParameter(name.chars().take(40).collect())),
        }
    }
    if read.resource.len() > MAX_RESOURCES {
        return Err(Mistake::TooManyResources);
    }
    read.kind = kind.unwrap_or_default();
    Ok(read)
}

fn once<T>(known: &mut Option<T>, name: &'static str, value: T) -> Result<(), Mistake> {
    match known.replace(value) {
        None => Ok(()),
        Some(_) => Err(Mistake::Repeated(name)),
    }
}

fn seconds(name: &'static str, value: &str) -> Result<u64, Mistake> {
    value.parse().map_err(|_| Mistake::NoSeconds(name))
}

fn text(name: &'static str, value: &str) -> Result<String, Mistake> {
    if value.is_empty() { Err(Mistake::Empty(name)) } else { Ok(value.to_owned()) }
}

fn token_kind(value: &str) -> Result<TokenKind, Mistake> {
    match value {
        "access" => Ok(TokenKind::Access),
        "id" => Ok(TokenKind::Id),
        _ => Err(Mistake::UnknownKind),
    }
}

fn scopes(value: &str) -> Result<Vec<String>, Mistake> {
    let values: Vec<String> = value.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    // RFC 6749 §3.3.
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if values.is_empty() {
        return Err(Mistake::Empty("scope"));
    }
    if !values.iter().all(|one| one.bytes().all(is_allowed)) {
        return Err(Mistake::NoScope);
    }
    Ok(values)
}

fn resource(value: &str) -> Result<String, Mistake> {
    match Url::parse(value) {
        // As it was written: an issuer compares texts.
        Ok(url) if url.fragment().is_none() => Ok(value.to_owned()),
        Ok(_) | Err(_) => Err(Mistake::NoResource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_and_resource_can_come_several_times_and_the_rest_once() {
        let query =
            read("scope=a+b&resource=https%3A%2F%2Fx&scope=c&resource=urn:y&min_ttl=5&kind=id").unwrap();
        assert_eq!(query.scope, ["a", "b", "c"]);
        assert_eq!(query.resource, ["https://x", "urn:y"]);
        assert_eq!((query.min_ttl, query.wait, query.kind), (Some(5), None, TokenKind::Id));
        assert_eq!(read("").unwrap(), TokenQuery::default());
        for name in ["min_ttl=1", "wait=1", "audience=x", "kind=id"] {
            assert!(matches!(read(&format!("{name}&{name}")), Err(Mistake::Repeated(_))), "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_8707_1() {
        for (query, mistake) in [
            ("scopes=a", Mistake::UnknownParameter("scopes".to_owned())),
            ("min_ttl=-1", Mistake::NoSeconds("min_ttl")),
            ("wait=", Mistake::NoSeconds("wait")),
            ("kind=refresh", Mistake::UnknownKind),
            ("scope=", Mistake::Empty("scope")),
            ("scope=a%0Ab", Mistake::NoScope),
            ("audience=", Mistake::Empty("audience")),
            ("resource=api", Mistake::NoResource),
            ("resource=/api", Mistake::NoResource),
            ("resource=https://x/%23part", Mistake::NoResource),
            (&"resource=urn:x&".repeat(MAX_RESOURCES + 1), Mistake::TooManyResources),
            (&"x".repeat(MAX_LENGTH + 1), Mistake::TooLong),
        ] {
            assert_eq!(read(query), Err(mistake), "{query}");
        }
    }
}
