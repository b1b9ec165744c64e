//! Rules about the source tree, each a function over its files and each shown to fail on a made-up tree.
//!
//! [`MAY_USE`] is the architecture: a new arrow in it is a design decision and a commit of its own.

#![expect(clippy::unwrap_used, reason = "a tree that cannot be read is a failure")]

use std::fs;
use std::path::Path;

/// Which modules of the daemon each of its modules may use, beside itself. `main` and `lib` see all.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("failpoint", &[]),
    ("secret", &[]),
    ("clock", &[]),
    ("token", &["clock", "secret"]),
    ("oauth", &["clock", "token", "secret"]),
    ("flyte", &["clock", "token", "oauth"]),
    ("grant", &["clock", "token", "oauth", "flyte", "secret"]),
    ("account", &["clock", "token", "oauth", "flyte", "grant"]),
    ("store", &["failpoint", "clock", "token", "account", "secret"]),
    ("cache", &["failpoint", "clock", "token", "grant", "account", "store"]),
    // Of grant and store it names what the cache hands out: a login's prompt, a revocation's outcome, a store's error.
    // Of flyte it names where other clients keep sessions.
    ("api", &["clock", "token", "flyte", "grant", "account", "store", "cache"]),
    ("config", &["token", "oauth", "flyte", "grant", "account", "store"]),
    // The doorway of the fuzz targets, which nobody else has: it reaches wherever bytes come in.
    ("fuzzing", &["clock", "token", "oauth", "flyte", "grant", "account", "store", "cache", "api", "config"]),
];

/// The longest file, tests apart: what one can read in one sitting.
const MAX_LINES: usize = 400;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["mod", "util", "utils", "helper", "helpers", "common"];

/// What no file may say, whether it is a test or not.
const NEVER: [&str; 4] = ["todo!(", "unimplemented!(", "#[ignore", "[allow("];

/// What no test of this package may say: it waits for the thing itself (`tests/src/patience.rs`).
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "sleep_until"];

/// The modules that may hold `unsafe`, one of each program: memory that is locked and wiped cannot be had without, nor a way
/// in that is not the standard library's.
const UNSAFE_MODULES: [&str; 2] = ["daemon/src/secret", "client-shim/src/runtime"];

/// How `unsafe` begins, and how the lint against it is lifted. Forbidding it is no lifting.
const UNSAFE: [&str; 6] =
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "(unsafe_code"];

/// Crates that show web pages inside of a program (RFC 8252 §8.12): a login belongs into the person's own browser.
const WEB_VIEWS: [&str; 8] =
    ["wry", "tao", "tauri", "web-view", "webview", "webkit2gtk", "webview2-com", "servo"];

/// How a token would get into the query of a URL (RFC 6750 §2.3), where servers and proxies write it down.
const TOKENS_IN_QUERIES: [&str; 7] = [
    "?access_token=",
    "&access_token=",
    "?refresh_token=",
    "?id_token=",
    "query_pair(\"access_token",
    "append_pair(\"access_token",
    "append_pair(\"refresh_token",
];

/// The grants that are not to be used (RFC 9700 §2.1.2 and §2.4), as a request would ask for them.
const DEAD_GRANTS: [&str; 6] = [
    "grant_type=password",
    "(\"grant_type\", \"password\")",
    "response_type=token",
    "(\"response_type\", \"token\")",
    "(\"response_type\", \"id_token",
    "(\"code_challenge_method\", \"plain\")",
];

