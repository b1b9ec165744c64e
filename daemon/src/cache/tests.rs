//! The promises of an account's owner, in simulated time: hours pass in milliseconds, and no socket is involved.

mod clocks;
mod disk;
mod doubt;
mod import;
mod lock;
mod outage;
mod rejection;
mod reload;
mod succession;
mod variant;

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::account::policy::Policy;
use crate::account::{Account, Grant, IssuerSettings, Provider};
use crate::cache::entry::{Asked, Entry, NoLogin, NoPaste};
use crate::cache::login::LoginProgress;
use crate::cache::orders::Orders;
use crate::cache::view::{Refusal, Served, Stored, View};
use crate::clock::Clock;
use crate::grant::authorization_code::BrowserLogin;
use crate::grant::{
    Adoption, Attendance, Exchange, Flow, Login, NotTheRedirect, Pasted, Pending, Prompt, Renewal, Revoked,
    Rotation, TokenSource, Unread, Wanted,
};
use crate::oauth::http::Http;
use crate::oauth::transport::Transport;
use crate::oauth::{
    Client, ClientAuthentication, ClientId, EndpointUrl, ExtraParameters, LoopbackHttp, Server,
};
use crate::store::key::KeyChoice;
use crate::store::{Location, Sources, Store};
use crate::token::answered::{Answered, Purpose, Terms};
use crate::token::failure::Failure;
use crate::token::need::Need;
use crate::token::rotation::Profile;
use crate::token::state::{SignedOut, Unavailable};
use crate::token::{AccessToken, IdToken, RefreshToken, Scope, Target, TokenSet};

mod resumption;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An issuer in memory that rotates: each refresh token works once, and a spent one ends the login.
#[derive(Clone, Debug)]
struct FakeIssuer(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    clock: Clock,
    attendance: Attendance,
    lifetime: Duration,
    delay: Duration,
    live: u32,
    requests: u32,
    revoked: u32,
    /// How the next requests fail; those after them succeed.
    failures: VecDeque<Failure>,
    /// Every request fails until this is taken away.
    outage: bool,
    gives_refresh_tokens: bool,
    gives_id_tokens: bool,
    subject: &'static str,
    /// The scope that is granted.
    scope: &'static str,
    panics: bool,
    /// The next renewal panics in the hands of the owner.
    breaks_owner: bool,
    /// The next answer panics in the hands of its reader.
    breaks_reader: bool,
    /// Every access token has the same text.
    repeats_itself: bool,
    /// What was asked for, in order.
    wanted: Vec<Wanted>,
    under_way: u32,
    max_under_way: u32,
    /// The tokens of answers to renewals.
    given: Vec<TokenSet>,
    /// How many of the next answers to renewals get lost, once they have been decided, or before.
    lost_after: u32,
    lost_before: u32,
    /// The predecessor of the live refresh token is taken for it.
    forgives: bool,
    /// Renewals leave their refresh token in force.
    keeps: bool,
    /// The refresh tokens that were presented, in order.
    presented: Vec<u32>,
    /// How many logins were begun.
    logins: u32,
    /// How many of the next failures of a login teach what it takes.
    lessons: u32,
}

