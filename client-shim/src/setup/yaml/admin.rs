//! The section `admin` of a YAML file: what it says, and the same file with keyfob as its command.
//!
//! Only `authType`, `command`, `disableKeyring` and the two keys that would override them are touched. The thing to get
//! wrong: YAML can say the same in more ways than anybody thinks of, so the result is read again and compared, and what
//! is not exactly the wanted change is refused.

use std::ops::Range;

use crate::setup::section::{OVERRIDING, Section, Value};
use crate::setup::settings::Settings;
use crate::setup::yaml::{Content, Layout, Node, Style, YamlError, strange};

const ADMIN: &str = "admin";
const AUTH_TYPE: &str = "authType";
const COMMAND: &str = "command";
const DISABLE_KEYRING: &str = "disableKeyring";
const ENDPOINT: &str = "endpoint";

/// Where flyte reads to which organisation its requests belong.
const TASK: &str = "task";
const ORG: &str = "org";

/// The one spelling that all clients read.
const EXTERNAL_COMMAND: &str = "ExternalCommand";

/// The words that YAML 1.1 reads as something else than text.
const NO_TEXT: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Reads what a file says about its endpoint.
pub(crate) fn read(text: &str) -> Result<Section, YamlError> {
    let root = Node::parse(text)?.ok_or(YamlError::NoAdmin)?;
    let mut section = Section::default();
    for (key, value) in entries_of_admin(text, &root)? {
        let name = key.text().unwrap_or_default();
        let value = match (&value.content, value.texts()) {
            (Content::Scalar(text, _), _) => Value::Text(text.clone()),
            (_, Some(texts)) => Value::List(texts.into_iter().map(str::to_owned).collect()),
            (Content::Map(..), None) => continue,
            // Left out, the account would be another one than the client has.
            (Content::List(..) | Content::Alias, None) => {
                let reason = format!("keyfob cannot follow what {name} says: write its texts out");
                return Err(strange(text, key.place.start, reason));
            }
        };
        section.set(name, value);
    }
    section.organisation = organisation(&root);
    Ok(section)
}

/// Returns what `task.org` says.
fn organisation(root: &Node) -> Option<String> {
    let member = |node: &Node, name: &str| match &node.content {
        Content::Map(entries, _) => find(entries, name).map(|(_, value)| value.clone()),
        Content::Scalar(..) | Content::List(..) | Content::Alias => None,
    };
    member(&member(root, TASK)?, ORG)?.text().map(str::to_owned)
}

/// Tells whether a file has the section of the `union` program, which repeats how to sign in.
pub(crate) fn has_union(text: &str) -> bool {
    let is_union = |(key, _): &(Node, Node)| key.text() == Some("union");
    matches!(Node::parse(text), Ok(Some(Node { content: Content::Map(entries, _), .. })) if entries.iter().any(is_union))
}

/// Returns the file with a command in it.
pub(crate) fn rewrite(text: &str, argv: &[String]) -> Result<String, YamlError> {
    let root = Node::parse(text)?.ok_or(YamlError::NoAdmin)?;
    let entries = entries_of_admin(text, &root)?;
    let mut change = Change { text, edits: Vec::new() };
    let list = flow_list(argv);
    let wanted = [(AUTH_TYPE, EXTERNAL_COMMAND), (COMMAND, &list), (DISABLE_KEYRING, "true")];
    let mut missing = Vec::new();
    for (name, value) in wanted {
        match find(entries, name) {
            Some(entry) => change.set(entry, name, value, argv)?,
            None => missing.push(format!("{name}: {value}")),
        }
    }
    for (key, value) in entries {
        if is_overriding(key) {
            change.comment_out(key, value)?;
        }
    }
    let ours = [AUTH_TYPE, COMMAND, DISABLE_KEYRING].into_iter().filter_map(|name| find(entries, name));
    let neighbour = ours.max_by_key(|(key, _)| key.place.start).or_else(|| find(entries, ENDPOINT));
    if let Some(neighbour) = neighbour.or_else(|| entries.last()) {
        change.insert(neighbour, &missing)?;
    }
    let changed = change.apply();
    verify(&root, &changed, argv)?;
    Ok(changed)
}