/// The rules of the RFCs that a client has to keep, and what a login has to survive: what is checked, in a word, and as which
/// test names it, at their end.
const CHECKLIST: [(&str, &[&str]); 23] = [
    (
        "RFC 6749, requests, answers and errors: forms, token types, lifetimes, scopes, rotation, state",
        &[
            "6749_1", "6749_2", "6749_3", "6749_4", "6749_5", "6749_6", "6749_7", "6749_8", "6749_9",
            "6749_10", "6749_11", "6749_12", "6749_13", "6749_14",
        ],
    ),
    (
        "RFC 6750, bearer tokens: never in a URL, nothing that breaks a line, not kept, replaced when refused",
        &["6750_1", "6750_2", "6750_3", "6750_4"],
    ),
    (
        "RFC 7636, PKCE: verifiers, S256 alone, a challenge per login",
        &["7636_1", "7636_2", "7636_3", "7636_4", "7636_5"],
    ),
    (
        "RFC 8252, native apps: the person's browser, loopback alone, for as long as a login waits",
        &["8252_1", "8252_2", "8252_3", "8252_4", "8252_5", "8252_6"],
    ),
    (
        "RFC 8628, device codes: pace, ends, what a person is shown, restarts",
        &["8628_1", "8628_2", "8628_3", "8628_4", "8628_5", "8628_6", "8628_7", "8628_8", "8628_9"],
    ),
    (
        "RFC 8414 and OpenID Connect Discovery, metadata: whose, where, how old, and where tokens go by them",
        &["8414_1", "8414_2", "8414_3", "8414_4", "8414_5", "8414_6", "8414_7", "8414_8"],
    ),
    (
        "RFC 9207, the issuer in a redirect: compared, demanded, and never mixed up",
        &["9207_1", "9207_2", "9207_3", "9207_4", "9207_5"],
    ),
    (
        "RFC 9700, best practice for clients: PKCE, state, dead grants, least privilege, redirects, one use of a code",
        &["9700_1", "9700_3", "9700_4", "9700_5", "9700_6", "9700_7", "9700_8", "9700_9"],
    ),
    ("RFC 7009, revocation: where, in trouble, of what", &["7009_1", "7009_2", "7009_3"]),
    ("RFC 8707, resources: as they are asked for, and one never in place of another", &["8707_1", "8707_2"]),
    ("RFC 7523, assertions of a private key", &["7523_1"]),
    (
        "RFC 9449, proofs of possession: their form, one key for a login, nonces, access tokens that are bound as well",
        &["9449_1", "9449_2", "9449_3", "9449_4"],
    ),
    ("OpenID Connect Core, the claims of an ID token", &["oidc_1"]),
    (
        "Rotation: kills and panics at each step, power loss, lost answers, two daemons, disks that take nothing",
        &["r1", "r4", "r5", "r6", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "r16"],
    ),
    (
        "When it is due, how often, in outages and in crowds, and under clocks that jump or stand still",
        &["s_1", "s_2", "s_4", "s_5", "s_6", "s_7", "s_8", "s_9", "s_10", "c4", "c5", "c6"],
    ),
    (
        "Disks and keyrings: full, read-only, broken, damaged, locked, hanging, of another version",
        &["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"],
    ),
    (
        "An issuer that means harm, or whatever stands before it: endless, dripping, compressed, redirecting, malformed and \
         misleading answers, bad tokens, certificates, ID tokens, nonces and clocks",
        &["i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9", "i10", "i11", "i12"],
    ),
    (
        "A web page, another program or another user beside a login: forged callbacks, the port, one use of a code, swapped \
         answers, hostile addresses and texts",
        &["a1", "a2", "a3", "a4", "a5", "a6", "a7"],
    ),
    (
        "Polls for a device code: never early, through restarts and suspends, and where they stop",
        &["d_1", "d_2", "d_3"],
    ),
    (
        "Other users, other programs of the user, and our own slips: strangers and impostors at the socket, what lies in its \
         way, double starts, memory, cores, logs, what is handed over, namespaces, programs that mean harm",
        &["l1", "l2", "l3", "l4", "l5", "l6", "l7", "l9", "l10", "l11", "l12"],
    ),
    ("Too few descriptors for all who come", &["c8"]),
    (
        "Units that restrict, a watchdog that proves something, what systemd is told, upgrades, broken reloads",
        &["o1", "o2", "o3", "o4", "o5"],
    ),
    (
        "What went wrong in programs like this: a storm of renewals (d1), one silent client in the way of all (d2), an \
         exchange dropped (d3) or made twice (d4), a login lost to a portal (d5), a refusal without its words (d6), \
         answers within the rules refused (d7), a stop in mid-answer (d8), a format made of an answer (d9), all made to \
         wait for one (d10)",
        &["d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10"],
    ),
];

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

#[test]
fn one_module_of_each_program_at_most_is_unsafe() {
    holds(unsafety);
    breaks(unsafety, "daemon/src/token.rs", "let all = unsafe { look(pointer) };");
    breaks(unsafety, "client-shim/src/main.rs", "unsafe impl Send for Token {}");
    breaks(unsafety, "tests/it/login.rs", "#![expect(unsafe_code, reason = \"quicker\")]");
    breaks(unsafety, "protocol/src/token.rs", "#[expect(\n    unsafe_code,\n    reason = \"quicker\"\n)]");
    allows(unsafety, "daemon/src/secret/memory.rs", "unsafe { lock(start) }");
    breaks(unsafety, "client-shim/src/runtime_of_another.rs", "unsafe { look(pointer) }");
    allows(unsafety, "client-shim/src/runtime.rs", "unsafe { enter(arguments) }");
    allows(unsafety, "client-shim/src/main.rs", "#![forbid(unsafe_code)]\n// Nothing unsafe { } here.");
    allows(unsafety, "tests/tidy.rs", "unsafe {}");
}

#[test]
fn no_page_is_shown_inside_of_a_program_8252_1() {
    holds(web_views);
    breaks(web_views, "Cargo.lock", "[[package]]\nname = \"wry\"\nversion = \"0.1.0\"");
    allows(web_views, "Cargo.lock", "[[package]]\nname = \"url\"\nversion = \"0.1.0\"");
}

