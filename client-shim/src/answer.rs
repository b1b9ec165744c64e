//! An HTTP/1.1 answer, read from the bytes that have come so far.
//!
//! Only what keyfobd sends is understood: one head, one body of announced length. Anything else is refused with a
//! name, because half of a token looks like a token.

use std::str;

/// The longest head: keyfobd's are below 300 bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The longest body: the status of ten thousand accounts is shorter, and no server takes a token of that size.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What ends a head.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A complete answer. Its body may be a token, so it has no `Debug` form.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// What the body is.
    pub(crate) media_type: MediaType,
    /// The body, as long as it was announced.
    pub(crate) body: Vec<u8>,
}

/// What a body is, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/json`
    Json,
    /// `text/plain`
    PlainText,
    /// Something else, or not said.
    Other,
}

/// Why bytes are no answer of keyfobd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It is not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    /// The head has no end.
    #[error("the head of the answer is too long")]
    LongHead,
    /// The body's length is not announced, or not in one number.
    #[error("the answer does not say how long it is")]
    NoLength,
    /// The body is longer than anything keyfobd says.
    #[error("the answer is too long")]
    LongBody,
    /// There is more than was announced.
    #[error("the answer is longer than it says")]
    Surplus,
}

/// What the head says.
struct Head {
    status: u16,
    length: usize,
    media_type: MediaType,
}

impl Answer {
    /// Reads an answer; nothing while it is incomplete.
    pub(crate) fn read(received: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(end) = received.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) else {
            return if received.len() > MAX_HEAD { Err(Malformed::LongHead) } else { Ok(None) };
        };
        if end > MAX_HEAD {
            return Err(Malformed::LongHead);
        }
        let head = Head::read(&received[..end])?;
        let body = &received[end + END_OF_HEAD.len()..];
        if body.len() > head.length {
            return Err(Malformed::Surplus);
        }
        let is_complete = body.len() == head.length;
        Ok(is_complete.then(|| Self {
            status: head.status,
            media_type: head.media_type,
            body: body.to_vec(),
        }))
    }

    /// Tells whether the daemon did what it was asked to.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = str::from_utf8(bytes).map_err(|_| Malformed::NotHttp)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(status_code).ok_or(Malformed::NotHttp)?;
        let mut length = None;
        let mut media_type = MediaType::Other;
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Malformed::NotHttp)?;
            let value = value.trim_matches([' ', '\t']);
            if name.eq_ignore_ascii_case("content-length") {
                // Two lengths are a contradiction, or an attempt to make one.
                let announced = body_length(value)?;
                if length.replace(announced).is_some_and(|earlier| earlier != announced) {
                    return Err(Malformed::NoLength);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Malformed::NoLength);
            } else if name.eq_ignore_ascii_case("content-type") {
                media_type = MediaType::read(value);
            }
        }
        let length = match (status, length) {
            (204, _) => 0,
            (_, Some(length)) => length,
            (_, None) => return Err(Malformed::NoLength),
        };
        Ok(Self { status, length, media_type })
    }
}

impl MediaType {
    fn read(value: &str) -> Self {
        let essence = value.split(';').next().unwrap_or_default().trim_end();
        if essence.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if essence.eq_ignore_ascii_case("text/plain") {
            Self::PlainText
        } else {
            Self::Other
        }
    }
}

/// Reads `HTTP/1.1 200 OK`. Interim answers (1xx) are no answers to what keyfob asks.
fn status_code(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.1 ")?;
    let (code, after) = rest.split_at_checked(3)?;
    let is_code =
        code.bytes().all(|byte| byte.is_ascii_digit()) && (after.is_empty() || after.starts_with(' '));
    code.parse().ok().filter(|status| is_code && (200..=599).contains(status))
}

fn body_length(value: &str) -> Result<usize, Malformed> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::NoLength);
    }
    // Digits that do not fit a number are a length all the same, and too much.
    value.parse().ok().filter(|length| *length <= MAX_BODY).ok_or(Malformed::LongBody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(u16, MediaType, String)>, Malformed> {
        let answer = Answer::read(text.as_bytes())?;
        Ok(answer.map(|it| (it.status, it.media_type, String::from_utf8(it.body).unwrap())))
    }

    #[test]
    fn an_answer_as_keyfobd_sends_it_is_read() {
        let text =
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\nContent-Length:5\r\n\r\ntoken";
        assert_eq!(read(text), Ok(Some((200, MediaType::PlainText, "token".to_owned()))));
        let text = "HTTP/1.1 503 \r\nContent-Type: Application/JSON\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read(text), Ok(Some((503, MediaType::Json, "{}".to_owned()))));
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n"), Ok(Some((204, MediaType::Other, String::new()))));
    }

    #[test]
    fn every_part_of_an_answer_is_incomplete() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ntoken";
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), Ok(None), "the first {end} bytes");
        }
    }

    #[test]
    fn what_keyfobd_never_sends_is_refused_by_name() {
        let cases = [
            ("SSH-2.0-OpenSSH\r\n\r\n", Malformed::NotHttp),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", Malformed::NotHttp),
            ("HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n", Malformed::NotHttp),
            ("HTTP/1.1 +20 OK\r\ncontent-length: 0\r\n\r\n", Malformed::NotHttp),
            ("HTTP/1.1 100 Continue\r\ncontent-length: 0\r\n\r\n", Malformed::NotHttp),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Malformed::NotHttp),
            ("HTTP/1.1 200 OK\r\n\r\ntoken", Malformed::NoLength),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ntoken\r\n", Malformed::NoLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\ntoken", Malformed::NoLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\ntoken", Malformed::NoLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\ntoken", Malformed::NoLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\ntoken", Malformed::NoLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: 16777217\r\n\r\n", Malformed::LongBody),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n", Malformed::LongBody),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntoken", Malformed::Surplus),
            ("HTTP/1.1 204 No Content\r\n\r\ntoken", Malformed::Surplus),
        ];
        for (text, malformed) in cases {
            assert_eq!(read(text), Err(malformed), "{text:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert_eq!(read(&endless), Err(Malformed::LongHead));
        assert_eq!(read(&format!("{endless}\r\n\r\n")), Err(Malformed::LongHead));
    }
}
