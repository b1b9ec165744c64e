//! What a client's configuration says, whatever the format of its file.
//!
//! Keys are the names of the YAML files, found without regard to case as flytectl finds them. The thing to get wrong: a
//! list that is written as one string is split at commas by flytekit and flytectl, and as a shell would by flyte.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::setup::error::Error;

/// The keys that make flytekit and flyte use a client secret, whatever `authType` says.
pub(crate) const OVERRIDING: [&str; 2] = ["clientSecretLocation", "clientSecretEnvVar"];

/// The section that says how to reach a Flyte endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    values: BTreeMap<String, Value>,
    /// A client secret that stands in the file itself.
    pub(crate) secret: Option<SecretString>,
    /// The organisation, which stands in a section of its own: `task.org`.
    pub(crate) organisation: Option<String>,
}

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
}

impl Section {
    /// Adds a value.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_ascii_lowercase(), value);
    }

    /// Tells whether a key has a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.text(key).is_some() || matches!(self.value(key), Some(Value::List(items)) if !items.is_empty())
    }

    /// Returns a text that is not empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty() && !is_null(text)),
            Value::List(_) => None,
        }
    }

    /// Returns a truth: all that the clients do not take for false.
    pub(crate) fn truth(&self, key: &str) -> bool {
        self.text(key).is_some_and(is_true)
    }

    /// Returns a list of texts, each of which goes on as it is.
    pub(crate) fn scopes(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::List(items)) => items.clone(),
            Some(Value::Text(text)) => {
                let words = text
                    .split(|c: char| c == ',' || c.is_whitespace())
                    .map(|word| word.trim_matches(['[', ']', '"', '\'']));
                words.filter(|word| !word.is_empty() && !is_null(word)).map(str::to_owned).collect()
            }
        }
    }

    /// Returns a command.
    pub(crate) fn command(&self, key: &'static str) -> Result<Vec<String>, Error> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::List(items)) => Ok(items.clone()),
            Some(Value::Text(text)) if text.is_empty() || is_null(text) => Ok(Vec::new()),
            Some(Value::Text(text)) => words(text).ok_or(Error::AmbiguousCommand { key }),
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(&key.to_ascii_lowercase())
    }
}

/// Splits a command where all clients would split it; `None` where they would not agree.
fn words(text: &str) -> Option<Vec<String>> {
    let is_quoted = text.contains(['"', '\'', '\\']);
    let split: Vec<&str> = match (text.contains(','), text.contains(char::is_whitespace)) {
        (true, false) => text.split(',').collect(),
        (false, _) => text.split_whitespace().collect(),
        (true, true) => return None,
    };
    (!is_quoted).then(|| split.into_iter().map(str::to_owned).collect())
}

fn is_true(text: &str) -> bool {
    !["false", "0", "off", "no"].iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn is_null(text: &str) -> bool {
    text == "~" || text.eq_ignore_ascii_case("null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: Value) -> Section {
        let mut section = Section::default();
        section.set(key, value);
        section
    }

    #[test]
    fn a_command_in_one_string_is_read_only_where_all_clients_agree() {
        let cases = [
            ("gcloud auth print-identity-token", Some(vec!["gcloud", "auth", "print-identity-token"])),
            ("keyfob,token,prod", Some(vec!["keyfob", "token", "prod"])),
            ("shim", Some(vec!["shim"])),
            ("", Some(Vec::new())),
            ("shim token --endpoint x,y", None),
            ("sh -c 'echo token'", None),
        ];
        for (text, expected) in cases {
            let command = with("command", Value::Text(text.to_owned())).command("command").ok();
            assert_eq!(command, expected.map(|it| it.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }

    #[test]
    fn scopes_are_read_in_every_spelling() {
        for text in ["all,offline", "all offline", "all, offline", r#"["all", "offline"]"#] {
            assert_eq!(with("Scopes", Value::Text(text.to_owned())).scopes("scopes"), ["all", "offline"]);
        }
    }

    #[test]
    fn a_truth_is_read_as_the_clients_read_it() {
        for (text, truth) in
            [("true", true), ("Yes", true), ("false", false), ("Off", false), ("0", false), ("", false)]
        {
            assert_eq!(with("insecure", Value::Text(text.to_owned())).truth("insecure"), truth, "{text}");
        }
    }
}
