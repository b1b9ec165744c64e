//! Web pages, other programs and replays knock at the port that a login waits at, ten thousand times, and change nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use integration_tests::config::browser;
use integration_tests::daemon::Daemon;
use integration_tests::http;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use keyfob_protocol::login::{LoginState, LoginStatus};
use url::Url;

/// How many forged callbacks come, and from how many programs at once.
const FORGED: usize = 10_000;
const PROGRAMS: usize = 8;

/// Far more than an answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of a login that waits: all of it, for whoever reads the arguments of the program that opens the browser.
#[derive(Clone)]
struct Target {
    authority: String,
    path: String,
    state: String,
    issuer: String,
    /// Where the issuer sends the browser, with the code.
    right: String,
}

impl Target {
    fn of(daemon: &Daemon, issuer: &FakeIssuer) -> Self {
        let page = daemon.begin_visit("prod");
        let asked: Url = page.parse().unwrap();
        let asked = |name: &str| asked.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
        let redirect_uri: Url = asked("redirect_uri").parse().unwrap();
        let right = http::get(&page).unwrap().header("location").unwrap().to_owned();
        Self {
            authority: redirect_uri.authority().to_owned(),
            path: redirect_uri.path().to_owned(),
            state: asked("state"),
            issuer: issuer.url().to_owned(),
            right,
        }
    }

    /// Returns requests none of which is the right one.
    fn forgeries(&self, used: &Self) -> Vec<String> {
        let Self { authority, path, state, issuer, .. } = self;
        let get = |query: &str| format!("GET {path}{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let iss = format!("iss={issuer}");
        let full = format!("?code=EVIL&state={state}&{iss}");
        let with =
            |header: &str| format!("GET {path}{full} HTTP/1.1\r\nHost: {authority}\r\n{header}\r\n\r\n");
        let by = |method: &str| {
            format!("{method} {path}{full} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n")
        };
        let at = |path: &str| format!("GET {path}{full} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let to = |host: &str| format!("GET {path}{full} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let port = authority.rsplit(':').next().unwrap();
        vec![
            get(""),
            get("?"),
            get("?code=EVIL"),
            get(&format!("?code=EVIL&{iss}")),
            get(&format!("?code=EVIL&state=&{iss}")),
            get(&format!("?code=EVIL&state=wrong&{iss}")),
            get(&format!("?code=EVIL&state={}&{iss}", &state[..state.len() - 1])),
            get(&format!("?code=EVIL&state={state}x&{iss}")),
            get(&format!("?code=EVIL&state={}&{iss}", state.to_ascii_lowercase() + "-")),
            get(&format!("?code=EVIL&state={}&{iss}", used.state)),
            get(used.right.split_once('?').map(|(_, query)| format!("?{query}")).unwrap().as_str()),
            get(&format!("?code=EVIL&state={state}&state={state}&{iss}")),
            get(&format!("?code=EVIL&code=EVIL2&state={state}&{iss}")),
            get(&format!("?code=EVIL&error=access_denied&state={state}&{iss}")),
            get(&format!("?state={state}&{iss}")),
            get(&format!("?code=EVIL&state={state}")),
            get(&format!("?code=EVIL&state={state}&iss=")),
            get(&format!("?code=EVIL&state={state}&iss=https://evil.example")),
            get(&format!("?code=EVIL&state={state}&{iss}/")),
            get(&format!("?error=access_denied&state={state}&iss=https://evil.example")),
            get(&format!("?error=access_denied&state={state}")),
            get("?error=access_denied"),
            get("?error=server_error&error_description=%1b[2J&state=wrong"),
            by("POST"),
            by("HEAD"),
            by("PUT"),
            by("OPTIONS"),
            by("TRACE"),
            at("/"),
            at("/favicon.ico"),
            at(&format!("{path}/")),
            at(&format!("{path}/done")),
            at(&path.to_ascii_uppercase()),
            at(&format!("/.{path}")),
            at(&format!("http://{authority}{path}")),
            at(&format!("http://evil.example{path}")),
            to("evil.example"),
            to(&format!("evil.example:{port}")),
            to(&format!("localhost:{port}")),
            to(&format!("[::1]:{port}")),
            to("127.0.0.1"),
            to(&format!("{authority}.")),
            to(&format!("user@{authority}")),
            format!("GET {path}{full} HTTP/1.1\r\n\r\n"),
            format!("GET {path}{full} HTTP/1.1\r\nHost: {authority}\r\nHost: evil.example\r\n\r\n"),
            with("Sec-Fetch-Mode: no-cors"),
            with("Sec-Fetch-Mode: cors"),
            with("Sec-Fetch-Mode: websocket"),
            with("Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe"),
            with("Sec-Fetch-Dest: image"),
            with("Sec-Fetch-Dest: empty\r\nOrigin: https://evil.example"),
            format!("GET {path}{full}\r\n\r\n"),
            "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned(),
        ]
    }
}

#[test]
fn ten_thousand_forged_callbacks_change_nothing_and_the_right_one_is_heard_a1() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, ""));
    let used = Target::of(&daemon, &issuer);
    assert_eq!(http::get(&used.right).unwrap().status, 303);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
    let requests = issuer.ledger().token_requests.len();

    let target = Target::of(&daemon, &issuer);
    let forgeries = target.forgeries(&used);
    thread::scope(|scope| {
        for program in 0..PROGRAMS {
            let (forgeries, authority) = (&forgeries, &target.authority);
            scope.spawn(move || {
                for number in (program..FORGED).step_by(PROGRAMS) {
                    refused(authority, &forgeries[number % forgeries.len()]);
                }
            });
        }
    });
    let login = daemon.api("GET", "/v1/accounts/prod/login").json::<LoginStatus>().login;
    assert!(matches!(login, LoginState::Asking { .. }), "{login:?}");
    assert_eq!(issuer.ledger().token_requests.len(), requests, "a forged code got to the issuer");

    let right = http::get(&target.right).unwrap();
    assert_eq!((right.status, right.header("location")), (303, Some("/callback/done")));
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
    assert_eq!(issuer.ledger().requests("authorization_code").len(), 2);
    // A state is good once: there is nobody any more, or somebody who says that it is over.
    drop(http::get(&target.right));
    assert!(!daemon.log().contains("EVIL") && !daemon.log().contains(&target.state), "it is in the log");
}

/// Sends a forged callback, which is answered as what it is and repeated nowhere.
#[track_caller]
fn refused(authority: &str, request: &str) {
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end as well.
    stream.read_to_end(&mut answer).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    let is_refused = ["HTTP/1.1 4", "HTTP/1.0 4"].iter().any(|start| answer.starts_with(start));
    assert!(is_refused && !answer.contains("EVIL"), "{request:?}: {answer:?}");
    assert!(!answer.contains("location:"), "{request:?}: {answer:?}");
}
