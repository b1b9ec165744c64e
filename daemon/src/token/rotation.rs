//! What to do about a refresh token that may have been spent: its request left, and no answer came back.
//!
//! Either the issuer never saw it, and it is as good as before; or it was replaced, and its successor is lost for ever.
//! Nobody here can tell. The thing to get wrong: an issuer that watches for replays takes one presentation too many for a
//! theft, and ends the login with all its tokens, so they are counted, across restarts too.

use std::time::Duration;

use crate::clock::Moment;

/// What an issuer does with a refresh token that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nobody said, and it has not shown.
    #[default]
    Unknown,
    /// It stays good: presenting it again is what every renewal does.
    None,
    /// It is replaced, and taken for this long after that all the same.
    Grace(Duration),
    /// It is replaced, and whoever presents it again ends the login.
    Strict,
}

/// What is known of a refresh token that may have been spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// How often it was presented with an outcome that nobody knows.
    pub presentations: u32,
    /// When that happened first.
    pub since: Moment,
}