impl FakeIssuer {
    fn new(clock: &Clock) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            clock: clock.clone(),
            attendance: Attendance::Person,
            lifetime: HOUR,
            delay: SECOND,
            live: 0,
            requests: 0,
            revoked: 0,
            failures: VecDeque::new(),
            outage: false,
            gives_refresh_tokens: true,
            gives_id_tokens: false,
            subject: "ann",
            scope: "",
            panics: false,
            breaks_owner: false,
            breaks_reader: false,
            repeats_itself: false,
            wanted: Vec::new(),
            under_way: 0,
            max_under_way: 0,
            given: Vec::new(),
            lost_after: 0,
            lost_before: 0,
            forgives: false,
            keeps: false,
            presented: Vec::new(),
            logins: 0,
            lessons: 0,
        })))
    }

    fn with(self, change: impl FnOnce(&mut Ledger)) -> Self {
        self.set(change);
        self
    }

    fn set(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.0.lock().unwrap());
    }

    fn requests(&self) -> u32 {
        self.0.lock().unwrap().requests
    }

    /// Waits as long as an answer takes, having decided what it will be.
    fn answer(&self, presented: Option<u32>) -> Pending<Result<TokenSet, Failure>> {
        let mut ledger = self.0.lock().unwrap();
        ledger.requests += 1;
        if ledger.panics {
            // What everybody looks at stays whole.
            drop(ledger);
            panic!("the source panics, as it was told to");
        }
        let issued_at = ledger.clock.now().moment;
        ledger.presented.extend(presented);
        let lost = Failure::Ambiguous { message: "the answer got lost".into() };
        if presented.is_some() && ledger.lost_before > 0 {
            ledger.lost_before -= 1;
            return Box::pin(async { Err(lost) });
        }
        let forgiven = ledger.forgives && presented.is_some_and(|token| token + 1 == ledger.live);
        let answer = match ledger.failures.pop_front() {
            Some(failure) => Err(failure),
            None if ledger.outage => Err(Failure::transient("the issuer is down")),
            None if !forgiven && presented.is_some_and(|token| token != ledger.live) => {
                Err(Failure::Refused { message: "invalid_grant: the refresh token was used before".into() })
            }
            None => {
                if !(forgiven || ledger.keeps && presented.is_some()) {
                    ledger.live += 1;
                }
                let number = if ledger.repeats_itself { String::new() } else { format!("-{}", ledger.live) };
                let name = format!("at{number}");
                let access =
                    AccessToken::new(name.into(), issued_at, Some(issued_at.after(ledger.lifetime))).unwrap();
                let refresh = RefreshToken::new(ledger.live.to_string().into(), "https://i".into());
                let refresh = Some(refresh).filter(|_| ledger.gives_refresh_tokens);
                let id = IdToken::new(format!("id-{}", ledger.live).into(), access.expires_at).unwrap();
                let id = Some(id).filter(|_| ledger.gives_id_tokens);
                let subject = id.as_ref().map(|_| ledger.subject.into());
                let scope = Scope::parse(ledger.scope);
                Ok(TokenSet { refresh, id, subject, scope, ..TokenSet::of(access) })
            }
        };
        let answer = match answer {
            Ok(_) if presented.is_some() && ledger.lost_after > 0 => {
                ledger.lost_after -= 1;
                Err(lost)
            }
            answer => answer,
        };
        let delay = ledger.delay;
        ledger.under_way += 1;
        ledger.max_under_way = ledger.max_under_way.max(ledger.under_way);
        drop(ledger);
        let issuer = self.clone();
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            issuer.set(|ledger| ledger.under_way -= 1);
            answer
        })
    }
}

impl FakeIssuer {
    /// Returns tokens as an answer on the wire: their number among all that were given.
    fn written(&self, tokens: TokenSet) -> Answered {
        let mut ledger = self.0.lock().unwrap();
        let terms = Terms {
            sent_at: tokens.access.issued_at,
            purpose: Purpose::Own,
            origin: "https://i".to_owned(),
            scope: Scope::default(),
            issuer: None,
            client_id: "cli".to_owned(),
            header: None,
        };
        ledger.given.push(tokens);
        let body = (ledger.given.len() - 1).to_string().into_bytes().into();
        Answered { status: 200, retry_after: None, redirect: None, body, terms }
    }

    /// Returns the tokens of an answer.
    fn understood(&self, answered: &Answered) -> TokenSet {
        let number: usize = std::str::from_utf8(&answered.body).unwrap().parse().unwrap();
        self.0.lock().unwrap().given[number].clone()
    }
}

impl TokenSource for FakeIssuer {
    fn attendance(&self) -> Attendance {
        self.0.lock().unwrap().attendance
    }

    fn renew(&self, refresh: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        let issuer = self.clone();
        self.set(|ledger| ledger.wanted.push(wanted));
        let breaks_owner = std::mem::take(&mut self.0.lock().unwrap().breaks_owner);
        assert!(!breaks_owner, "the owner panics, as it was told to");
        Box::pin(async move {
            let presented = refresh.map(|token| token.secret.expose_secret().parse().unwrap());
            if presented.is_none() {
                return issuer.answer(presented).await.map(|tokens| Renewal::Obtained(Box::new(tokens)));
            }
            let panics = issuer.0.lock().unwrap().panics;
            assert!(!panics, "the source panics before it presents anything, as it was told to");
            let reader = issuer.clone();
            let send =
                Box::pin(async move { issuer.answer(presented).await.map(|tokens| issuer.written(tokens)) });
            let read = Box::new(move |answered: &Answered| {
                let breaks = std::mem::take(&mut reader.0.lock().unwrap().breaks_reader);
                assert!(!breaks, "the reader panics, as it was told to");
                Ok(reader.understood(answered))
            });
            Ok(Renewal::Ready(Rotation { send, read }))
        })
    }

