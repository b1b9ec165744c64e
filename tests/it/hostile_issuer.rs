//! An issuer that means harm, or one that somebody stands before: it gets no memory, no secret and no login.

use std::fs;
use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::raw_server::RawServer;
use keyfob_protocol::error::ErrorBody;
use keyfob_protocol::login::LoginState;
use serde_json::json;

/// What a daemon may need for a moment to find out that an answer has no end: a body's limit, and room for it to grow.
const MOST_MEMORY: u64 = 4 * 1024;

/// More than what is read of any answer, and what lies in the buffers of the system.
const MOST_SENT: u64 = 16 << 20;

#[test]
fn an_answer_without_end_is_refused_at_its_limit_and_takes_no_memory_i1() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let endless = "x".repeat(64 * 1024);
    let chunk = format!("10000\r\n{endless}\r\n");
    let tiny_chunks = "1\r\nx\r\n".repeat(10_000);
    let many_headers = (0..1000).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let floods = [
        (
            "a body of a gigabyte",
            format!("{OK}Content-Length: 1073741824\r\n\r\n{{\"a\":\""),
            endless.as_str(),
        ),
        ("a body without a length", format!("{OK}\r\n{{\"a\":\""), &endless),
        ("chunks", format!("{OK}Transfer-Encoding: chunked\r\n\r\n"), &chunk),
        ("tiny chunks", format!("{OK}Transfer-Encoding: chunked\r\n\r\n"), &tiny_chunks),
        ("the extension of a chunk", format!("{OK}Transfer-Encoding: chunked\r\n\r\n1;"), &endless),
        ("trailers", format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n"), &many_headers),
        ("a header of a gigabyte", format!("{OK}X: "), &endless),
        ("a million headers", OK.to_owned(), &many_headers),
        ("a status line", "HTTP/1.1 200 ".to_owned(), &endless),
        ("an error's body", "HTTP/1.1 500 No\r\n\r\n".to_owned(), &endless),
        ("no HTTP at all", String::new(), &endless),
    ];
    let servers: Vec<_> = floods
        .iter()
        .map(|(name, begin, forever)| (*name, RawServer::start(begin.as_bytes(), forever.as_bytes())))
        .collect();
    // The first one is no flood: what a failure needs by itself is not counted.
    let usual = RawServer::start(format!("{OK}Content-Length: 2\r\n\r\n{{}}").as_bytes(), b"");
    let accounts =
        servers.iter().enumerate().map(|(number, (_, server))| account(&format!("a{number}"), server));
    let config =
        accounts.fold(HEAD.to_owned() + &account("prod", &usual), |config, account| config + &account);
    let daemon = Daemon::start(&config);
    refused(&daemon, "prod");
    let before = memory(&daemon, "VmRSS:");
    for (number, (name, server)) in servers.iter().enumerate() {
        forget_the_peak(&daemon);
        let said = refused(&daemon, &format!("a{number}"));
        let grown = memory(&daemon, "VmHWM:").saturating_sub(before);
        assert!(grown <= MOST_MEMORY, "{name}: {grown} KiB more; {said}");
        assert!((1..=3).contains(&server.connections()), "{name}: {} connections", server.connections());
        eventually(SOON, &format!("{name}: the daemon hung up"), || server.sent() < MOST_SENT);
    }
}

