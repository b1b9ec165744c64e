//! What several targets hold an output against.
//!
//! The thing to get wrong: an oracle that reads as the daemon reads would share its mistakes, so these are written
//! again, from the rules.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A JSON object as it stands there: every member, also one that comes twice.
#[derive(Debug)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl Members {
    /// Reads a body that is one whole object in plain UTF-8.
    pub fn of(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Returns how often a member comes.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| known == name).count()
    }

    /// Returns a member that comes once and is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        let (Some((_, value)), None) = (found.next(), found.next()) else { return None };
        serde_json::from_str(value.get()).ok()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// Insists on a text that can be shown in a terminal: no control character, nothing that turns or hides what is beside it.
#[track_caller]
pub fn assert_harmless(text: &str) {
    let is_harmful = |c: char| {
        matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(is_harmful), "{text:?} can steer a terminal, or hide something in it");
}

/// Splits an input into its first line, whose parts are apart by tabs, and the rest.
pub fn first_line(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let rest = data.get(end + 1..).unwrap_or_default();
    (data[..end].split(|byte| *byte == b'\t').collect(), rest)
}

/// The name of a header and its value.
pub type Header<'a> = (&'static str, &'a [u8]);

/// Reads an answer: a line with the status, `Retry-After`, `Location` and `Cache-Control`, apart by tabs; then the body.
pub fn response(data: &[u8]) -> (u16, Vec<Header<'_>>, &[u8]) {
    let (line, body) = first_line(data);
    let mut parts = line.into_iter();
    let status = parts.next().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(200);
    let names = ["retry-after", "location", "cache-control"];
    (status, names.into_iter().zip(parts).filter(|(_, value)| !value.is_empty()).collect(), body)
}
