//! What an issuer says gets through to the shim as it is: it neither runs anything nor steers a terminal.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus};
use serde_json::json;

use crate::daemon::{Answer, Daemon};
use crate::shim::{install, keyfob, on_a_terminal, run};

/// Everything that a terminal could take for something else than text, and what hides text or turns it.
const HARMFUL: [std::ops::RangeInclusive<u32>; 11] = [
    0..=0x1f,
    0x7f..=0x9f,
    0xad..=0xad,
    0x61c..=0x61c,
    0x180e..=0x180e,
    0x200b..=0x200f,
    0x2028..=0x202e,
    0x2060..=0x2064,
    0x2066..=0x2069,
    0xfeff..=0xfeff,
    0xe0001..=0xe007f,
];

fn harmful() -> impl Iterator<Item = char> {
    HARMFUL.into_iter().flatten().filter_map(char::from_u32)
}

/// Starts a daemon whose one login is as it says, whatever is asked.
fn with_login(login: LoginState) -> Daemon {
    let asking = status(login);
    let signed_in = status(LoginState::SignedIn);
    Daemon::start(move |request| {
        Answer::json(if request.line.starts_with("POST ") { &asking } else { &signed_in })
    })
}

fn status(login: LoginState) -> String {
    let status = LoginStatus { account: "prod".parse().unwrap(), revision: 1, login, warning: None };
    serde_json::to_string(&status).unwrap()
}

fn asking(prompt: LoginPrompt) -> LoginState {
    LoginState::Asking { prompt, expires_at: "2126-11-21T12:00:00Z".parse().unwrap() }
}

fn visit(url: &str) -> LoginState {
    asking(LoginPrompt::Visit { url: url.to_owned() })
}

fn enter_code(page: &str, code: &str) -> LoginState {
    asking(LoginPrompt::EnterCode {
        verification_uri: page.to_owned(),
        verification_uri_complete: Some(format!("{page}?c={code}")),
        user_code: code.to_owned(),
    })
}

/// Two hundred addresses and more, none of which may be shown or opened.
fn hostile_pages() -> Vec<String> {
    let whole = [
        "",
        " ",
        "-",
        "--help",
        "--",
        "-oProxyCommand=id",
        "login.example",
        "//login.example/",
        "/etc/passwd",
        "https:",
        "https:/a",
        "https://",
        "https:///a",
        "https://?a",
        "https://:443/",
        "https://@a/",
        "https://u@a/",
        "https://u:p@a/",
        "https://login.example@evil.example/",
        "HTTPS://a/",
        "Https://a/",
        "http://a/",
        "http://[::2]/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost:80@evil.example/",
        "http://0x7f.1.evil.example/",
        "ftp://a/",
        "file:///etc/passwd",
        "file://a/b",
        "javascript:alert(1)",
        "javascript://a/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "about:blank",
        "chrome://settings",
        "intent://a#x",
        "steam://run/1",
        "ssh://-oProxyCommand=id/",
        "mailto:a@b",
        "x-man-page://a",
        "ms-msdt:/id",
        "$(id)",
        "`id`",
        ";id",
        "|id",
        "&id",
        "\nhttps://a/",
        "https://a/\n--help",
    ];
    let breaking = "\"'<>\\^`{|}$ \u{e9}\u{430}\u{3002}\u{1f511}".chars().chain(harmful());
    let inside = breaking.flat_map(|c| {
        [format!("https://a/{c}"), format!("https://a/?x={c}id{c}"), format!("https://a{c}b/")]
    });
    let long = ["https://a/".to_owned() + &"x".repeat(8 * 1024), "x".repeat(100_000)];
    whole.map(str::to_owned).into_iter().chain(inside).chain(long).collect()
}

/// Puts everything that opens a page beside the socket; it writes down how many arguments it has, and which.
fn put_openers(daemon: &Daemon) {
    let (text, log) = (daemon.path("opener"), daemon.path("opened"));
    let script = format!(
        "#!/bin/sh\nline=\"$#\"\nfor a; do line=\"$line [$a]\"; done\necho \"$line\" >>{}\n",
        log.display()
    );
    fs::write(&text, script).unwrap();
    for name in ["xdg-open", "x-www-browser", "www-browser", "gio", "sh", "bash"] {
        install(&text, &daemon.path(name));
    }
}

fn log_in(daemon: &Daemon, arguments: &[&str]) -> crate::shim::Outcome {
    let mut command = keyfob(daemon, arguments);
    crate::shim::finish(command.env("DISPLAY", ":0").env("PATH", daemon.directory()))
}

/// Logs in at one page after the other, none of which may be shown or opened.
fn refuse_all(pages: &[String]) {
    let current = Arc::new(Mutex::new(String::new()));
    let asked = Arc::clone(&current);
    let daemon = Daemon::start(move |_| Answer::json(&status(visit(&asked.lock().unwrap()))));
    put_openers(&daemon);
    for page in pages {
        page.clone_into(&mut current.lock().unwrap());
        let outcome = log_in(&daemon, &["login", "--browser"]);
        assert_eq!(outcome.code, Some(Exit::Denied as i32), "{page:?}: {outcome:?}");
        assert!(page.len() < 8 || !outcome.stderr.contains(page), "{page:?} was shown");
        assert!(!daemon.path("opened").exists(), "{page:?} was opened");
    }
}