/// Returns a new file: an endpoint, how it is reached, and a command.
pub(crate) fn write(settings: &Settings, argv: &[String]) -> String {
    let mut text = format!(
        "admin:\n  {ENDPOINT}: {}\n  {AUTH_TYPE}: {EXTERNAL_COMMAND}\n  {COMMAND}: {}\n  {DISABLE_KEYRING}: true\n",
        settings.endpoint,
        flow_list(argv)
    );
    let truths = [("insecure", settings.insecure), ("insecureSkipVerify", settings.insecure_skip_verify)];
    for (key, _) in truths.into_iter().filter(|(_, is_set)| *is_set) {
        text.push_str(&format!("  {key}: true\n"));
    }
    for (key, value) in [("caCertFilePath", &settings.ca_file), ("httpProxyURL", &settings.http_proxy)] {
        text.extend(value.iter().map(|value| format!("  {key}: {}\n", word(value))));
    }
    let organisation = settings.organisation.as_deref().map(word);
    text.extend(organisation.map(|organisation| format!("{TASK}:\n  {ORG}: {organisation}\n")));
    text
}

fn entries_of_admin<'n>(text: &str, root: &'n Node) -> Result<&'n [(Node, Node)], YamlError> {
    let Content::Map(sections, layout) = &root.content else { return Err(YamlError::NoAdmin) };
    distinct(text, sections)?;
    let Some((key, admin)) = sections.iter().find(|(key, _)| key.text() == Some(ADMIN)) else {
        return Err(YamlError::NoAdmin);
    };
    match &admin.content {
        Content::Map(entries, Layout::Block) if !admin.is_marked && *layout == Layout::Block => {
            distinct(text, entries)?;
            Ok(entries)
        }
        Content::Scalar(words, _) if words.is_empty() => Err(YamlError::NoAdmin),
        Content::Map(..) | Content::List(..) | Content::Scalar(..) | Content::Alias => {
            let reason = "the section admin must have a line for each key, without braces, anchors and tags";
            Err(strange(text, key.place.start, reason))
        }
    }
}

/// Refuses keys that are there twice, by the case-insensitive reading of flytectl, and keys from elsewhere.
fn distinct(text: &str, entries: &[(Node, Node)]) -> Result<(), YamlError> {
    for (at, (key, _)) in entries.iter().enumerate() {
        let Some(name) = key.text().filter(|name| *name != "<<") else {
            return Err(strange(
                text,
                key.place.start,
                "keys from elsewhere cannot be followed: write them out",
            ));
        };
        let same =
            |(other, _): &&(Node, Node)| other.text().is_some_and(|other| other.eq_ignore_ascii_case(name));
        if entries[..at].iter().find(same).is_some() {
            return Err(strange(text, key.place.start, format!("the key {name:?} is there twice: keep one")));
        }
    }
    Ok(())
}

fn find<'n>(entries: &'n [(Node, Node)], name: &str) -> Option<&'n (Node, Node)> {
    entries.iter().find(|(key, _)| key.text().is_some_and(|key| key.eq_ignore_ascii_case(name)))
}

fn is_overriding(key: &Node) -> bool {
    OVERRIDING.iter().any(|name| key.text().is_some_and(|key| key.eq_ignore_ascii_case(name)))
}

