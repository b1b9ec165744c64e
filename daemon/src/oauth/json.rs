//! Reading JSON that others wrote.
//!
//! The document must be one JSON object in UTF-8, and no member that we read may come twice; past that each member is
//! read by itself and as leniently as the RFCs ask. The thing to get wrong: an error of serde may quote the text it
//! read, and that text is secret, so none of serde's words leave this file.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::secret::LockedText;

/// A member of an object, not read yet. `null` is the same as absent.
pub(crate) type Member<'a> = Option<&'a RawValue>;

/// Why a text is not the JSON object that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It has a byte order mark or is not UTF-8 (RFC 8259 §8.1).
    #[error("it is not plain UTF-8")]
    NotUtf8,
    /// It is something else.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// It is the beginning of an object.
    #[error("it breaks off")]
    BreaksOff,
    /// It has the same member twice, so nobody can say which one is meant.
    #[error("it has the same member twice")]
    Duplicate,
}

/// Reads an object. Members that `T` does not name are passed over.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Malformed::NotUtf8);
    }
    // A derived `Deserialize` would read an array as well.
    if !text.trim_start().starts_with('{') {
        return Err(Malformed::NotAnObject);
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof => Malformed::BreaksOff,
        Category::Data => Malformed::Duplicate,
        Category::Syntax | Category::Io => Malformed::NotAnObject,
    })
}

/// Returns a member that is a string and not empty.
pub(crate) fn text(member: Member<'_>) -> Option<String> {
    serde_json::from_str(member?.get()).ok().filter(|text: &String| !text.is_empty())
}

/// Returns a member that is a string and not empty, as a secret.
pub(crate) fn secret(member: Member<'_>) -> Option<SecretString> {
    text(member).map(SecretString::from)
}

/// Returns a member that is a string and not empty, in locked memory.
pub(crate) fn locked(member: Member<'_>) -> Option<LockedText> {
    text(member).map(LockedText::from)
}

/// Returns a member that is an array of strings.
pub(crate) fn texts(member: Member<'_>) -> Option<Vec<String>> {
    serde_json::from_str(member?.get()).ok()
}

/// Tells whether a member is `true`.
pub(crate) fn flag(member: Member<'_>) -> bool {
    member.is_some_and(|raw| raw.get() == "true")
}

/// Returns a member that is a number of seconds, or a string that holds one. What is not positive is zero; nothing is
/// longer than `longest`.
pub(crate) fn duration(member: Member<'_>, longest: Duration) -> Option<Duration> {
    let raw = member?;
    let seconds = seconds(raw.get()).or_else(|| seconds(&text(member)?))?;
    if seconds >= longest.as_secs_f64() {
        return Some(longest);
    }
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO))
}

/// Reads a decimal number; one that no float can hold is infinite.
fn seconds(text: &str) -> Option<f64> {
    // Keeps out the other things that Rust reads as a float, such as `nan` and `inf`.
    let is_numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let text = text.trim();
    text.bytes().all(is_numeric).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct One<'a> {
        #[serde(borrow)]
        a: Member<'a>,
    }

    fn member_of(body: &str) -> Option<String> {
        text(object::<One<'_>>(body.as_bytes()).unwrap().a)
    }

    fn duration_of(value: &str) -> Option<Duration> {
        let body = format!(r#"{{"a":{value}}}"#);
        duration(object::<One<'_>>(body.as_bytes()).unwrap().a, Duration::from_secs(1_000_000))
    }

    #[test]
    fn only_one_whole_object_in_utf8_is_read() {
        let utf16: Vec<u8> = r#"{"a":"b"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_with_mark = [&[0xff, 0xfe], utf16.as_slice()].concat();
        let deep = "[".repeat(10_000);
        for (body, expected) in [
            (&b"\xef\xbb\xbf{\"a\":\"b\"}"[..], Malformed::NotUtf8),
            (&utf16_with_mark, Malformed::NotUtf8),
            (&utf16, Malformed::NotAnObject),
            (b"{\"a\":\"\xff\"}", Malformed::NotUtf8),
            (b"", Malformed::NotAnObject),
            (b"\"text\"", Malformed::NotAnObject),
            (b"[\"b\"]", Malformed::NotAnObject),
            (b"<html></html>", Malformed::NotAnObject),
            (b"a=b&c=d", Malformed::NotAnObject),
            (b"{\"a\":\"b\"", Malformed::BreaksOff),
            (b"{\"a\":\"b", Malformed::BreaksOff),
            (deep.as_bytes(), Malformed::NotAnObject),
            (b"{\"a\":\"b\"}{\"a\":\"b\"}", Malformed::NotAnObject),
            (b"{\"a\":\"b\",}", Malformed::NotAnObject),
            (b"{'a':'b'}", Malformed::NotAnObject),
            (b"{\"a\":\"b\",\"a\":\"b\"}", Malformed::Duplicate),
            (b"{\"a\":\"b\",\"\\u0061\":null}", Malformed::Duplicate),
        ] {
            let found = object::<One<'_>>(body).err();
            assert_eq!(found, Some(expected), "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
        }
    }

    #[test]
    fn unknown_members_may_be_anything_and_of_any_size() {
        let depth = 10_000;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"x":1e400,"x":2,"y":{deep},"z":"{}","a":"b"}}"#, "z".repeat(100_000));
        assert_eq!(member_of(&body).as_deref(), Some("b"));
    }

    #[test]
    fn a_text_is_a_string_that_is_not_empty() {
        assert_eq!(member_of(r#"{"a":"x\u0041\n"}"#).as_deref(), Some("xA\n"));
        for absent in
            [r#"{}"#, r#"{"a":null}"#, r#"{"a":""}"#, r#"{"a":1}"#, r#"{"a":["b"]}"#, r#"{"a":false}"#]
        {
            assert_eq!(member_of(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_duration_is_a_number_or_a_string_with_one() {
        let longest = Some(Duration::from_secs(1_000_000));
        for (value, expected) in [
            ("3600", Some(Duration::from_secs(3600))),
            (r#""3600""#, Some(Duration::from_secs(3600))),
            (r#"" 60 ""#, Some(Duration::from_secs(60))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("3600.0", Some(Duration::from_secs(3600))),
            ("6e1", Some(Duration::from_secs(60))),
            ("0", Some(Duration::ZERO)),
            ("-1", Some(Duration::ZERO)),
            ("-1e400", Some(Duration::ZERO)),
            ("1e400", longest),
            ("9223372036854775808", longest),
            (r#""99999999999999999999999""#, longest),
            ("null", None),
            ("true", None),
            ("[3600]", None),
            (r#"{"seconds":1}"#, None),
            (r#""""#, None),
            (r#""soon""#, None),
            (r#""inf""#, None),
            (r#""nan""#, None),
            (r#""0x10""#, None),
            (r#""1h""#, None),
        ] {
            assert_eq!(duration_of(value), expected, "{value}");
        }
    }
}
