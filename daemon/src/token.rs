//! The nouns of the trade: tokens, what they were granted for, and how obtaining them can fail.
//!
//! Knows no HTTP and no disk. Times are [`Moment`]s: the relative `expires_in` of the wire never gets here.

pub mod answered;
pub mod device_login;
pub(crate) mod digest;
pub mod failure;
pub mod need;
mod proof_key;
pub mod rotation;
pub mod schedule;
pub mod state;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

pub use crate::token::digest::TokenHash;
pub use crate::token::proof_key::ProofKey;

use crate::clock::Moment;
use crate::secret::LockedText;
use crate::token::digest::sha256;

/// An access token and its life.
#[derive(Clone, Debug)]
pub struct AccessToken {
    secret: SecretString,
    hash: TokenHash,
    /// When the request that obtained it was sent: its lifetime is counted from here.
    pub issued_at: Moment,
    /// When it expires; absent where the issuer did not say.
    pub expires_at: Option<Moment>,
}

/// A text is no bearer token: it is empty, or has a character that could break out of a header or a line
/// (RFC 6750 §2.1 allows fewer still).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is empty or has a character that no bearer token may have")]
pub struct InvalidToken;

impl AccessToken {
    /// Accepts a token of visible ASCII characters without a quotation mark or a backslash. That is more than RFC 6750 §2.1
    /// has, and less than RFC 6749 §A.12: issuers differ.
    ///
    /// # Errors
    /// Refuses every other text: it could not be carried by a header, nor by the line-based protocols of clients.
    pub fn new(
        secret: SecretString,
        issued_at: Moment,
        expires_at: Option<Moment>,
    ) -> Result<Self, InvalidToken> {
        let hash = visible(&secret)?;
        Ok(Self { secret, hash, issued_at, expires_at })
    }

    /// Returns its whole life, if the issuer stated one.
    pub fn lifetime(&self) -> Option<Duration> {
        self.expires_at.map(|at| at.since(self.issued_at))
    }

    /// Returns how long it lives on, if the issuer stated that.
    pub fn remaining(&self, now: Moment) -> Option<Duration> {
        self.expires_at.map(|at| at.since(now))
    }

    /// Tells whether it has not expired.
    pub fn is_alive(&self, now: Moment) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    /// Tells whether it is alive and stays so for a time.
    pub fn lives_for(&self, time: Duration, now: Moment) -> bool {
        self.is_alive(now) && self.remaining(now).is_none_or(|left| left >= time)
    }

    /// Returns the token. To be exposed only where bytes leave.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Returns its hash, which is made once for all who ask.
    pub fn hash(&self) -> TokenHash {
        self.hash
    }
}

/// A refresh token, bound to the origin of the token endpoint that issued it. It is never sent anywhere else.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The token.
    pub secret: LockedText,
    /// Scheme, host and port of the token endpoint, as RFC 6454 writes them.
    pub origin: String,
    /// The key that the issuer bound it to (RFC 9449 §5), if it did: it is good only with a proof by that key.
    pub proof_key: Option<ProofKey>,
    /// The renewals that it was good for, and after which it was still in force.
    pub uses: u32,
}

impl RefreshToken {
    /// Returns a token that is new, and bound to no key.
    pub fn new(secret: LockedText, origin: String) -> Self {
        Self { secret, origin, proof_key: None, uses: 0 }
    }

    /// Returns its SHA-256, which tells it from others and gives nothing away.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[self.secret.expose_secret().as_bytes()])
    }

    /// Tells whether it is the same token.
    pub fn is(&self, other: &Self) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret() && self.origin == other.origin
    }
}

/// An ID token (OpenID Connect Core §2), whose claims were checked when it came.
#[derive(Clone, Debug)]
pub struct IdToken {
    secret: SecretString,
    hash: TokenHash,
    /// When it expires: its `exp` claim.
    pub expires_at: Option<Moment>,
}

impl IdToken {
    /// Accepts a token of the characters that an access token may have.
    ///
    /// # Errors
    /// Refuses every other text, as [`AccessToken::new`] does.
    pub fn new(secret: SecretString, expires_at: Option<Moment>) -> Result<Self, InvalidToken> {
        let hash = visible(&secret)?;
        Ok(Self { secret, hash, expires_at })
    }

