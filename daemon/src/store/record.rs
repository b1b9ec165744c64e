//! What rests for one account, and its form inside a sealed file: JSON.
//!
//! A moment means nothing in another boot, so each goes to disk as a stamp. Members that a reader does not know are
//! ignored, so that a later version can add some. The thing to get wrong: a buffer that grows leaves a copy of the
//! tokens in memory that nobody wipes.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::Fingerprint;
use crate::clock::{Clock, Stamp};
use crate::secret::LockedText;
use crate::store::journal::Place;
use crate::token::state::SignedOut;
use crate::token::{AccessToken, IdToken, ProofKey, RefreshToken, Scope, TokenSet};

/// What rests for one account.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which version of the account's record it is.
    pub generation: u64,
    /// What the tokens are bound to.
    pub fingerprint: Fingerprint,
    /// The tokens.
    pub tokens: TokenSet,
    /// Why the login that they are of was ended, if it was.
    pub ended: Option<SignedOut>,
    /// Where it was read. Writing ignores it.
    pub place: Place,
}

/// What was sealed is no record: our own mistake, or a change of the format that forgot its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotARecord;

#[derive(Serialize, Deserialize)]
struct AtRest<'a> {
    fingerprint: Fingerprint,
    #[serde(borrow)]
    access_token: AccessAtRest<'a>,
    #[serde(borrow)]
    refresh_token: Option<RefreshAtRest<'a>>,
    #[serde(borrow, default)]
    id_token: Option<IdAtRest<'a>>,
    #[serde(borrow, default)]
    subject: Option<Cow<'a, str>>,
    scope: String,
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    ended: Option<SignedOut>,
}

// What is borrowed is read in place, in a buffer that gets wiped.
#[derive(Serialize, Deserialize)]
struct AccessAtRest<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
    issued_at: Stamp,
    expires_at: Option<Stamp>,
}

#[derive(Serialize, Deserialize)]
struct RefreshAtRest<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
    origin: String,
    /// PKCS#8 in base64.
    #[serde(borrow, default)]
    proof_key: Option<Cow<'a, str>>,
    #[serde(default)]
    uses: u32,
}

#[derive(Serialize, Deserialize)]
struct IdAtRest<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
    expires_at: Option<Stamp>,
}

impl Record {
    /// Returns the record's form in a sealed file, which leaves out the generation: that is in the header.
    pub(crate) fn to_json(&self, clock: &Clock) -> Zeroizing<Vec<u8>> {
        let TokenSet { access, refresh, id, subject, scope, header } = &self.tokens;
        let proof_key = refresh.as_ref().and_then(|refresh| refresh.proof_key.as_ref());
        let proof_key = proof_key.map(|key| Zeroizing::new(STANDARD.encode(key.expose_pkcs8())));
        let at_rest = AtRest {
            fingerprint: self.fingerprint.clone(),
            access_token: AccessAtRest {
                secret: access.secret().expose_secret().into(),
                issued_at: clock.stamp(access.issued_at),
                expires_at: access.expires_at.map(|moment| clock.stamp(moment)),
            },
            refresh_token: refresh.as_ref().map(|refresh| RefreshAtRest {
                secret: refresh.secret.expose_secret().into(),
                origin: refresh.origin.clone(),
                proof_key: proof_key.as_ref().map(|key| key.as_str().into()),
                uses: refresh.uses,
            }),
            id_token: id.as_ref().map(|id| IdAtRest {
                secret: id.secret().expose_secret().into(),
                expires_at: id.expires_at.map(|moment| clock.stamp(moment)),
            }),
            subject: subject.as_ref().map(|subject| subject.expose_secret().into()),
            scope: scope.to_string(),
            header: header.clone(),
            ended: self.ended,
        };
        wiped_json(&at_rest)
    }

    /// Reads a record.
    pub(crate) fn from_json(generation: u64, json: &[u8], clock: &Clock) -> Result<Self, NotARecord> {
        let at_rest: AtRest<'_> = serde_json::from_slice(json).map_err(|_| NotARecord)?;
        let access = at_rest.access_token;
        let began = access.issued_at;
        let (issued_at, expires_at) = clock.life(&began, access.expires_at.as_ref());
        let access = AccessToken::new(access.secret.into_owned().into(), issued_at, expires_at)
            .map_err(|_| NotARecord)?;
        let refresh = at_rest.refresh_token.map(RefreshAtRest::read).transpose()?;
        let id = at_rest.id_token.map(|id| {
            let (_, expires_at) = clock.life(&began, id.expires_at.as_ref());
            IdToken::new(id.secret.into_owned().into(), expires_at).map_err(|_| NotARecord)
        });
        let scope = Scope::parse(&at_rest.scope);
        let subject = at_rest.subject.map(|subject| subject.into_owned().into());
        let tokens =
            TokenSet { access, refresh, id: id.transpose()?, subject, scope, header: at_rest.header };
        let (fingerprint, ended) = (at_rest.fingerprint, at_rest.ended);
        Ok(Self { generation, fingerprint, tokens, ended, place: Place::State })
    }
}

