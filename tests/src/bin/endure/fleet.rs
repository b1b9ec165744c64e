//! A daemon with many accounts, and their issuer, at which each account is a client of its own name.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::http::Response;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Client, Settings};
use integration_tests::patience::{now, rest};
use integration_tests::person;
use keyfob_protocol::login::LoginState;
use keyfob_protocol::token::TokenResponse;
use serde_json::Value;

use crate::options::{Said, setting};

/// A daemon with its accounts.
pub(crate) struct Fleet {
    pub(crate) issuer: FakeIssuer,
    pub(crate) daemon: Daemon,
    pub(crate) accounts: Vec<String>,
}

impl Fleet {
    /// Starts an issuer and a daemon whose settings say how that rotates, and logs all accounts in.
    pub(crate) fn start(accounts: usize, settings: Settings) -> Self {
        Self::start_with(accounts, settings, Said::Yes)
    }

    /// Starts an issuer and a daemon whose settings may say how that rotates, and logs all accounts in.
    pub(crate) fn start_with(accounts: usize, settings: Settings, said: Said) -> Self {
        let line = setting(settings.rotation, said);
        let accounts: Vec<String> = (0..accounts).map(|number| format!("a{number}")).collect();
        let clients = accounts.iter().map(|name| Client::public(name)).collect();
        let issuer = FakeIssuer::start(Settings { clients, ..settings });
        let home = Home::new().set("KEYFOB_LOG", "warn");
        home.configure(&config(&accounts, issuer.url(), &line));
        let fleet = Self { issuer, daemon: Daemon::start_in(home), accounts };
        fleet.log_in(&fleet.accounts);
        fleet
    }

    /// Logs accounts in, all at the same time.
    pub(crate) fn log_in(&self, accounts: &[String]) {
        for name in accounts {
            if let Some((page, code)) = self.daemon.begin_login_if_needed(name) {
                person::approve(&page, &code);
            }
        }
        for name in accounts {
            assert_eq!(self.daemon.login_outcome(name), LoginState::SignedIn, "{}", self.daemon.log());
        }
    }

    /// Asks for the token of an account; there may be nobody who answers.
    pub(crate) fn ask(&self, account: &str, query: &str) -> Option<Response> {
        self.daemon.try_api("GET", &format!("/v1/accounts/{account}/token?{query}"))
    }

    /// Returns the accounts that need a person, each with the state that the daemon says it is in.
    pub(crate) fn signed_out(&self) -> Vec<(String, String)> {
        let list: Value = self.daemon.api("GET", "/v1/accounts").json();
        assert_eq!(list["store"]["state"], "open", "{}", list["store"]);
        let accounts = list["accounts"].as_array().expect("a list of accounts");
        let told = |account: &Value, member: &str| account[member].as_str().unwrap_or_default().to_owned();
        accounts
            .iter()
            .map(|account| (told(account, "name"), told(account, "state")))
            .filter(|(_, state)| state != "signed_in")
            .collect()
    }

    /// Has every account renew once more, and returns those that do not, each with the state that it is in.
    ///
    /// The issuer must be well. Who holds a token that works can do this without a person.
    pub(crate) fn settle(&self, within: Duration) -> Vec<(String, String)> {
        let start = now();
        let since = self.issuer.ask(|_, now| now);
        loop {
            let renewed = self.renewed_since(since);
            let left: Vec<&String> = self.accounts.iter().filter(|name| !renewed.contains(*name)).collect();
            let out = self.signed_out();
            let waits = left.iter().any(|name| out.iter().all(|(account, _)| account != *name));
            if !waits || start.elapsed() > within {
                let state = |name: &String| out.iter().find(|(account, _)| account == name).cloned();
                let unknown = |name: &String| (name.clone(), "signed in, and does not renew".to_owned());
                return left.into_iter().map(|name| state(name).unwrap_or_else(|| unknown(name))).collect();
            }
            for name in left {
                // Whatever comes: the ledger says whether it renewed.
                drop(self.ask(name, "min_ttl=86400&wait=0"));
            }
            rest(Duration::from_millis(200));
        }
    }

    /// Returns the accounts that the issuer has given new tokens for since a time.
    fn renewed_since(&self, since: Duration) -> BTreeSet<String> {
        self.issuer.ask(|ledger, _| {
            let recent = ledger.access_tokens.iter().rev().take_while(|token| token.issued >= since);
            let families = recent.filter_map(|token| token.family);
            families.map(|family| ledger.families[family].client.clone()).collect()
        })
    }

    /// Returns how long ago the live refresh token of each account was given.
    pub(crate) fn ages(&self) -> Vec<(String, Duration)> {
        self.issuer.ask(|ledger, now| {
            let families = ledger.families.iter().filter(|family| family.alive);
            let aged = |family: &integration_tests::issuer::ledger::Family| {
                Some((family.client.clone(), now.saturating_sub(family.live()?.issued)))
            };
            families.filter_map(aged).collect()
        })
    }
}

/// Returns when a token that was given just now expires, as the daemon says, to the second before.
pub(crate) fn expiry(token: &TokenResponse) -> Option<Instant> {
    token.expires_in.map(|seconds| now() + Duration::from_secs(seconds))
}

fn config(accounts: &[String], issuer: &str, line: &str) -> String {
    let mut config = HEAD.replace("prod", &accounts[0]);
    for name in accounts {
        config.push_str(&config::of_its_own(
            name,
            issuer,
            &format!("tls = {{ allow_http_loopback = true }}\n{line}"),
        ));
    }
    config
}
