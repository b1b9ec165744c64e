//! The device authorization grant (RFC 8628): a person answers on any device, while we poll.
//!
//! The thing to get wrong: whoever approves the code gives *this* machine their tokens, so the codes come from one
//! request, are shown once, and a code that has died is never renewed by itself.

pub(crate) mod poller;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{OnceCell, watch};

use crate::clock::Clock;
use crate::grant::device_code::poller::{Decision, Polled, Poller};
use crate::grant::issuer::{Issuer, Known};
use crate::grant::{
    Adoption, Attendance, Flow, Login, Pending, Prompt, Renewal, Revoked, TokenSource, Unread, Wanted,
    exchanged,
};
use crate::oauth::client_auth::Credentials;
use crate::oauth::device::{self, Asked};
use crate::oauth::error::Presented;
use crate::oauth::token_endpoint::Exchange;
use crate::token::answered::Answered;
use crate::token::device_login::DeviceLogin;
use crate::token::failure::Failure;
use crate::token::{ProofKey, RefreshToken, TokenSet};

/// Obtains tokens by a person on another device.
#[derive(Debug)]
pub(crate) struct DeviceCode(pub(crate) Arc<Issuer>);

impl TokenSource for DeviceCode {
    fn attendance(&self) -> Attendance {
        Attendance::Person
    }

    fn renew(&self, refresh: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        let issuer = Arc::clone(&self.0);
        Box::pin(async move {
            match refresh {
                Some(refresh) => issuer.rotation(refresh, wanted).await.map(Renewal::Ready),
                None => Err(Failure::LoginRequired),
            }
        })
    }

    fn read(&self, answered: &Answered, refresh: &RefreshToken) -> Result<TokenSet, Unread> {
        self.0.read(answered, refresh, std::slice::from_ref(&refresh.secret))
    }

    /// There is one flow: the device flow is the configured one.
    fn begin_login(&self, _: Flow) -> Pending<Result<Login, Failure>> {
        Box::pin(begin(Arc::clone(&self.0)))
    }

    fn resume_login(&self, login: DeviceLogin) -> Result<Login, Failure> {
        resume(Arc::clone(&self.0), login)
    }

    fn begins_anew(&self) -> bool {
        self.0.binding.begins_anew()
    }

    fn adopt(&self, refresh: SecretString) -> Adoption {
        let issuer = Arc::clone(&self.0);
        Box::pin(async move { issuer.adopt(refresh).await })
    }

    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>> {
        let issuer = Arc::clone(&self.0);
        Box::pin(async move { issuer.revoke(tokens).await })
    }
}

/// Begins a login by a code.
async fn begin(issuer: Arc<Issuer>) -> Result<Login, Failure> {
    let known = issuer.known().await?;
    let Some(endpoint) = &known.endpoints.device_authorization else {
        return Err(Failure::misconfigured(
            "the issuer has no device_authorization_endpoint: configure it, or use another grant",
        ));
    };
    // Once for the whole login: a program that prints the secret may ask a person.
    let credentials = issuer.credentials(&known).await?;
    let proof_key = issuer.proof_key(&known).await?;
    let request = issuer.request(endpoint, &credentials);
    let asked =
        Asked { target: &known.target, extra: &issuer.extra.authorization, loopback: issuer.loopback };
    let answered = device::authorize(&request, asked).await;
    let codes = answered.map_err(|error| error.classify(Presented::ClientAlone))?;

    let login = DeviceLogin {
        device_code: codes.device_code,
        origin: known.endpoints.token.origin(),
        interval: codes.interval,
        until: request.started.moment.after(codes.life),
        user_code: codes.user_code,
        verification_uri: codes.verification_uri,
        verification_uri_complete: codes.verification_uri_complete,
    };
    Ok(waiting(issuer, login, OnceCell::new_with(Some(Counterpart { known, credentials, proof_key }))))
}

/// Goes on with a login that an earlier daemon began: nobody is asked anew, and the first poll waits a whole interval,
/// for nobody knows when the last one was.
fn resume(issuer: Arc<Issuer>, login: DeviceLogin) -> Result<Login, Failure> {
    match Poller::new(login.interval, login.until).first(issuer.clock.now().moment) {
        Decision::PollAt(_) => Ok(waiting(issuer, login, OnceCell::new())),
        Decision::Stop(failure) => Err(failure),
    }
}