/// Reads the result again: it must say what was wanted, and the same as before in all else.
fn verify(before: &Node, changed: &str, argv: &[String]) -> Result<(), YamlError> {
    let after = Node::parse(changed).ok().flatten().ok_or(YamlError::Unsafe)?;
    let entries = entries_of_admin(changed, &after).map_err(|_| YamlError::Unsafe)?;
    let is_plain = |value: &Node, wanted: &str| matches!(&value.content, Content::Scalar(text, Style::Plain) if text == wanted);
    let is_right = |name: &str, check: &dyn Fn(&Node) -> bool| {
        entries.iter().any(|(key, value)| key.text() == Some(name) && check(value))
    };
    let is_wanted = is_right(AUTH_TYPE, &|value| is_plain(value, EXTERNAL_COMMAND))
        && is_right(COMMAND, &|value| value.texts().is_some_and(|texts| texts == argv))
        && is_right(DISABLE_KEYRING, &|value| is_plain(value, "true"))
        && !entries.iter().any(|(key, _)| is_overriding(key));
    let rest_is_the_same = others(before).is_some_and(|before| {
        let Some(after) = others(&after) else { return false };
        let same = |(one, two): (&(&Node, &Node), &(&Node, &Node))| {
            one.0.says_the_same(two.0) && one.1.says_the_same(two.1)
        };
        before.len() == after.len() && before.iter().zip(&after).all(same)
    });
    if is_wanted && rest_is_the_same { Ok(()) } else { Err(YamlError::Unsafe) }
}

/// Returns all that must stay: the other sections, and the other keys of this one.
fn others(root: &Node) -> Option<Vec<(&Node, &Node)>> {
    let Content::Map(sections, _) = &root.content else { return None };
    let mut others = Vec::new();
    for (key, value) in sections {
        match &value.content {
            Content::Map(entries, _) if key.text() == Some(ADMIN) => {
                let ours = [AUTH_TYPE, COMMAND, DISABLE_KEYRING];
                let is_ours = |key: &Node| {
                    ours.iter().any(|name| key.text().is_some_and(|key| key.eq_ignore_ascii_case(name)))
                };
                let kept = entries.iter().filter(|(key, _)| !is_ours(key) && !is_overriding(key));
                others.extend(kept.map(|(key, value)| (key, value)));
            }
            Content::Map(..) | Content::List(..) | Content::Scalar(..) | Content::Alias => {
                others.push((key, value))
            }
        }
    }
    Some(others)
}

/// Places of a text, and what is to stand there.
struct Change<'t> {
    text: &'t str,
    edits: Vec<(Range<usize>, String)>,
}