    /// Tells whether it is alive and stays so for a time.
    pub fn lives_for(&self, time: Duration, now: Moment) -> bool {
        self.expires_at.is_none_or(|at| now < at && at.since(now) >= time)
    }

    /// Returns the token. To be exposed only where bytes leave.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Returns its hash, which is made once for all who ask.
    pub fn hash(&self) -> TokenHash {
        self.hash
    }
}

/// What was granted together.
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// The access token.
    pub access: AccessToken,
    /// The refresh token, if the issuer gives one.
    pub refresh: Option<RefreshToken>,
    /// The ID token, if the issuer gives one.
    pub id: Option<IdToken>,
    /// Whom the ID tokens of this login are about (`sub`), once there was one. It is personal, and so not shown.
    pub subject: Option<SecretString>,
    /// What the access token is good for; empty where neither side said.
    pub scope: Scope,
    /// The header in which the resource server wants the access token; absent means `authorization`.
    pub header: Option<String>,
}

impl TokenSet {
    /// Returns a set with nothing but an access token.
    pub fn of(access: AccessToken) -> Self {
        Self { access, refresh: None, id: None, subject: None, scope: Scope::default(), header: None }
    }

    /// Returns this set with an earlier refresh token in place of the one that it lacks: an answer without one leaves
    /// the old one in force (RFC 6749 §6).
    #[must_use]
    pub fn keeping(mut self, earlier: Option<RefreshToken>) -> Self {
        self.refresh = self.refresh.or(earlier);
        self
    }

    /// Tells whether the ID token is about somebody else than those of this login so far.
    pub fn is_about_another(&self, earlier: &Self) -> bool {
        let subjects = self.subject.as_ref().zip(earlier.subject.as_ref());
        subjects.is_some_and(|(one, other)| one.expose_secret() != other.expose_secret())
    }
}

/// What begins or ends a text in the files and languages that tokens are put into.
const QUOTES: [u8; 4] = *b"\"'`\\";

/// Returns the hash of a token. Refuses what could break a header, a line or a quoted text.
fn visible(secret: &SecretString) -> Result<TokenHash, InvalidToken> {
    let text = secret.expose_secret();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && !QUOTES.contains(&byte)) {
        return Err(InvalidToken);
    }
    Ok(TokenHash::of(text))
}

/// What tokens are asked for. Tokens for one target are never served to a request for another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// What they should be good for; empty leaves it to the issuer.
    pub scope: Scope,
    /// The `audience` parameter, where the issuer wants one.
    pub audience: Option<String>,
    /// The `resource` parameters (RFC 8707 §2), each an absolute URI.
    pub resources: BTreeSet<String>,
}

/// A set of scope values (RFC 6749 §3.3). Their order means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// Tells whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether a value is in it.
    pub fn contains(&self, value: &str) -> bool {
        self.0.contains(value)
    }

    /// Reads a space-separated list.
    pub fn parse(text: &str) -> Self {
        text.split_ascii_whitespace().collect()
    }

    /// Returns the values that another scope lacks.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }
}

impl<T: Into<String>> FromIterator<T> for Scope {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for value in &self.0 {
            write!(f, "{separator}{value}")?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_token_that_could_break_a_line_or_a_header_is_refused_6750_2() {
        let now = Clock::following_tokio().now().moment;
        for bad in ["", "a b", "a\n", "a\r", "a\0b", "tok\u{e9}n", "a\tb", "a\"b", "\u{1f511}"] {
            assert!(AccessToken::new(bad.into(), now, None).is_err(), "{bad:?} was accepted");
        }
        assert!(AccessToken::new("eyJhbGciOi.J9-_~+/=".into(), now, None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_debug_form_of_a_token_set_holds_no_secret() {
        let now = Clock::following_tokio().now().moment;
        let access = AccessToken::new("CANARY-AT".into(), now, None).unwrap();
        let refresh = Some(RefreshToken::new("CANARY-RT".into(), "https://i".to_owned()));
        let tokens = TokenSet { refresh, ..TokenSet::of(access) };
        assert!(!format!("{tokens:?}").contains("CANARY"));
    }

    #[test]
    fn a_scope_is_the_same_in_any_order() {
        assert_eq!(Scope::parse("b  a"), ["a", "b"].into_iter().collect());
        assert_eq!(Scope::parse("b a").to_string(), "a b");
    }
}
