//! The tool that keyfob exists for: the real flytekit, with `authType: ExternalCommand`.
//!
//! It runs the command in every thread that is refused, with no lock around it. Ten threads without keyfob take twenty
//! tokens in the time of these stories.

use std::time::Duration;

use integration_tests::daemon::Daemon;
use integration_tests::flyte_admin::FlyteAdmin;
use integration_tests::flyte2_backend::Flyte2Backend;
use integration_tests::flytekit::Flytekit;
use integration_tests::home::Home;
use integration_tests::oidc_provider::OidcProvider;
use integration_tests::patience::eventually;
use integration_tests::resource_server::{Outcome, ResourceServer};

const LIFETIME: Duration = Duration::from_secs(20);

/// The account's name is the way in which its client authenticates.
const ACCOUNT: &str = "client_secret_basic";

/// More than the lifetimes that the story lives through: a token for each thread would be too many.
const THREADS: usize = 10;

#[test]
fn ten_threads_live_through_an_expiry_on_one_token_per_lifetime() {
    let issuer = OidcProvider::start(LIFETIME);
    let admin = FlyteAdmin::start(&issuer);
    let daemon = Daemon::start_in(home(&issuer));
    let flytekit = Flytekit::start(daemon.home(), &admin, ACCOUNT, THREADS);
    let expired = || admin.calls(Outcome::Refused) >= 1;
    eventually(LIFETIME * 5, "a call with a successor", || expired() && admin.good_tokens().len() >= 2);
    let calls = flytekit.stop();

    assert_eq!(calls.failures, [""; 0]);
    assert!(admin.calls(Outcome::Missing) >= THREADS, "every thread began without a token");
    // keyfob renews at half of a lifetime, flytekit asks again at its end: two tokens for each that it used, and one on
    // its way.
    let given = issuer.tokens_given("client_credentials");
    let used = admin.good_tokens().len();
    assert!(given <= 2 * used + 1, "{given} tokens were fetched for {used} that were used");
    assert!(given < THREADS, "{given} tokens were fetched for {THREADS} threads");
}

#[test]
fn the_token_goes_into_the_header_that_the_server_asks_for() {
    let issuer = OidcProvider::start(Duration::from_secs(3600));
    let admin = FlyteAdmin::start_with_header(&issuer, "flyte-authorization");
    let daemon = Daemon::start_in(home(&issuer));
    let flytekit = Flytekit::start(daemon.home(), &admin, ACCOUNT, 1);
    eventually(LIFETIME * 5, "a call with a token", || admin.calls(Outcome::Good) >= 1);
    assert_eq!(flytekit.stop().failures, [""; 0]);
    assert_eq!(issuer.tokens_given("client_credentials"), 1);
}

#[test]
fn ten_coroutines_of_flyte_2_live_through_an_expiry_on_one_token_per_lifetime() {
    let issuer = OidcProvider::start(LIFETIME);
    let backend = Flyte2Backend::start(&issuer);
    let daemon = Daemon::start_in(home(&issuer));
    let flyte = Flytekit::start_2(daemon.home(), &backend, ACCOUNT, THREADS);
    let expired = || backend.calls(Outcome::Refused) >= 1;
    eventually(LIFETIME * 5, "a call with a successor", || expired() && backend.good_tokens().len() >= 2);
    assert_eq!(flyte.stop().failures, [""; 0]);
    let (given, used) = (issuer.tokens_given("client_credentials"), backend.good_tokens().len());
    assert!(given <= 2 * used + 1, "{given} tokens were fetched for {used} that were used");
    assert!(given < THREADS, "{given} tokens were fetched for {THREADS} coroutines");
}

#[test]
fn flytekit_gets_a_successor_for_a_token_that_the_server_refuses_before_its_end() {
    refused_before_its_end(FlyteAdmin::start);
}

#[test]
fn flytekit_gets_a_successor_where_the_server_says_unknown() {
    refused_before_its_end(FlyteAdmin::start_with_unknown);
}

#[track_caller]
fn refused_before_its_end(start: fn(&OidcProvider) -> FlyteAdmin) {
    let issuer = OidcProvider::start(Duration::from_secs(3600));
    let admin = start(&issuer);
    let daemon = Daemon::start_in(home(&issuer));
    let flytekit = Flytekit::start(daemon.home(), &admin, ACCOUNT, THREADS);
    used_for_a_while(&admin);
    admin.refuse();
    eventually(LIFETIME * 3, "a call with a successor", || admin.good_tokens().len() >= 2);
    assert_eq!(flytekit.stop().failures, [""; 0]);
    assert_eq!(issuer.tokens_given("client_credentials"), 2, "ten threads that were refused need one token");
}

#[test]
fn flyte_2_gets_a_successor_for_a_token_that_the_server_refuses_before_its_end() {
    let issuer = OidcProvider::start(Duration::from_secs(3600));
    let backend = Flyte2Backend::start(&issuer);
    let daemon = Daemon::start_in(home(&issuer));
    let flyte = Flytekit::start_2(daemon.home(), &backend, ACCOUNT, THREADS);
    used_for_a_while(&backend);
    backend.refuse();
    eventually(LIFETIME * 3, "a call with a successor", || backend.good_tokens().len() >= 2);
    assert_eq!(flyte.stop().failures, [""; 0]);
    assert_eq!(
        issuer.tokens_given("client_credentials"),
        2,
        "ten coroutines that were refused need one token"
    );
}

#[test]
fn a_server_that_refuses_everything_costs_one_more_token_and_shows_in_the_status() {
    let issuer = OidcProvider::start(Duration::from_secs(3600));
    let admin = FlyteAdmin::start(&issuer);
    let daemon = Daemon::start_in(home(&issuer));
    let flytekit = Flytekit::start(daemon.home(), &admin, ACCOUNT, THREADS);
    used_for_a_while(&admin);
    admin.refuse_all();
    eventually(LIFETIME * 3, "a status that says so", || {
        daemon.account(ACCOUNT).warnings.iter().any(|warning| warning.contains("not a matter of renewal"))
    });
    assert!(!flytekit.stop().failures.is_empty(), "nobody could have been served");
    let refusals = admin.calls(Outcome::Refused);
    assert!(refusals > 10 * THREADS, "{refusals} refusals");
    assert_eq!(issuer.tokens_given("client_credentials"), 2, "{refusals} refusals cost one token");
}

fn home(issuer: &OidcProvider) -> Home {
    let home = Home::new();
    let account = issuer.client_credentials(&home, ACCOUNT, issuer.basic_client());
    home.configure(&format!("[store]\nkey = \"file\"\n{account}"));
    home
}

/// Waits until a server has taken a token for so long that whoever asks again must have been refused.
fn used_for_a_while(server: &ResourceServer) {
    // Ten threads with a tenth of a second between their calls: ten seconds.
    eventually(LIFETIME * 3, "many calls", || server.calls(Outcome::Good) >= THREADS * 100);
}
