//! The forms of an intent and of an answer inside their sealed frames.
//!
//! An intent is JSON. An answer is JSON too, but for its body, which follows as it came: a length, the JSON, the body.
//! Members that a reader does not know are ignored, so that a later version can add some.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::Fingerprint;
use crate::clock::{Clock, Moment, Stamp};
use crate::store::journal::Intent;
use crate::store::record::{NotARecord, wiped_json};
use crate::token::Scope;
use crate::token::answered::{Answered, Purpose, Terms};
use crate::token::rotation::Doubt;

#[derive(Serialize, Deserialize)]
struct IntentAtRest {
    fingerprint: Fingerprint,
    token_hash: [u8; 32],
    presentations: u32,
    since: Stamp,
}

/// Returns an intent's form, which leaves out the generation: that is in the header of its frame.
pub(super) fn intent_to_json(intent: &Intent, clock: &Clock) -> Zeroizing<Vec<u8>> {
    wiped_json(&IntentAtRest {
        fingerprint: intent.fingerprint.clone(),
        token_hash: intent.token_hash,
        presentations: intent.doubt.presentations,
        since: clock.stamp(intent.doubt.since),
    })
}

/// Reads an intent.
pub(super) fn intent_from_json(generation: u64, json: &[u8], clock: &Clock) -> Result<Intent, NotARecord> {
    let at_rest: IntentAtRest = serde_json::from_slice(json).map_err(|_| NotARecord)?;
    let doubt = Doubt { presentations: at_rest.presentations, since: moment(&at_rest.since, clock) };
    Ok(Intent { generation, fingerprint: at_rest.fingerprint, token_hash: at_rest.token_hash, doubt })
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
pub(super) fn answer_to_bytes(answered: &Answered, clock: &Clock) -> Zeroizing<Vec<u8>> {
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
pub(super) fn answer_from_bytes(bytes: &[u8], clock: &Clock) -> Result<Answered, NotARecord> {
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
