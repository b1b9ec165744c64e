//! An INI file of flytekit, read as Python's `configparser` reads it, and the same file with keyfob as its command.
//!
//! The thing to get wrong: a value ends at the end of its line and takes a comment behind it along, `%` means something
//! to the reader, and a command is split at commas, whose spaces stay.

use std::ops::Range;

use secrecy::SecretString;

use crate::setup::section::{Section, Value};

const PLATFORM: &str = "platform";
const CREDENTIALS: &str = "credentials";

/// The keys, and their names in the YAML files.
const KEYS: [(&str, &str, &str); 11] = [
    (PLATFORM, "url", "endpoint"),
    (PLATFORM, "insecure", "insecure"),
    (PLATFORM, "insecure_skip_verify", "insecureSkipVerify"),
    (PLATFORM, "ca_cert_file_path", "caCertFilePath"),
    (PLATFORM, "http_proxy_url", "httpProxyURL"),
    (CREDENTIALS, "auth_mode", "authType"),
    (CREDENTIALS, "client_id", "clientId"),
    (CREDENTIALS, "client_secret_location", "clientSecretLocation"),
    (CREDENTIALS, "client_secret_env_var", "clientSecretEnvVar"),
    (CREDENTIALS, "scopes", "scopes"),
    (CREDENTIALS, "audience", "audience"),
];

/// The keys that would get in the way of the command, or have a secret in them.
const IN_THE_WAY: [&str; 3] = ["client_secret_location", "client_secret_env_var", "client_secret"];

/// What stands in the place of a secret.
const MOVED: &str = "# client_secret: moved to where keyfob reads it";

/// Why a text is no INI that can be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IniError {
    /// A line is neither a section nor a key.
    #[error("line {0}: it is neither a [section] nor a key = value")]
    NoKey(usize),
    /// A section or key is there twice, which Python refuses.
    #[error("line {0}: it is there twice: keep one")]
    Twice(usize),
    /// One of the keys has more than one line.
    #[error("line {0}: write the value in one line")]
    LongValue(usize),
    /// The file says nothing about a Flyte endpoint.
    #[error("there is no section [platform] in it")]
    NoPlatform,
}

/// A key, its value, and where they stand.
struct Entry {
    section: String,
    key: String,
    /// The bytes of the value.
    value: Range<usize>,
    /// The bytes of the line, without its end.
    line: Range<usize>,
    number: usize,
    is_long: bool,
}

struct File {
    entries: Vec<Entry>,
    /// Each section's name, and the end of its last line that is not empty.
    sections: Vec<(String, usize)>,
}

/// Reads what a file says about its endpoint.
pub(crate) fn read(text: &str) -> Result<Section, IniError> {
    let file = File::read(text)?;
    if !file.sections.iter().any(|(name, _)| name == PLATFORM) {
        return Err(IniError::NoPlatform);
    }
    let mut section = Section::default();
    for (name, key, yaml) in KEYS {
        if let Some(entry) = file.find(name, key)? {
            section.set(yaml, Value::Text(unescaped(&text[entry.value.clone()])));
        }
    }
    for (key, yaml) in [("command", "command"), ("proxy_command", "proxyCommand")] {
        if let Some(entry) = file.find(CREDENTIALS, key)? {
            let words = unescaped(&text[entry.value.clone()]).split(',').map(str::to_owned).collect();
            section.set(yaml, Value::List(words));
        }
    }
    if let Some(entry) = file.find(CREDENTIALS, "client_secret")? {
        section.secret = Some(SecretString::from(unescaped(&text[entry.value.clone()])));
    }
    Ok(section)
}

/// Returns the file with a command in it.
pub(crate) fn rewrite(text: &str, argv: &[String]) -> Result<String, IniError> {
    let file = File::read(text)?;
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut missing = String::new();
    let command = argv.join(",").replace('%', "%%");
    for (key, value) in [("auth_mode", "ExternalCommand"), ("command", &command)] {
        match file.find(CREDENTIALS, key)? {
            Some(entry) if text[entry.value.clone()] == *value => {}
            Some(entry) if entry.value.is_empty() => edits.push((entry.value.clone(), format!(" {value}"))),
            Some(entry) => edits.push((entry.value.clone(), value.to_owned())),
            None => missing.push_str(&format!("{line_end}{key} = {value}")),
        }
    }
    for key in IN_THE_WAY {
        match file.find(CREDENTIALS, key)? {
            Some(entry) if key == "client_secret" => edits.push((entry.line.clone(), MOVED.to_owned())),
            Some(entry) => edits.push((entry.line.start..entry.line.start, "# ".to_owned())),
            None => {}
        }
    }
    if !missing.is_empty() {
        match file.sections.iter().find(|(name, _)| name == CREDENTIALS) {
            Some((_, end)) => edits.push((*end..*end, missing)),
            None => {
                let body = text.trim_end().len();
                edits.push((body..body, format!("{line_end}{line_end}[{CREDENTIALS}]{missing}")));
            }
        }
    }
    edits.sort_by_key(|(place, _)| (place.start, place.end));
    let mut changed = text.to_owned();
    for (place, replacement) in edits.iter().rev() {
        changed.replace_range(place.clone(), replacement);
    }
    Ok(changed)
}