#[test]
fn no_token_gets_into_a_url_6750_1() {
    holds(tokens_in_queries);
    breaks(tokens_in_queries, "daemon/src/oauth.rs", "format!(\"{url}?access_token={token}\")");
    breaks(tokens_in_queries, "client-shim/src/token.rs", "url.append_pair(\"access_token\", token)");
    allows(
        tokens_in_queries,
        "daemon/src/oauth.rs",
        "// Never ?access_token=.\nlet name = \"access_token\";",
    );
}

#[test]
fn no_grant_is_there_that_hands_out_passwords_or_tokens_in_redirects_9700_5() {
    holds(dead_grants);
    breaks(dead_grants, "daemon/src/oauth.rs", "form.with(\"grant_type\", \"password\")");
    breaks(dead_grants, "daemon/src/oauth.rs", "form\n    .with(\"response_type\", \"token\")");
    breaks(dead_grants, "daemon/src/oauth.rs", "(\"code_challenge_method\", \"plain\")");
    allows(dead_grants, "daemon/src/oauth.rs", "form.with(\"response_type\", \"code\")");
    allows(
        dead_grants,
        "daemon/src/a.rs",
        "#[cfg(test)]\nmod tests {\n    const A: &str = \"response_type=token\";\n}",
    );
}

#[test]
fn every_row_of_the_checklist_has_its_test() {
    holds(checklist);
    let test = |name: &str| format!("#[test]\nfn {name}() {{}}\n");
    let ids: Vec<&str> = CHECKLIST.iter().flat_map(|(_, ids)| *ids).copied().collect();
    let (one, all) = (ids[0], test(&format!("it_is_so_{}", ids.join("_"))));
    allows(checklist, "daemon/src/oauth.rs", &all);
    let expected = [format!("no test ends in _{one}")];
    let without = all.replacen(&format!("_{one}_"), "_", 1);
    // Only what stands at the end of a test's name counts.
    for more in ["".to_owned(), test(&format!("it_{one}_is_so")), format!("fn it_is_so_{one}() {{}}\n")] {
        assert_eq!(
            checklist(&tree(&[("daemon/src/oauth.rs", &(without.clone() + &more))])),
            expected,
            "{more}"
        );
    }
    allows(checklist, "daemon/src/oauth.rs", &(without + &test(&format!("that_too_{one}"))));
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

fn unsafety(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        let is_in =
            |module| source.path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '/']));
        let may = source.is_this() || UNSAFE_MODULES.into_iter().any(is_in);
        let lines = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        // Without its spaces: an attribute may run over several lines.
        let code: String = lines.flat_map(str::split_whitespace).collect();
        let code = code.replace("forbid(unsafe_code", "");
        UNSAFE
            .iter()
            .find(|word| !may && code.contains(&word.replace(' ', "")))
            .map(|word| format!("has {word}"))
    })
}

fn web_views(tree: &[Source]) -> Vec<String> {
    complaints(tree, |source| {
        let has = |name: &&&str| source.text.lines().any(|line| line == format!("name = \"{name}\""));
        let is_lock = source.path == "Cargo.lock";
        WEB_VIEWS.iter().find(|name| is_lock && has(name)).map(|name| format!("has {name}"))
    })
}

fn tokens_in_queries(tree: &[Source]) -> Vec<String> {
    words_of_production(tree, &TOKENS_IN_QUERIES)
}

fn dead_grants(tree: &[Source]) -> Vec<String> {
    words_of_production(tree, &DEAD_GRANTS)
}

fn words_of_production(tree: &[Source], words: &[&str]) -> Vec<String> {
    complaints(tree, |source| {
        let is_production = source.path.contains("/src/") && !source.path.starts_with("tests/");
        let code = if is_production { source.code() } else { String::new() };
        words.iter().find(|word| code.contains(**word)).map(|word| format!("has {word}"))
    })
}

fn checklist(tree: &[Source]) -> Vec<String> {
    let names = tree.iter().filter(|source| source.is_rust()).flat_map(|source| tests(&source.text));
    let proven: Vec<&str> = names.flat_map(rows).collect();
    let missing = CHECKLIST.iter().flat_map(|(_, ids)| *ids).filter(|id| !proven.contains(*id));
    missing.map(|id| format!("no test ends in _{id}")).collect()
}

/// Returns the names of a file's tests.
fn tests(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut lines = text.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            let item = lines.find(|line| !line.starts_with("#["));
            let name = item.and_then(|item| item.split_once("fn ")?.1.split_once('(')).map(|(name, _)| name);
            names.extend(name);
        }
    }
    names
}

/// Returns the rows of the checklist that a test says at the end of its name it proves.
fn rows(mut name: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let ids = || CHECKLIST.iter().flat_map(|(_, ids)| *ids).copied();
    while let Some((rest, id)) = ids().find_map(|id| Some((name.strip_suffix(id)?.strip_suffix('_')?, id))) {
        found.push(id);
        name = rest;
    }
    found
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
    files.push(("Cargo.lock".to_owned(), fs::read_to_string(root.join("Cargo.lock")).unwrap()));
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
