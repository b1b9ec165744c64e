//! The device grant (RFC 8628): the authorization, the page where a person types the code, and the poll.

use std::time::Duration;

use serde_json::json;

use super::books::{Books, Given};
use super::form::Form;
use super::ledger::DevicePoll;
use super::reply::Reply;
use super::settings::Client;

/// The interval where the issuer names none (RFC 8628 §3.2), and how much a `slow_down` adds to it (§3.5).
const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// The letters of a user code: no vowels, so that no words come up (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// A device code that is out.
#[derive(Clone, Debug)]
pub(crate) struct DeviceCode {
    device_code: String,
    user_code: String,
    client: String,
    scope: String,
    expires: Duration,
    interval: Duration,
    last_poll: Option<Duration>,
    decision: Decision,
}

/// What a person decides on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing yet.
    Pending,
    /// The device may go on.
    Approved,
    /// It may not.
    Denied,
    /// The tokens were given: a device code works once.
    Redeemed,
}

/// Answers a device authorization request.
pub(crate) fn authorize(books: &mut Books, form: &Form, now: Duration) -> Reply {
    books.ledger.device_authorizations += 1;
    let asked = books.client(form).and_then(|client| Ok((client, books.scope(form)?)));
    let (client, scope) = match asked {
        Ok(asked) => asked,
        Err(reply) => return reply,
    };
    let device_code = books.mint("DC");
    let user_code = user_code(&device_code);
    let page = format!("{}/device", books.url);
    let mut body = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": books.settings.device_expires_in,
    });
    if let Some(interval) = books.settings.device_interval {
        body["interval"] = interval.into();
    }
    books.device_codes.push(DeviceCode {
        device_code,
        user_code,
        client: client.id,
        scope,
        expires: now + Duration::from_secs(books.settings.device_expires_in),
        interval: books.settings.device_interval.map_or(FIVE_SECONDS, Duration::from_secs),
        last_poll: None,
        decision: Decision::Pending,
    });
    Reply::json(200, &body)
}

/// Answers a poll.
pub(crate) fn redeem(books: &mut Books, client: &Client, form: &Form, now: Duration) -> Reply {
    let presented = form.get("device_code").unwrap_or_default();
    let Some(index) =
        books.device_codes.iter().position(|code| code.device_code == presented && code.client == client.id)
    else {
        return Reply::error(400, "invalid_grant");
    };
    let code = &mut books.device_codes[index];
    let early = code.last_poll.is_some_and(|last| now < last + code.interval);
    code.last_poll = Some(now);
    let slow_down = early || books.slow_downs > 0;
    let reply = if slow_down {
        code.interval += FIVE_SECONDS;
        books.slow_downs = books.slow_downs.saturating_sub(1);
        Reply::error(400, "slow_down")
    } else if now >= code.expires {
        Reply::error(400, "expired_token")
    } else {
        match code.decision {
            Decision::Pending => Reply::error(400, "authorization_pending"),
            Decision::Denied => Reply::error(400, "access_denied"),
            Decision::Redeemed => Reply::error(400, "invalid_grant"),
            Decision::Approved => {
                code.decision = Decision::Redeemed;
                sign_in(books, index, now)
            }
        }
    };
    let device_code = presented.to_owned();
    books.ledger.device_polls.push(DevicePoll { at: now, device_code, early, answer: reply.outcome() });
    reply
}

fn sign_in(books: &mut Books, index: usize, now: Duration) -> Reply {
    let DeviceCode { client, scope, .. } = books.device_codes[index].clone();
    let first = books.mint("RT");
    let family = books.ledger.open_family(&client, &scope, first.clone(), now);
    books.grant(&Given { scope, family: Some(family), refresh_token: Some(first), id_token: None }, now)
}

/// Returns the page where a person types a code.
pub(crate) fn page(query: &str) -> Reply {
    let code = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "user_code");
    let typed = code.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let typed: String = typed.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    Reply::html(
        200,
        &format!(
            r#"Connect a device<form action="/device" method="post"><input name="user_code" value="{typed}"><button name="action"
            value="approve">Approve</button><button name="action" value="deny">Deny</button></form>"#
        ),
    )
}

/// Takes a person's decision.
pub(crate) fn decide(books: &mut Books, form: &Form, now: Duration) -> Reply {
    let decision = match form.get("action") {
        Some("approve") => Decision::Approved,
        Some("deny") => Decision::Denied,
        Some(_) | None => return Reply::html(400, "Approve or deny?"),
    };
    let typed = form.get("user_code").unwrap_or_default();
    let waiting = |code: &&mut DeviceCode| {
        code.user_code == typed && code.decision == Decision::Pending && now < code.expires
    };
    match books.device_codes.iter_mut().find(waiting) {
        Some(code) => {
            code.decision = decision;
            Reply::html(200, "Done. You can close this page.")
        }
        None => Reply::html(404, "There is no such code, or it has expired."),
    }
}

/// Returns a user code such as `WDJB-MJHT`, which no leak scan takes for a secret.
fn user_code(device_code: &str) -> String {
    let hash = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(device_code));
    let letters: String =
        hash.iter().take(8).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    format!("{}-{}", &letters[..4], &letters[4..])
}
