//! A person logs in in a browser, which comes back to this machine (RFC 8252).

use std::thread;
use std::time::Duration;

use integration_tests::browser::Browser;
use integration_tests::config::browser;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::http;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::settings::{Client, Consent, RedirectIssuer, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::signing_key::SigningKey;
use keyfob_protocol::error::ErrorCode;
use keyfob_protocol::login::{LoginState, LoginStatus};
use url::Url;

const SCOPES: &str = r#"scopes = ["all", "offline", "openid"]"#;

#[test]
fn a_person_logs_in_in_a_browser_and_the_token_is_renewed_without_one() {
    let issuer = short_lived();
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    log_in(&daemon);
    let first = daemon.token("prod").access_token;
    assert!(issuer.honours(&first));
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    assert_eq!((ledger.requests("authorization_code").len(), ledger.requests("refresh_token").len()), (1, 1));
    assert_eq!(ledger.authorizations.len(), 1);
}

#[test]
fn every_login_has_its_own_state_challenge_and_nonce_7636_3_9700_1() {
    let issuer = FakeIssuer::start(Settings { consent: Consent::Denied, ..Settings::default() });
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    Browser::open().visit(&daemon.begin_visit("prod"));
    assert_failed(&daemon.login_outcome("prod"));
    issuer.change(|settings| settings.consent = Consent::Given);
    log_in(&daemon);
    log_in(&daemon);
    let authorizations = issuer.ledger().authorizations;
    for name in ["state", "code_challenge", "nonce"] {
        let mut values: Vec<_> = authorizations.iter().map(|asked| parameter(asked, name)).collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 3, "{name}");
    }
}

#[test]
fn a_browser_that_comes_back_with_a_wrong_state_changes_nothing_6749_13() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    let page = daemon.begin_visit("prod");
    let redirect_uri = asked_for(&page, "redirect_uri");
    for query in
        ["code=EVIL&state=wrong", "error=access_denied&state=wrong", "code=EVIL", "error=access_denied", ""]
    {
        http::get(&format!("{redirect_uri}?{query}")).unwrap();
    }
    assert!(is_asking(&daemon));
    Browser::open().visit(&page);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
    assert_eq!(issuer.ledger().requests("authorization_code").len(), 1);
}

#[test]
fn an_answer_from_another_issuer_never_becomes_a_token_request_9207_1_9207_3() {
    let foreign = RedirectIssuer::Foreign("https://evil.example".to_owned());
    let issuer = FakeIssuer::start(Settings { redirect_issuer: foreign, ..Settings::default() });
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    let page = daemon.begin_visit("prod");
    for consent in [Consent::Given, Consent::Denied] {
        issuer.change(|settings| settings.consent = consent);
        http::get(&sent_back(&page)).unwrap();
        assert!(is_asking(&daemon), "{consent:?}");
    }
    assert_eq!(issuer.ledger().token_requests.len(), 0);
    issuer.change(|settings| {
        settings.consent = Consent::Given;
        settings.redirect_issuer = RedirectIssuer::Own;
    });
    Browser::open().visit(&page);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
}

#[test]
fn an_issuer_that_names_nobody_and_promised_nothing_is_believed_9207_4() {
    let unnamed = Settings { redirect_issuer: RedirectIssuer::Unnamed, ..Settings::default() };
    let issuer = FakeIssuer::start(unnamed);
    log_in(&Daemon::start(&browser(&issuer, SCOPES)));
}

#[test]
fn a_person_who_refuses_in_the_browser_ends_the_login_6749_14() {
    let issuer = FakeIssuer::start(Settings { consent: Consent::Denied, ..Settings::default() });
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    let shown = Browser::open().visit(&daemon.begin_visit("prod"));
    assert!(!shown.html.contains("the fake issuer says no"), "{}", shown.html);
    let outcome = daemon.login_outcome("prod");
    assert_failed(&outcome);
    assert!(format!("{outcome:?}").contains("denied in the browser"), "{outcome:?}");
    assert_eq!(issuer.ledger().token_requests.len(), 0);
}