#[test]
fn no_hostile_address_reaches_a_program_and_a_good_one_is_one_argument_a6() {
    let pages = hostile_pages();
    assert!(pages.len() >= 200, "{}", pages.len());
    let good = [
        "https://login.example.com/authorize?a=b&c=d;e=(f)!*%20%24%28id%29,+~:@#g",
        "https://xn--pple-43d.com/",
        "https://a/--help",
        "http://127.0.0.1:8080/authorize",
        "http://[::1]:8080/authorize",
    ];
    for page in good {
        let daemon = with_login(visit(page));
        put_openers(&daemon);
        // Whoever writes into it waits for its reader.
        let opened = daemon.path("opened");
        assert!(Command::new("mkfifo").arg(&opened).status().unwrap().success());
        assert_eq!(log_in(&daemon, &["login"]).code, Some(0), "{page}");
        assert_eq!(fs::read_to_string(opened).unwrap(), format!("1 [{page}]\n"));
    }
    thread::scope(|scope| {
        for pages in pages.chunks(pages.len().div_ceil(4)) {
            scope.spawn(|| refuse_all(pages));
        }
    });
    // A page that is opened on another device is drawn and printed, which is looked at as closely.
    for page in ["javascript:alert(1)", "https://a/\u{1b}[2J", "http://evil.example/", "https://u@a/"] {
        let daemon = with_login(enter_code(page, "WDJB-MJHT"));
        assert_eq!(log_in(&daemon, &["login"]).code, Some(Exit::Denied as i32), "{page:?}");
    }
}

/// Every harmful character, some sequences that do something on real terminals, and a text that would fill many screens.
fn hostile_texts() -> Vec<String> {
    let sequences = [
        "\u{1b}]8;;https://evil.example\u{7}click\u{1b}]8;;\u{7}",
        "\u{1b}]52;c;aWQK\u{7}",
        "\u{1b}]0;title\u{1b}\\",
        "\u{9d}52;c;aWQK\u{9c}",
        "\u{1b}[2J\u{1b}[H\u{1b}[8m",
        "\u{1b}P+q544e\u{1b}\\",
        "\r\nkeyfob: signed in to prod\r\n",
        "\u{202e}drowssap\u{202c}",
        "pass\u{200b}word",
        "<b>bold</b><a href='https://evil.example'>&amp;",
    ];
    let all: String = harmful().flat_map(|c| [c, 'x']).collect();
    sequences.map(str::to_owned).into_iter().chain([all, "x".repeat(100_000)]).collect()
}

/// Fails where a terminal got anything but text, line feeds, and the ways in which the shim itself begins a line anew,
/// shows a heading in bold and draws a QR code.
#[track_caller]
fn assert_printable(bytes: &[u8], what: &str) {
    let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|error| panic!("{what:?}: {error}"));
    let own = ["\r\x1b[K", "\r\n", "\x1b[1m", "\x1b[0m", "\x1b[38;5;16;48;5;231m"];
    let rest = own.iter().fold(text.clone(), |text, own| text.replace(own, ""));
    assert!(!rest.contains(|c| harmful().any(|harmful| harmful == c)), "{what:?}: {text:?}");
    // Nothing fills the screen and pushes out what stood there.
    assert!(text.len() < 4096, "{what:?}: {} bytes", text.len());
}

#[test]
fn whatever_the_daemon_passes_on_a_terminal_gets_printable_text_alone_a7() {
    for hostile in hostile_texts() {
        let error = ErrorBody {
            details: vec![hostile.clone(), hostile.clone()],
            ..ErrorBody::new(ErrorCode::LoginFailed, &hostile).with_hint(&hostile)
        };
        for login in
            [enter_code("https://i.example/device", &hostile), LoginState::Failed { error: error.clone() }]
        {
            let shown = on_a_terminal(&mut keyfob(&with_login(login), &["login"]));
            assert_printable(&shown, &hostile);
            assert!(!shown.is_empty());
        }
        let refusal = serde_json::to_string(&error).unwrap();
        let refusing = Daemon::start(move |_| Answer::error(503, &refusal));
        for arguments in [&["token"][..], &["status"], &["login"], &["logout"], &["reload"]] {
            let shown = on_a_terminal(&mut keyfob(&refusing, arguments));
            assert_printable(&shown, &hostile);
            assert!(!shown.is_empty(), "{arguments:?}");
        }
        let accounts = accounts(&hostile, &error);
        let listing = Daemon::start(move |_| Answer::json(&accounts));
        let shown = on_a_terminal(&mut keyfob(&listing, &["status"]));
        assert_printable(&shown, &hostile);
        assert!(String::from_utf8_lossy(&shown).contains("warning"), "{shown:?}");
    }
}

fn accounts(hostile: &str, error: &ErrorBody) -> String {
    let mut error = json!(error);
    error["at"] = json!("2026-11-21T12:00:00Z");
    let account = json!({
        "name": "prod",
        "grant": "device_code",
        "issuer": hostile,
        "state": "signed_in",
        "access_token": null,
        "renewal": { "state": "impossible" },
        "persistence": "volatile",
        "persistence_note": hostile,
        "login": { "state": "idle" },
        "last_error": error,
        "warnings": [hostile],
    });
    let store = json!({ "state": "open", "key": "file", "note": hostile });
    json!({ "accounts": [account], "default_account": "prod", "store": store }).to_string()
}

#[test]
fn a_token_with_anything_else_in_it_is_in_no_output_i7() {
    for bad in [
        "\r",
        "\n",
        "\0",
        " ",
        "\t",
        "\"",
        "'",
        "`",
        "\\",
        "\u{1b}[2J",
        "\u{e9}",
        "\u{1f511}",
        "\r\nX: y",
        "\npassword=x",
    ] {
        let daemon = Daemon::start(move |_| Answer::token(&format!("CANARY{bad}evil")));
        for arguments in [&["token"][..], &["token", "--id-token"]] {
            let outcome = run(&daemon, arguments);
            outcome.assert_failure(Exit::Unavailable as i32);
            assert!(!outcome.stderr.contains("CANARY") && !outcome.stderr.contains("evil"), "{outcome:?}");
        }
    }
}
