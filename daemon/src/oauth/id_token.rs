//! ID tokens (OpenID Connect Core §2), and the checks of their claims (§3.1.3.7).
//!
//! The signature is not checked: the token comes from the token endpoint itself, over TLS, and §3.1.3.7 lets that stand
//! for it. The thing to get wrong: this holds for that way alone. An ID token out of a redirect must never get here.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::oauth::json::{self, Member};
use crate::oauth::jwt;
use crate::token::IdToken;

/// By how much the issuer's clock may be ahead of ours: machines without a working time service are off by minutes.
const LEEWAY: Duration = Duration::from_secs(300);

/// What the claims must match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// The issuer identifier, where it is known.
    pub(crate) issuer: Option<&'a str>,
    /// Who we are: the token must be for us.
    pub(crate) client_id: &'a str,
    /// What was asked for with the login; absent where the token answers no login in a browser.
    pub(crate) nonce: Option<&'a SecretString>,
}

/// What is wrong with an ID token. The claims are somebody's, so no message repeats them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("is not a JWT")]
    NoJwt,
    #[error("lacks {0}")]
    Lacks(&'static str),
    #[error("is from another issuer")]
    Issuer,
    #[error("is not for this client")]
    Audience,
    #[error("was given to another client")]
    AuthorizedParty,
    #[error("answers another login")]
    Nonce,
    #[error("has expired: check this machine's clock")]
    Expired,
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    iss: Member<'a>,
    #[serde(borrow)]
    sub: Member<'a>,
    #[serde(borrow)]
    aud: Member<'a>,
    #[serde(borrow)]
    azp: Member<'a>,
    #[serde(borrow)]
    exp: Member<'a>,
    #[serde(borrow)]
    nonce: Member<'a>,
}

/// An ID token whose claims are right.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The token.
    pub(crate) token: IdToken,
    /// Whom it is about.
    pub(crate) subject: SecretString,
}

/// Accepts an ID token whose claims are right.
pub(crate) fn accept(token: SecretString, expected: &Expected<'_>, now: Now) -> Result<Accepted, Invalid> {
    let text = jwt::claims(token.expose_secret()).ok_or(Invalid::NoJwt)?;
    let claims: Claims<'_> = json::object(&text).map_err(|_| Invalid::NoJwt)?;
    let issuer = json::text(claims.iss).ok_or(Invalid::Lacks("iss"))?;
    if expected.issuer.is_some_and(|expected| expected != issuer) {
        return Err(Invalid::Issuer);
    }
    let subject = json::secret(claims.sub).ok_or(Invalid::Lacks("sub"))?;
    audience(&claims, expected.client_id)?;
    if let Some(nonce) = expected.nonce {
        let found = Zeroizing::new(json::text(claims.nonce).ok_or(Invalid::Lacks("nonce"))?);
        // Hashes: how long their comparison takes tells nothing.
        if Sha256::digest(found.as_bytes()) != Sha256::digest(nonce.expose_secret()) {
            return Err(Invalid::Nonce);
        }
    }
    let exp = jwt::numeric_date(claims.exp).ok_or(Invalid::Lacks("exp"))?;
    let expires_at = now.moment_at(exp);
    if expires_at.after(LEEWAY) <= now.moment {
        return Err(Invalid::Expired);
    }
    let token = IdToken::new(token, Some(expires_at)).map_err(|_| Invalid::NoJwt)?;
    Ok(Accepted { token, subject })
}

