//! The promises about locking: all of it or nothing, never at the price of a login, and nothing for anybody meanwhile.

use std::path::PathBuf;

use super::*;
use crate::account::registry::Registry;
use crate::cache::TokenCache;
use crate::cache::lock::{Latch, NotLocked, NotUnlocked};
use crate::store::StoreError;
use crate::token::state::{Held, Means};

/// A daemon with the account of a world and another one, each with an issuer of its own.
struct Daemon {
    world: World,
    other: FakeIssuer,
    cache: Arc<TokenCache>,
}

impl Daemon {
    /// Returns one whose two accounts have signed in.
    async fn signed_in(change: impl FnOnce(&mut Ledger)) -> Self {
        let daemon = Self::over(World::signed_in(change).await).await;
        let entry = daemon.entry("other");
        entry.begin_login(Flow::Configured).await.unwrap();
        while entry.view().login.is_pending() {
            entry.login_change(entry.view().login_revision, MINUTE).await;
        }
        daemon
    }

    async fn over(world: World) -> Self {
        world.entry.close();
        world.entry.ended().await;
        let other = FakeIssuer::new(&world.clock);
        let (one, two) = (world.issuer.clone(), other.clone());
        let sources = Box::new(move |account: &Account| -> Arc<dyn TokenSource> {
            Arc::new(if account.name.as_str() == "prod" { one.clone() } else { two.clone() })
        });
        let cache = TokenCache::new(Arc::clone(&world.store), sources, world.clock.clone());
        cache.apply(registry(&["prod", "other"]));
        cache.loaded().await;
        Self { world, other, cache: Arc::new(cache) }
    }

    fn entry(&self, name: &str) -> Arc<Entry> {
        self.cache.entry(name).unwrap()
    }

    async fn token(&self, account: &str) -> Result<Served, Refusal> {
        self.entry(account).token(own(), None, 30 * SECOND).await
    }

    /// Makes sure that nothing is held, and that whoever asks is told.
    async fn assert_locked(&self) {
        let now = self.world.clock.now().moment;
        for entry in self.cache.entries() {
            let view = entry.view();
            assert!(matches!(view.stored, Stored::Locked), "{:?}", view.stored);
            assert!(matches!(view.state.held(now), Held::SignedOut(_)) && view.variants.is_empty());
            let refusal = entry.token(own(), None, 30 * SECOND).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Locked), "{refusal:?}");
            if matches!(view.state.means(), Means::Login) {
                assert!(matches!(entry.begin_login(Flow::Configured).await, Err(NoLogin::Locked)));
                assert!(matches!(entry.import("1".into()).await, Err(NoLogin::Locked)));
            }
        }
        let sealed = self.world.store.load(&self.world.account.name);
        assert!(matches!(sealed, Err(StoreError::Withheld)), "the key is still there");
    }

    /// Makes sure that everything is as if nobody had asked to lock it.
    async fn assert_open(&self) {
        assert_eq!(self.cache.lock_status(), (Latch::Open, false));
        for account in ["prod", "other"] {
            assert!(self.token(account).await.is_ok(), "{account}");
        }
    }

    /// Makes sure that no refresh token came twice.
    fn assert_no_replay(&self) {
        for issuer in [&self.world.issuer, &self.other] {
            let ledger = issuer.0.lock().unwrap();
            assert!(ledger.presented.is_sorted_by(|one, next| one < next), "{:?}", ledger.presented);
            assert!(ledger.max_under_way <= 1);
        }
    }
}

fn registry(names: &[&str]) -> Registry {
    Registry::new(names.iter().map(|name| Account { name: name.parse().unwrap(), ..account("cli") }), None)
}

/// Keeps the store from writing the tokens of the account, until what is in the way is taken away again.
fn block(world: &World) -> PathBuf {
    let in_the_way = world.state.path().join("accounts/.prod.sealed.tmp");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    in_the_way
}

#[tokio::test(start_paused = true)]
async fn what_is_locked_holds_nothing_and_asks_for_nothing_and_an_unlock_brings_the_same_session_back() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.cache.lock(None).await.unwrap();
    daemon.assert_locked().await;
    pass(24 * HOUR).await;
    daemon.assert_locked().await;
    assert_eq!((daemon.world.issuer.requests(), daemon.other.requests()), (1, 1));
    daemon.cache.unlock(None).await.unwrap();
    for account in ["prod", "other"] {
        assert_eq!(name(&daemon.token(account).await.unwrap()), "at-2");
    }
    daemon.assert_no_replay();
}