/// Where the polls go, as whom, and what the tokens are to be bound to.
#[derive(Debug)]
struct Counterpart {
    known: Known,
    credentials: Credentials,
    proof_key: Option<ProofKey>,
}

/// Returns the login that waits for the person.
fn waiting(issuer: Arc<Issuer>, login: DeviceLogin, counterpart: OnceCell<Counterpart>) -> Login {
    let until = login.until;
    let prompt = Prompt::EnterCode {
        verification_uri: login.verification_uri.clone(),
        verification_uri_complete: login.verification_uri_complete.clone(),
        user_code: login.user_code.clone(),
    };
    let (current, resumable) = watch::channel(login.clone());
    let answered = async move {
        let poll = || async {
            // Found out within a poll, so that an issuer that is out of reach ends no login.
            let Counterpart { known, credentials, proof_key } =
                counterpart.get_or_try_init(|| find(&issuer, &login)).await?;
            let exchange =
                Exchange::DeviceCode { device_code: &login.device_code, proof_key: proof_key.as_ref() };
            let exchanged = issuer.exchange(known, credentials, exchange, &Wanted::Own).await;
            exchanged.map_err(|error| {
                tracing::debug!(%error, "polled");
                Polled::from(&error)
            })
        };
        let grown = |interval| {
            current.send_if_modified(|login| std::mem::replace(&mut login.interval, interval) != interval);
        };
        let poller = Poller::new(login.interval, until);
        // The poll that finds an answer has exchanged it.
        answer(poller, &issuer.clock, poll, grown).await.map(exchanged)
    };
    Login { prompt, until, answered: Box::pin(answered), pasting: None, resumable: Some(resumable) }
}

/// Finds out where a login that an earlier daemon began is to be polled for. Its code goes where it went before.
async fn find(issuer: &Issuer, login: &DeviceLogin) -> Result<Counterpart, Failure> {
    let known = issuer.known().await?;
    let origin = known.endpoints.token.origin();
    if origin != login.origin {
        return Err(Failure::misconfigured(format!(
            "the login began at {}, but the token endpoint is at {origin} now, where its code is not sent: log in again",
            login.origin
        )));
    }
    let credentials = issuer.credentials(&known).await?;
    let proof_key = issuer.proof_key(&known).await?;
    Ok(Counterpart { known, credentials, proof_key })
}