impl Change<'_> {
    fn set(
        &mut self,
        (key, value): &(Node, Node),
        name: &str,
        wanted: &str,
        argv: &[String],
    ) -> Result<(), YamlError> {
        if key.text() != Some(name) {
            self.edits.push((key.place.clone(), name.to_owned()));
        }
        self.check(key, value)?;
        let colon = self.after_colon(key);
        match &value.content {
            Content::Scalar(text, Style::Plain) if text == wanted => {}
            Content::List(..) if value.texts().is_some_and(|texts| texts == argv) => {}
            Content::Scalar(..) if value.is_empty() => self.edits.push((colon..colon, format!(" {wanted}"))),
            Content::List(items, Layout::Block) => {
                let comments = self.comments(colon, items);
                self.edits.push((colon..value.place.end, format!(" {wanted}{comments}")));
            }
            Content::Scalar(..) | Content::List(_, Layout::Flow) => {
                self.edits.push((value.place.clone(), wanted.to_owned()));
            }
            Content::Map(..) | Content::Alias => {
                return Err(strange(
                    self.text,
                    key.place.start,
                    format!("{name} is neither a text nor a list"),
                ));
            }
        }
        Ok(())
    }

    /// Makes comments of an entry's lines.
    fn comment_out(&mut self, key: &Node, value: &Node) -> Result<(), YamlError> {
        self.check(key, value)?;
        let mut at = key.place.start;
        let end = self.end_of_line(value.place.end.max(key.place.end));
        while at < end {
            self.edits.push((at..at, "# ".to_owned()));
            let next = self.end_of_line(at);
            let rest = &self.text[next..end];
            at = next + (rest.len() - rest.trim_start().len());
        }
        Ok(())
    }

    /// Puts lines below an entry.
    fn insert(&mut self, (key, value): &(Node, Node), lines: &[String]) -> Result<(), YamlError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.check(key, value)?;
        let end = self.end_of_line(value.place.end.max(key.place.end));
        let line_end = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let indentation = self.indentation(key);
        let lines: String = lines.iter().map(|line| format!("{line_end}{indentation}{line}")).collect();
        self.edits.push((end..end, lines));
        Ok(())
    }

    /// Refuses entries that are more than a key, a colon and a value.
    fn check(&self, key: &Node, value: &Node) -> Result<(), YamlError> {
        let at = key.place.start;
        let is_block = matches!(value.content, Content::Scalar(_, Style::Block));
        if !self.indentation(key).bytes().all(|byte| byte == b' ') {
            return Err(strange(self.text, at, "the key must stand at the beginning of its line"));
        }
        if key.is_marked || value.is_marked || is_block {
            return Err(strange(
                self.text,
                at,
                "write the value on the same line, without anchor, alias or tag",
            ));
        }
        if !self.text[..self.after_colon(key)].ends_with(':') {
            return Err(strange(self.text, at, "the colon must stand on the same line"));
        }
        Ok(())
    }

    /// Keeps the comments of a list that was written with a line for each item.
    fn comments(&self, colon: usize, items: &[Node]) -> String {
        let mut kept = String::new();
        let mut at = colon;
        for item in items {
            // Up to the item: the rest of the line before it, lines of comments, and its dash.
            let before = &self.text[at..item.place.start];
            kept.push_str(before.trim_end().strip_suffix('-').unwrap_or(before).trim_end());
            at = item.place.end;
        }
        kept
    }

    fn after_colon(&self, key: &Node) -> usize {
        let rest = &self.text[key.place.end..];
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        key.place.end + spaces + usize::from(rest[spaces..].starts_with(':'))
    }

    fn indentation(&self, key: &Node) -> &str {
        let line = self.text[..key.place.start].rfind('\n').map_or(0, |at| at + 1);
        &self.text[line..key.place.start]
    }

    fn end_of_line(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let line = rest.split('\n').next().unwrap_or_default();
        at + line.strip_suffix('\r').unwrap_or(line).len()
    }

    fn apply(mut self) -> String {
        self.edits.sort_by_key(|(place, _)| (place.start, place.end));
        let mut text = self.text.to_owned();
        for (place, replacement) in self.edits.iter().rev() {
            text.replace_range(place.clone(), replacement);
        }
        text
    }
}

fn flow_list(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|argument| word(argument)).collect();
    format!("[{}]", words.join(", "))
}