impl RefreshAtRest<'_> {
    fn read(self) -> Result<RefreshToken, NotARecord> {
        let proof_key = self.proof_key.map(|key| STANDARD.decode(key.as_bytes())).transpose();
        let proof_key = proof_key.map_err(|_| NotARecord)?.map(Zeroizing::new).map(ProofKey::from_pkcs8);
        let token = RefreshToken::new(locked(self.secret), self.origin);
        Ok(RefreshToken { proof_key, uses: self.uses, ..token })
    }
}

/// Moves a text into locked memory. What was borrowed is in a buffer that gets wiped.
fn locked(text: Cow<'_, str>) -> LockedText {
    match text {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into(),
    }
}

/// Returns a value in JSON, in a buffer that gets wiped. The value has strings and numbers alone.
pub(crate) fn wiped_json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut json = Wiped(Zeroizing::new(Vec::with_capacity(FIRST_CAPACITY)));
    serde_json::to_writer(&mut json, value)
        .expect("strings and numbers are JSON, and memory takes all bytes");
    json.0
}

/// Room for the tokens of most issuers.
const FIRST_CAPACITY: usize = 16 * 1024;

/// A buffer that grows by moving to a larger one, and wipes the one it leaves.
struct Wiped(Zeroizing<Vec<u8>>);

impl Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STAMP: &str = r#"{"boot":"b","since_boot":"PT1H","wall":"2026-11-21T12:00:00Z"}"#;

    #[tokio::test(start_paused = true)]
    async fn a_record_of_a_later_version_is_read_as_far_as_it_is_known() {
        let json = format!(
            r#"{{"fingerprint":"f","later":[1],"scope":"","refresh_token":null,
                "access_token":{{"secret":"at","issued_at":{STAMP},"expires_at":null,"later":{{}}}}}}"#
        );
        let record = Record::from_json(1, json.as_bytes(), &Clock::following_tokio()).unwrap();
        assert_eq!(record.tokens.access.secret().expose_secret(), "at");
        assert!(record.tokens.access.expires_at.is_none() && record.tokens.refresh.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_token_that_could_break_a_line_or_a_header_is_refused() {
        let json = format!(
            r#"{{"fingerprint":"f","scope":"","refresh_token":null,
                "access_token":{{"secret":"a\r\nb","issued_at":{STAMP},"expires_at":null}}}}"#
        );
        assert_eq!(Record::from_json(1, json.as_bytes(), &Clock::following_tokio()).unwrap_err(), NotARecord);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_boot_with_a_dead_clock_no_access_token_is_believed_and_the_refresh_token_is_kept_s9() {
        let now = "2026-11-21T12:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let json = |issued: jiff::Timestamp, expires: &str| {
            let stamp = |wall: &str| format!(r#"{{"boot":"earlier","since_boot":"PT1H","wall":"{wall}"}}"#);
            format!(
                r#"{{"fingerprint":"f","scope":"","refresh_token":{{"secret":"rt","origin":"https://i"}},
                    "id_token":{{"secret":"id","expires_at":null}},
                    "access_token":{{"secret":"at","issued_at":{},"expires_at":{expires}}}}}"#,
                stamp(&issued.to_string()),
                expires = if expires == "null" { expires.to_owned() } else { stamp(expires) },
            )
        };
        let clock = Clock::following_tokio();
        for (ahead, expires, believed) in [
            (61, "2099-01-01T00:00:00Z", false),
            (61, "null", false),
            (56 * 365 * 24 * 3600, "2099-01-01T00:00:00Z", false),
            (60, "2099-01-01T00:00:00Z", true),
            (-600, "null", true),
        ] {
            let issued = now + jiff::SignedDuration::from_secs(ahead);
            let record = Record::from_json(1, json(issued, expires).as_bytes(), &clock).unwrap();
            let now = clock.now().moment;
            assert_eq!(record.tokens.access.is_alive(now), believed, "{ahead} {expires}");
            assert_eq!(record.tokens.id.unwrap().lives_for(Duration::ZERO, now), believed);
            assert_eq!(record.tokens.refresh.unwrap().secret.expose_secret(), "rt");
        }
    }

    #[test]
    fn a_buffer_that_grows_takes_every_byte_along() {
        let mut buffer = Wiped(Zeroizing::new(Vec::with_capacity(1)));
        for byte in 0..=255 {
            buffer.write_all(&[byte; 3]).unwrap();
        }
        let expected: Vec<u8> = (0..=255).flat_map(|byte| [byte; 3]).collect();
        assert_eq!(*buffer.0, expected);
    }
}
