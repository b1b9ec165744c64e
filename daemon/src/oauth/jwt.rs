//! A look into a token that happens to be a JWT (RFC 7519). Nothing is verified.
//!
//! Of an access token nothing but its time is read, for a hint where the issuer does not tell the lifetime: it is opaque
//! to its client (RFC 6749 §1.4). An ID token is for its client, which checks it in [`super::id_token`].

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::oauth::json::{self, Member};

/// The year 9999, where [`Timestamp`] ends.
const LAST_SECOND: Duration = Duration::from_secs(253_402_207_200);

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    exp: Member<'a>,
}

/// Returns the `exp` of a token that looks like a JWT.
pub(crate) fn expiry(token: &str) -> Option<Timestamp> {
    numeric_date(json::object::<Claims<'_>>(&claims(token)?).ok()?.exp)
}

/// Returns the claims of a token that looks like a JWT, unverified and as they are written.
pub(crate) fn claims(token: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    BASE64_URL_SAFE_NO_PAD.decode(claims).ok().map(Zeroizing::new)
}

/// Returns a member that is Unix time in seconds (RFC 7519 §2), or a string that holds one.
pub(crate) fn numeric_date(member: Member<'_>) -> Option<Timestamp> {
    let seconds = json::duration(member, LAST_SECOND)?;
    Timestamp::from_second(i64::try_from(seconds.as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_expiry_is_read_from_a_jwt_alone() {
        let second = |second| Timestamp::from_second(second).ok();
        assert_eq!(expiry(&token(r#"{"sub":"x","exp":1795262400,"iat":1}"#)), second(1_795_262_400));
        assert_eq!(expiry(&token(r#"{"exp":1795262400.7}"#)), second(1_795_262_400));
        assert_eq!(expiry(&token(r#"{"exp":1e400}"#)), second(253_402_207_200));
        for no_jwt in [
            token("{}"),
            token("[1]"),
            token("no"),
            "opaque".to_owned(),
            "a.b.c".to_owned(),
            token(r#"{"exp":1795262400}"#) + ".x",
        ] {
            assert_eq!(expiry(&no_jwt), None, "{no_jwt}");
        }
    }
}
