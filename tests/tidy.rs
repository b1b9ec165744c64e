//! Rules about the source tree, each a function over its files and each shown to fail on a made-up tree.
//!
//! [`MAY_USE`] is the architecture: a new arrow in it is a design decision and a commit of its own.

#![expect(clippy::unwrap_used, reason = "a tree that cannot be read is a failure")]

use std::fs;
use std::path::Path;

/// Which modules of the daemon each of its modules may use, beside itself. `main` and `lib` see all.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("clock", &[]),
    ("token", &["clock"]),
    ("oauth", &["clock", "token"]),
    ("flyte", &["clock", "token", "oauth"]),
    ("grant", &["clock", "token", "oauth", "flyte"]),
    ("account", &["clock", "token", "oauth", "flyte", "grant"]),
    ("store", &["clock", "token", "account"]),
    ("cache", &["clock", "token", "grant", "account", "store"]),
    // Of grant and store it names what the cache hands out: a login's prompt, a revocation's outcome, a store's error.
    // Of flyte it names where other clients keep sessions.
    ("api", &["clock", "token", "flyte", "grant", "account", "store", "cache"]),
    ("config", &["token", "oauth", "flyte", "grant", "account", "store"]),
];

/// The longest file, tests apart: what one can read in one sitting.
const MAX_LINES: usize = 400;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["mod", "util", "utils", "helper", "helpers", "common"];

/// What no file may say, whether it is a test or not.
const NEVER: [&str; 4] = ["todo!(", "unimplemented!(", "#[ignore", "[allow("];

/// What no test of this package may say: it waits for the thing itself (`tests/src/patience.rs`).
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "sleep_until"];

/// A file of the tree.
struct Source {
    path: String,
    text: String,
    /// Its lines outside tests.
    production: Vec<String>,
}

/// Returns one line for each place where a rule is broken.
type Rule = fn(&[Source]) -> Vec<String>;

#[test]
fn modules_use_only_what_the_table_allows() {
    holds(imports);
    breaks(imports, "daemon/src/token.rs", "use crate::oauth::Client;");
    breaks(imports, "daemon/src/token/state.rs", "use crate::{clock::Moment, cache};");
    breaks(imports, "daemon/src/token/state.rs", "fn f() -> super::super::store::Record {}");
    breaks(imports, "daemon/src/api.rs", "use super::oauth;");
    breaks(imports, "daemon/src/newcomer.rs", "");
    allows(imports, "daemon/src/token.rs", "use crate::clock::Moment;\nuse crate::token::state;");
    allows(imports, "daemon/src/token/state.rs", "use super::Scope;");
    allows(imports, "daemon/src/token.rs", "#[cfg(test)]\nmod tests {\n    use crate::grant;\n}");
    allows(imports, "daemon/src/main.rs", "use crate::oauth;");
}

#[test]
fn the_shim_and_the_protocol_know_nothing_of_the_daemon() {
    holds(sides);
    breaks(sides, "client-shim/src/main.rs", "use keyfob_daemon::api;");
    breaks(sides, "protocol/Cargo.toml", "keyfob-daemon.workspace = true");
    allows(sides, "tests/Cargo.toml", "keyfob-daemon.workspace = true");
}

#[test]
fn a_file_is_short() {
    holds(length);
    breaks(length, "daemon/src/token.rs", &"fn f() {}\n".repeat(MAX_LINES + 1));
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f() {}\n}\";\n".repeat(MAX_LINES));
    allows(length, "daemon/src/token.rs", &tests);
    breaks(length, "daemon/src/token.rs", &(tests + &"fn f() {}\n".repeat(MAX_LINES + 1)));
}

#[test]
fn a_module_for_tests_alone_is_no_production_code() {
    let declared = ("daemon/src/cache/tests.rs", "use crate::oauth;\nfn f() { g().unwrap() }");
    let declaring = ("daemon/src/cache.rs", "#[cfg(test)]\npub(crate) mod tests;\nmod owner;");
    let in_use = ("daemon/src/cache/owner.rs", "use crate::oauth;\nfn f() { g().unwrap() }");
    for rule in [imports, shortcuts] {
        assert_eq!(rule(&tree(&[declared])).len(), 1);
        assert_eq!(rule(&tree(&[declared, declaring])).len(), 0);
        assert_eq!(rule(&tree(&[in_use, declaring])).len(), 1);
    }
}

#[test]
fn a_file_begins_with_what_it_is_for() {
    holds(purpose);
    breaks(purpose, "daemon/src/token.rs", "use std::fmt;\n//! Tokens.");
    allows(purpose, "daemon/src/token.rs", "//! Tokens.");
}

#[test]
fn a_file_has_the_name_of_what_is_inside() {
    holds(names);
    breaks(names, "daemon/src/token/mod.rs", "");
    breaks(names, "daemon/src/utils/text.rs", "");
    breaks(names, "protocol/src/common.rs", "");
    allows(names, "daemon/src/token/state.rs", "");
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    holds(shortcuts);
    breaks(shortcuts, "daemon/src/token.rs", "fn f() { g().unwrap() }");
    breaks(shortcuts, "daemon/src/token.rs", "fn f() { todo!() }");
    breaks(shortcuts, "tests/it/login.rs", "#[ignore = \"slow\"]");
    breaks(shortcuts, "daemon/src/lib.rs", "#![allow(dead_code)]");
    allows(
        shortcuts,
        "daemon/src/token.rs",
        "// Not .unwrap(): it may fail.\n#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap() }\n}",
    );
}

#[test]
fn no_story_sleeps() {
    holds(sleeping);
    breaks(sleeping, "tests/it/login.rs", "std::thread::sleep(SECOND);");
    breaks(sleeping, "tests/src/issuer.rs", "tokio::time::sleep(SECOND).await;");
    allows(sleeping, "tests/src/patience.rs", "thread::sleep(PAUSE);");
}

