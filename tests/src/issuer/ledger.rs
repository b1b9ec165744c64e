//! What a fake issuer has seen and given, with times: the judge of every story.
//!
//! A daemon can only claim that it lost nothing; the issuer knows. A family is what grew out of one login: its refresh
//! tokens follow one another, and at most the last of them is live.

use std::time::Duration;

/// Everything that happened, with times counted from the issuer's start.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Requests at the token endpoint that were read, in order.
    pub token_requests: Vec<TokenRequest>,
    /// Token requests that were under way at once, at most.
    pub max_concurrent_token_requests: usize,
    /// One for each login.
    pub families: Vec<Family>,
    /// Every access token given.
    pub access_tokens: Vec<AccessToken>,
    /// The proofs of possession that were as they should be, in order, those without the right nonce too.
    pub proofs: Vec<Proof>,
    /// Every poll for a device code, in order.
    pub device_polls: Vec<DevicePoll>,
    /// The parameters of every authorization request, in order.
    pub authorizations: Vec<Vec<(String, String)>>,
    /// Device authorizations that were asked for.
    pub device_authorizations: usize,
    /// Metadata documents that were asked for.
    pub metadata_requests: usize,
    /// Tokens that were taken back by a revocation request.
    pub revoked: Vec<String>,
    /// What clients did that the RFCs forbid, in words.
    pub violations: Vec<String>,
}

/// One request at the token endpoint.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// When it had been read.
    pub at: Duration,
    /// Its `grant_type`, without the prefix that RFC 8628 gives its own.
    pub grant: String,
    /// `ok`, or the error code that was answered. A fault may have kept the answer from arriving.
    pub outcome: String,
    /// All that it sent in its body.
    pub parameters: Vec<(String, String)>,
}

impl TokenRequest {
    /// Returns a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One proof of possession (RFC 9449).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The `grant_type` of the request that it came with, as in [`TokenRequest`].
    pub grant: String,
    /// The thumbprint of the key.
    pub thumbprint: String,
    /// The nonce in it.
    pub nonce: Option<String>,
}

/// What grew out of one login.
#[derive(Clone, Debug)]
pub struct Family {
    /// The client that it belongs to.
    pub client: String,
    /// What was granted, space-separated.
    pub scope: String,
    /// Whether it can still be refreshed.
    pub alive: bool,
    /// Its refresh tokens, oldest first.
    pub refresh_tokens: Vec<RefreshToken>,
}

/// One refresh token.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The token.
    pub token: String,
    /// When it was given.
    pub issued: Duration,
    /// When it was replaced.
    pub consumed: Option<Duration>,
    /// When it was presented again after that.
    pub replayed: Vec<Duration>,
}

/// One access token.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub token: String,
    /// When it was given.
    pub issued: Duration,
    /// When it ends by itself.
    pub expires: Duration,
    /// The family that it belongs to; none where it was given for client credentials.
    pub family: Option<usize>,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// One poll for a device code.
#[derive(Clone, Debug)]
pub struct DevicePoll {
    /// When.
    pub at: Duration,
    /// What was polled for.
    pub device_code: String,
    /// Whether it came before its interval had passed.
    pub early: bool,
    /// `ok`, or the error code that was answered.
    pub answer: String,
}

impl Ledger {
    /// Returns the requests of one grant.
    pub fn requests(&self, grant: &str) -> Vec<&TokenRequest> {
        self.token_requests.iter().filter(|request| request.grant == grant).collect()
    }

    /// Returns the refresh tokens that were presented although they had been replaced.
    pub fn replayed(&self) -> Vec<&RefreshToken> {
        self.families
            .iter()
            .flat_map(|family| &family.refresh_tokens)
            .filter(|token| !token.replayed.is_empty())
            .collect()
    }

    /// Returns how often a refresh token was presented although it had been replaced longer ago than the grace.
    pub fn replayed_outside(&self, grace: Duration) -> usize {
        let late = |token: &&RefreshToken| {
            token.consumed.is_some_and(|at| token.replayed.iter().any(|again| *again > at + grace))
        };
        self.replayed().into_iter().filter(late).count()
    }

