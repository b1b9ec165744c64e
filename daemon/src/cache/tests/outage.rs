//! The promises about issuers that are down, slow or asked for much at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::Moment;

/// Attempts of one account in eight hours that begin with a good token. The waits are 30 s on average while the token
/// lives, for some twenty minutes, and then 150 s, each with a second for the attempt itself: 40 and 182 and the first few.
/// Their number scatters by nine, so that one outage in a million has more than this.
const MOST_ATTEMPTS: u32 = 270;

impl World {
    fn now(&self) -> Moment {
        self.clock.now().moment
    }

    /// Returns the token in force without asking for anything, if it is alive.
    fn in_force(&self) -> Option<String> {
        self.entry.view().best(&Wanted::Own, Need::default(), self.now()).ok().map(|served| name(&served))
    }

    /// Asks a thousand times at once, and returns all answers and how long the last one took.
    async fn a_thousand_callers(&self, wait: Duration) -> (Vec<Result<Served, Refusal>>, Duration) {
        let begun = self.now();
        let mut callers = JoinSet::new();
        for _ in 0..1000 {
            let entry = Arc::clone(&self.entry);
            callers.spawn(async move { entry.token(own(), None, wait).await });
        }
        let answers = callers.join_all().await;
        (answers, self.now().since(begun))
    }
}

#[tokio::test(start_paused = true)]
async fn eight_hours_of_outage_are_served_to_expiry_and_cost_few_attempts_s_2() {
    let world = World::signed_in(|_| ()).await;
    let expires = world.now().after(HOUR - SECOND);
    world.issuer.set(|ledger| ledger.outage = true);
    while world.now() < expires {
        assert_eq!(name(&world.token().await.unwrap()), "at-1", "an error before the token expired");
        pass(20 * SECOND).await;
    }
    let early = world.issuer.requests() - 1;
    pass(7 * HOUR).await;
    assert_eq!(world.in_force(), None, "an expired token was served");
    let late = world.issuer.requests() - 1 - early;
    let gap = (7 * HOUR / late).as_secs_f64();
    assert!(gap >= 0.4 * 300.0, "{gap} s between attempts on average: a wait is a formality");
    assert!(early + late <= MOST_ATTEMPTS, "{early} attempts while the token lived and {late} after that");
    assert!(early + late >= MOST_ATTEMPTS / 2, "{early} and {late}: nobody tried");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lives_through_an_outage_is_renewed_within_a_minute_of_its_end_s_2() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.outage = true);
    pass(55 * MINUTE).await;
    world.issuer.set(|ledger| ledger.outage = false);
    pass(MINUTE + 2 * SECOND).await;
    assert_eq!(world.in_force().as_deref(), Some("at-2"), "with nobody asking");
}

