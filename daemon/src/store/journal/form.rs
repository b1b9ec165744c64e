//! The forms of an intent and of an answer inside their sealed frames.
//!
//! An intent is JSON. An answer is JSON too, but for its body, which follows as it came: a length, the JSON, the body.
//! Members that a reader does not know are ignored, so that a later version can add some.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::Fingerprint;
use crate::clock::{Clock, Moment, Stamp};
use crate::store::journal::{Adopted, Intent};
use crate::store::record::{NotARecord, wiped_json};
use crate::token::answered::{Answered, Purpose, Terms};
use crate::token::rotation::Doubt;
use crate::token::{RefreshToken, Scope};

#[derive(Serialize, Deserialize)]
struct IntentAtRest<'a> {
    fingerprint: Fingerprint,
    token_hash: [u8; 32],
    presentations: u32,
    since: Stamp,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    adopted: Option<AdoptedAtRest<'a>>,
}

#[derive(Serialize, Deserialize)]
struct DoubtAtRest {
    presentations: u32,
    since: Stamp,
}

#[derive(Serialize, Deserialize)]
struct AdoptedAtRest<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
    origin: String,
    displaced: Option<DoubtAtRest>,
}

impl DoubtAtRest {
    fn of(doubt: Doubt, clock: &Clock) -> Self {
        Self { presentations: doubt.presentations, since: clock.stamp(doubt.since) }
    }

    fn read(&self, clock: &Clock) -> Doubt {
        Doubt { presentations: self.presentations, since: moment(&self.since, clock) }
    }
}

/// Returns an intent's form, which leaves out the generation: that is in the header of its frame.
pub(crate) fn intent_to_json(intent: &Intent, clock: &Clock) -> Zeroizing<Vec<u8>> {
    wiped_json(&IntentAtRest {
        fingerprint: intent.fingerprint.clone(),
        token_hash: intent.token_hash,
        presentations: intent.doubt.presentations,
        since: clock.stamp(intent.doubt.since),
        adopted: intent.adopted.as_ref().map(|adopted| AdoptedAtRest {
            secret: adopted.refresh.secret.expose_secret().into(),
            origin: adopted.refresh.origin.clone(),
            displaced: adopted.displaced.map(|doubt| DoubtAtRest::of(doubt, clock)),
        }),
    })
}

/// Reads an intent.
pub(crate) fn intent_from_json(generation: u64, json: &[u8], clock: &Clock) -> Result<Intent, NotARecord> {
    let at_rest: IntentAtRest<'_> = serde_json::from_slice(json).map_err(|_| NotARecord)?;
    let IntentAtRest { fingerprint, token_hash, presentations, since, adopted } = at_rest;
    let doubt = DoubtAtRest { presentations, since }.read(clock);
    let adopted = adopted.map(|adopted| Adopted {
        refresh: RefreshToken::new(adopted.secret.into_owned().into(), adopted.origin),
        displaced: adopted.displaced.map(|doubt| doubt.read(clock)),
    });
    Ok(Intent { generation, fingerprint, token_hash, doubt, adopted })
}

/// Returns the moment at which something happened. Where nobody knows when that was, it was long ago: what lived since
/// then is over.
fn moment(stamp: &Stamp, clock: &Clock) -> Moment {
    if clock.has_lost_count_since(stamp) {
        clock.now().moment_at(Timestamp::MIN)
    } else {
        clock.moment(stamp)
    }
}

#[derive(Serialize, Deserialize)]
struct HeadAtRest<'a> {
    status: u16,
    retry_after: Option<Duration>,
    #[serde(borrow)]
    redirect: Option<Cow<'a, str>>,
    sent_at: Stamp,
    purpose: Purpose,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    scope: String,
    #[serde(borrow)]
    issuer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    #[serde(borrow)]
    header: Option<Cow<'a, str>>,
}

/// Returns an answer's form.
pub(crate) fn answer_to_bytes(answered: &Answered, clock: &Clock) -> Zeroizing<Vec<u8>> {
    let Answered { status, retry_after, redirect, body, terms } = answered;
    let head = wiped_json(&HeadAtRest {
        status: *status,
        retry_after: *retry_after,
        redirect: redirect.as_deref().map(Into::into),
        sent_at: clock.stamp(terms.sent_at),
        purpose: terms.purpose,
        origin: (&*terms.origin).into(),
        scope: terms.scope.to_string(),
        issuer: terms.issuer.as_deref().map(Into::into),
        client_id: (&*terms.client_id).into(),
        header: terms.header.as_deref().map(Into::into),
    });
    let length = u32::try_from(head.len()).expect("a few short texts are far below 4 GiB").to_be_bytes();
    // Of its full length at once: a buffer that grows leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.len() + head.len() + body.len()));
    for part in [&length[..], &head, body] {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Reads an answer.
pub(crate) fn answer_from_bytes(bytes: &[u8], clock: &Clock) -> Result<Answered, NotARecord> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(NotARecord)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| NotARecord)?;
    let (head, body) = rest.split_at_checked(length).ok_or(NotARecord)?;
    let head: HeadAtRest<'_> = serde_json::from_slice(head).map_err(|_| NotARecord)?;
    let terms = Terms {
        sent_at: moment(&head.sent_at, clock),
        purpose: head.purpose,
        origin: head.origin.into_owned(),
        scope: Scope::parse(&head.scope),
        issuer: head.issuer.map(Cow::into_owned),
        client_id: head.client_id.into_owned(),
        header: head.header.map(Cow::into_owned),
    };
    Ok(Answered {
        status: head.status,
        retry_after: head.retry_after,
        redirect: head.redirect.map(Cow::into_owned),
        body: Zeroizing::new(body.to_vec()),
        terms,
    })
}
