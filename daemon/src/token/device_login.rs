//! A device login that waits for a person (RFC 8628 §3.2): all that it takes to poll on, in this daemon or the next.
//!
//! The thing to get wrong: the `device_code` buys the tokens, so it is as secret as they are, and like a refresh token it
//! goes to the origin that it is meant for and to no other.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::clock::Moment;

/// A device login that waits for a person.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// What we poll with.
    pub device_code: SecretString,
    /// Scheme, host and port of the token endpoint that is polled, as RFC 6454 writes them.
    pub origin: String,
    /// The least time between two polls, as it has grown so far.
    pub interval: Duration,
    /// When the codes expire.
    pub until: Moment,
    /// What the person enters.
    pub user_code: String,
    /// Where.
    pub verification_uri: Url,
    /// Where, with the code in it.
    pub verification_uri_complete: Option<Url>,
}
