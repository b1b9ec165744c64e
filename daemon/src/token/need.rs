//! What a client needs of a token, and whether a token gives it.
//!
//! The thing to get wrong: more life than a fresh token has must not renew it at each request.

use std::time::Duration;

use keyfob_protocol::token::DEFAULT_MIN_TTL;
use secrecy::SecretString;

use crate::clock::Moment;
use crate::token::{IdToken, TokenHash, TokenSet};

/// The largest share of its whole life that a token can be asked to have left: asking for more would renew a token
/// that is as fresh as any.
const MAX_SHARE_ASKED: f64 = 0.9;

/// The share of its life that a token has left at least where the caller asks for nothing: a token of a minute is not
/// renewed for the sake of ten seconds.
const DEFAULT_SHARE: f64 = 0.1;

/// What a client wants of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Which token.
    pub kind: TokenKind,
    /// How long it must live, at least; absent leaves it to us.
    pub min_ttl: Option<Duration>,
}

/// A token of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenKind {
    /// The access token.
    #[default]
    Access,
    /// The ID token.
    Id,
}

impl TokenSet {
    /// Returns a token of the set.
    pub fn token(&self, kind: TokenKind) -> Option<&SecretString> {
        match kind {
            TokenKind::Access => Some(self.access.secret()),
            TokenKind::Id => self.id.as_ref().map(IdToken::secret),
        }
    }

    /// Returns its hash.
    pub fn hash(&self, kind: TokenKind) -> Option<TokenHash> {
        match kind {
            TokenKind::Access => Some(self.access.hash()),
            TokenKind::Id => self.id.as_ref().map(IdToken::hash),
        }
    }
}

/// Tells whether a token is good enough for a client as it is.
pub(super) fn suffices(tokens: &TokenSet, need: Need, now: Moment) -> bool {
    match (need.kind, &tokens.id) {
        (TokenKind::Access, _) => {
            tokens.access.lives_for(enough(tokens.access.lifetime(), need.min_ttl), now)
        }
        (TokenKind::Id, Some(id)) => {
            let lifetime = id.expires_at.map(|at| at.since(tokens.access.issued_at));
            id.lives_for(enough(lifetime, need.min_ttl), now)
        }
        (TokenKind::Id, None) => false,
    }
}

pub(super) fn is_alive(tokens: &TokenSet, kind: TokenKind, now: Moment) -> bool {
    match kind {
        TokenKind::Access => tokens.access.is_alive(now),
        TokenKind::Id => tokens.id.as_ref().is_some_and(|id| id.lives_for(Duration::ZERO, now)),
    }
}

/// Returns how long a token with this lifetime must live to satisfy a client.
fn enough(lifetime: Option<Duration>, min_ttl: Option<Duration>) -> Duration {
    let lifetime = lifetime.unwrap_or(Duration::MAX);
    let share_of_life =
        |share: f64| Duration::try_from_secs_f64(lifetime.as_secs_f64() * share).unwrap_or(lifetime);
    match min_ttl {
        Some(asked) => asked.min(share_of_life(MAX_SHARE_ASKED)),
        None => Duration::from_secs(DEFAULT_MIN_TTL).min(share_of_life(DEFAULT_SHARE)),
    }
}