    fn read(&self, answered: &Answered, _: &RefreshToken) -> Result<TokenSet, Unread> {
        let failure = match &**answered.body {
            b"refused" => Failure::Refused { message: "invalid_grant".into() },
            b"busy" => Failure::transient("busy"),
            b"poison" => panic!("the reader panics, as it was told to"),
            _ => return Ok(self.understood(answered)),
        };
        Err(Unread { failure, successor: None })
    }

    fn begin_login(&self, flow: Flow) -> Pending<Result<Login, Failure>> {
        let issuer = self.clone();
        self.set(|ledger| ledger.logins += 1);
        Box::pin(async move {
            let until = issuer.0.lock().unwrap().clock.now().moment.after(5 * MINUTE);
            let prompt = match flow {
                Flow::Configured => Prompt::Visit { url: "https://i/authorize".parse().unwrap() },
                Flow::DeviceCode => Prompt::EnterCode {
                    verification_uri: "https://i/device".parse().unwrap(),
                    verification_uri_complete: None,
                    user_code: "WDJB-MJHT".to_owned(),
                },
            };
            let (pasting, mut pasted) = mpsc::channel(1);
            let answered = async move {
                // The person takes a second, or pastes the right thing before.
                while let Ok(Some(Pasted { url, reply })) = timeout(SECOND, pasted.recv()).await {
                    let is_right = url.expose_secret() == "right";
                    reply.send(is_right.then_some(()).ok_or(NotTheRedirect("not it"))).unwrap();
                    if is_right {
                        break;
                    }
                }
                Ok(Box::pin(async move { issuer.answer(None).await }) as Exchange)
            };
            Ok(Login { prompt, until, answered: Box::pin(answered), pasting: Some(pasting), resumable: None })
        })
    }

    fn begins_anew(&self) -> bool {
        let mut ledger = self.0.lock().unwrap();
        let is_taught = ledger.lessons > 0;
        ledger.lessons = ledger.lessons.saturating_sub(1);
        is_taught
    }

    fn adopt(&self, refresh: SecretString) -> Adoption {
        let issuer = self.clone();
        Box::pin(async move {
            let refresh = RefreshToken::new((&refresh).into(), "https://i".to_owned());
            match issuer.renew(Some(refresh.clone()), Wanted::Own).await? {
                Renewal::Ready(rotation) => Ok((refresh, rotation)),
                Renewal::Obtained(_) => panic!("it has a refresh token to present"),
            }
        })
    }

    fn revoke(&self, _: TokenSet) -> Pending<Result<Revoked, Failure>> {
        self.set(|ledger| ledger.revoked += 1);
        Box::pin(async { Ok(Revoked::Yes) })
    }
}

/// An account that runs, and all that it runs on.
struct World {
    clock: Clock,
    issuer: FakeIssuer,
    state: TempDir,
    store: Arc<Store>,
    account: Account,
    entry: Arc<Entry>,
}

impl World {
    fn new(change: impl FnOnce(&mut Ledger)) -> Self {
        Self::of(account("cli"), change)
    }

    fn of(account: Account, change: impl FnOnce(&mut Ledger)) -> Self {
        let clock = Clock::following_tokio();
        let issuer = FakeIssuer::new(&clock).with(change);
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();
        let sources = Sources::of_the_system(None);
        let spill = Some(state.path().join("runtime"));
        let location = Location { state: state.path().to_owned(), spill };
        let store = Arc::new(Store::open(&location, KeyChoice::File, sources, clock.clone()).unwrap());
        let entry = start(account.clone(), &issuer, &store, &clock);
        Self { clock, issuer, state, store, account, entry }
    }