/// Polls until the person has answered, or the login is over. `grown` hears of the interval after each poll.
async fn answer<F>(
    mut poller: Poller,
    clock: &Clock,
    poll: impl Fn() -> F,
    grown: impl Fn(Duration),
) -> Result<TokenSet, Failure>
where
    F: Future<Output = Result<TokenSet, Polled>>,
{
    let mut decision = poller.first(clock.now().moment);
    loop {
        match decision {
            Decision::PollAt(moment) => clock.sleep_until(moment).await,
            Decision::Stop(failure) => return Err(failure),
        }
        match poll().await {
            Ok(tokens) => return Ok(tokens),
            Err(polled) => {
                decision = poller.next(clock.now().moment, polled);
                grown(poller.interval());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::clock::Moment;
    use crate::oauth::ClientAuthentication;
    use crate::oauth::error::{Code, Error, Kind, Refusal, Sent};
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::token::AccessToken;

    fn tokens() -> TokenSet {
        let access = AccessToken::new("AT".into(), Clock::system().now().moment, None).unwrap();
        TokenSet::of(access)
    }

    fn oauth(code: Code) -> Error {
        let refusal = Refusal { code, description: None, uri: None };
        let kind = Kind::OAuth { status: reqwest::StatusCode::BAD_REQUEST, refusal, retry_after: None };
        Error { host: "i".to_owned(), kind }
    }

    fn unreachable() -> Error {
        Error {
            host: "i".to_owned(),
            kind: Kind::Transport { sent: Sent::No, cause: "it is down".to_owned() },
        }
    }

    /// An interval that nobody notices.
    const INSTANT: Duration = Duration::from_millis(10);

    /// Returns what an earlier daemon left of a login.
    fn left(origin: &str, interval: Duration, life: u64) -> DeviceLogin {
        DeviceLogin {
            device_code: "CANARY-DC".into(),
            origin: origin.to_owned(),
            interval,
            until: Clock::system().now().moment.after(Duration::from_secs(life)),
            user_code: "WDJB-MJHT".to_owned(),
            verification_uri: "https://i/device".parse().unwrap(),
            verification_uri_complete: None,
        }
    }

    /// Polls an issuer that gives these answers, each after a second; returns the gaps before its requests too.
    async fn polled(
        life: u64,
        script: impl IntoIterator<Item = Result<TokenSet, Error>>,
    ) -> (Result<TokenSet, Failure>, Vec<u64>) {
        let clock = Clock::following_tokio();
        let start = clock.now().moment;
        let (script, ended) =
            (RefCell::new(script.into_iter().collect::<VecDeque<_>>()), RefCell::new(start));
        let gaps = RefCell::new(Vec::new());
        let poll = || async {
            gaps.borrow_mut().push(clock.now().moment.since(*ended.borrow()).as_secs());
            tokio::time::sleep(Duration::from_secs(1)).await;
            *ended.borrow_mut() = clock.now().moment;
            let answer = script.borrow_mut().pop_front().expect("a poll that is not in the script");
            answer.map_err(|error| Polled::from(&error))
        };
        let until: Moment = start.after(Duration::from_secs(life));
        let outcome = answer(Poller::new(Duration::from_secs(5), until), &clock, poll, |_| ()).await;
        assert!(script.borrow().is_empty(), "not every answer was fetched");
        (outcome, gaps.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn every_poll_waits_its_interval_8628_1_8628_2_8628_3() {
        let (outcome, gaps) = polled(
            600,
            [
                Err(oauth(Code::AuthorizationPending)),
                Err(oauth(Code::SlowDown)),
                Err(oauth(Code::AuthorizationPending)),
                Err(unreachable()),
                Err(oauth(Code::SlowDown)),
                Ok(tokens()),
            ],
        )
        .await;
        assert!(outcome.is_ok());
        assert_eq!(gaps, [5, 5, 10, 10, 20, 25]);
    }

    /// What a poll of a script brings, by chance.
    fn drawn(dice: &mut impl FnMut(u64) -> u64) -> Polled {
        match dice(10) {
            0..5 => Polled::Pending,
            5..7 => Polled::SlowDown,
            7 => Polled::Unreachable,
            8 => Polled::Troubled { retry_after: None },
            _ => Polled::Troubled { retry_after: Some(Duration::from_secs(dice(400))) },
        }
    }

    /// Goes through a login by chance, in virtual time, and keeps the books of an issuer: it looks at when polls come, and
    /// at nothing that the poller says.
    async fn go_through(mut dice: impl FnMut(u64) -> u64) -> usize {
        let clock = Clock::following_tokio();
        let asked = Duration::from_secs(1 + dice(40));
        let began = clock.now().moment;
        let until = began.after(Duration::from_secs(dice(600)));
        let ledger = RefCell::new((asked, began, 0));
        let dice = RefCell::new(dice);
        let poll = || async {
            let (interval, last, polls) = *ledger.borrow();
            let now = clock.now().moment;
            assert!(
                now.since(last) >= interval,
                "a poll {:?} after the last, not {interval:?}",
                now.since(last)
            );
            assert!(now <= until, "a poll after the end");
            let (took, polled) = {
                let mut dice = dice.borrow_mut();
                let mut dice = |sides| (*dice)(sides);
                (dice(16_000), drawn(&mut dice))
            };
            tokio::time::sleep(Duration::from_millis(took)).await;
            // The least that RFC 8628 §3.5 asks for. Where a wait would outlast the code, what is left of it is enough.
            let now = clock.now().moment;
            let interval = match polled {
                Polled::SlowDown => interval + Duration::from_secs(5),
                Polled::Unreachable => interval.max((interval * 2).min(until.since(now))),
                Polled::Troubled { retry_after: Some(wait) } => interval.max(wait.min(until.since(now))),
                Polled::Pending | Polled::Troubled { retry_after: None } | Polled::Ended(_) => interval,
            };
            *ledger.borrow_mut() = (interval, now, polls + 1);
            Err(polled)
        };
        let grown = RefCell::new(asked);
        let hear = |interval| {
            assert!(interval >= *grown.borrow(), "the interval shrank");
            *grown.borrow_mut() = interval;
        };
        let outcome = answer(Poller::new(asked, until), &clock, poll, hear).await;
        assert!(matches!(outcome, Err(Failure::Refused { .. })), "{outcome:?}");
        ledger.into_inner().2
    }

    #[tokio::test(start_paused = true)]
    async fn no_poll_of_ten_thousand_logins_by_chance_comes_early_d_1() {
        let mut polls = 0;
        for script in 0..10_000_u64 {
            // Numbers by chance that are the same each time (Knuth's generator for 64 bits).
            let mut state = script;
            let dice = move |sides: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % sides
            };
            polls += go_through(dice).await;
        }
        assert!(polls > 20_000, "{polls} polls are no test");
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspend_brings_one_poll_at_the_resume_and_the_interval_as_it_has_grown_d_2() {
        const SUSPEND: Duration = Duration::from_secs(60);
        let clock = Clock::following_tokio();
        let start = clock.now().moment;
        let (polls, ended) = (RefCell::new(Vec::new()), RefCell::new(start));
        let poll = || async {
            let number = polls.borrow().len();
            polls.borrow_mut().push(clock.now().moment.since(*ended.borrow()).as_secs());
            if number == 2 {
                // The machine is suspended while the issuer is asked.
                clock.suspend(SUSPEND);
            }
            *ended.borrow_mut() = clock.now().moment;
            match number {
                0 => Err(Polled::SlowDown),
                1..=4 => Err(Polled::Pending),
                _ => Ok(tokens()),
            }
        };
        let poller = Poller::new(Duration::from_secs(5), start.after(Duration::from_secs(600)));
        let suspending = async {
            // In the middle of the wait for the second poll.
            tokio::time::sleep(Duration::from_secs(8)).await;
            clock.suspend(SUSPEND);
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = answer(poller, &clock, poll, |_| ()) => outcome,
            () = suspending => panic!("it never ends"),
        };
        assert!(outcome.is_ok());
        assert_eq!(*polls.borrow(), [5, 63, 10, 10, 10, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_over_is_not_polled_again_8628_4_d_3() {
        for code in
            [Code::AccessDenied, Code::ExpiredToken, Code::InvalidGrant, Code::Other("odd".to_owned())]
        {
            let (outcome, gaps) = polled(600, [Err(oauth(code))]).await;
            assert!(outcome.is_err());
            assert_eq!(gaps.len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_that_nobody_enters_expires_d_3() {
        let pending = (0..5).map(|_| Err(oauth(Code::AuthorizationPending)));
        let (outcome, gaps) = polled(30, pending).await;
        let failure = outcome.unwrap_err();
        assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
        assert_eq!(failure.to_string(), "the code expired before the login was approved");
        assert_eq!(gaps, [5, 5, 5, 5, 5]);
    }

    fn source(server: &ScriptedServer) -> DeviceCode {
        DeviceCode(Arc::new(Issuer::fake(server.endpoints(), ClientAuthentication::None)))
    }

    fn codes(members: &str) -> Vec<u8> {
        json(
            200,
            &format!(
                r#"{{"device_code":"CANARY-DC","user_code":"WDJB-MJHT","verification_uri":"https://i/device"{members}}}"#
            ),
        )
    }

    #[tokio::test]
    async fn a_login_shows_the_codes_and_brings_the_tokens() {
        let answer = r#"{"access_token":"AT","token_type":"bearer","refresh_token":"RT"}"#;
        let server = ScriptedServer::answering([codes(r#","interval":1"#), json(200, answer)]).await;
        let login = source(&server).begin_login(Flow::Configured).await.unwrap();
        let Prompt::EnterCode { verification_uri, verification_uri_complete, user_code } = &login.prompt
        else {
            panic!("not a code")
        };
        assert_eq!(verification_uri.as_str(), "https://i/device");
        assert_eq!((verification_uri_complete, user_code.as_str()), (&None, "WDJB-MJHT"));
        assert!(!format!("{:?}", login.prompt).contains("CANARY"));
        assert_eq!(server.requests().len(), 1);
        let tokens = login.answered.await.unwrap().await.unwrap();
        let refresh = tokens.refresh.unwrap();
        assert_eq!((refresh.secret.expose_secret(), refresh.origin), ("RT", server.issuer()));
        let [asked, polled] = server.requests().try_into().unwrap();
        assert!(
            asked.starts_with("POST /device ") && asked.ends_with("\r\n\r\nscope=all&client_id=cli"),
            "{asked}"
        );
        assert!(polled.starts_with("POST /token ") && polled.contains("&device_code=CANARY-DC&"), "{polled}");
    }

    #[tokio::test]
    async fn what_is_left_of_a_login_has_the_interval_as_it_has_grown_8628_9() {
        let slow_down = r#"{"error":"slow_down"}"#;
        let server = ScriptedServer::answering([codes(r#","interval":1"#), json(400, slow_down)]).await;
        let login = source(&server).begin_login(Flow::Configured).await.unwrap();
        let mut resumable = login.resumable.unwrap();
        assert_eq!(resumable.borrow().interval, Duration::from_secs(1));
        let polling = tokio::spawn(login.answered);
        tokio::time::timeout(Duration::from_secs(30), resumable.changed()).await.unwrap().unwrap();
        polling.abort();
        let left = resumable.borrow();
        assert_eq!((left.interval, left.until), (Duration::from_secs(6), login.until));
        assert_eq!((left.device_code.expose_secret(), &left.origin), ("CANARY-DC", &server.issuer()));
    }

    #[tokio::test]
    async fn a_login_is_gone_on_with_as_it_was_left_though_the_issuer_is_out_of_reach_at_first_8628_9() {
        let pending = r#"{"error":"authorization_pending"}"#;
        let answer = r#"{"access_token":"AT","token_type":"bearer"}"#;
        let server = ScriptedServer::answering([json(503, ""), json(400, pending), json(200, answer)]).await;
        let interval = Duration::from_millis(50);
        let left = left(&server.issuer(), interval, 600);
        let until = left.until;
        let before = Clock::system().now().moment;
        let login = source(&server).resume_login(left).unwrap();
        assert_eq!(login.until, until);
        assert!(
            matches!(&login.prompt, Prompt::EnterCode { user_code, .. } if user_code == "WDJB-MJHT"),
            "{:?}",
            login.prompt
        );
        let tokens = login.answered.await.unwrap().await.unwrap();
        assert_eq!(tokens.access.secret().expose_secret(), "AT");
        assert!(Clock::system().now().moment.since(before) >= 3 * interval, "a poll came early");
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        assert!(
            requests
                .iter()
                .all(|request| request.starts_with("POST /token ")
                    && request.contains("&device_code=CANARY-DC&")),
            "{requests:?}"
        );
    }

    #[tokio::test]
    async fn the_code_of_a_login_goes_to_no_other_origin_than_before_8628_9() {
        let server = ScriptedServer::answering([json(200, "")]).await;
        let login = source(&server).resume_login(left("https://login.example.com", INSTANT, 2)).unwrap();
        let Err(failure) = login.answered.await else { panic!("it was answered") };
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        assert!(failure.to_string().contains("https://login.example.com"), "{failure}");
        assert!(server.requests().is_empty());
    }

    #[tokio::test]
    async fn a_login_that_has_no_time_for_another_poll_is_not_gone_on_with_8628_9() {
        let server = ScriptedServer::answering([json(200, "")]).await;
        for (interval, life) in [(5, 0), (600, 60)] {
            let interval = Duration::from_secs(interval);
            let Err(failure) = source(&server).resume_login(left(&server.issuer(), interval, life)) else {
                panic!("{life}")
            };
            assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
        }
        assert!(server.requests().is_empty());
    }

    #[tokio::test]
    async fn an_issuer_without_device_logins_is_a_mistake_in_the_settings() {
        let server = ScriptedServer::answering([json(200, "")]).await;
        let none = crate::oauth::Endpoints { device_authorization: None, ..server.endpoints() };
        let source = DeviceCode(Arc::new(Issuer::fake(none, ClientAuthentication::None)));
        let Err(failure) = source.begin_login(Flow::Configured).await else { panic!("a login began") };
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
    }

    #[tokio::test]
    async fn without_a_refresh_token_a_person_must_log_in() {
        let server = ScriptedServer::answering([json(200, "")]).await;
        assert_eq!(source(&server).renew(None, Wanted::Own).await.unwrap_err(), Failure::LoginRequired);
        assert!(server.requests().is_empty());
    }
}