fn imports(tree: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in tree {
        let Some(inside) = source.path.strip_prefix("daemon/src/").and_then(|path| path.strip_suffix(".rs"))
        else {
            continue;
        };
        let module = inside.split('/').next().unwrap();
        if matches!(module, "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: {module} has no row in MAY_USE", source.path));
            continue;
        };
        let to_root = "super::".repeat(inside.split('/').count());
        let code = source.code().replace(&to_root, "crate::");
        for used in code.split("crate::").skip(1).flat_map(first_names) {
            if used != module && !allowed.contains(&used) {
                broken.push(format!("{}: {module} may not use {used}", source.path));
            }
        }
    }
    broken
}

/// Returns the first names of what follows `crate::`: one, or one for each part of a group in braces.
fn first_names(after: &str) -> Vec<&str> {
    fn name(text: &str) -> &str {
        let text = text.trim_start();
        text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(text)
    }
    let Some(group) = after.strip_prefix('{') else {
        return vec![name(after)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => (),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn sides(tree: &[Source]) -> Vec<String> {
    let is_client = |path: &str| path.starts_with("client-shim/") || path.starts_with("protocol/");
    complaints(tree, |source| {
        let names_daemon = ["keyfob_daemon", "keyfob-daemon"].iter().any(|name| source.text.contains(name));
        (is_client(&source.path) && names_daemon).then(|| "knows of the daemon".to_owned())
    })
}

fn length(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        let lines = source.production.len();
        (source.is_rust() && source.path.contains("/src/") && lines > MAX_LINES)
            .then(|| format!("{lines} lines outside tests"))
    })
}

fn purpose(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        (source.is_rust() && !source.text.starts_with("//!")).then(|| "does not begin with //!".to_owned())
    })
}

fn names(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        let is_empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
        source.path.split('/').find(|part| is_empty(part)).map(|part| format!("{part} says nothing"))
    })
}

fn shortcuts(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        let is_test = source.path.starts_with("tests/") || source.path.contains("/tests/");
        let unwraps = !is_test && source.code().contains(".unwrap()");
        let never = NEVER.iter().find(|word| !source.is_this() && source.text.contains(**word));
        never.copied().or(unwraps.then_some(".unwrap()")).map(|word| format!("has {word}"))
    })
}

fn sleeping(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        let concerns = source.path.starts_with("tests/") && source.path != "tests/src/patience.rs";
        SLEEPS
            .iter()
            .find(|word| concerns && !source.is_this() && source.text.contains(**word))
            .map(|word| format!("has {word}"))
    })
}

fn complaints(tree: &[Source], complaint: impl Fn(&Source) -> Option<String>) -> Vec<String> {
    tree.iter().filter_map(|source| Some(format!("{}: {}", source.path, complaint(source)?))).collect()
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// This file names what it forbids.
    fn is_this(&self) -> bool {
        self.path == "tests/tidy.rs"
    }

    /// Returns what is neither test nor comment.
    fn code(&self) -> String {
        let lines = self.production.iter().filter(|line| !line.trim_start().starts_with("//"));
        lines.cloned().collect::<Vec<_>>().join("\n")
    }
}

/// Makes a tree of paths and texts.
fn tree(files: &[(&str, &str)]) -> Vec<Source> {
    let test_modules: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| split(text).1.into_iter().map(|name| child(path, &name)))
        .collect();
    let source = |(path, text): &(&str, &str)| {
        let is_test = test_modules.iter().any(|module| module == path);
        let production = if is_test { Vec::new() } else { split(text).0 };
        Source { path: (*path).to_owned(), text: (*text).to_owned(), production }
    };
    files.iter().map(source).collect()
}

/// Returns the lines outside `#[cfg(test)]` items, and the names of the files that are declared as such.
fn split(text: &str) -> (Vec<String>, Vec<String>) {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let (mut production, mut test_modules) = (Vec::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            production.push(line.to_owned());
            continue;
        }
        let item = lines.find(|line| !line.trim_start().starts_with("#[")).unwrap_or_default();
        if let Some((_, name)) = item.strip_suffix(';').and_then(|item| item.split_once("mod ")) {
            test_modules.push(name.to_owned());
        } else if !item.ends_with([';', ',']) {
            // As rustfmt has it, an item ends at the indentation that it began with.
            let end = format!("{}}}", " ".repeat(indentation(item)));
            lines.find(|line| *line == end);
        }
    }
    (production, test_modules)
}

/// Returns the path of a module that a file declares.
fn child(path: &str, name: &str) -> String {
    let root = ["lib.rs", "main.rs"].iter().find_map(|root| path.strip_suffix(root));
    match root {
        Some(directory) => format!("{directory}{name}.rs"),
        None => format!("{}/{name}.rs", path.trim_end_matches(".rs")),
    }
}

#[track_caller]
fn holds(rule: Rule) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files = Vec::new();
    for package in ["daemon", "protocol", "client-shim", "tests"] {
        read(root, package, &mut files);
    }
    let tree = tree(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
    assert!(tree.iter().any(Source::is_this), "this file itself was not found");
    let broken = rule(&tree);
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[track_caller]
fn breaks(rule: Rule, path: &str, text: &str) {
    assert_eq!(rule(&tree(&[(path, text)])).len(), 1, "{path}: {text}");
}

#[track_caller]
fn allows(rule: Rule, path: &str, text: &str) {
    let broken = rule(&tree(&[(path, text)]));
    assert!(broken.is_empty(), "{path}: {text}: {broken:?}");
}

fn read(root: &Path, below: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(root, &path, files);
        } else if path.ends_with(".rs") || path.ends_with("Cargo.toml") {
            files.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}