    async fn signed_in(change: impl FnOnce(&mut Ledger)) -> Self {
        let world = Self::new(change);
        world.log_in().await;
        world
    }

    /// Begins a login, and waits until a person is asked.
    async fn begin(&self, flow: Flow) -> Arc<View> {
        let mut view = self.entry.begin_login(flow).await.unwrap();
        while matches!(view.login, LoginProgress::Starting) {
            view = self.entry.login_change(view.login_revision, MINUTE).await;
        }
        view
    }

    async fn login_ends(&self) -> Arc<View> {
        let mut view = self.entry.view();
        while view.login.is_pending() {
            view = self.entry.login_change(view.login_revision, MINUTE).await;
        }
        view
    }

    async fn log_in(&self) {
        self.begin(Flow::Configured).await;
        let view = self.login_ends().await;
        assert!(matches!(view.login, LoginProgress::SignedIn), "{:?}", view.login);
    }

    /// Ends the daemon in an orderly way and starts another on the same store.
    async fn restart(&mut self) {
        self.entry.close();
        self.entry.ended().await;
        self.entry = start(self.account.clone(), &self.issuer, &self.store, &self.clock);
    }

    async fn token(&self) -> Result<Served, Refusal> {
        self.entry.token(own(), None, 30 * SECOND).await
    }

    /// Asks a hundred times at once, and returns all answers.
    async fn a_hundred_callers(&self) -> Vec<Result<Served, Refusal>> {
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let entry = Arc::clone(&self.entry);
            callers.spawn(async move { entry.token(own(), None, 30 * SECOND).await });
        }
        callers.join_all().await
    }
}

fn start(account: Account, issuer: &FakeIssuer, store: &Arc<Store>, clock: &Clock) -> Arc<Entry> {
    let orders = Orders::new(account, Arc::new(issuer.clone()));
    Arc::new(Entry::start(orders, Arc::clone(store), clock.clone(), None))
}

fn account(client_id: &str) -> Account {
    let settings = IssuerSettings {
        site: crate::account::Site::Issuer(Server::Discovered {
            issuer: "https://i".to_owned(),
            loopback: LoopbackHttp::Refused,
        }),
        client: Client {
            id: ClientId::Given(client_id.to_owned()),
            authentication: ClientAuthentication::None,
        },
        grant: Grant::DeviceCode,
        target: Target::default(),
        extra: ExtraParameters::default(),
        browser: BrowserLogin::default(),
        rotation: Profile::Unknown,
        loopback: LoopbackHttp::Refused,
        dpop: crate::oauth::DpopPolicy::Auto,
        transport: Transport::default(),
    };
    Account { name: "prod".parse().unwrap(), provider: Provider::Issuer(settings), policy: Policy::default() }
}

/// A request for the account's own token.
fn own() -> Asked {
    Asked { wanted: Wanted::Own, need: Need::default(), refused: None }
}

fn name(served: &Served) -> String {
    served.tokens.access.secret().expose_secret().to_owned()
}