impl File {
    fn read(text: &str) -> Result<Self, IniError> {
        let mut file = Self { entries: Vec::new(), sections: Vec::new() };
        let mut at = 0;
        for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
            let line = whole.trim_end();
            let place = at..at + line.len();
            at += whole.len();
            let words = line.trim_start();
            if words.is_empty() || words.starts_with(['#', ';']) {
                continue;
            }
            if words.len() < line.len() && file.is_continued(place.end) {
                continue;
            }
            if let Some(name) =
                words.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name)
            {
                if file.sections.iter().any(|(other, _)| other == name) {
                    return Err(IniError::Twice(number));
                }
                file.sections.push((name.to_owned(), place.end));
            } else {
                let entry = file.entry(line, place, number)?;
                file.entries.push(entry);
            }
        }
        Ok(file)
    }

    /// Takes an indented line for more of the value before it.
    fn is_continued(&mut self, end: usize) -> bool {
        let (Some(entry), Some((name, section_end))) = (self.entries.last_mut(), self.sections.last_mut())
        else {
            return false;
        };
        let is_inside = entry.section == *name;
        if is_inside {
            entry.is_long = true;
            *section_end = end;
        }
        is_inside
    }

    fn entry(&mut self, line: &str, place: Range<usize>, number: usize) -> Result<Entry, IniError> {
        let (Some(delimiter), Some((section, section_end))) =
            (line.find(['=', ':']), self.sections.last_mut())
        else {
            return Err(IniError::NoKey(number));
        };
        *section_end = place.end;
        let key = line[..delimiter].trim().to_lowercase();
        let after = &line[delimiter + 1..];
        let start = place.start + delimiter + 1 + (after.len() - after.trim_start().len());
        if self.entries.iter().any(|other| other.section == *section && other.key == key) {
            return Err(IniError::Twice(number));
        }
        Ok(Entry {
            section: section.clone(),
            key,
            value: start..place.end,
            line: place,
            number,
            is_long: false,
        })
    }

    fn find(&self, section: &str, key: &str) -> Result<Option<&Entry>, IniError> {
        match self.entries.iter().find(|entry| entry.section == section && entry.key == key) {
            Some(entry) if entry.is_long => Err(IniError::LongValue(entry.number)),
            found => Ok(found),
        }
    }
}

fn unescaped(value: &str) -> String {
    value.replace("%%", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv() -> Vec<String> {
        ["keyfob", "token", "flyte"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_command_takes_the_place_of_what_was_there_and_all_else_stays() {
        let cases = [
            (
                "[platform]\nurl = flyte.example.com\n\n[credentials]\n; how\nauth_mode: Pkce\n",
                "[platform]\nurl = flyte.example.com\n\n[credentials]\n; how\nauth_mode: ExternalCommand\n\
                 command = keyfob,token,flyte\n",
            ),
            (
                "[platform]\r\nurl = h\r\n\r\n[sdk]\r\nx = 1\r\n",
                "[platform]\r\nurl = h\r\n\r\n[sdk]\r\nx = 1\r\n\r\n[credentials]\r\nauth_mode = ExternalCommand\r\n\
                 command = keyfob,token,flyte\r\n",
            ),
            (
                "[credentials]\nAuth_Mode=basic\nclient_id = ci\nclient_secret = CANARY\n\
                 client_secret_location = /s\n[platform]\nurl = h",
                "[credentials]\nAuth_Mode=ExternalCommand\nclient_id = ci\n\
                 # client_secret: moved to where keyfob reads it\n# client_secret_location = /s\n\
                 command = keyfob,token,flyte\n[platform]\nurl = h",
            ),
        ];
        for (before, after) in cases {
            assert_eq!(rewrite(before, &argv()).unwrap(), after);
            assert_eq!(rewrite(after, &argv()).unwrap(), after, "a second run changes something");
        }
    }

    #[test]
    fn what_python_would_not_read_as_we_do_is_refused() {
        let cases = [
            ("[platform]\nurl\n", IniError::NoKey(2)),
            ("url = h\n", IniError::NoKey(1)),
            ("[platform]\nurl = h\nURL = i\n", IniError::Twice(3)),
            ("[platform]\nurl = h\n[platform]\n", IniError::Twice(3)),
            ("[platform]\nurl = h\n  more\n", IniError::LongValue(2)),
            ("[sdk]\nx = 1\n", IniError::NoPlatform),
        ];
        for (text, error) in cases {
            assert_eq!(read(text).map(|_| ()), Err(error), "{text}");
        }
    }

    #[test]
    fn the_keys_are_read_under_the_names_of_the_yaml_files() {
        let text =
            "[platform]\nurl = dns:///h\ninsecure = True\n[credentials]\ncommand = a,b c\nscopes = x,y\n";
        let section = read(text).unwrap();
        assert_eq!(section.text("endpoint"), Some("dns:///h"));
        assert!(section.truth("insecure"));
        assert_eq!(section.command("command").unwrap(), ["a", "b c"]);
        assert_eq!(section.scopes("scopes"), ["x", "y"]);
    }
}
