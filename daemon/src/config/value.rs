//! One value of the file, as serde reads it: strings, booleans, integers, and the words of an enum.
//!
//! Tables and arrays are not read by serde but walked by [`Table`](crate::config::table::Table), because serde ends at
//! the first mistake, and a person wants to hear of all.

use std::fmt;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{Error, Expected, IntoDeserializer, Unexpected, Visitor};
use toml::de::DeValue;

use crate::account::suggestion::nearest;
use crate::config::report::Wrong;

/// A value of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'d>(pub(super) &'d DeValue<'d>);

/// Why serde refuses a value.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It is of the wrong type.
    #[error("must be {expected}")]
    Type {
        /// The type that it should have.
        expected: String,
    },
    /// It is none of the words that are known here.
    #[error("unknown value")]
    Word {
        /// What it is.
        word: String,
        /// What it could be.
        known: &'static [&'static str],
    },
    /// It is of the right type, and yet no good.
    #[error("{0}")]
    Other(String),
}

impl Value<'_> {
    /// Returns the name of its type, for a sentence.
    pub(super) fn kind(self) -> &'static str {
        match self.0 {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// Says that it should be something else.
    pub(super) fn is_not(self, expected: &str) -> Wrong {
        Wrong::new(format!("must be {expected}, not {}", self.kind()))
    }

    /// Says why serde refused it.
    pub(super) fn refused(self, refusal: Refusal) -> Wrong {
        match refusal {
            Refusal::Type { expected } => self.is_not(&expected),
            Refusal::Word { word, known } => match nearest(&word, known.iter().copied()) {
                Some(near) => {
                    Wrong::new(format!("unknown value {word:?}")).hint(format!("did you mean \"{near}\"?"))
                }
                None => Wrong::new("unknown value").hint(format!("use {}", alternatives(known))),
            },
            Refusal::Other(message) => Wrong::new(message),
        }
    }
}

/// Returns words for a sentence: `"a", "b" or "c"`.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0 {
            DeValue::String(text) => visitor.visit_borrowed_str(text),
            DeValue::Boolean(truth) => visitor.visit_bool(*truth),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => visitor.visit_i64(integer),
                Err(_) => Err(Refusal::Other("is too large".to_owned())),
            },
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                Err(Refusal::invalid_type(Unexpected::Other(self.kind()), &visitor))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.0.as_str() {
            Some(word) => {
                let word: StrDeserializer<'_, Refusal> = word.into_deserializer();
                visitor.visit_enum(word)
            }
            None => Err(Refusal::Type { expected: "a string".to_owned() }),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    // What was found instead may be a secret, and is left out.
    fn invalid_type(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string() {
            rust if rust == "i64" => "an integer".to_owned(),
            rust if rust == "a borrowed string" => "a string".to_owned(),
            expected => expected,
        };
        Self::Type { expected }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::Word { word: word.to_owned(), known }
    }
}
