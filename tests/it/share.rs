//! Many tools, one login: however many ask, the issuer hears of one.

use std::time::Duration;

use integration_tests::config;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::shim;
use keyfob_protocol::error::Exit;

#[test]
fn ten_tools_at_once_get_one_token_without_asking_the_issuer() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = issuer.ledger().token_requests.len();
    let tokens = ask(&daemon, 10).map(|(status, stdout)| {
        assert_eq!(status, 0);
        stdout
    });
    assert_eq!(one(tokens), format!("{}\n", daemon.token("prod").access_token));
    assert_eq!(issuer.ledger().token_requests.len(), before);
}

#[test]
fn a_hundred_tools_that_find_an_expired_token_cost_one_refresh() {
    let issuer = short_lived();
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    eventually(SOON, "the token has expired", || !issuer.honours(&first));
    let tokens = ask(&daemon, 100).map(|(status, stdout)| {
        assert_eq!(status, 0);
        stdout
    });
    let token = one(tokens);
    assert!(issuer.honours(token.trim_end()), "{token}");
    let ledger = issuer.ledger();
    assert_eq!(ledger.requests("refresh_token").len(), 1);
    assert_eq!(ledger.max_concurrent_token_requests, 1);
}

#[test]
fn a_hundred_tools_share_one_failure_too() {
    let issuer = short_lived();
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    eventually(SOON, "the token has expired", || !issuer.honours(&first));
    let busy = Reply::error(503, "temporarily_unavailable");
    issuer.break_every(Endpoint::Token, Point::BeforeCommit, Fault::Answer(busy));
    issuer.hold(Endpoint::Token, Point::BeforeRead);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&daemon, 100).collect::<Vec<_>>());
        eventually(SOON, "the one refresh", || issuer.held() == 1);
        issuer.release();
        for (status, stdout) in asked.join().unwrap() {
            assert_eq!((status, stdout.as_str()), (Exit::Unavailable as i32, ""));
        }
    });
    assert_eq!(issuer.ledger().max_concurrent_token_requests, 1);
}

#[test]
fn a_tool_that_gives_up_cancels_nothing_but_its_own_waiting() {
    let issuer =
        FakeIssuer::start(Settings { access_lifetime: Duration::from_secs(60), ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    let impatient = format!("{MORE_LIFE}&wait=0");
    eventually(SOON, "a refresh that nobody waits for any more", || {
        assert_eq!(daemon.token_with("prod", &impatient).access_token, first);
        issuer.held() == 1
    });
    issuer.release();
    eventually(SOON, "its token", || daemon.token("prod").access_token != first);
    let ledger = issuer.ledger();
    assert_eq!(ledger.requests("refresh_token").len(), 1);
    assert_eq!(ledger.replayed().len(), 0);
}

#[test]
fn an_issuer_that_takes_its_time_keeps_nobody_from_the_token_in_hand_d10() {
    let settings = || Settings { access_lifetime: Duration::from_secs(60), ..Settings::default() };
    let [slow, quick] = [settings(), settings()].map(FakeIssuer::start);
    let accounts = config::account("slow", &slow) + &config::account("quick", &quick);
    let daemon = Daemon::start(&(config::HEAD.replace("prod", "slow") + &accounts));
    let tokens = daemon.log_all_in(&["slow", "quick"].map(str::to_owned));
    slow.hold(Endpoint::Token, Point::BeforeRead);
    let impatient = format!("{MORE_LIFE}&wait=0");
    eventually(SOON, "a renewal that does not end", || {
        daemon.token_with("slow", &impatient);
        slow.held() == 1
    });
    for (name, token) in ["slow", "quick"].iter().zip(&tokens) {
        let output = daemon.shim(&["token", name]);
        assert_eq!(
            (output.status, output.stdout),
            (Exit::Success as i32, format!("{token}\n")),
            "{}",
            output.stderr
        );
    }
    // Nor from a renewal by another.
    assert!(quick.honours(&daemon.token_with("quick", "scope=all").access_token));
    assert_eq!(slow.held(), 1, "the slow issuer has answered meanwhile");
    slow.release();
    eventually(SOON, "its token", || daemon.token("slow").access_token != tokens[0]);
}

/// Tokens that live for a little longer than the ten seconds that lie between two renewals.
fn short_lived() -> FakeIssuer {
    FakeIssuer::start(Settings { access_lifetime: Duration::from_secs(11), ..Settings::default() })
}

/// Runs many shims at once, and returns how each ended and what it printed.
fn ask(daemon: &Daemon, tools: usize) -> impl Iterator<Item = (i32, String)> {
    let tools: Vec<_> = (0..tools).map(|_| shim::spawn(daemon.home(), &["token"])).collect();
    tools.into_iter().map(|mut tool| {
        let output = tool.wait();
        (output.status, output.stdout)
    })
}

#[track_caller]
fn one(tokens: impl Iterator<Item = String>) -> String {
    let mut tokens: Vec<String> = tokens.collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    tokens.remove(0)
}
