//! keyfob and an issuer that its authors did not write: the certified oidc-provider, strict about rotation.

use std::time::Duration;

use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::oidc_provider::{self, OidcProvider};
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::process::Process;
use integration_tests::{person, shim};
use keyfob_protocol::daemon::{LogoutReport, Revocation};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus};

/// The shortest lifetime that keyfob renews ahead of: at half of it.
const LIFETIME: Duration = Duration::from_secs(20);

#[test]
fn a_login_outlives_rotation_after_rotation_and_a_restart() {
    let issuer = OidcProvider::start(LIFETIME);
    let mut daemon = Daemon::start(&person(&issuer, "device_code"));
    let (page, code) = daemon.begin_login("prod");
    oidc_provider::log_in(&page, &code);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    let first = daemon.token("prod").access_token;
    assert!(issuer.honours(&first));

    eventually(LIFETIME * 3, "two renewals", || issuer.rotations() >= 2);
    // The second one is still on its way: the issuer has replaced the refresh token, and not answered yet.
    daemon.restart();
    let renewals = || issuer.tokens_given("refresh_token");
    eventually(LIFETIME * 3, "a renewal after the restart", || renewals() >= 3);
    let latest = daemon.token("prod").access_token;
    assert_ne!(latest, first);
    assert!(issuer.honours(&latest));
    assert_eq!(issuer.tokens_given("device_code"), 1, "one login did for all");
    assert_eq!(issuer.refusals("invalid_grant"), 0);
    assert_eq!(issuer.logins_ended(), 0);
}

#[test]
fn an_issuer_that_binds_every_access_token_is_logged_in_to_without_a_key_9449_4() {
    let issuer = OidcProvider::start_with_dpop(LIFETIME);
    let daemon = Daemon::start(&person(&issuer, "device_code"));
    let (page, first) = daemon.begin_login("prod");
    oidc_provider::log_in(&page, &first);
    let (page, second) = found(SOON, "another code", || {
        let login = daemon.api("GET", "/v1/accounts/prod/login").json::<LoginStatus>().login;
        assert!(login.is_pending(), "{login:?}");
        let LoginState::Asking { prompt: LoginPrompt::EnterCode { verification_uri, user_code, .. }, .. } =
            login
        else {
            return None;
        };
        (user_code != first).then_some((verification_uri, user_code))
    });
    // It has understood the proof, with the nonce that it wanted.
    assert_eq!((issuer.tokens_of_type("DPoP"), issuer.refusals("invalid_dpop_proof")), (1, 0));
    assert_eq!(issuer.refusals("use_dpop_nonce"), 1);
    oidc_provider::log_in(&page, &second);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    assert!(issuer.honours(&daemon.token("prod").access_token));
    eventually(LIFETIME * 3, "two renewals", || issuer.rotations() >= 2);
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert_eq!((issuer.tokens_of_type("DPoP"), issuer.refusals("invalid_grant")), (1, 0));
    assert_eq!(issuer.logins_ended(), 0);
}

#[test]
fn a_person_at_a_terminal_logs_in_and_logs_out_at_the_issuer_as_well() {
    let issuer = OidcProvider::start(Duration::from_secs(3600));
    let daemon = Daemon::start(&person(&issuer, "device_code"));
    let mut login = shim::spawn(daemon.home(), &["login", "prod"]);
    let (page, code) = found(SOON, "a page and a code", || person::read(&(login.stdout() + &login.stderr())));
    oidc_provider::log_in(&page, &code);
    assert_eq!(login.wait().status, 0, "{}", daemon.log());
    let token = daemon.shim(&["token", "prod"]);
    assert_eq!((token.status, issuer.honours(token.stdout.trim())), (0, true));

    let report: LogoutReport = daemon.api("DELETE", "/v1/accounts/prod/session").json();
    assert_eq!(report.revocation, Revocation::Revoked, "{report:?}");
    assert_eq!(issuer.logins_ended(), 1);
    assert!(!issuer.honours(token.stdout.trim()));
    assert_eq!(daemon.shim(&["token", "prod"]).status, 3);
}