#[tokio::test(start_paused = true)]
async fn a_lock_in_mid_renewal_waits_for_the_new_refresh_token_and_stores_it() {
    for delay in [SECOND, 9 * SECOND, 14 * SECOND] {
        let daemon = Daemon::signed_in(|_| ()).await;
        daemon.world.issuer.set(|ledger| ledger.delay = delay);
        while daemon.world.issuer.0.lock().unwrap().presented.is_empty() {
            pass(SECOND / 10).await;
        }
        assert_eq!(daemon.world.issuer.0.lock().unwrap().under_way, 1, "one was meant to be under way");
        daemon.cache.lock(None).await.unwrap();
        daemon.assert_locked().await;
        daemon.cache.unlock(None).await.unwrap();
        assert_eq!(name(&daemon.token("prod").await.unwrap()), "at-2");
        pass(HOUR).await;
        assert_eq!(name(&daemon.token("prod").await.unwrap()), "at-3");
        daemon.assert_no_replay();
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_takes_too_long_keeps_everything_unlocked_and_loses_nothing() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.world.issuer.set(|ledger| ledger.delay = 5 * MINUTE);
    while daemon.world.issuer.0.lock().unwrap().presented.is_empty() {
        pass(SECOND).await;
    }
    let refused = daemon.cache.lock(None).await.unwrap_err();
    assert!(matches!(&refused, NotLocked::Busy { account } if account.as_str() == "prod"), "{refused:?}");
    daemon.assert_open().await;
    pass(5 * MINUTE).await;
    assert_eq!(name(&daemon.token("prod").await.unwrap()), "at-2");
    daemon.assert_no_replay();
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_refused_while_anything_is_in_memory_alone_and_then_nothing_has_changed() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.entry("other").log_out().await.unwrap();
    daemon.entry("other").begin_login(Flow::Configured).await.unwrap();
    let in_the_way = block(&daemon.world);
    pass(50 * MINUTE).await;
    // Renewals wait for the disk; a login does not.
    daemon.entry("prod").begin_login(Flow::Configured).await.unwrap();
    pass(5 * SECOND).await;
    assert!(matches!(daemon.entry("prod").view().stored, Stored::Volatile(_)));
    daemon.entry("other").begin_login(Flow::Configured).await.unwrap();
    for _ in 0..3 {
        let refused = daemon.cache.lock(Some("x".into())).await.unwrap_err();
        let is_named = matches!(&refused, NotLocked::Volatile { account, .. } if account.as_str() == "prod");
        assert!(is_named, "{refused:?}");
    }
    assert!(
        daemon.entry("other").view().login.is_pending(),
        "a login was cancelled by a lock that was refused"
    );
    daemon.assert_open().await;
    fs::remove_dir_all(in_the_way).unwrap();
    daemon.cache.lock(None).await.unwrap();
    daemon.assert_locked().await;
    daemon.cache.unlock(None).await.unwrap();
    daemon.assert_open().await;
    daemon.assert_no_replay();
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_disk_are_never_locked() {
    let clock = Clock::following_tokio();
    let state = tempfile::tempdir().unwrap();
    fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();
    let location = Location::of(state.path());
    let store =
        Store::open(&location, KeyChoice::Memory, Sources::of_the_system(None), clock.clone()).unwrap();
    let issuer = FakeIssuer::new(&clock);
    let sources = Box::new(move |_: &Account| Arc::new(issuer.clone()) as Arc<dyn TokenSource>);
    let cache = TokenCache::new(Arc::new(store), sources, clock);
    cache.apply(registry(&["prod"]));
    let entry = cache.entry("prod").unwrap();
    entry.begin_login(Flow::Configured).await.unwrap();
    pass(MINUTE).await;
    let refused = cache.lock(None).await.unwrap_err();
    let is_named = |account: &Option<keyfob_protocol::account::AccountName>| {
        account.as_ref().is_some_and(|account| account.as_str() == "prod")
    };
    assert!(matches!(&refused, NotLocked::InMemory { account } if is_named(account)), "{refused:?}");
    assert!(entry.token(own(), None, SECOND).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_token_is_answered_when_it_is_locked() {
    // What presents no refresh token is let go, and what presents one is waited for.
    let unattended = World::new(|ledger| ledger.attendance = Attendance::Unattended);
    let attended = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    for (world, brings) in [(unattended, None), (attended, Some("at-2"))] {
        let daemon = Daemon::over(world).await;
        daemon.world.issuer.set(|ledger| ledger.delay = 10 * SECOND);
        pass(MINUTE).await;
        let before = daemon.world.clock.now().moment;
        let asking = async { (daemon.token("prod").await, daemon.world.clock.now().moment.since(before)) };
        let locking = async {
            pass(SECOND).await;
            daemon.cache.lock(None).await.unwrap();
        };
        let ((answer, waited), ()) = tokio::join!(asking, locking);
        match (answer, brings) {
            (Ok(served), Some(token)) => assert_eq!(name(&served), token),
            (Err(Refusal::Locked), None) => assert!(waited < 5 * SECOND, "it waited in vain: {waited:?}"),
            (answer, _) => panic!("{answer:?} in place of {brings:?}"),
        }
        daemon.assert_locked().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_let_go_for_a_lock_that_was_refused_is_obtained_after_all() {
    let daemon = Daemon::signed_in(|_| ()).await;
    let unattended = |ledger: &mut Ledger| ledger.attendance = Attendance::Unattended;
    daemon.other.set(unattended);
    daemon.entry("other").log_out().await.unwrap();
    daemon.cache.apply(registry(&["prod", "other"]));
    daemon.world.issuer.set(|ledger| ledger.delay = 5 * MINUTE);
    while daemon.world.issuer.0.lock().unwrap().presented.is_empty() {
        pass(SECOND).await;
    }
    daemon.other.set(|ledger| ledger.delay = 3 * SECOND);
    let asking = daemon.entry("other");
    let asked = tokio::spawn(async move { asking.token(own(), None, MINUTE).await });
    pass(SECOND).await;
    assert!(matches!(daemon.cache.lock(None).await, Err(NotLocked::Busy { .. })));
    assert!(asked.await.unwrap().is_ok(), "a lock that was refused cost somebody a token");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_waits_for_a_person_is_cancelled_and_one_that_has_its_answer_is_finished() {
    let daemon = Daemon::over(World::new(|_| ())).await;
    let entry = daemon.entry("prod");
    entry.begin_login(Flow::Configured).await.unwrap();
    daemon.cache.lock(None).await.unwrap();
    assert!(matches!(entry.view().login, LoginProgress::Cancelled), "{:?}", entry.view().login);
    pass(MINUTE).await;
    daemon.assert_locked().await;
    assert_eq!(daemon.world.issuer.requests(), 0, "the login went on");
    daemon.cache.unlock(None).await.unwrap();
    entry.begin_login(Flow::Configured).await.unwrap();
    while !matches!(entry.view().login, LoginProgress::Exchanging) {
        entry.login_change(entry.view().login_revision, MINUTE).await;
    }
    daemon.cache.lock(None).await.unwrap();
    daemon.assert_locked().await;
    daemon.cache.unlock(None).await.unwrap();
    assert_eq!(name(&daemon.token("prod").await.unwrap()), "at-1", "a person's login was lost");
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_it_locked_and_the_new_accounts_as_well() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.cache.lock(Some("secret".into())).await.unwrap();
    daemon.cache.apply(registry(&["prod"]));
    daemon.cache.apply(registry(&["new", "other", "prod"]));
    pass(MINUTE).await;
    assert_eq!(daemon.cache.entries().len(), 3);
    daemon.assert_locked().await;
    daemon.cache.unlock(Some("secret".into())).await.unwrap();
    daemon.assert_open().await;
    assert!(matches!(daemon.entry("new").view().stored, Stored::Durable));
}

#[tokio::test(start_paused = true)]
async fn logging_out_needs_no_unlocking() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.cache.lock(None).await.unwrap();
    daemon.entry("prod").log_out().await.unwrap();
    daemon.assert_locked().await;
    assert!(!daemon.world.state.path().join("accounts/prod.sealed").exists());
    daemon.cache.unlock(None).await.unwrap();
    assert!(matches!(daemon.token("prod").await, Err(Refusal::Unavailable(_))));
    assert!(daemon.token("other").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_daemon_is_the_end_of_the_lock() {
    let mut daemon = Daemon::signed_in(|_| ()).await;
    daemon.cache.lock(Some("secret".into())).await.unwrap();
    daemon.cache.shut_down().await;
    daemon.world.store.recall_key().unwrap();
    daemon.world.restart().await;
    assert_eq!(name(&daemon.world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_as_much_in_doubt_after_a_lock_as_before() {
    let daemon = Daemon::signed_in(|ledger| ledger.lost_before = 10).await;
    pass(HOUR).await;
    let presented = || daemon.world.issuer.0.lock().unwrap().presented.len();
    pass(10 * MINUTE).await;
    let before = presented();
    for _ in 0..5 {
        daemon.cache.lock(None).await.unwrap();
        daemon.cache.unlock(None).await.unwrap();
        pass(10 * MINUTE).await;
    }
    assert_eq!(presented(), before, "locking made it forget that the refresh token may be spent");
}

#[tokio::test(start_paused = true)]
async fn only_the_passphrase_unlocks_and_each_wrong_one_costs_more_time() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.cache.lock(Some("secret".into())).await.unwrap();
    assert_eq!(daemon.cache.lock_status(), (Latch::Locked, true));
    let before = daemon.world.clock.now().moment;
    assert!(matches!(daemon.cache.unlock(None).await, Err(NotUnlocked::PassphraseNeeded)));
    assert_eq!(daemon.world.clock.now().moment, before, "no passphrase is no attempt");
    let mut took = Vec::new();
    for wrong in ["Secret", "secre", "secret "] {
        let before = daemon.world.clock.now().moment;
        assert!(matches!(daemon.cache.unlock(Some(wrong.into())).await, Err(NotUnlocked::WrongPassphrase)));
        took.push(daemon.world.clock.now().moment.since(before));
        daemon.assert_locked().await;
    }
    assert!(took[0] >= SECOND / 10 && took[1] >= SECOND / 5 && took[2] >= SECOND * 2 / 5, "{took:?}");
    // Who locks it again changes nothing about that.
    assert!(matches!(daemon.cache.lock(Some("mine".into())).await, Err(NotLocked::Already)));
    daemon.cache.lock(None).await.unwrap();
    assert!(matches!(daemon.cache.unlock(Some("mine".into())).await, Err(NotUnlocked::WrongPassphrase)));
    daemon.cache.unlock(Some("secret".into())).await.unwrap();
    daemon.assert_open().await;
    daemon.cache.unlock(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempts_take_turns_few_of_them_wait_and_nobody_else_does() {
    let daemon = Daemon::signed_in(|_| ()).await;
    daemon.cache.lock(Some("secret".into())).await.unwrap();
    let before = daemon.world.clock.now().moment;
    let mut guesses = JoinSet::new();
    for _ in 0..20 {
        let cache = Arc::clone(&daemon.cache);
        guesses.spawn(async move { cache.unlock(Some("guess".into())).await });
    }
    tokio::task::yield_now().await;
    assert!(matches!(daemon.token("prod").await, Err(Refusal::Locked)));
    let asked = daemon.world.clock.now().moment.since(before);
    let answers = guesses.join_all().await;
    let wrong = answers.iter().filter(|answer| matches!(answer, Err(NotUnlocked::WrongPassphrase))).count();
    let crowded = answers.iter().filter(|answer| matches!(answer, Err(NotUnlocked::Crowded))).count();
    assert_eq!((wrong, crowded), (8, 12));
    let all = daemon.world.clock.now().moment.since(before);
    assert!(asked < SECOND && all >= 22 * SECOND, "{asked:?}, {all:?}");
    daemon.cache.unlock(Some("secret".into())).await.unwrap();
    daemon.assert_open().await;
}

#[tokio::test(start_paused = true)]
async fn locked_at_random_moments_it_loses_no_login() {
    let daemon = Daemon::signed_in(|ledger| ledger.lifetime = 30 * SECOND).await;
    daemon.other.set(|ledger| ledger.lifetime = 30 * SECOND);
    let mut bits = 0x5EED_u64;
    let mut below = |sides: u64| {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        bits % sides
    };
    for round in 0..60 {
        pass(Duration::from_millis(below(30_000))).await;
        daemon.cache.lock(None).await.unwrap();
        daemon.assert_locked().await;
        pass(Duration::from_millis(below(40_000))).await;
        daemon.cache.unlock(None).await.unwrap();
        if round % 3 == 0 {
            daemon.assert_open().await;
        }
    }
    daemon.assert_open().await;
    daemon.assert_no_replay();
    let renewals = daemon.world.issuer.0.lock().unwrap().presented.len();
    assert!(renewals > 20, "{renewals} renewals");
}
