//! What a person sees: foreign text made harmless, links that may be opened, times in words.
//!
//! The daemon passes on what issuers say. The thing to get wrong: whatever reaches a terminal unchecked can rewrite
//! what is already there, so every foreign string goes through this file, and links are judged, never mended.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The longest foreign text that is shown: three lines of a terminal.
const MAX_TEXT: usize = 256;

/// The longest user code that is shown: nobody types more.
const MAX_CODE: usize = 64;

/// The longest link: what browsers and servers take.
const MAX_LINK: usize = 8 * 1024;

/// Makes a foreign text harmless, and short.
pub(crate) fn text(foreign: &str) -> String {
    let clean = line(foreign);
    match clean.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// Makes a text one harmless line: no control character, nothing that hides or turns what stands beside it.
pub(crate) fn line(foreign: &str) -> String {
    let space_for_break = |c| if matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c };
    foreign.chars().map(space_for_break).filter(|c| !is_harmful(*c)).collect()
}

/// Makes a user code harmless, and short: printable ASCII alone (RFC 8628 §6.1).
pub(crate) fn code(foreign: &str) -> String {
    foreign.chars().filter(|c| matches!(c, ' '..='~')).take(MAX_CODE).collect()
}

/// Returns a link if it can be shown, encoded and opened as it is: https, or http to this machine.
pub(crate) fn link(foreign: &str) -> Option<&str> {
    let (scheme, rest) = foreign.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let is_plain = foreign.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}$".contains(&byte));
    // What stands before an @ looks like the host and is not.
    let names_host = !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@');
    let is_safe = match scheme {
        "https" => true,
        "http" => is_loopback(authority),
        _ => false,
    };
    (is_plain && names_host && is_safe && foreign.len() <= MAX_LINK).then_some(foreign)
}

/// Returns the time until a moment in words, such as `58 min`; `None` where it has passed.
pub(crate) fn until(moment: Timestamp, now: Timestamp) -> Option<String> {
    let left = moment.duration_since(now);
    (left > SignedDuration::ZERO).then(|| span(left.unsigned_abs()))
}

/// Returns a length of time in words, in at most two units.
pub(crate) fn span(length: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = length.as_secs();
    let (large, large_unit, small, small_unit) = match seconds {
        0..MINUTE => return format!("{seconds} s"),
        MINUTE..HOUR => return format!("{} min", seconds / MINUTE),
        HOUR..DAY => (seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        DAY.. => (seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    };
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// Returns a length of time as a running clock shows it, such as `4:07`.
pub(crate) fn countdown(length: Duration) -> String {
    let seconds = length.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero-width characters, marks of direction.
            | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Embeddings, overrides and isolates of direction.
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

/// Tells whether `host` or `host:port` is this machine, by its name or number alone.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        // In [::1] the last colon is inside the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_ipv6 =
        || host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
    let is_host = host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || is_ipv6().is_some_and(|address| address.is_ok_and(|address| address.is_loopback()));
    is_port && is_host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_turn_the_line_a7() {
        let cases = [
            ("plain text, ünïcode, 日本", "plain text, ünïcode, 日本"),
            ("a\x1b[2Jb", "a[2Jb"),
            ("a\x1b]0;title\x07b", "a]0;titleb"),
            ("two\nlines\r\nand\ttab", "two lines  and tab"),
            ("c1\u{9b}31m", "c131m"),
            ("del\u{7f}", "del"),
            ("nul\0", "nul"),
            ("\u{202e}desrever\u{202c}", "desrever"),
            ("\u{2066}isolate\u{2069}", "isolate"),
            ("z\u{200b}e\u{200d}r\u{feff}o\u{2060}", "zero"),
            ("tag\u{e0041}", "tag"),
            ("line\u{2028}separator", "line separator"),
        ];
        for (foreign, shown) in cases {
            assert_eq!(text(foreign), shown, "{foreign:?}");
        }
    }

    #[test]
    fn foreign_text_is_cut_at_256_characters() {
        assert_eq!(text(&"ä".repeat(256)), "ä".repeat(256));
        assert_eq!(text(&"ä".repeat(257)), format!("{}…", "ä".repeat(256)));
    }

    #[test]
    fn a_code_is_printable_ascii() {
        assert_eq!(code("WDJB-MJHT"), "WDJB-MJHT");
        assert_eq!(code("А\x1b[1mB\u{202e} C"), "[1mB C");
        assert_eq!(code(&"x".repeat(100)).len(), 64);
    }

    #[test]
    fn links_are_https_or_to_this_machine() {
        let shown = [
            "https://login.example.com/device?user_code=WDJB-MJHT",
            "https://login.example.com:8443",
            "http://127.0.0.1:4444/callback",
            "http://127.8.8.8",
            "http://[::1]:30080/?a=b#c",
            "http://[::1]",
            "http://localhost/device",
        ];
        for good in shown {
            assert_eq!(link(good), Some(good));
        }
        let hidden = [
            "http://login.example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost:80@example.com/",
            "http://[::2]/",
            "http://:80/",
            "https://login.example.com@evil.example/",
            "https:///path",
            "https://:443/",
            "HTTPS://login.example.com/",
            "javascript://x/%0aalert(1)",
            "file:///etc/passwd",
            "https://a b/",
            "https://ä.example/",
            "https://a/\x1b[2J",
            "https://a/`id`",
            "https://a/$(id)",
            "https://a/\"",
            " https://a/",
            "login.example.com",
            "",
        ];
        for bad in hidden {
            assert_eq!(link(bad), None, "{bad:?} was shown");
        }
        assert_eq!(link(&format!("https://a/{}", "x".repeat(MAX_LINK))), None);
    }

    #[test]
    fn times_are_in_words_of_at_most_two_units() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (11_100, "3 h 5 min"),
            (86_400, "1 d"),
            (190_000, "2 d 4 h"),
        ];
        for (seconds, words) in cases {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
        assert_eq!(countdown(Duration::from_secs(247)), "4:07");
    }
}
