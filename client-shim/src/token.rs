//! `keyfob token`: exactly the token and a line feed, or nothing.
//!
//! The thing to get wrong: tools take whatever stands on standard output for the token, whatever the exit code says,
//! and put it into a header. So it is written once, after everything about it has been checked.

use std::io::Write;
use std::time::Duration;

use keyfob_protocol::token::DEFAULT_WAIT;

use crate::answer::{Answer, MediaType};
use crate::arguments::token::{Kind, TokenOptions};
use crate::client::Client;
use crate::clock::Deadline;
use crate::connection::{Accept, Error, Method, Request};
use crate::failure::Failure;

/// How long `keyfob token` takes at most, all in all. No tool that calls it sets a limit of its own.
const BUDGET: Duration = Duration::from_secs(20);

/// What the daemon's answer takes beyond the wait that it was asked for.
const MARGIN: Duration = Duration::from_secs(1);

/// What begins or ends a text in the files and languages that tools put tokens into.
const QUOTES: [u8; 4] = *b"\"'`\\";

/// Why an answer is no token. Nothing of the answer is repeated: most of it may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoToken {
    /// It was not sent as bare token.
    #[error("keyfobd did not answer with a bare token; install keyfob and keyfobd of the same version")]
    NotPlainText,
    /// There is nothing in it.
    #[error("keyfobd answered with an empty token; run: keyfob status")]
    Empty,
    /// It would break out of the header or the line that it is put into.
    #[error("the token has characters that no token may have, so it is not printed; run: keyfob status")]
    Unprintable,
}

/// Prints the token.
pub(crate) fn run(options: &TokenOptions, client: &Client, output: &mut impl Write) -> Result<(), Failure> {
    let deadline = Deadline::after(BUDGET);
    let answer = match ask(options, client, deadline) {
        // A daemon that is going hangs up on those whom it has not served yet; its successor serves them.
        Err(Failure::Unreachable { error: Error::Closed, .. }) => ask(options, client, deadline)?,
        asked => asked?,
    };
    let line = line(answer)?;
    output.write_all(&line).and_then(|()| output.flush()).map_err(Failure::Output)
}

fn ask(options: &TokenOptions, client: &Client, deadline: Deadline) -> Result<Answer, Failure> {
    let connection = client.connect(deadline)?;
    let request = request(options, deadline.left().unwrap_or_default());
    connection.ask(&request, deadline).map_err(|error| client.unreachable(error))
}

/// Asks the daemon to wait no longer than we do, so that it is the one who says what it waited for.
fn request(options: &TokenOptions, left: Duration) -> Request {
    let account = options.account.segment();
    let wait = options.wait.unwrap_or(DEFAULT_WAIT).min(left.saturating_sub(MARGIN).as_secs());
    let mut target = ["/v1/accounts/", account, "/token?wait=", &wait.to_string()].concat();
    if let Some(min_ttl) = options.min_ttl {
        target.push_str(&format!("&min_ttl={min_ttl}"));
    }
    let scopes = options.scopes.iter().map(|scope| ("scope", scope));
    let audience = options.audience.iter().map(|audience| ("audience", audience));
    let resources = options.resources.iter().map(|resource| ("resource", resource));
    for (name, value) in scopes.chain(audience).chain(resources) {
        target.push_str(&format!("&{name}="));
        encode(value, &mut target);
    }
    match options.kind {
        Kind::Access => {}
        Kind::Id => target.push_str("&kind=id"),
    }
    Request { method: Method::Get, target, accept: Accept::PlainText, body: String::new() }
}

/// Writes a value of a query so that nothing in it can end the value or the line (RFC 3986 §2.1).
fn encode(value: &str, target: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => target.push(byte.into()),
            other => target.push_str(&format!("%{other:02X}")),
        }
    }
}

/// Returns what to print.
fn line(answer: Answer) -> Result<Vec<u8>, Failure> {
    if answer.status != 200 {
        return Err(Failure::refused(&answer).in_one_line());
    }
    // JSON without spaces would pass for a token.
    if answer.media_type != MediaType::PlainText {
        return Err(NoToken::NotPlainText.into());
    }
    let mut line = answer.body;
    if line.is_empty() {
        return Err(NoToken::Empty.into());
    }
    // To the end, whatever comes: without a way out between them, sixteen bytes are looked at in one step.
    if !line.iter().fold(true, |are_good, byte| are_good & byte.is_ascii_graphic() & !QUOTES.contains(byte)) {
        return Err(NoToken::Unprintable.into());
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Account;

    fn answer(media_type: MediaType, body: &[u8]) -> Answer {
        Answer { status: 200, media_type, body: body.to_vec() }
    }

    fn options(wait: Option<u64>, min_ttl: Option<u64>) -> TokenOptions {
        TokenOptions { min_ttl, wait, ..TokenOptions::of(Account::Default) }
    }

    #[test]
    fn a_token_of_visible_ascii_is_printed_with_one_line_feed() {
        let line = line(answer(MediaType::PlainText, b"eyJ0.x-._~+/!=")).unwrap();
        assert_eq!(line, b"eyJ0.x-._~+/!=\n");
    }

    #[test]
    fn what_would_break_out_of_a_header_is_not_printed_6750_2_i7() {
        let bodies: [&[u8]; 13] = [
            b"a'b",
            b"a`b",
            b"a\\b",
            b"a\"b",
            b"a\nb",
            b"a\n",
            b"a\r",
            b"a\0",
            b"a b",
            b"\ta",
            b"a\x7f",
            "ä".as_bytes(),
            b"\xff",
        ];
        for body in bodies {
            let failure = line(answer(MediaType::PlainText, body)).unwrap_err();
            assert!(matches!(failure, Failure::NoToken(NoToken::Unprintable)), "{body:?}");
        }
        let failure = line(answer(MediaType::PlainText, b"")).unwrap_err();
        assert!(matches!(failure, Failure::NoToken(NoToken::Empty)));
    }

    #[test]
    fn json_is_no_token_even_without_a_space_in_it() {
        for media_type in [MediaType::Json, MediaType::Other] {
            let failure = line(answer(media_type, br#"{"access_token":"x"}"#)).unwrap_err();
            assert!(matches!(failure, Failure::NoToken(NoToken::NotPlainText)));
        }
    }

    #[test]
    fn the_daemon_waits_no_longer_than_the_shim() {
        let target = |options, left| request(&options, Duration::from_secs(left)).target;
        assert_eq!(target(options(None, None), 20), "/v1/accounts/~/token?wait=10");
        assert_eq!(target(options(Some(60), Some(90)), 20), "/v1/accounts/~/token?wait=19&min_ttl=90");
        assert_eq!(target(options(None, None), 8), "/v1/accounts/~/token?wait=7");
        assert_eq!(target(options(None, None), 0), "/v1/accounts/~/token?wait=0");
    }

    #[test]
    fn nothing_in_an_argument_can_end_its_place_in_the_request() {
        let options = TokenOptions {
            scopes: vec!["a b".to_owned(), "ä&c".to_owned()],
            audience: Some("https://x/?a=1#f\r\nX: y".to_owned()),
            resources: vec!["urn:r".to_owned(), "~%".to_owned()],
            kind: Kind::Id,
            ..options(None, None)
        };
        assert_eq!(
            request(&options, Duration::from_secs(20)).target,
            "/v1/accounts/~/token?wait=10&scope=a%20b&scope=%C3%A4%26c\
             &audience=https%3A%2F%2Fx%2F%3Fa%3D1%23f%0D%0AX%3A%20y&resource=urn%3Ar&resource=~%25&kind=id"
        );
    }
}
