//! How obtaining tokens can fail, sorted by what helps: waiting, signing in, or mending the settings.
//!
//! The list of what ends a login is closed. Unknown trouble is transient.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use tokio::task::JoinError;

/// Why no tokens were obtained, by remedy. The messages are for people: lower case, no secret, no control character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Waiting helps: the network, the issuer or something between is in trouble.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: Message,
        /// How long the issuer asked us to wait (RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
    },
    /// Nobody knows what came of it: the request may have reached the issuer, and so have spent what it carried, but no
    /// answer arrived that tells. Waiting helps where nothing was spent.
    #[error("{message}")]
    Ambiguous {
        /// What happened.
        message: Message,
    },
    /// Only a new login helps: a well-formed refusal of the grant itself, such as `invalid_grant`.
    #[error("{message}")]
    Refused {
        /// What the issuer said.
        message: Message,
    },
    /// Only mending the configuration, or the client's registration at the issuer, helps.
    #[error("{message}")]
    Misconfigured {
        /// What is wrong.
        message: Message,
    },
    /// There is nothing to obtain tokens with: a person must log in.
    #[error("a person must log in")]
    LoginRequired,
}

impl Failure {
    /// Returns a failure that waiting helps against.
    pub fn transient(message: impl Into<Message>) -> Self {
        Self::Transient { message: message.into(), retry_after: None }
    }

    /// Returns how long the issuer asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => *retry_after,
            Self::Ambiguous { .. }
            | Self::Refused { .. }
            | Self::Misconfigured { .. }
            | Self::LoginRequired => None,
        }
    }

    /// Returns a failure that only other settings help against.
    pub fn misconfigured(message: impl Into<Message>) -> Self {
        Self::Misconfigured { message: message.into() }
    }
}

/// A sentence for a person that may quote a server: control, bidirectional and zero-width characters are gone, and it
/// is never longer than [`Message::MAX_CHARS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    /// Enough for an issuer's `error_description`, too little to flood a terminal.
    pub const MAX_CHARS: usize = 300;
}

impl<T: AsRef<str>> From<T> for Message {
    fn from(text: T) -> Self {
        let printable = text.as_ref().chars().filter(|&c| !is_deceptive(c));
        Self(printable.take(Self::MAX_CHARS).collect())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells an error and all that caused it in one line.
pub fn told(error: &dyn Error) -> String {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// Tells how a task ended that did not come to its end, without what its panic said: that can quote a secret.
pub fn abnormal(end: &JoinError) -> &'static str {
    if end.is_panic() { "it panicked" } else { "it was given up" }
}

/// Tells whether a character can steer a terminal or hide text from a reader.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero-width characters, marks of direction, ends of lines and paragraphs.
            | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Embeddings, overrides and isolates of direction.
            | '\u{202a}'..='\u{202e}' | '\u{2065}'..='\u{2069}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panicked_is_told_of_without_what_it_said() {
        let end = tokio::spawn(async { panic!("CANARY") }).await.unwrap_err();
        assert!(end.to_string().contains("CANARY"), "there is nothing to keep back any more: {end}");
        assert_eq!(abnormal(&end), "it panicked");
    }

    #[test]
    fn what_a_server_says_cannot_steer_a_terminal_a7() {
        let hostile = "a\u{1b}[2Jb\r\nc\u{9b}d\u{202e}e\u{200b}f\0g\u{7f}";
        assert_eq!(Message::from(hostile).to_string(), "a[2Jbcdefg");
        assert_eq!(Message::from("x".repeat(10_000)).to_string().len(), Message::MAX_CHARS);
        let controls = (0..=0x1f).chain(0x7f..=0x9f);
        let invisible = [0xad, 0x61c, 0x180e, 0x2028, 0x2029, 0xfeff, 0xe0001, 0xe0041];
        let ranges = (0x200b..=0x200f).chain(0x202a..=0x202e).chain(0x2060..=0x2069);
        for code in controls.chain(invisible).chain(ranges) {
            let c = char::from_u32(code).unwrap();
            assert_eq!(Message::from(format!("a{c}b")).to_string(), "ab", "U+{code:04X}");
        }
        assert_eq!(Message::from("ünïcode 日本 % {} \\n").to_string(), "ünïcode 日本 % {} \\n");
    }
}
