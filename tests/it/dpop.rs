//! Refresh tokens that are bound to a key (RFC 9449): who has one without its key has nothing, so an issuer need not replace
//! it, and an answer that gets lost costs nothing.

use std::net::TcpListener;
use std::time::Duration;

use integration_tests::browser::Browser;
use integration_tests::config;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::http;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::dpop::Dpop;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::ledger::Ledger;
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::{person, shim};
use keyfob_protocol::account::AccountState;
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus};
use url::Url;

const ADVERTISED: Dpop = Dpop { advertised: true, binds_access_tokens: false, demands_nonces: false };
const BINDING: Dpop = Dpop { binds_access_tokens: true, ..ADVERTISED };

/// Long enough that nothing is renewed but because somebody asks, who can ask for nine tenths of it.
const LIFETIME: Duration = Duration::from_secs(100);

#[test]
fn renewals_prove_the_key_of_their_login_across_a_restart_and_a_crash_9449_2() {
    let issuer = issuer(ADVERTISED, Rotation::Strict);
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    daemon.renew("prod");
    daemon.restart();
    daemon.renew("prod");
    daemon.kill();
    daemon.start_again();
    let last = daemon.renew("prod").access_token;
    assert!(issuer.honours(&last));
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    assert_eq!(keys(&ledger).len(), 1, "{:?}", ledger.proofs);
    let proven = ledger.proofs.iter().filter(|proof| proof.grant == "refresh_token").count();
    assert_eq!((proven, ledger.requests("refresh_token").len()), (3, 3));
    // Who steals it gets nothing by it, and ends nothing.
    let live = ledger.families[0].live().unwrap().token.clone();
    let form = [("grant_type", "refresh_token"), ("refresh_token", &live), ("client_id", "cli")];
    let stolen = http::post_form(&format!("{}/token", issuer.url()), &[], &form).unwrap();
    assert_eq!(stolen.status, 400, "{stolen:?}");
    assert!(!issuer.ledger().lost(&live) && issuer.ledger().families[0].alive);
    // Another login has another key.
    daemon.log_in("prod");
    assert_eq!(keys(&issuer.ledger()).len(), 2);
}

#[test]
fn a_login_in_a_browser_names_its_key_before_it_proves_it_9449_2() {
    let issuer = issuer(ADVERTISED, Rotation::Strict);
    let daemon = Daemon::start(&config::browser(&issuer, ""));
    Browser::open().visit(&daemon.begin_visit("prod"));
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    let named = ledger.authorizations[0].iter().find(|(name, _)| name == "dpop_jkt").unwrap();
    assert_eq!(keys(&ledger), std::slice::from_ref(&named.1));
    let grants: Vec<&str> = ledger.proofs.iter().map(|proof| proof.grant.as_str()).collect();
    assert_eq!(grants, ["authorization_code", "refresh_token"]);
}

#[test]
fn without_rotation_an_answer_that_gets_lost_costs_nothing_9449_2() {
    for rotation in [Rotation::Omitted, Rotation::Repeated] {
        let issuer = issuer(ADVERTISED, rotation);
        let mut daemon = Daemon::start(&config::device_code(&issuer));
        daemon.log_in("prod");
        issuer.break_next(1, Endpoint::Token, Point::BeforeReply, Fault::HangUp);
        daemon.renew("prod");
        // The daemon that gets no answer is not even there any more.
        issuer.hold(Endpoint::Token, Point::BeforeReply);
        eventually(SOON, "a renewal that has been decided", || {
            daemon.try_api("GET", &format!("/v1/accounts/prod/token?wait=0&{MORE_LIFE}"));
            issuer.held() == 1
        });
        daemon.kill();
        issuer.release();
        daemon.start_again();
        assert!(issuer.honours(&daemon.renew("prod").access_token));
        let ledger = issuer.ledger();
        assert_eq!(ledger.violations, [""; 0]);
        assert_eq!((keys(&ledger).len(), ledger.replayed().len(), ledger.families.len()), (1, 0, 1));
        let live = ledger.families[0].live().unwrap();
        assert!(ledger.families[0].alive && !ledger.lost(&live.token));
        assert_eq!(daemon.account("prod").state, AccountState::SignedIn);
    }
}

#[test]
fn a_nonce_that_is_wanted_is_no_failure_and_no_second_presentation_9449_3() {
    let issuer = issuer(Dpop { demands_nonces: true, ..ADVERTISED }, Rotation::Strict);
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    daemon.renew("prod");
    daemon.restart();
    daemon.renew("prod");
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    let renewals = ledger.requests("refresh_token");
    let outcomes: Vec<&str> = renewals.iter().map(|request| request.outcome.as_str()).collect();
    // Each success brings the nonce of the next request. The daemon that comes back has none.
    assert_eq!(outcomes, ["ok", "use_dpop_nonce", "ok", "ok"]);
    assert_eq!((ledger.replayed().len(), keys(&ledger).len()), (0, 1));
    assert!(!daemon.log().contains("a renewal failed"), "{}", daemon.log());
}

