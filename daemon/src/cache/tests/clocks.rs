//! The promises about clocks that jump: the machine sleeps, somebody sets the wall clock, a battery is dead.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEN_YEARS: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

impl World {
    /// Asks for a token, and makes sure that it is alive if there is one.
    async fn living(&self) -> Result<Served, Refusal> {
        let answer = self.token().await;
        if let Ok(served) = &answer {
            let access = &served.tokens.access;
            let now = self.clock.now().moment;
            assert!(access.is_alive(now), "{access:?} was served at {now:?}");
        }
        answer
    }

    fn turn_wall_clock(&self, by: SignedDuration) {
        let wall = self.clock.now().wall;
        self.clock.set_wall(wall.saturating_add(by).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_all_the_time_changes_nothing_s_6() {
    let world = World::signed_in(|ledger| ledger.lifetime = MINUTE).await;
    let (second, hour) = (SignedDuration::from_secs(1), SignedDuration::from_hours(1));
    let jumps = [second, -second, hour, -hour, TEN_YEARS, -TEN_YEARS, -TEN_YEARS, TEN_YEARS];
    // Ten minutes, a jump every 50 ms.
    for jump in jumps.iter().cycle().take(12_000) {
        world.turn_wall_clock(*jump);
        world.living().await.unwrap();
        pass(SECOND / 20).await;
    }
    // Each is renewed after half of its life: not one renewal more than without any jump.
    let renewals = world.issuer.requests() - 1;
    assert!((18..=20).contains(&renewals), "{renewals} renewals in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_after_a_suspend_is_no_expired_token_and_costs_one_renewal_s_8() {
    for (time, renewals) in
        [(MINUTE, 0), (30 * MINUTE, 0), (50 * MINUTE, 1), (HOUR, 1), (8 * HOUR, 1), (DAY, 1), (30 * DAY, 1)]
    {
        let world = World::signed_in(|_| ()).await;
        world.clock.suspend(time);
        let awake = tokio::time::Instant::now();
        let served = world.living().await.unwrap();
        assert!(awake.elapsed() <= 2 * SECOND, "{time:?}: it took {:?}", awake.elapsed());
        pass(3 * SECOND).await;
        assert_eq!(world.issuer.requests(), 1 + renewals, "{time:?}");
        let expected = if time < HOUR { "at-1" } else { "at-2" };
        assert_eq!(name(&served), expected, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_due_in_a_suspend_is_renewed_at_the_resume_with_nobody_asking_s_8() {
    let world = World::signed_in(|_| ()).await;
    world.clock.suspend(8 * HOUR);
    pass(2 * SECOND).await;
    assert_eq!(world.issuer.requests(), 2);
    let now = world.clock.now().moment;
    assert!(world.entry.view().fresh(&Wanted::Own, Need::default(), now).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_renewal_that_a_suspend_outlasts_is_not_served_once_it_has_expired_s_8() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.delay = 10 * SECOND);
    while world.issuer.requests() < 2 {
        pass(SECOND).await;
    }
    world.clock.suspend(2 * HOUR);
    // What comes of it lived for an hour, from when it was asked for.
    drop(world.living().await);
    assert_eq!(name(&world.living().await.unwrap()), "at-3");
    assert_eq!(world.issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn after_a_resume_the_pauses_after_failures_begin_anew_s_8() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.outage = true);
    pass(8 * HOUR).await;
    world.clock.suspend(MINUTE);
    let before = world.issuer.requests();
    pass(15 * SECOND).await;
    let during = world.issuer.requests() - before;
    // At once, and after at most 1, 2 and 4 seconds, each attempt of one second.
    assert!(during >= 3, "{during} attempts in the first seconds after a resume");
    world.issuer.set(|ledger| ledger.outage = false);
    pass(45 * SECOND).await;
    assert!(world.living().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_naps_all_day_does_not_ask_its_issuer_at_each_nap_s_8() {
    let world = World::signed_in(|ledger| ledger.delay = Duration::ZERO).await;
    world.issuer.set(|ledger| ledger.outage = true);
    pass(2 * HOUR).await;
    let before = world.issuer.requests();
    for _ in 0..300 {
        world.clock.suspend(SECOND);
        pass(SECOND / 20).await;
    }
    // 315 s in all: eleven fresh starts, each with attempts after 0, 1, 2, 4, 8 and 16 s at most, which halve on average.
    let during = world.issuer.requests() - before;
    assert!((11..=110).contains(&during), "{during} attempts during 300 naps");
}

#[tokio::test(start_paused = true)]
async fn what_the_issuer_asked_us_to_wait_a_suspend_does_not_shorten_s_8() {
    let busy = Failure::Transient { message: "429".into(), retry_after: Some(HOUR) };
    let world = World::signed_in(|ledger| ledger.lifetime = 10 * HOUR).await;
    world.issuer.set(|ledger| ledger.failures.push_back(busy));
    while world.issuer.requests() < 2 {
        pass(SECOND).await;
    }
    pass(2 * SECOND).await;
    world.clock.suspend(10 * MINUTE);
    pass(40 * MINUTE).await;
    assert_eq!(world.issuer.requests(), 2);
    pass(11 * MINUTE).await;
    assert_eq!(world.issuer.requests(), 3);
}

/// Restarts the machine: what was in memory is gone, and the wall clock shows what it likes.
async fn rebooted(world: World, wall: Timestamp) -> World {
    let World { issuer, state, store, account, entry, .. } = world;
    entry.close();
    entry.ended().await;
    drop((entry, store));
    let clock = Clock::of_another_boot(wall);
    issuer.set(|ledger| ledger.clock = clock.clone());
    let sources = Sources::of_the_system(None);
    let store =
        Arc::new(Store::open(&Location::of(state.path()), KeyChoice::File, sources, clock.clone()).unwrap());
    let entry = start(account.clone(), &issuer, &store, &clock);
    World { clock, issuer, state, store, account, entry }
}

#[tokio::test(start_paused = true)]
async fn by_a_dead_clock_no_token_of_before_is_served_and_the_login_is_kept_s_9() {
    let world = World::signed_in(|_| ()).await;
    let wall = world.clock.now().wall;
    let world = rebooted(world, Timestamp::UNIX_EPOCH).await;
    world.issuer.set(|ledger| ledger.outage = true);
    assert!(world.living().await.is_err(), "nobody can tell whether it is alive");
    world.clock.set_wall(wall);
    assert!(world.living().await.is_err(), "nor whether the clock is right now");
    world.issuer.set(|ledger| ledger.outage = false);
    pass(6 * SECOND).await;
    assert_eq!(name(&world.living().await.unwrap()), "at-2");
}

#[tokio::test(start_paused = true)]
async fn by_a_right_clock_a_token_of_before_the_restart_is_served_to_its_end_s_9() {
    let world = World::signed_in(|_| ()).await;
    let wall = world.clock.now().wall + SignedDuration::from_mins(20);
    let world = rebooted(world, wall).await;
    assert_eq!(name(&world.living().await.unwrap()), "at-1");
    world.issuer.set(|ledger| ledger.outage = true);
    pass(41 * MINUTE).await;
    assert!(world.living().await.is_err());
}

/// What can happen to a machine.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(Duration),
    Suspend(Duration),
    MoveBoot(SignedDuration),
    SetWall(Timestamp),
    TurnWall(SignedDuration),
    Outage(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let seconds = || (0..10_000_u64).prop_map(Duration::from_secs);
    let years = || (-10 * 366 * 86_400_i64..=10 * 366 * 86_400).prop_map(SignedDuration::from_secs);
    let walls = [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH];
    prop_oneof![
        seconds().prop_map(Event::Pass),
        seconds().prop_map(Event::Suspend),
        years().prop_map(Event::MoveBoot),
        years().prop_map(Event::TurnWall),
        proptest::sample::select(walls.to_vec()).prop_map(Event::SetWall),
        any::<bool>().prop_map(Event::Outage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_clocks_do_nothing_panics_and_no_expired_token_is_served_s_6(
        events in proptest::collection::vec(event(), 1..16)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = World::signed_in(|_| ()).await;
            for event in events {
                match event {
                    Event::Pass(time) => pass(time).await,
                    Event::Suspend(time) => world.clock.suspend(time),
                    Event::MoveBoot(by) => world.clock.move_boot(by),
                    Event::SetWall(wall) => world.clock.set_wall(wall),
                    Event::TurnWall(by) => world.turn_wall_clock(by),
                    Event::Outage(outage) => world.issuer.set(|ledger| ledger.outage = outage),
                }
                drop(world.living().await);
                let view = world.entry.view();
                let _when = view.state.starts_at().map(|at| world.clock.now().wall_at(at));
            }
            assert!(!world.entry.has_ended(), "the owner panicked");
        });
    }
}