#[test]
fn a_code_is_posted_once_however_often_the_browser_comes_back_d4() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    let callback = sent_back(&daemon.begin_visit("prod"));
    issuer.hold(Endpoint::Token, Point::BeforeRead);
    thread::scope(|scope| {
        let first = scope.spawn(|| http::get(&callback).unwrap().status);
        eventually(SOON, "the exchange", || issuer.held() == 1);
        assert!(matches!(login(&daemon), LoginState::Exchanging));
        for _ in 0..2 {
            let again = http::get(&callback).unwrap();
            assert_eq!(again.status, 409, "{again:?}");
        }
        issuer.release();
        assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
        // It is sent on to a page without the code in its address.
        assert_eq!(first.join().unwrap(), 303);
    });
    let ledger = issuer.ledger();
    assert_eq!(ledger.requests("authorization_code").len(), 1);
    assert_eq!(ledger.violations, [""; 0]);
}

#[test]
fn an_exchange_whose_answer_is_lost_is_not_tried_again_9700_8_a4() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    issuer.break_next(1, Endpoint::Token, Point::BeforeReply, Fault::HangUp);
    Browser::open().visit(&daemon.begin_visit("prod"));
    assert_failed(&daemon.login_outcome("prod"));
    assert_eq!(issuer.ledger().requests("authorization_code").len(), 1);
    // The way on is another login.
    log_in(&daemon);
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

#[test]
fn a_reload_that_changes_nothing_of_weight_drops_no_exchange_in_flight_d3() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    let page = daemon.begin_visit("prod");
    issuer.hold(Endpoint::Token, Point::BeforeCommit);
    thread::scope(|scope| {
        scope.spawn(|| Browser::open().visit(&page));
        eventually(SOON, "the exchange", || issuer.held() == 1);
        for page in ["/a.html", "/b.html"] {
            let lines = format!("{SCOPES}\nfailure_page = \"{page}\"");
            daemon.home().configure(&browser(&issuer, &lines));
            assert_eq!(daemon.reload().status, 200);
        }
        issuer.release();
        assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    });
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn an_id_token_of_another_login_ends_this_one_oidc_1_i10() {
    let replayed = Some("of-yesterday".to_owned());
    let issuer = FakeIssuer::start(Settings { id_token_nonce: replayed, ..Settings::default() });
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    Browser::open().visit(&daemon.begin_visit("prod"));
    let outcome = daemon.login_outcome("prod");
    assert_failed(&outcome);
    assert!(format!("{outcome:?}").contains("its ID token answers another login"), "{outcome:?}");
}

#[test]
fn each_kind_of_request_has_its_extra_parameters_and_every_resource_8707_1() {
    let issuer = short_lived();
    let lines = r#"
resources = ["https://api.example.com", "urn:example:b"]
extra_params = { authorization = { prompt = "consent" }, token = { tenant = "t" }, refresh = { tenant = "r" } }"#;
    let daemon = Daemon::start(&browser(&issuer, lines));
    log_in(&daemon);
    daemon.renew("prod");
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    let asked = &ledger.authorizations[0];
    assert_eq!(parameter(asked, "prompt"), "consent");
    let resources: Vec<_> =
        asked.iter().filter(|(name, _)| name == "resource").map(|(_, value)| value).collect();
    assert_eq!(resources, ["https://api.example.com", "urn:example:b"]);
    for (grant, tenant) in [("authorization_code", "t"), ("refresh_token", "r")] {
        let requests = ledger.requests(grant);
        assert_eq!(requests[0].parameter("tenant"), Some(tenant), "{grant}");
        assert_eq!(
            (requests[0].parameter("prompt"), requests[0].parameter("state")),
            (None, None),
            "{grant}"
        );
    }
}

