//! The real `keyfobd` in a home of its own, and its API.
//!
//! It logs at the finest level, so that a leak scan sees all that could ever be logged.

use keyfob_protocol::account::{AccountList, AccountStatus};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus};
use keyfob_protocol::token::TokenResponse;
use rustix::process::Signal;

use crate::home::Home;
use crate::http::{Request, Response};
use crate::patience::{SOON, eventually, found, promptly};
use crate::person;
use crate::process::{Output, Process};
use crate::programs;
use crate::shim;

/// A query for more life than any token of the stories has.
pub const MORE_LIFE: &str = "min_ttl=86400";

/// A daemon and its home.
#[derive(Debug)]
pub struct Daemon {
    home: Home,
    running: Option<Process>,
    /// The standard error of the runs that have ended.
    past: String,
}

impl Daemon {
    /// Starts a daemon with this configuration in a new home.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        let home = Home::new();
        home.configure(config);
        Self::start_in(home)
    }

    /// Starts a daemon in a home that has a configuration.
    #[track_caller]
    pub fn start_in(home: Home) -> Self {
        let mut daemon = Self::run_by_another(home);
        daemon.start_again();
        daemon
    }

    /// Returns a daemon that somebody else starts in this home, and ends.
    pub fn run_by_another(home: Home) -> Self {
        Self { home, running: None, past: String::new() }
    }

    /// Starts the daemon again in its home, for whoever measures that: returns at its first answer.
    #[track_caller]
    pub fn start_promptly(&mut self) {
        assert!(self.running.is_none(), "the daemon runs already");
        let process = self.home.spawn("keyfobd", &[]);
        promptly("keyfobd answers", || self.try_api("GET", "/healthz").is_some());
        self.running = Some(process);
    }

    /// Starts the daemon again in its home, and waits until it answers.
    ///
    /// # Panics
    /// Panics with its log where it ends instead.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.answers(self.home.spawn("keyfobd", &[]));
    }

    /// Starts the daemon with fail points in its home, and waits until it answers.
    ///
    /// # Panics
    /// Panics with its log where it ends instead.
    #[track_caller]
    pub fn start_with(&mut self, failpoints: &str) {
        self.answers(self.with(failpoints));
    }

    /// Runs the daemon with fail points in its home, until one of them kills it.
    #[track_caller]
    pub fn die(&mut self, failpoints: &str) {
        assert!(self.running.is_none(), "the daemon runs already");
        self.running = Some(self.with(failpoints));
        let output = self.wait();
        assert_eq!(output.status, 128 + 9, "{failpoints}: {}", output.stderr);
    }

    fn with(&self, failpoints: &str) -> Process {
        let mut command = self.home.daemon(programs::with_failpoints());
        command.env("KEYFOB_FAILPOINTS", failpoints);
        self.home.spawn_command(command)
    }

    #[track_caller]
    fn answers(&mut self, mut process: Process) {
        assert!(self.running.is_none(), "the daemon runs already");
        eventually(SOON, "keyfobd answers", || {
            if let Some(output) = process.ended() {
                panic!("keyfobd ended: {output:?}");
            }
            self.try_api("GET", "/healthz").is_some_and(|health| health.status == 200)
        });
        self.running = Some(process);
    }

    /// Ends it by SIGTERM and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> Output {
        self.end(Signal::TERM)
    }

    /// Ends it by SIGKILL, as a crash or the kernel would.
    #[track_caller]
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Ends it by SIGTERM and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        let output = self.stop();
        assert_eq!(output.status, 0, "{}", output.stderr);
        self.start_again();
    }

    #[track_caller]
    fn end(&mut self, signal: Signal) -> Output {
        self.signal(signal);
        let output = self.wait();
        assert!(signal != Signal::KILL || output.status == 128 + 9, "{output:?}");
        output
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> Output {
        let output = self.running.as_mut().expect("the daemon runs").wait();
        self.running = None;
        self.past.push_str(&output.stderr);
        output
    }

    /// Returns the running process.
    #[track_caller]
    pub fn process(&self) -> &Process {
        self.running.as_ref().expect("the daemon runs")
    }

    /// Returns its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Returns all that it has logged, over every start.
    pub fn log(&self) -> String {
        self.past.clone() + &self.running.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Sends a request to its API.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str) -> Response {
        self.api_with(method, path, &[])
    }

    /// Sends a request with headers to its API.
    #[track_caller]
    pub fn api_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = Request { method, path, headers, body: "" };
        self.home.ask(&request).unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// Sends a request with a JSON body to its API.
    #[track_caller]
    pub fn send(&self, path: &str, body: &str) -> Response {
        let headers = [("content-type", "application/json")];
        self.home
            .ask(&Request { method: "POST", path, headers: &headers, body })
            .unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.log()))
    }

    /// Sends a request to its API; there may be nobody who answers.
    pub fn try_api(&self, method: &str, path: &str) -> Option<Response> {
        self.home.ask(&Request { method, path, headers: &[], body: "" }).ok()
    }

    /// Runs the real shim in its home.
    #[track_caller]
    pub fn shim(&self, arguments: &[&str]) -> Output {
        shim::run(&self.home, arguments)
    }

    /// Returns the token that the API gives for an account.
    #[track_caller]
    pub fn token(&self, account: &str) -> TokenResponse {
        self.token_with(account, "")
    }

    /// Returns the token that the API gives for an account and a query.
    #[track_caller]
    pub fn token_with(&self, account: &str, query: &str) -> TokenResponse {
        let answer = self.api("GET", &format!("/v1/accounts/{account}/token?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}\n{}", self.log());
        answer.json()
    }

    /// Asks for more life than the token of an account has left until there is a new one, and returns that. It takes
    /// ten seconds after the last renewal, for the daemon renews no faster.
    #[track_caller]
    pub fn renew(&self, account: &str) -> TokenResponse {
        let old = self.token(account).access_token;
        found(SOON, "a renewal", || {
            let token = self.token_with(account, MORE_LIFE);
            (token.access_token != old).then_some(token)
        })
    }

    /// Has it read its configuration again.
    #[track_caller]
    pub fn reload(&self) -> Response {
        self.api("POST", "/v1/reload")
    }

    /// Returns what the API says about an account.
    #[track_caller]
    pub fn account(&self, name: &str) -> AccountStatus {
        let list: AccountList = self.api("GET", "/v1/accounts").json();
        let found = list.accounts.into_iter().find(|account| account.name.as_str() == name);
        found.unwrap_or_else(|| panic!("no account {name}"))
    }

    /// Begins a login over the API, and returns the page and the code as soon as they are known.
    #[track_caller]
    pub fn begin_login(&self, account: &str) -> (String, String) {
        self.begin_login_if_needed(account)
            .unwrap_or_else(|| panic!("nobody is asked for anything\n{}", self.log()))
    }

    /// Begins a login over the API, and returns the page and the code as soon as they are known; nothing where a refresh token
    /// that had one more chance took it, so that nobody is asked.
    #[track_caller]
    pub fn begin_login_if_needed(&self, account: &str) -> Option<(String, String)> {
        let path = format!("/v1/accounts/{account}/login");
        let begun = self.api("POST", &path);
        assert_eq!(begun.status, 200, "{begun:?}\n{}", self.log());
        found(SOON, "a code to type", || {
            let login = self.api("GET", &path).json::<LoginStatus>().login;
            if login == LoginState::SignedIn {
                return Some(None);
            }
            let LoginState::Asking { prompt, .. } = login else {
                assert!(login.is_pending(), "the login ended: {login:?}\n{}", self.log());
                return None;
            };
            let LoginPrompt::EnterCode { verification_uri, user_code, .. } = prompt else {
                panic!("not a prompt for a code: {prompt:?}");
            };
            Some(Some((verification_uri, user_code)))
        })
    }

    /// Begins a login in a browser over the API, and returns the page to visit as soon as it is known.
    #[track_caller]
    pub fn begin_visit(&self, account: &str) -> String {
        let path = format!("/v1/accounts/{account}/login");
        let begun = self.api("POST", &path);
        assert_eq!(begun.status, 200, "{begun:?}\n{}", self.log());
        found(SOON, "a page to visit", || {
            let login = self.api("GET", &path).json::<LoginStatus>().login;
            let LoginState::Asking { prompt, .. } = login else {
                assert!(login.is_pending(), "the login ended: {login:?}\n{}", self.log());
                return None;
            };
            let LoginPrompt::Visit { url } = prompt else { panic!("not a page to visit: {prompt:?}") };
            Some(url)
        })
    }

    /// Waits until the latest login is not pending any more, and returns how it went.
    #[track_caller]
    pub fn login_outcome(&self, account: &str) -> LoginState {
        let path = format!("/v1/accounts/{account}/login");
        found(SOON, "the end of the login", || {
            let login = self.api("GET", &path).json::<LoginStatus>().login;
            (!login.is_pending()).then_some(login)
        })
    }

    /// Logs accounts in at the same time, with a person who approves, and returns their access tokens.
    #[track_caller]
    pub fn log_all_in(&self, accounts: &[String]) -> Vec<String> {
        for account in accounts {
            let (page, code) = self.begin_login(account);
            person::approve(&page, &code);
        }
        let logged_in = accounts.iter().map(|account| {
            assert_eq!(self.login_outcome(account), LoginState::SignedIn, "{account}: {}", self.log());
            self.token(account).access_token
        });
        logged_in.collect()
    }

    /// Logs an account in over the API, with a person who approves.
    #[track_caller]
    pub fn log_in(&self, account: &str) {
        let (page, code) = self.begin_login(account);
        person::approve(&page, &code);
        assert_eq!(self.login_outcome(account), LoginState::SignedIn, "{}", self.log());
    }
}