#[test]
fn a_redirect_leads_nowhere_from_any_endpoint_i4() {
    let trap = RawServer::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"");
    let issuer =
        FakeIssuer::start(Settings { access_lifetime: Duration::from_secs(60), ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    let lead_astray = |endpoint, status: u16| {
        let target = format!("{}/{endpoint:?}/{status}", trap.url());
        let reply = Reply::html(status, "Moved").with("location", &target);
        issuer.break_every(endpoint, Point::BeforeCommit, Fault::Answer(reply));
    };
    // Metadata are kept once they are known, so they are asked for first.
    for endpoint in [Endpoint::Metadata, Endpoint::DeviceAuthorization] {
        for status in REDIRECTS {
            lead_astray(endpoint, status);
            daemon.api("POST", "/v1/accounts/prod/login");
            let LoginState::Failed { error } = daemon.login_outcome("prod") else { panic!("a login") };
            assert!(error.message.contains("redirect"), "{endpoint:?} {status}: {error:?}");
            issuer.mend();
        }
    }
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    // Those that would repeat the form; a renewal that failed is not tried again at once.
    for status in [307, 308] {
        lead_astray(Endpoint::Token, status);
        let seen = daemon.account("prod").last_error.map(|last| last.at);
        eventually(SOON, &format!("a renewal fails by {status}"), || {
            assert_eq!(daemon.token_with("prod", MORE_LIFE).access_token, token, "{status}");
            daemon.account("prod").last_error.is_some_and(|last| Some(last.at) != seen)
        });
        assert!(daemon.account("prod").last_error.unwrap().error.message.contains("redirect"), "{status}");
        issuer.mend();
    }
    for status in REDIRECTS {
        lead_astray(Endpoint::Revocation, status);
        let output = daemon.shim(&["logout"]);
        assert!((output.stdout.clone() + &output.stderr).contains("redirect"), "{status}: {output:?}");
        issuer.mend();
        daemon.log_in("prod");
    }
    assert_eq!(trap.connections(), 0);
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

/// What no terminal, log or reader should get from somebody else.
fn is_harmful(c: char) -> bool {
    let is_text = |c: char| !c.is_control() || c == '\n';
    !is_text(c)
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Fails where something that was shown or logged is not plain text.
#[track_caller]
fn assert_plain(shown: &str, what: &str) {
    let found = shown.lines().find(|line| line.contains(is_harmful));
    assert_eq!(found, None, "{what}");
}

#[test]
fn whatever_an_issuer_says_is_shown_and_logged_as_plain_text_a7() {
    let controls: String = (0..0xa0_u32).chain(0x2000..0x2070).filter_map(char::from_u32).collect();
    let osc = "\u{1b}]8;;https://evil.example\u{7}here\u{1b}]8;;\u{7}\u{1b}]52;c;aWQK\u{7}\u{9b}2J\u{202e}";
    let texts = [controls, osc.to_owned(), "x".repeat(200 * 1024), "x".repeat(10 << 20)];
    let issuer =
        FakeIssuer::start(Settings { access_lifetime: Duration::from_secs(60), ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    let answer = |endpoint, status, body: serde_json::Value| {
        issuer.break_every(endpoint, Point::BeforeCommit, Fault::Answer(Reply::json(status, &body)));
    };
    let all_shown = |what: &str| {
        for arguments in [&["login"][..], &["status"], &["status", "--json"], &["token"]] {
            let output = daemon.shim(arguments);
            let shown = output.stdout + &output.stderr;
            assert_plain(&shown, what);
            assert!(!shown.is_empty() && shown.len() < 16 * 1024, "{what}: {} bytes", shown.len());
        }
    };
    // Metadata are kept once they are known, so they come first.
    let metadata = |text: &String| {
        [
            (400, json!({ "error": text, "error_description": text, "error_uri": text })),
            (200, json!({ "issuer": text, "token_endpoint": "https://a/" })),
            (200, json!({ "issuer": issuer.url(), "token_endpoint": text })),
        ]
    };
    let devices = |text: &String| {
        [
            (400, json!({ "error": text, "error_description": text, "error_uri": text })),
            (200, json!({ "device_code": text, "user_code": text, "verification_uri": "https://a/" })),
            (200, json!({ "device_code": "DC", "user_code": "AB", "verification_uri": text })),
        ]
    };
    let metadata = texts.iter().flat_map(metadata).map(|answer| (Endpoint::Metadata, answer));
    let devices = texts.iter().flat_map(devices).map(|answer| (Endpoint::DeviceAuthorization, answer));
    for (endpoint, (status, body)) in metadata.chain(devices) {
        answer(endpoint, status, body);
        all_shown(&format!("{endpoint:?} {status}"));
        issuer.mend();
    }
    for text in [&texts[1], &texts[3]] {
        daemon.log_in("prod");
        let body = json!({ "error": "invalid_scope", "error_description": text, "error_uri": text });
        answer(Endpoint::Token, 400, body);
        let output = daemon.shim(&["token", "--min-ttl", "86400"]);
        assert_plain(&(output.stdout + &output.stderr), "a renewal");
        issuer.mend();
        let body = json!({ "error": text, "error_description": text });
        answer(Endpoint::Revocation, 400, body);
        let output = daemon.shim(&["logout"]);
        assert_plain(&(output.stdout + &output.stderr), "a revocation");
        issuer.mend();
    }
    assert_plain(&daemon.log(), "the log");
}

/// Every status that has ever sent a request elsewhere (RFC 9110 §15.4).
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Returns an account that needs no person, with its token endpoint there.
fn account(name: &str, server: &RawServer) -> String {
    format!(
        "\n[accounts.{name}]\ntoken_endpoint = '{}/token'\nclient_id = 'ci'\ngrant = 'client_credentials'\n\
         client_secret = {{ command = ['echo', 'CANARY-CS'] }}\ntls = {{ allow_http_loopback = true }}\n",
        server.url()
    )
}

/// Asks for a token in vain, and returns what is said about that.
#[track_caller]
fn refused(daemon: &Daemon, account: &str) -> String {
    let answer = daemon.api("GET", &format!("/v1/accounts/{account}/token?wait=20"));
    assert_eq!(answer.status, 503, "{account}: {answer:?}");
    answer.json::<ErrorBody>().message
}

/// Returns a line of what Linux says about the daemon's memory, in KiB.
fn memory(daemon: &Daemon, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process().id())).unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Lets the daemon's peak of memory begin where it is now (proc(5), clear_refs).
fn forget_the_peak(daemon: &Daemon) {
    fs::write(format!("/proc/{}/clear_refs", daemon.process().id()), "5").unwrap();
}