#[test]
fn a_server_that_looks_for_the_authorization_parameters_at_the_exchange_finds_them_there() {
    let client = Client { redirect_uri: "http://localhost/callback".to_owned(), ..Client::public("cli") };
    let issuer = FakeIssuer::start(Settings { clients: vec![client], ..Settings::default() });
    let lines = "redirect_uri = \"http://localhost/callback\"\nrepeat_authorization_params = true";
    let daemon = Daemon::start(&browser(&issuer, lines));
    log_in(&daemon);
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    let exchange = ledger.requests("authorization_code")[0];
    for (name, value) in &ledger.authorizations[0] {
        assert_eq!(exchange.parameter(name), Some(value.as_str()), "{name}");
    }
    assert!(parameter(&ledger.authorizations[0], "redirect_uri").starts_with("http://localhost:"));
}

#[test]
fn a_client_with_a_private_key_signs_each_request_anew_7523_1() {
    let key = SigningKey::generate();
    let client = Client::private_key("cli", &key.public);
    let issuer = FakeIssuer::start(Settings {
        clients: vec![client],
        access_lifetime: Duration::from_secs(60),
        ..Settings::default()
    });
    let home = Home::new();
    let file = home.write("config/key.pem", &key.pem, 0o600);
    home.configure(&browser(&issuer, &format!("private_key = {{ file = \"{}\" }}", file.display())));
    let daemon = Daemon::start_in(home);
    log_in(&daemon);
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    let assertions: Vec<_> =
        ledger.token_requests.iter().map(|request| request.parameter("client_assertion").unwrap()).collect();
    assert_eq!(assertions.len(), 2);
    let log = daemon.log();
    let body: String = key.pem.lines().filter(|line| !line.starts_with("---")).collect();
    assert!(assertions.iter().all(|assertion| !log.contains(assertion)) && !log.contains(&body));
}

#[test]
fn who_has_no_browser_here_logs_in_by_a_code_instead() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    assert_eq!(daemon.api("POST", "/v1/accounts/prod/login?flow=device_code").status, 200);
    daemon.log_in("prod");
    let ledger = issuer.ledger();
    assert_eq!(
        (ledger.requests("device_code").last().unwrap().outcome.as_str(), ledger.authorizations.len()),
        ("ok", 0)
    );
}

#[test]
fn neither_code_nor_verifier_nor_tokens_get_into_the_log() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, SCOPES));
    log_in(&daemon);
    let exchange = issuer.ledger().requests("authorization_code")[0].clone();
    let log = daemon.log();
    for name in ["code", "code_verifier"] {
        assert!(!log.contains(exchange.parameter(name).unwrap()), "{name} is in the log");
    }
    for name in ["state", "nonce", "code_challenge"] {
        let authorization = issuer.ledger().authorizations[0].clone();
        assert!(!log.contains(parameter(&authorization, name)), "{name} is in the log");
    }
    assert!(!log.contains("CANARY"), "{log}");
}

/// Starts an issuer whose tokens are soon due.
fn short_lived() -> FakeIssuer {
    FakeIssuer::start(Settings { access_lifetime: Duration::from_secs(60), ..Settings::default() })
}

#[track_caller]
fn log_in(daemon: &Daemon) {
    Browser::open().visit(&daemon.begin_visit("prod"));
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
}

/// Returns where the issuer sends a browser that visits a page.
#[track_caller]
fn sent_back(page: &str) -> String {
    let answer = http::get(page).unwrap();
    answer.header("location").unwrap_or_else(|| panic!("no redirect: {answer:?}")).to_owned()
}

fn login(daemon: &Daemon) -> LoginState {
    daemon.api("GET", "/v1/accounts/prod/login").json::<LoginStatus>().login
}

fn is_asking(daemon: &Daemon) -> bool {
    matches!(login(daemon), LoginState::Asking { .. })
}

fn asked_for(page: &str, name: &str) -> String {
    let page: Url = page.parse().unwrap();
    page.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

#[track_caller]
fn parameter<'a>(asked: &'a [(String, String)], name: &str) -> &'a str {
    let found = asked.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no {name} in {asked:?}")).1
}

#[track_caller]
fn assert_failed(login: &LoginState) {
    let LoginState::Failed { error } = login else { panic!("{login:?}") };
    assert!(matches!(error.error, ErrorCode::LoginFailed | ErrorCode::Unavailable), "{error:?}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("keyfob login prod")), "{error:?}");
}