#[tokio::test(start_paused = true)]
async fn after_hours_of_outage_whoever_waits_is_served_within_seconds_and_others_within_minutes_s_2() {
    for client_waits in [true, false] {
        let world = World::signed_in(|_| ()).await;
        world.issuer.set(|ledger| ledger.outage = true);
        pass(8 * HOUR).await;
        let back = world.now();
        world.issuer.set(|ledger| ledger.outage = false);
        while world.in_force().is_none() {
            if client_waits {
                // The shim asks again as often as it is told to, and no sooner than this.
                drop(world.token().await);
            }
            pass(SECOND / 2).await;
        }
        let took = world.now().since(back);
        let longest = if client_waits { 5 * SECOND } else { 300 * SECOND };
        // An attempt that was under way when the issuer came back fails first, and each takes a second.
        assert!(took <= longest + 3 * SECOND, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_issuer_asks_us_to_wait_nobody_cuts_short_s_5() {
    for (asked, waited) in [(1, 1), (300, 300), (900, 900), (100_000, 3600)] {
        let busy = Failure::Transient { message: "429".into(), retry_after: Some(asked * SECOND) };
        let world = World::signed_in(|ledger| ledger.lifetime = 10 * HOUR).await;
        world.issuer.set(|ledger| ledger.failures.push_back(busy));
        while world.issuer.requests() < 2 {
            pass(SECOND).await;
        }
        pass(SECOND).await;
        let failed = world.now();
        while world.issuer.requests() < 3 {
            let all = Need { min_ttl: Some(9 * HOUR), ..Need::default() };
            let eager = Asked { need: all, ..own() };
            drop(world.entry.token(eager, None, SECOND).await);
            pass(SECOND / 2).await;
        }
        let gap = world.now().since(failed);
        let soonest = Duration::from_secs(waited).saturating_sub(2 * SECOND);
        assert!(gap >= soonest && gap <= Duration::from_secs(waited) + 10 * SECOND, "{asked}: {gap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_with_an_expired_token_cost_one_request_c_4() {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.delay = 2 * SECOND);
    let before = world.issuer.requests();
    let (answers, took) = world.a_thousand_callers(10 * SECOND).await;
    for answer in answers {
        assert_eq!(name(&answer.unwrap()), "at-2");
    }
    assert_eq!(world.issuer.requests() - before, 1);
    assert!(took <= 2 * SECOND + SECOND / 2, "{took:?}");
}

/// Returns the one answer that all got.
fn agreed(answers: Vec<Result<Served, Refusal>>) -> String {
    let told = |answer: Result<Served, Refusal>| format!("{:?}", answer.unwrap_err());
    let mut told: Vec<_> = answers.into_iter().map(told).collect();
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_share_one_failure_until_it_is_old_c_5() {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| {
        ledger.outage = true;
        ledger.delay = SECOND / 10;
    });
    let before = world.issuer.requests();
    let (answers, took) = world.a_thousand_callers(10 * SECOND).await;
    let failure = agreed(answers);
    assert!(failure.contains("the issuer is down"), "{failure}");
    assert!(took < SECOND, "{took:?}");
    assert_eq!(world.issuer.requests() - before, 1);
    // The failure is the answer until the next attempt, which nobody of these makes come sooner.
    let (answers, took) = world.a_thousand_callers(10 * SECOND).await;
    assert_eq!((agreed(answers), took), (failure, Duration::ZERO));
    pass(SECOND / 4).await;
    assert_eq!(world.issuer.requests() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_of_an_issuer_that_hangs_give_up_together_c_5() {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.delay = 10 * MINUTE);
    let before = world.issuer.requests();
    let (answers, took) = world.a_thousand_callers(10 * SECOND).await;
    let failure = agreed(answers);
    assert!(failure.contains("Renewing"), "{failure}");
    assert!(took <= 10 * SECOND + SECOND / 2, "{took:?}");
    world.a_thousand_callers(10 * SECOND).await;
    assert_eq!(world.issuer.requests() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn what_999_of_a_thousand_callers_hang_up_on_is_finished_and_stored_c_6() {
    let mut world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.delay = 2 * SECOND);
    let before = world.issuer.requests();
    let mut impatient = JoinSet::new();
    for _ in 0..999 {
        let entry = Arc::clone(&world.entry);
        impatient.spawn(async move { entry.token(own(), None, 10 * SECOND).await });
    }
    let patient = Arc::clone(&world.entry);
    let patient = tokio::spawn(async move { patient.token(own(), None, 10 * SECOND).await });
    pass(SECOND).await;
    assert_eq!(impatient.len(), 999, "they were meant to hang up while they wait");
    impatient.shutdown().await;
    assert_eq!(name(&patient.await.unwrap().unwrap()), "at-2");
    assert_eq!(world.issuer.requests() - before, 1);
    world.restart().await;
    pass(MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3", "the refresh token on disk was a spent one");
}

/// Requests under way at an origin, by all accounts.
#[derive(Debug, Default)]
struct Traffic {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// An issuer's account that waits for its turn at the origin, as every real grant does.
#[derive(Debug)]
struct Gated {
    issuer: FakeIssuer,
    http: Http,
    endpoint: EndpointUrl,
    traffic: Arc<Traffic>,
}

impl TokenSource for Gated {
    fn attendance(&self) -> Attendance {
        self.issuer.attendance()
    }

    fn renew(&self, refresh: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        let (http, endpoint) = (self.http.clone(), self.endpoint.clone());
        let (issuer, traffic) = (self.issuer.clone(), Arc::clone(&self.traffic));
        Box::pin(async move {
            let turn = http.turn(&endpoint).await;
            let Renewal::Ready(Rotation { send, read }) = issuer.renew(refresh, wanted).await? else {
                panic!("it has a refresh token")
            };
            let send = async move {
                let now = traffic.now.fetch_add(1, Ordering::Relaxed) + 1;
                traffic.most.fetch_max(now, Ordering::Relaxed);
                let answered = send.await;
                traffic.now.fetch_sub(1, Ordering::Relaxed);
                drop(turn);
                answered
            };
            Ok(Renewal::Ready(Rotation { send: Box::pin(send), read }))
        })
    }

    fn read(&self, answered: &Answered, refresh: &RefreshToken) -> Result<TokenSet, Unread> {
        self.issuer.read(answered, refresh)
    }

    fn begin_login(&self, flow: Flow) -> Pending<Result<Login, Failure>> {
        self.issuer.begin_login(flow)
    }

    fn adopt(&self, refresh: SecretString) -> Adoption {
        self.issuer.adopt(refresh)
    }

    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>> {
        self.issuer.revoke(tokens)
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_accounts_that_come_due_together_take_turns_and_none_expires_s_4() {
    let clock = Clock::following_tokio();
    let state = tempfile::tempdir().unwrap();
    fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();
    let sources = Sources::of_the_system(None);
    let store = Arc::new(
        Store::open(&Location::of(state.path()), KeyChoice::Memory, sources, clock.clone()).unwrap(),
    );
    let http = Http::of(&Transport::default());
    let endpoint = EndpointUrl::parse("https://i/token", LoopbackHttp::Refused).unwrap();
    let traffic = Arc::new(Traffic::default());
    let mut entries = Vec::new();
    for number in 0..500 {
        let issuer = FakeIssuer::new(&clock).with(|ledger| {
            // At half of it all of them are due, to the millisecond.
            ledger.lifetime = 100 * SECOND;
            ledger.delay = SECOND / 5;
            ledger.live = 7;
        });
        let (http, endpoint, traffic) = (http.clone(), endpoint.clone(), Arc::clone(&traffic));
        let source = Gated { issuer: issuer.clone(), http, endpoint, traffic };
        let account = Account { name: format!("a{number}").parse().unwrap(), ..account("cli") };
        let entry =
            Entry::start(Orders::new(account, Arc::new(source)), Arc::clone(&store), clock.clone(), None);
        entry.import("7".into()).await.unwrap();
        entries.push((entry, issuer));
    }
    pass(5 * SECOND).await;
    for _ in 0..300 {
        let now = clock.now().moment;
        for (entry, _) in &entries {
            let served = entry.view().best(&Wanted::Own, Need::default(), now).unwrap();
            assert!(served.tokens.access.is_alive(now), "a token expired while its account waited");
        }
        pass(SECOND).await;
    }
    assert_eq!(traffic.most.load(Ordering::Relaxed), 4);
    for (_, issuer) in &entries {
        assert!((4..=8).contains(&issuer.requests()), "{} requests", issuer.requests());
    }
}