/// Writes a text so that every reader of YAML takes it for one.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if begins_well
        && text.chars().all(is_plain)
        && !NO_TEXT.iter().any(|word| word.eq_ignore_ascii_case(text))
    {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argv() -> Vec<String> {
        ["keyfob", "token", "prod"].map(str::to_owned).to_vec()
    }

    fn rewritten(text: &str) -> String {
        rewrite(text, &argv()).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn three_keys_change_and_all_else_stays_byte_for_byte() {
        let cases = [
            // What flytectl writes.
            (
                "admin:\n  # For GRPC endpoints you might want to use dns:///flyte.myexample.com\n  endpoint: \
                 dns:///flyte.example.com\n  authType: Pkce\n  insecure: false\nlogger:\n  show-source: true\n",
                "admin:\n  # For GRPC endpoints you might want to use dns:///flyte.myexample.com\n  endpoint: \
                 dns:///flyte.example.com\n  authType: ExternalCommand\n  command: [keyfob, token, prod]\n  \
                 disableKeyring: true\n  insecure: false\nlogger:\n  show-source: true\n",
            ),
            // Comments, quotes, another order, Windows.
            (
                "logger: {level: 1}\r\nadmin:\r\n    authType: \"DeviceFlow\"   # why\r\n    endpoint: 'h'  # é\r\n",
                "logger: {level: 1}\r\nadmin:\r\n    authType: ExternalCommand   # why\r\n    command: [keyfob, token, \
                 prod]\r\n    disableKeyring: true\r\n    endpoint: 'h'  # é\r\n",
            ),
            // No authType, no end of the last line, a byte order mark.
            (
                "\u{feff}admin:\n  endpoint: h # c",
                "\u{feff}admin:\n  endpoint: h # c\n  authType: ExternalCommand\n  command: [keyfob, token, prod]\n  \
                 disableKeyring: true",
            ),
            // A secret that would override the command, and the spelling of flytectl.
            (
                "admin:\n  endpoint: h\n  authtype: ClientSecret\n  clientId: ci\n  clientSecretLocation: /s # mine\n\n\
                 # end\n",
                "admin:\n  endpoint: h\n  authType: ExternalCommand\n  command: [keyfob, token, prod]\n  \
                 disableKeyring: true\n  clientId: ci\n  # clientSecretLocation: /s # mine\n\n# end\n",
            ),
            // A command with a line for each word keeps its comments.
            (
                "admin:\n  endpoint: h\n  command: # how\n    - gcloud # one\n    # two\n    - auth\n  authType: \
                 ExternalCommand\n  disableKeyring: True\n",
                "admin:\n  endpoint: h\n  command: [keyfob, token, prod] # how # one\n    # two\n  authType: \
                 ExternalCommand\n  disableKeyring: true\n",
            ),
            // Without indentation of the list, and in brackets over two lines.
            (
                "admin:\n  command:\n  - a\n  - b\n  endpoint: h\n",
                "admin:\n  command: [keyfob, token, prod]\n  authType: ExternalCommand\n  disableKeyring: true\n  \
                 endpoint: h\n",
            ),
            (
                "admin:\n  endpoint: h\n  command: [a,\n    b] # c\n  authType:\n",
                "admin:\n  endpoint: h\n  command: [keyfob, token, prod] # c\n  authType: ExternalCommand\n  \
                 disableKeyring: true\n",
            ),
            // Several lines of a secret's place.
            (
                "admin:\n  endpoint: h\n  clientSecretEnvVar:\n    NAME\nother: 1\n",
                "admin:\n  endpoint: h\n  authType: ExternalCommand\n  command: [keyfob, token, prod]\n  \
                 disableKeyring: true\n  # clientSecretEnvVar:\n    # NAME\nother: 1\n",
            ),
        ];
        for (before, after) in cases {
            assert_eq!(rewritten(before), after);
            assert_eq!(rewritten(after), after, "a second run changes something");
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_refused_with_its_line() {
        let cases = [
            (
                "admin: {endpoint: h, authType: Pkce}\n",
                "line 1: the section admin must have a line for each key",
            ),
            ("{admin: {endpoint: h}}\n", "line 1: the section admin must have a line for each key"),
            ("a: &x\n  endpoint: h\nadmin: *x\n", "line 3: the section admin must have a line for each key"),
            ("admin: &x\n  endpoint: h\nb: *x\n", "line 1: the section admin must have a line for each key"),
            ("a: &x {b: c}\nadmin:\n  <<: *x\n  endpoint: h\n", "line 3: keys from elsewhere"),
            ("admin:\n  endpoint: h\n  authType: &x Pkce\n", "line 3: write the value on the same line"),
            ("admin:\n  endpoint: h\n  command: |\n    a\n", "line 3: write the value on the same line"),
            (
                "admin:\n  endpoint: h\n  authType: a\n  authtype: b\n",
                "line 4: the key \"authtype\" is there twice",
            ),
            ("admin:\n  endpoint: h\nadmin:\n  endpoint: i\n", "line 3: the key \"admin\" is there twice"),
            ("admin:\n\tendpoint: h\n", "line 2: it is no YAML: tabs disallowed"),
            ("admin:\n  endpoint: h\n  authType: {a: b}\n", "line 3: authType is neither a text nor a list"),
            ("---\nadmin:\n  endpoint: h\n---\nb: 1\n", "line 5: there is a second document"),
            ("admin:\n  endpoint: h\rb: 1\n", "line 2: there is a carriage return"),
            ("admin:\n  ? endpoint\n  : h\n", "line 2: "),
            ("admin:\n", "there is no section admin in it"),
            ("Admin:\n  endpoint: h\n", "there is no section admin in it"),
            ("- admin\n", "there is no section admin in it"),
            ("", "there is no section admin in it"),
            ("admin: [", "line 2: it is no YAML"),
        ];
        for (text, expected) in cases {
            let error = rewrite(text, &argv()).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_deeply_nested_file_is_refused_and_not_followed() {
        let text = format!("admin:\n  endpoint: h\nx: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
        assert!(rewrite(&text, &argv()).is_err());
    }

    #[test]
    fn a_word_is_a_text_to_every_reader() {
        let argv = ["/opt/my tools/keyfob", "token", "true"].map(str::to_owned);
        let text = rewrite("admin:\n  endpoint: h\n", &argv).unwrap();
        assert!(text.contains("command: [\"/opt/my tools/keyfob\", token, \"true\"]\n"), "{text}");
        let numbers =
            rewrite("admin:\n  endpoint: h\n", &["keyfob", "token", "1e3"].map(str::to_owned)).unwrap();
        assert!(numbers.contains("\"1e3\""), "{numbers}");
    }

    #[test]
    fn a_value_that_is_written_elsewhere_is_refused_and_not_left_out() {
        for entry in ["audience: *a", "scopes: [all, *a]", "endpoint: *a"] {
            let error = read(&format!("x: &a b\nadmin:\n  {entry}\n")).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("line 3: keyfob cannot follow what "), "{entry}: {error}");
        }
        assert!(read("x: &a b\nadmin:\n  endpoint: h\n  pkceConfig: {timeout: *a}\n").is_ok());
    }

    #[test]
    fn the_section_is_read_with_its_lists() {
        let text = "admin:\n  endpoint: dns:///h\n  scopes: [all, offline]\n  Insecure: true\n  pkceConfig:\n    timeout: 2m\n";
        let section = read(text).unwrap();
        assert_eq!(section.text("endpoint"), Some("dns:///h"));
        assert_eq!(section.scopes("scopes"), ["all", "offline"]);
        assert!(section.truth("insecure"));
        assert!(has_union("union:\n  auth: 1\nadmin:\n  endpoint: h\n") && !has_union(text));
    }

    /// Lines that a change must leave as they are.
    fn bystander() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("  # a comment: with a colon".to_owned()),
            Just(String::new()),
            Just("  pkceConfig:\n    timeout: 2m   # two".to_owned()),
            "[a-z]{3,8}".prop_map(|word| format!("  x{word}: 'it''s #1' # said")),
            "[a-zé ]{0,12}".prop_map(|word| format!("  y{}: \"{word}\\\"\"", word.len())),
            Just("  scopes:\n  - all\n  - offline # c".to_owned()),
        ]
    }

    fn changed_line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("  authType: Pkce".to_owned()),
            Just("  authType: 'DeviceFlow'".to_owned()),
            Just("  command: [a, b]".to_owned()),
            Just("  command: a,b".to_owned()),
            Just("  disableKeyring: false".to_owned()),
            Just("  clientSecretLocation: /s".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn every_line_but_the_keys_stays(
            lines in prop::collection::vec(prop_oneof![3 => bystander(), 2 => changed_line()], 0..8),
            line_end in prop_oneof![Just("\n"), Just("\r\n")],
            is_ended in any::<bool>(),
        ) {
            let ending = if is_ended { "\n" } else { "" };
            let text = format!("# top\nadmin:\n  endpoint: h\n{}\nlogger:\n  level: 1{ending}", lines.join("\n"));
            let text = text.replace('\n', line_end);
            // Keys that are there twice are refused.
            if let Ok(after) = rewrite(&text, &argv()) {
                let is_key = |line: &&str| {
                    ["authType", "command", "disableKeyring", "clientSecret"].iter().any(|key| line.contains(key))
                };
                let kept = |text: &str| -> Vec<String> {
                    text.split_inclusive('\n').filter(|line| !is_key(line)).map(str::to_owned).collect()
                };
                prop_assert_eq!(kept(&after), kept(&text));
                prop_assert_eq!(rewrite(&after, &argv()).unwrap(), after);
            }
        }
    }
}
