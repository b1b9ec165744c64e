//! The revocation endpoint (RFC 7009).

use std::time::Duration;

use super::books::Books;
use super::form::Form;
use super::reply::Reply;

/// Answers a revocation request: a refresh token ends its family, an access token only itself, and a token that nobody
/// knows is a success (§2.2).
pub(crate) fn answer(books: &mut Books, form: &Form, _now: Duration) -> Reply {
    let client = match books.client(form) {
        Ok(client) => client,
        Err(reply) => return reply,
    };
    let Some(token) = form.get("token") else {
        return Reply::error(400, "invalid_request");
    };
    let family = books.ledger.family_of(token);
    if let Some(family) = family {
        if books.ledger.families[family].client != client.id {
            return Reply::error(400, "invalid_grant");
        }
        books.ledger.end_family(family);
    } else if let Some(known) = books.ledger.access_tokens.iter_mut().find(|known| known.token == token) {
        known.revoked = true;
    }
    books.ledger.revoked.push(token.to_owned());
    Reply::new(200, "text/plain", "")
}