/// Lets simulated time pass.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_renewal() {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    let before = world.issuer.requests();
    for answer in world.a_hundred_callers().await {
        assert_eq!(name(&answer.unwrap()), "at-2");
    }
    assert_eq!(world.issuer.requests() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_failure() {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.outage = true);
    let before = world.issuer.requests();
    for answer in world.a_hundred_callers().await {
        let refusal = answer.unwrap_err();
        assert!(matches!(refusal, Refusal::Unavailable(Unavailable::Failed { .. })), "{refusal:?}");
    }
    assert_eq!(world.issuer.requests() - before, 1);
    // The error stays the answer for a while: a tool that retries in a loop costs the issuer nothing.
    assert!(world.token().await.is_err());
    assert_eq!(world.issuer.requests() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_does_not_lose_the_rotated_refresh_token() {
    let mut world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    let hung_up = timeout(SECOND / 10, world.token()).await;
    assert!(hung_up.is_err(), "the caller was meant to give up");
    pass(5 * SECOND).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    world.restart().await;
    pass(MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3", "the refresh token on disk was a spent one");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires_without_anybody_asking() {
    let world = World::signed_in(|_| ()).await;
    let minute = Need { min_ttl: Some(MINUTE), ..Need::default() };
    for hour in 1..24 {
        pass(HOUR).await;
        assert!(
            world.entry.view().fresh(&Wanted::Own, minute, world.clock.now().moment).is_some(),
            "hour {hour}"
        );
    }
    let requests = world.issuer.requests();
    assert!((24..=42).contains(&requests), "{requests} requests in a day of one-hour tokens");
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_is_served_while_a_renewal_hangs() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.delay = 10 * MINUTE);
    pass(44 * MINUTE).await;
    let before = world.clock.now().moment;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    assert_eq!(world.clock.now().moment, before, "a cached token made its caller wait");
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_is_answered_without_a_message_to_the_owner() {
    let world = World::signed_in(|_| ()).await;
    let asked = pin!(world.token());
    let answer = asked.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Ok(_))), "the caller had to wait for another task");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_ridden_out_on_the_token_in_hand() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.outage = true);
    for _ in 0..59 {
        pass(MINUTE).await;
        assert_eq!(name(&world.token().await.unwrap()), "at-1");
    }
    pass(2 * MINUTE).await;
    assert!(world.token().await.is_err(), "an expired token was served");
    let during = world.issuer.requests();
    assert!(during < 120, "{during} requests in an hour of outage");
    world.issuer.set(|ledger| ledger.outage = false);
    pass(6 * SECOND).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2", "a waiting client pulls the renewal forward");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_grant_is_served_to_its_end_then_asks_for_a_login() {
    let world = World::signed_in(|_| ()).await;
    let refused = Failure::Refused { message: "invalid_grant".into() };
    world.issuer.set(|ledger| ledger.failures.push_back(refused));
    pass(59 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    pass(2 * MINUTE).await;
    let refusal = world.token().await.unwrap_err();
    let why = Unavailable::LoginRequired(SignedOut::Refused);
    assert!(matches!(&refusal, Refusal::Unavailable(is) if *is == why), "{refusal:?}");
    world.log_in().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_token_does_not_come_back_with_a_restart() {
    let mut world = World::signed_in(|_| ()).await;
    world
        .issuer
        .set(|ledger| ledger.failures.push_back(Failure::Refused { message: "invalid_grant".into() }));
    pass(50 * MINUTE).await;
    let before = world.issuer.requests();
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    pass(HOUR).await;
    assert!(world.token().await.is_err());
    assert_eq!(world.issuer.requests(), before);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_renewal_is_a_failed_attempt() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.panics = true);
    pass(43 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_a_login_overtook_changes_nothing() {
    let mut world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.delay = 10 * MINUTE);
    pass(43 * MINUTE).await;
    assert_eq!(world.issuer.requests(), 2, "a renewal was meant to be under way");
    world.issuer.set(|ledger| ledger.delay = Duration::ZERO);
    world.log_in().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3");
    pass(10 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3");
    assert_eq!(world.issuer.0.lock().unwrap().revoked, 0, "handing them back may end the new login");
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_renewal_that_a_login_overtakes_gets_the_token_of_the_login() {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.delay = 10 * MINUTE);
    let before = world.clock.now().moment;
    let waiting = async { (world.token().await, world.clock.now().moment.since(before)) };
    let login = async {
        pass(SECOND).await;
        assert_eq!(world.issuer.requests(), 2, "a renewal was meant to be under way");
        world.issuer.set(|ledger| ledger.delay = Duration::ZERO);
        world.log_in().await;
    };
    let ((served, waited), ()) = tokio::join!(waiting, login);
    assert_eq!(name(&served.unwrap()), "at-3");
    assert!(waited < 5 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_token_that_needs_no_person_gets_one_across_a_logout() {
    let world = World::new(|ledger| ledger.attendance = Attendance::Unattended);
    let (answer, _) = tokio::join!(world.token(), async {
        pass(SECOND / 2).await;
        world.entry.log_out().await.unwrap()
    });
    assert_eq!(name(&answer.unwrap()), "at-2");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_daemon_waits_for_a_renewal_and_stores_it() {
    let mut world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.delay = 10 * MINUTE);
    pass(43 * MINUTE).await;
    assert_eq!(world.issuer.requests(), 2, "a renewal was meant to be under way");
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
}

#[tokio::test(start_paused = true)]
async fn tools_that_ask_for_a_login_at_once_share_one() {
    let world = World::new(|_| ());
    for _ in 0..10 {
        assert!(world.entry.begin_login(Flow::Configured).await.unwrap().login.is_pending());
    }
    pass(MINUTE).await;
    assert_eq!(world.issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_login_signs_nobody_in_and_asks_the_issuer_no_more() {
    let world = World::new(|_| ());
    world.begin(Flow::Configured).await;
    let view = world.entry.cancel_login().await;
    assert!(matches!(view.login, LoginProgress::Cancelled), "{:?}", view.login);
    pass(MINUTE).await;
    assert_eq!(world.issuer.requests(), 0, "the login went on after it was cancelled");
    let refusal = world.token().await.unwrap_err();
    let why = Unavailable::LoginRequired(SignedOut::Never);
    assert!(matches!(&refusal, Refusal::Unavailable(is) if *is == why), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_logout_forgets_here_and_revokes_there() {
    let mut world = World::signed_in(|_| ()).await;
    world.entry.log_out().await.unwrap();
    assert_eq!(world.issuer.0.lock().unwrap().revoked, 1);
    assert!(world.token().await.is_err());
    world.restart().await;
    assert!(world.token().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_refresh_token_leaves_the_old_one_in_force_6749_6() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| {
        ledger.gives_refresh_tokens = false;
        ledger.live = 0;
    });
    world.issuer.set(|ledger| ledger.live = 1);
    pass(50 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    world.issuer.set(|ledger| ledger.live = 1);
    pass(HOUR).await;
    assert_eq!(
        name(&world.token().await.unwrap()),
        "at-2",
        "the first refresh token was not presented again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_grant_without_a_person_signs_in_when_somebody_asks() {
    let world = World::new(|ledger| ledger.attendance = Attendance::Unattended);
    pass(HOUR).await;
    assert_eq!(world.issuer.requests(), 0, "nobody had asked");
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_login_and_asks_nobody() {
    let mut world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.outage = true);
    let before = world.issuer.requests();
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    assert_eq!(world.issuer.requests(), before);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_other_settings_are_not_used() {
    let world = World::signed_in(|_| ()).await;
    world.entry.close();
    world.entry.ended().await;
    let other = start(account("another-client"), &world.issuer, &world.store, &world.clock);
    let refusal = other.token(own(), None, SECOND).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable(Unavailable::LoginRequired(_))), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_costs_no_token_and_heals() {
    let world = World::new(|_| ());
    let in_the_way = world.state.path().join("accounts/.prod.sealed.tmp/full");
    fs::create_dir_all(&in_the_way).unwrap();
    world.log_in().await;
    assert!(matches!(world.entry.view().stored, Stored::Volatile(_)));
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
    pass(6 * SECOND).await;
    assert!(matches!(world.entry.view().stored, Stored::Durable));
}

#[tokio::test(start_paused = true)]
async fn a_pasted_redirect_is_taken_and_another_text_leaves_the_login_as_it_was() {
    let world = World::new(|_| {});
    assert_eq!(world.entry.paste("right".into()).await.unwrap_err(), NoPaste::NotAsked);
    world.begin(Flow::Configured).await;
    let wrong = world.entry.paste("wrong".into()).await.unwrap_err();
    assert_eq!(wrong, NoPaste::NotTheRedirect(NotTheRedirect("not it")));
    assert!(matches!(world.entry.view().login, LoginProgress::Asking { .. }));
    world.entry.paste("right".into()).await.unwrap();
    let view = world.login_ends().await;
    assert!(matches!(view.login, LoginProgress::SignedIn), "{:?}", view.login);
    assert_eq!(world.entry.paste("right".into()).await.unwrap_err(), NoPaste::NotAsked);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_code_gets_one_in_place_of_a_browser() {
    let mut world = World::new(|_| {});
    let mut with_browser = account("cli");
    if let Provider::Issuer(settings) = &mut with_browser.provider {
        settings.grant = Grant::AuthorizationCode;
    }
    world.entry = start(with_browser, &world.issuer, &world.store, &world.clock);
    assert!(matches!(asked(&*world.begin(Flow::Configured).await), Prompt::Visit { .. }));
    assert!(matches!(asked(&*world.begin(Flow::DeviceCode).await), Prompt::EnterCode { .. }));
    // Whoever asks for nothing in particular joins it.
    assert!(matches!(asked(&*world.begin(Flow::Configured).await), Prompt::EnterCode { .. }));
    world.login_ends().await;
    assert_eq!(world.issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_code_joins_a_login_that_has_one() {
    let world = World::new(|_| {});
    let first = world.begin(Flow::Configured).await;
    assert!(matches!(asked(&first), Prompt::EnterCode { .. }));
    let second = world.begin(Flow::DeviceCode).await;
    assert_eq!(second.login_revision, first.login_revision, "the code that somebody may be entering died");
}

/// Returns what a person is asked to do.
fn asked(view: &View) -> Prompt {
    let LoginProgress::Asking { prompt, .. } = &view.login else { panic!("{:?}", view.login) };
    prompt.clone()
}

#[tokio::test(start_paused = true)]
async fn neither_a_cosmetic_reload_nor_the_end_of_the_daemon_drops_an_exchange_d3() {
    let mut world = World::new(|_| {});
    world.begin(Flow::Configured).await;
    world.entry.paste("right".into()).await.unwrap();
    while !matches!(world.entry.view().login, LoginProgress::Exchanging) {
        world.entry.login_change(world.entry.view().login_revision, MINUTE).await;
    }
    world.entry.reconfigure(account("cli"), Arc::new(world.issuer.clone()));
    world.restart().await;
    assert_eq!(world.token().await.unwrap().tokens.access.secret().expose_secret(), "at-1");
    assert_eq!(world.issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_is_not_cancelled_once_its_tokens_are_on_their_way() {
    let world = World::new(|ledger| ledger.live = 7);
    world.entry.import("7".into()).await.unwrap();
    assert!(matches!(world.entry.cancel_login().await.login, LoginProgress::Exchanging));
    world.login_ends().await;
    assert_eq!(
        name(&world.token().await.unwrap()),
        "at-8",
        "the session was lost here and where it came from"
    );
    assert_eq!(world.issuer.0.lock().unwrap().revoked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_logout_during_an_exchange_takes_its_tokens_back() {
    let world = World::new(|_| {});
    world.begin(Flow::Configured).await;
    world.entry.paste("right".into()).await.unwrap();
    world.entry.log_out().await.unwrap();
    pass(MINUTE).await;
    assert!(matches!(world.token().await, Err(Refusal::Unavailable(_))));
    assert_eq!(world.issuer.0.lock().unwrap().revoked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_of_another_client_is_exchanged_before_anything_is_held() {
    let world = World::new(|ledger| ledger.live = 7);
    world.entry.import("6".into()).await.unwrap();
    let view = world.login_ends().await;
    assert!(matches!(view.login, LoginProgress::Failed(_)), "{:?}", view.login);
    assert!(matches!(world.token().await, Err(Refusal::Unavailable(_))));
    world.entry.import("7".into()).await.unwrap();
    let view = world.login_ends().await;
    assert!(matches!(view.login, LoginProgress::SignedIn), "{:?}", view.login);
    assert_eq!(world.token().await.unwrap().tokens.access.secret().expose_secret(), "at-8");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_of_another_client_is_presented_once_however_often_it_is_brought() {
    let world = World::new(|ledger| ledger.live = 7);
    world.entry.import("7".into()).await.unwrap();
    pass(SECOND / 2).await;
    assert!(matches!(world.entry.import("7".into()).await, Err(NoLogin::Exchanging)));
    world.login_ends().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-8");
    let (requests, revoked) = (world.issuer.requests(), world.issuer.0.lock().unwrap().revoked);
    assert_eq!((requests, revoked), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_has_taught_how_it_goes_well_is_begun_anew_once_9449_4() {
    for (lessons, requests) in [(0, 1), (1, 2)] {
        let failure = Failure::misconfigured("its tokens are of no use");
        let world = World::new(|ledger| {
            ledger.failures.push_back(failure.clone());
            ledger.lessons = lessons;
        });
        world.begin(Flow::Configured).await;
        let ended = world.login_ends().await;
        assert_eq!(matches!(ended.login, LoginProgress::SignedIn), lessons == 1, "{:?}", ended.login);
        assert_eq!(world.issuer.requests(), requests);
    }
}