/// Checks that the token is for us, and given to us where it is for others too.
fn audience(claims: &Claims<'_>, client_id: &str) -> Result<(), Invalid> {
    let one = json::text(claims.aud).map(|one| vec![one]);
    let audiences = one.or_else(|| json::texts(claims.aud)).ok_or(Invalid::Lacks("aud"))?;
    if !audiences.iter().any(|audience| audience == client_id) {
        return Err(Invalid::Audience);
    }
    match json::text(claims.azp) {
        Some(azp) if azp == client_id => Ok(()),
        Some(_) => Err(Invalid::AuthorizedParty),
        None if claims.azp.is_some() => Err(Invalid::AuthorizedParty),
        None if audiences.len() > 1 => Err(Invalid::Lacks("azp")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;
    use crate::clock::Clock;

    const GOOD: &str = r#"{"iss":"https://i","sub":"ann","aud":"cli","exp":EXP,"iat":1,"nonce":"N"}"#;

    fn jwt(claims: &str) -> String {
        format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    /// Reads a token with these claims, `EXP` being an hour from now.
    fn read(claims: &str) -> Result<Accepted, Invalid> {
        let now = Clock::system().now();
        let hour = (now.wall.as_second() + 3600).to_string();
        let nonce = "N".into();
        let expected = Expected { issuer: Some("https://i"), client_id: "cli", nonce: Some(&nonce) };
        accept(jwt(&claims.replace("EXP", &hour)).into(), &expected, now)
    }

    #[test]
    fn a_good_id_token_passes_with_its_expiry_oidc_1() {
        let now = Clock::system().now().moment;
        for claims in [
            GOOD.to_owned(),
            GOOD.replace(r#""cli""#, r#"["cli"]"#),
            GOOD.replace(r#""cli""#, r#"["other","cli"],"azp":"cli""#),
            GOOD.replace(r#""cli""#, r#""cli","azp":"cli","email":{"a":[1]}"#),
        ] {
            let accepted = read(&claims).unwrap();
            assert_eq!(accepted.subject.expose_secret(), "ann");
            let life = accepted.token.expires_at.unwrap().since(now).as_secs();
            assert!((3590..=3600).contains(&life), "{life}");
        }
    }

    #[test]
    fn twelve_bad_id_tokens_are_refused_oidc_1_i10() {
        let past = Clock::system().now().wall.as_second() - 301;
        for (from, to, expected) in [
            (r#""https://i""#, r#""https://evil""#, Invalid::Issuer),
            (r#""https://i""#, r#""https://i/""#, Invalid::Issuer),
            (r#""iss":"https://i","#, "", Invalid::Lacks("iss")),
            (r#""sub":"ann","#, "", Invalid::Lacks("sub")),
            (r#""cli""#, r#""other""#, Invalid::Audience),
            (r#""aud":"cli","#, "", Invalid::Lacks("aud")),
            (r#""cli""#, r#"["cli","other"]"#, Invalid::Lacks("azp")),
            (r#""cli""#, r#"["cli","other"],"azp":"other""#, Invalid::AuthorizedParty),
            ("EXP", &past.to_string(), Invalid::Expired),
            (r#""exp":EXP,"#, "", Invalid::Lacks("exp")),
            (r#""N""#, r#""M""#, Invalid::Nonce),
            (r#","nonce":"N""#, "", Invalid::Lacks("nonce")),
            (r#""iat":1"#, r#""aud":"cli""#, Invalid::NoJwt),
        ] {
            let claims = GOOD.replace(from, to);
            assert_ne!(claims, GOOD);
            assert_eq!(read(&claims).unwrap_err(), expected, "{claims}");
        }
    }

    #[test]
    fn a_nonce_or_an_issuer_that_nobody_knows_is_not_asked_for() {
        let expected = Expected { issuer: None, client_id: "cli", nonce: None };
        let now = Clock::system().now();
        let claims = GOOD.replace("EXP", &(now.wall.as_second() + 60).to_string()).replace("https://i", "x");
        assert!(accept(jwt(&claims).into(), &expected, now).is_ok());
        for no_jwt in ["opaque", "a.b", "a.b.c.d", ""] {
            assert_eq!(accept(no_jwt.into(), &expected, now).unwrap_err(), Invalid::NoJwt);
        }
    }

    #[test]
    fn a_clock_that_is_somewhat_wrong_refuses_nothing() {
        let late = Clock::system().now().wall.as_second() - 200;
        assert!(read(&GOOD.replace("EXP", &late.to_string())).is_ok());
    }
}