#[test]
fn a_storm_of_nonces_passes_and_the_login_stays_9449_3() {
    let issuer = issuer(ADVERTISED, Rotation::Strict);
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    let storm = Reply::error(400, "use_dpop_nonce").with("dpop-nonce", "another");
    issuer.break_every(Endpoint::Token, Point::BeforeCommit, Fault::Answer(storm));
    eventually(SOON, "a renewal that failed", || {
        let answer = daemon.token_with("prod", MORE_LIFE);
        assert_eq!(answer.access_token, first);
        answer.stale.is_some()
    });
    assert_eq!(daemon.account("prod").state, AccountState::SignedIn);
    issuer.mend();
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    assert_eq!(issuer.ledger().violations, [""; 0]);
    assert_eq!(issuer.ledger().replayed().len(), 0);
}

#[test]
fn an_issuer_that_binds_access_tokens_costs_a_person_a_second_code_and_no_more_9449_4() {
    let issuer = issuer(BINDING, Rotation::Strict);
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut login = shim::spawn(daemon.home(), &["login", "prod"]);
    let (page, first) = found(SOON, "a page and a code", || person::read(&login.shown()));
    person::approve(&page, &first);
    let (page, second) = found(SOON, "another code", || {
        let shown = login.shown().replace(&first, "");
        person::read(&shown)
    });
    person::approve(&page, &second);
    let ended = login.wait();
    assert_eq!(ended.status, 0, "{ended:?}\n{}", daemon.log());
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    // It is known from now on.
    daemon.log_in("prod");
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    assert_eq!(ledger.families.len(), 3, "one that came to nothing, and two logins");
    assert!(keys(&ledger).len() == 1 && ledger.proofs.iter().all(|proof| proof.grant == "device_code"));
}

#[test]
fn an_issuer_that_binds_access_tokens_shows_another_page_to_a_browser_9449_4() {
    let issuer = issuer(BINDING, Rotation::Strict);
    // The second page comes back to the port that the first one came back to.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line = format!("redirect_uri = \"http://127.0.0.1:{port}/callback\"");
    let daemon = Daemon::start(&config::browser(&issuer, &line));
    let first = daemon.begin_visit("prod");
    let shown = Browser::open().visit(&first).html;
    assert!(shown.contains("Once more, please"), "{shown}");
    let second = found(SOON, "another page", || {
        let login = daemon.api("GET", "/v1/accounts/prod/login").json::<LoginStatus>().login;
        assert!(login.is_pending(), "{login:?}");
        let LoginState::Asking { prompt: LoginPrompt::Visit { url }, .. } = login else { return None };
        (url != first).then_some(url)
    });
    let asked: Url = second.parse().unwrap();
    assert!(asked.query_pairs().all(|(name, _)| name != "dpop_jkt"), "{asked}");
    Browser::open().visit(&second);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

#[test]
fn an_account_can_go_without_a_key_or_not_at_all_9449_4() {
    let issuer = issuer(ADVERTISED, Rotation::Strict);
    let with = |line: &str| config::device_code(&issuer) + line;
    let daemon = Daemon::start(&with("dpop = \"off\"\n"));
    daemon.log_in("prod");
    daemon.renew("prod");
    assert_eq!(issuer.ledger().proofs, []);
    // The tokens stay: how the next login binds its refresh token is no other login.
    daemon.home().configure(&with("dpop = \"require\"\n"));
    assert_eq!(daemon.reload().status, 200);
    let held = daemon.token("prod").access_token;
    assert!(issuer.honours(&held));
    daemon.log_in("prod");
    assert_eq!(keys(&issuer.ledger()).len(), 1);

    for dpop in [BINDING, Dpop::default()] {
        issuer.change(|settings| settings.dpop = dpop);
        let daemon = Daemon::start(&with("dpop = \"require\"\n"));
        if dpop == BINDING {
            let (page, code) = daemon.begin_login("prod");
            person::approve(&page, &code);
        } else {
            // Nobody is asked for what cannot be.
            daemon.api("POST", "/v1/accounts/prod/login");
        }
        let LoginState::Failed { error } = daemon.login_outcome("prod") else { panic!("a failure") };
        assert!(error.message.contains("dpop = \"auto\""), "{error:?}");
    }
}

fn issuer(dpop: Dpop, rotation: Rotation) -> FakeIssuer {
    FakeIssuer::start(Settings { dpop, rotation, access_lifetime: LIFETIME, ..Settings::default() })
}

/// Returns the thumbprints of the keys that were proved, each once.
fn keys(ledger: &Ledger) -> Vec<String> {
    let mut keys: Vec<String> = ledger.proofs.iter().map(|proof| proof.thumbprint.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