    /// Returns how many requests of a grant came within a minute, at most.
    pub fn most_per_minute(&self, grant: &str) -> usize {
        let times: Vec<Duration> = self.requests(grant).iter().map(|request| request.at).collect();
        let within = |(index, first): (usize, &Duration)| {
            times[index..].partition_point(|at| *at < *first + Duration::from_secs(60))
        };
        times.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// Tells whether who holds this refresh token has lost a login that the issuer still keeps.
    pub fn lost(&self, held: &str) -> bool {
        self.family_of(held).is_none_or(|family| {
            let family = &self.families[family];
            family.alive && family.live().is_some_and(|live| live.token != held)
        })
    }

    /// Returns the family that a refresh token belongs to.
    pub fn family_of(&self, refresh_token: &str) -> Option<usize> {
        let is_it = |token: &RefreshToken| token.token == refresh_token;
        // What is asked about is nearly always new, and a run of hours makes many tokens.
        let newest = |family: &Family| family.refresh_tokens.iter().rev().take(2).any(is_it);
        let any = |family: &Family| family.refresh_tokens.iter().any(is_it);
        self.families.iter().position(newest).or_else(|| self.families.iter().position(any))
    }

    /// Counts a new login and its first refresh token.
    pub(crate) fn open_family(&mut self, client: &str, scope: &str, first: String, now: Duration) -> usize {
        self.families.push(Family {
            client: client.to_owned(),
            scope: scope.to_owned(),
            alive: true,
            refresh_tokens: vec![RefreshToken::new(first, now)],
        });
        self.families.len() - 1
    }

    /// Ends a login: none of its tokens is good any more.
    pub(crate) fn end_family(&mut self, family: usize) {
        self.families[family].alive = false;
        for token in self.access_tokens.iter_mut().filter(|token| token.family == Some(family)) {
            token.revoked = true;
        }
    }
}

impl Family {
    /// Returns the refresh token that has not been replaced.
    pub fn live(&self) -> Option<&RefreshToken> {
        self.refresh_tokens.last().filter(|token| token.consumed.is_none())
    }

    /// Replaces the live refresh token.
    pub(crate) fn rotate(&mut self, successor: String, now: Duration) {
        if let Some(last) = self.refresh_tokens.last_mut() {
            last.consumed = Some(now);
        }
        self.refresh_tokens.push(RefreshToken::new(successor, now));
    }
}

impl RefreshToken {
    fn new(token: String, issued: Duration) -> Self {
        Self { token, issued, consumed: None, replayed: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_lost_to_who_holds_a_replaced_refresh_token() {
        let mut ledger = Ledger::default();
        let family = ledger.open_family("cli", "all", "first".to_owned(), Duration::ZERO);
        assert!(!ledger.lost("first"));
        ledger.families[family].rotate("second".to_owned(), Duration::from_secs(1));
        assert!(ledger.lost("first"));
        assert!(!ledger.lost("second"));
        assert!(ledger.lost("never given"));
    }

    #[test]
    fn a_replay_within_the_grace_is_told_from_a_late_one() {
        let mut ledger = Ledger::default();
        let family = ledger.open_family("cli", "all", "first".to_owned(), Duration::ZERO);
        ledger.families[family].rotate("second".to_owned(), Duration::from_secs(1));
        ledger.families[family].refresh_tokens[0].replayed.push(Duration::from_secs(11));
        let late = |seconds| ledger.replayed_outside(Duration::from_secs(seconds));
        assert_eq!((late(10), late(9)), (0, 1));
    }

    #[test]
    fn the_busiest_minute_may_begin_at_any_request() {
        let mut ledger = Ledger::default();
        let request = |second| TokenRequest {
            at: Duration::from_secs(second),
            grant: "refresh_token".to_owned(),
            outcome: "ok".to_owned(),
            parameters: Vec::new(),
        };
        ledger.token_requests = [0, 50, 70, 109, 111].map(request).to_vec();
        assert_eq!(ledger.most_per_minute("refresh_token"), 3);
        assert_eq!(ledger.most_per_minute("device_code"), 0);
    }

    #[test]
    fn an_old_refresh_token_is_known_among_many() {
        let mut ledger = Ledger::default();
        for family in ["a", "b"] {
            let index = ledger.open_family("cli", "all", format!("{family}0"), Duration::ZERO);
            (1..9).for_each(|n| ledger.families[index].rotate(format!("{family}{n}"), Duration::ZERO));
        }
        for (token, family) in [("b8", Some(1)), ("b0", Some(1)), ("a7", Some(0)), ("c0", None)] {
            assert_eq!(ledger.family_of(token), family, "{token}");
        }
    }

    #[test]
    fn a_login_that_the_issuer_ended_is_not_lost() {
        let mut ledger = Ledger::default();
        let family = ledger.open_family("cli", "all", "first".to_owned(), Duration::ZERO);
        ledger.families[family].rotate("second".to_owned(), Duration::from_secs(1));
        ledger.end_family(family);
        assert!(!ledger.lost("first"));
    }
}
