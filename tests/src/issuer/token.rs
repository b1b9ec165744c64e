//! The token endpoint (RFC 6749 §3.2).
//!
//! Client credentials and refreshing are here, authorization codes in [`super::authorization`], device codes in
//! [`super::device`].

use std::time::Duration;

use super::authorization;
use super::books::{Books, Given};
use super::device;
use super::dpop;
use super::form::Form;
use super::ledger::TokenRequest;
use super::reply::Reply;
use super::settings::{Client, ClientAuthentication, Rotation};

/// The prefix of the device grant's name (RFC 8628 §3.4).
const GRANT_PREFIX: &str = "urn:ietf:params:oauth:grant-type:";

/// Answers a token request.
pub(crate) fn answer(books: &mut Books, form: &Form, now: Duration) -> Reply {
    let grant = form.get("grant_type").unwrap_or("none");
    let grant = grant.strip_prefix(GRANT_PREFIX).unwrap_or(grant);
    let families = books.ledger.families.len();
    let proven = dpop::read(books, form, grant);
    let admitted = proven.and_then(|proven| Ok((proven, books.client(form)?)));
    let reply = match admitted {
        Ok((proven, client)) => {
            let reply = match grant {
                "authorization_code" => authorization::redeem(books, &client, form, (&proven, now)),
                "device_code" => device::redeem(books, &client, form, now),
                "refresh_token" => dpop::may_refresh(books, form, &proven)
                    .map_or_else(|reply| reply, |()| refresh(books, &client, form, now)),
                "client_credentials" => client_credentials(books, &client, form, now),
                _ => Reply::error(400, "unsupported_grant_type"),
            };
            dpop::bind(books, form, &proven, families, reply)
        }
        Err(reply) => reply,
    };
    books.ledger.token_requests.push(TokenRequest {
        at: now,
        grant: grant.to_owned(),
        outcome: reply.outcome(),
        parameters: form.fields().to_vec(),
    });
    reply
}

/// RFC 6749 §4.4: for clients that can keep a secret, and without a refresh token.
fn client_credentials(books: &mut Books, client: &Client, form: &Form, now: Duration) -> Reply {
    if client.authentication == ClientAuthentication::None {
        return Reply::error(400, "unauthorized_client");
    }
    match books.scope(form) {
        Ok(scope) => books.grant(&Given { scope, family: None, refresh_token: None, id_token: None }, now),
        Err(reply) => reply,
    }
}

/// RFC 6749 §6, with the replay detection of RFC 9700 §4.14.2.
fn refresh(books: &mut Books, client: &Client, form: &Form, now: Duration) -> Reply {
    let invalid_grant = || Reply::error(400, "invalid_grant");
    let Some(presented) = form.get("refresh_token") else {
        return Reply::error(400, "invalid_request");
    };
    let Some(family) = books.ledger.family_of(presented) else {
        return invalid_grant();
    };
    let (owner, granted) = (&books.ledger.families[family].client, &books.ledger.families[family].scope);
    if !books.ledger.families[family].alive || *owner != client.id {
        return invalid_grant();
    }
    let scope = form.get("scope").unwrap_or(granted).to_owned();
    if !scope.split(' ').all(|one| granted.split(' ').any(|scope| scope == one)) {
        return Reply::error(400, "invalid_scope");
    }
    match successor(books, family, presented, now) {
        Ok(refresh_token) => {
            books.grant(&Given { scope, family: Some(family), refresh_token, id_token: None }, now)
        }
        Err(Replayed) => {
            books.ledger.end_family(family);
            invalid_grant()
        }
    }
}

/// A refresh token was presented after it had been replaced.
struct Replayed;

/// Returns the refresh token that a refresh answer carries, by the rules of the rotation.
fn successor(
    books: &mut Books,
    family: usize,
    presented: &str,
    now: Duration,
) -> Result<Option<String>, Replayed> {
    let rotation = books.settings.rotation;
    let fresh = books.mint("RT");
    let family = &mut books.ledger.families[family];
    let is_last = |index: usize, count: usize| index + 1 == count;
    let count = family.refresh_tokens.len();
    let Some(index) = family.refresh_tokens.iter().position(|token| token.token == presented) else {
        return Err(Replayed);
    };
    if let Some(consumed) = family.refresh_tokens[index].consumed {
        family.refresh_tokens[index].replayed.push(now);
        if now > consumed + rotation.grace() || !is_last(index + 1, count) {
            return Err(Replayed);
        }
        return match rotation {
            Rotation::Grace(_) => Ok(Some(family.refresh_tokens[index + 1].token.clone())),
            Rotation::GraceGivesBackSpent(_) => Ok(Some(presented.to_owned())),
            Rotation::Omitted | Rotation::Repeated | Rotation::Strict => Err(Replayed),
        };
    }
    match rotation {
        Rotation::Omitted => Ok(None),
        Rotation::Repeated => Ok(Some(presented.to_owned())),
        Rotation::Strict | Rotation::Grace(_) | Rotation::GraceGivesBackSpent(_) => {
            family.rotate(fresh.clone(), now);
            Ok(Some(fresh))
        }
    }
}