#[test]
fn an_identifier_and_a_secret_of_reserved_characters_are_taken_by_basic_and_by_post() {
    let issuer = OidcProvider::start(LIFETIME);
    let home = Home::new();
    let basic = issuer.client_credentials(&home, "client_secret_basic", issuer.basic_client());
    let post = issuer.client_credentials(&home, "client_secret_post", issuer.post_client());
    home.configure(&format!("[store]\nkey = \"file\"\n{basic}{post}"));
    let daemon = Daemon::start_in(home);
    for account in ["client_secret_basic", "client_secret_post"] {
        let token = daemon.shim(&["token", account]);
        assert_eq!((token.status, token.stderr.as_str()), (0, ""));
        assert!(issuer.honours(token.stdout.trim()), "{account}");
    }
    assert_eq!(issuer.tokens_given("client_credentials"), 2);
    assert_eq!(issuer.refusals("invalid_client"), 0, "no way was merely tried");
}

#[test]
fn a_person_in_front_of_a_browser_logs_in_once_and_every_renewal_goes_without_them() {
    let issuer = OidcProvider::start(LIFETIME);
    // Without it this issuer gives no refresh token to a client with a browser (OpenID Connect Core §11).
    let consent = "extra_params = { authorization = { prompt = \"consent\" } }\n";
    let daemon = Daemon::start(&(person(&issuer, "authorization_code") + consent));
    let mut login = shim::spawn(daemon.home(), &["login", "--no-browser"]);
    let end = oidc_provider::log_in(&page_of(&login, &issuer), "");
    assert!(end.html.contains("You are signed in"), "{end:?}");
    assert_eq!(login.wait().status, 0, "{}", daemon.log());
    let first = daemon.shim(&["token"]).stdout.trim_end().to_owned();
    assert!(issuer.honours(&first));
    // Its nonce, issuer, audience and times are as they should be, or the login would have failed.
    let id = daemon.shim(&["token", "--id-token"]);
    assert_eq!(id.stdout.split('.').count(), 3, "{id:?}");

    eventually(LIFETIME * 3, "two renewals", || issuer.rotations() >= 2);
    assert_eq!(issuer.tokens_given("authorization_code"), 1);
    assert_eq!(issuer.refusals("invalid_grant"), 0);
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn a_login_that_will_not_last_says_so_at_once() {
    let issuer = OidcProvider::start(Duration::from_secs(3600));
    let daemon = Daemon::start(&person(&issuer, "authorization_code"));
    let mut login = shim::spawn(daemon.home(), &["login", "--no-browser"]);
    oidc_provider::log_in(&page_of(&login, &issuer), "");
    let output = login.wait();
    assert_eq!(output.status, 0, "{output:?}");
    for said in [output.stderr, daemon.shim(&["status"]).stdout] {
        assert!(said.contains("no refresh token") && said.contains("prompt = \"consent\""), "{said}");
    }
}

#[test]
fn a_person_can_change_their_mind_about_the_browser_and_take_a_code() {
    let issuer = OidcProvider::start(LIFETIME);
    let daemon = Daemon::start(&person(&issuer, "authorization_code"));
    daemon.begin_visit("prod");
    let mut login = shim::spawn(daemon.home(), &["login", "--device"]);
    let (page, code) = found(SOON, "a page and a code", || person::read(&login.shown()));
    oidc_provider::log_in(&page, &code);
    assert_eq!(login.wait().status, 0, "{}", daemon.log());
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert_eq!(issuer.tokens_given("authorization_code"), 0);
}

/// Returns the page that `keyfob login` shows.
fn page_of(login: &Process, issuer: &OidcProvider) -> String {
    found(SOON, "a page to sign in at", || {
        let shown = login.shown();
        shown.split_whitespace().find(|word| word.starts_with(issuer.url())).map(str::to_owned)
    })
}

/// Returns an account of a person.
fn person(issuer: &OidcProvider, grant: &str) -> String {
    format!(
        r#"
[store]
key = "file"

[accounts.prod]
issuer = "{}"
client_id = "{}"
grant = "{grant}"
scopes = ["openid", "offline_access", "all"]
tls = {{ allow_http_loopback = true }}
"#,
        issuer.url(),
        OidcProvider::PUBLIC_CLIENT,
    )
}
