//! The promises of the clocks: what a stamp means in another boot, who wakes when, and what a jump does.

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;
use crate::clock::jump::{Jump, Lookout};
use crate::clock::timer::Event;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn at(boot: &str, since_boot_hours: i64, wall: &str) -> (Clock, Now) {
    let now =
        Now { moment: Moment(SignedDuration::from_hours(since_boot_hours)), wall: wall.parse().unwrap() };
    (Clock::beginning(boot, now), now)
}

#[tokio::test(start_paused = true)]
async fn a_stamp_ignores_the_wall_clock_within_one_boot() {
    let (before, now) = at("boot-1", 5, "2026-11-21T12:00:00Z");
    let stamp = before.stamp(now.moment.after(Duration::from_secs(60)));
    let (set_back_a_year, later) = at("boot-1", 5, "2025-11-21T12:00:00Z");
    assert_eq!(set_back_a_year.moment(&stamp).since(later.moment), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_lies_well_behind_an_earlier_boot_is_not_believed() {
    let (before, now) = at("boot-1", 5, "2026-11-21T12:00:00Z");
    let stamp = before.stamp(now.moment);
    for (boot, wall, lost) in [
        ("boot-2", "1970-01-01T00:00:00Z", true),
        ("boot-2", "2026-11-21T11:58:59Z", true),
        ("boot-2", "2026-11-21T11:59:00Z", false),
        ("boot-2", "2036-11-21T12:00:00Z", false),
        ("", "1970-01-01T00:00:00Z", true),
    ] {
        assert_eq!(at(boot, 0, wall).0.has_lost_count_since(&stamp), lost, "{boot} {wall}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stamp_follows_the_wall_clock_into_the_next_boot() {
    let (before, now) = at("boot-1", 5, "2026-11-21T12:00:00Z");
    let stamp = before.stamp(now.moment.after(Duration::from_secs(3600)));
    let (rebooted, now) = at("boot-2", 0, "2026-11-21T12:30:00Z");
    assert_eq!(rebooted.moment(&stamp).since(now.moment), Duration::from_secs(1800));
    let (much_later, now) = at("boot-2", 0, "2026-11-22T12:00:00Z");
    assert_eq!(much_later.moment(&stamp).since(now.moment), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_arithmetic_on_moments_can_overflow() {
    let (_, now) = at("boot-1", 0, "2026-11-21T12:00:00Z");
    let last = now.moment.after(Duration::MAX).after(Duration::MAX);
    assert!(last > now.moment);
    assert_eq!(now.moment.since(last), Duration::ZERO);
    assert_eq!(now.wall_at(last), Timestamp::MAX);
    assert!(now.moment_at(Timestamp::MIN) < now.moment);
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_wakes_at_its_moment_however_far_away() {
    let clock = Clock::following_tokio();
    let moment = clock.now().moment.after(Duration::from_secs(8 * 3600));
    clock.sleep_until(moment).await;
    assert_eq!(clock.now().moment, moment);
}

/// Counts how often it is told to look.
#[derive(Default)]
struct Alerted(AtomicU32);

impl Wake for Alerted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets every task go as far as it can without time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_sleepers_wake_in_the_order_of_their_moments_whoever_lay_down_first() {
    let clock = Clock::following_tokio();
    let start = clock.now().moment;
    let mut sleepers = JoinSet::new();
    for number in (0..500_u32).rev() {
        let clock = clock.clone();
        sleepers.spawn(async move {
            let until = start.after(SECOND * (number * 7 % 500));
            clock.sleep_until(until).await;
            (clock.now().moment == until).then_some(until)
        });
        // The timer is set to what there is so far.
        settle().await;
    }
    let mut last = start;
    while let Some(woken) = sleepers.join_next().await {
        let until = woken.unwrap().expect("woke late");
        assert!(until >= last);
        last = until;
    }
    assert_eq!(clock.alarm.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_that_is_dropped_leaves_nothing_behind() {
    let clock = Clock::following_tokio();
    let start = clock.now().moment;
    let alerted = Arc::new(Alerted::default());
    let waker = Waker::from(Arc::clone(&alerted));
    {
        let mut dropped = pin!(clock.sleep_until(start.after(SECOND)));
        let mut later = pin!(clock.sleep_until(start.after(HOUR)));
        let mut context = Context::from_waker(&waker);
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        assert!(dropped.as_mut().poll(&mut context).is_pending(), "a second look");
        assert!(later.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.alarm.waiting(), 2);
    }
    assert_eq!(clock.alarm.waiting(), 0);
    clock.sleep_until(start.after(2 * HOUR)).await;
    assert_eq!(alerted.0.load(Ordering::Relaxed), 0, "a sleeper that is gone was woken");
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_outlives_the_runtime_that_saw_to_the_timer() {
    let clock = Clock::following_tokio();
    let until = clock.now().moment.after(HOUR);
    let mut sleeping = pin!(clock.sleep_until(until));
    let elsewhere = clock.clone();
    let runtime_of_its_own = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut sleeping = pin!(elsewhere.sleep_until(until));
            assert!(sleeping.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            tokio::task::yield_now().await;
        });
    };
    tokio::task::spawn_blocking(runtime_of_its_own).await.unwrap();
    sleeping.as_mut().await;
    assert_eq!(clock.now().moment, until);
}

#[test]
fn where_the_runtime_has_ended_a_sleeper_waits_for_another_and_holds_up_nobody() {
    let clock = Clock::system();
    let until = clock.now().moment.after(HOUR);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.handle().clone();
    drop(runtime);
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let _guard = ended.enter();
        let mut sleeping = pin!(clock.sleep_until(until));
        let polled = sleeping.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        done.send((polled, clock.alarm.waiting())).unwrap();
    });
    assert_eq!(is_done.recv_timeout(10 * SECOND), Ok((Poll::Pending, 1)), "locked up");
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_whose_moment_passes_in_a_suspend_wakes_at_the_resume_s_8() {
    let clock = Clock::following_tokio();
    let (mut jumps, start) = (clock.jumps(), clock.now().moment);
    let sleeping = clock.clone();
    let sleeper = tokio::spawn(async move { sleeping.sleep_until(start.after(HOUR)).await });
    settle().await;
    let before = tokio::time::Instant::now();
    clock.suspend(2 * HOUR);
    sleeper.await.unwrap();
    assert_eq!(tokio::time::Instant::now(), before, "the sleeper slept on by the runtime's clock");
    assert_eq!(jumps.next().await, Jump::Resumed);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_is_told_of_and_wakes_no_sleeper_s_6() {
    let clock = Clock::following_tokio();
    let (mut jumps, start) = (clock.jumps(), clock.now().moment);
    let mut sleeping = pin!(clock.sleep_until(start.after(HOUR)));
    assert!(sleeping.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for wall in [Timestamp::MAX, Timestamp::MIN, Timestamp::UNIX_EPOCH] {
        clock.set_wall(wall);
        assert_eq!(jumps.next().await, Jump::WallSet);
        assert_eq!(clock.now().wall, wall);
        assert_eq!(clock.alarm.waiting(), 1);
    }
    assert!(
        pin!(jumps.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending(),
        "a jump came twice"
    );
    sleeping.await;
    assert_eq!(clock.now().moment, start.after(HOUR));
}

#[tokio::test(start_paused = true)]
async fn a_resume_is_told_of_even_where_the_wall_clock_was_set_after_it() {
    let clock = Clock::following_tokio();
    let mut jumps = clock.jumps();
    let mut listening = pin!(async { (jumps.next().await, jumps.next().await) });
    assert!(listening.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    settle().await;
    clock.suspend(HOUR);
    settle().await;
    clock.set_wall(Timestamp::UNIX_EPOCH);
    settle().await;
    clock.set_wall(Timestamp::MAX);
    let Poll::Pending = listening.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("what was told at once was told as several")
    };
    assert_eq!(listening.await, (Jump::Resumed, Jump::WallSet));
}

#[tokio::test(start_paused = true)]
async fn by_a_clock_that_has_gone_back_behind_its_beginning_a_life_has_ended_s_9() {
    let before = Clock::following_tokio();
    let (issued, wall) = (before.now().moment, before.now().wall);
    let (from, until) = (before.stamp(issued), before.stamp(issued.after(HOUR)));
    let boot = |wall: Timestamp| {
        let clock = Clock::of_another_boot(wall);
        let (now, (start, end)) = (clock.now().moment, clock.life(&from, Some(&until)));
        (start.since(now), now.since(start), end.unwrap().since(now))
    };
    let (none, minute) = (Duration::ZERO, SignedDuration::from_mins(1));
    assert_eq!(boot(Timestamp::UNIX_EPOCH), (none, HOUR, none), "a dead battery");
    assert_eq!(boot(Timestamp::MIN), (none, HOUR, none));
    assert_eq!(boot(wall - 2 * minute), (none, HOUR, none));
    assert_eq!(boot(wall - minute), (60 * SECOND, none, HOUR + 60 * SECOND), "set right by a little");
    assert_eq!(boot(wall + 20 * minute), (none, 1200 * SECOND, HOUR - 1200 * SECOND));
    assert_eq!(boot(Timestamp::MAX).2, none);
    let dead = Clock::of_another_boot(Timestamp::UNIX_EPOCH);
    assert_eq!(dead.life(&from, None).1, Some(dead.now().moment), "without an end it goes on for ever");
    before.set_wall(Timestamp::UNIX_EPOCH);
    assert_eq!(
        before.life(&from, Some(&until)),
        (issued, Some(issued.after(HOUR))),
        "the boot clock knows better"
    );
}

#[tokio::test]
async fn no_sleeper_on_the_clock_of_the_machine_wakes_early_or_never() {
    let clock = Clock::system();
    let start = clock.now().moment;
    let mut sleepers = JoinSet::new();
    for number in 0..100_u32 {
        let clock = clock.clone();
        sleepers.spawn(async move {
            let until = start.after(Duration::from_millis(1) * (number * 7 % 100));
            clock.sleep_until(until).await;
            assert!(clock.now().moment >= until, "woke early");
        });
    }
    sleepers.join_all().await;
    assert_eq!(clock.alarm.waiting(), 0);
}

fn any_duration() -> impl Strategy<Value = SignedDuration> {
    let ten_years = 10 * 365 * 86_400_i64;
    // Of the very first second jiff takes the opposite for an overflow. No arithmetic on moments leads there.
    let any = -i64::MAX..=i64::MAX;
    let seconds = prop_oneof![any, -ten_years..=ten_years, Just(-i64::MAX), Just(i64::MAX)];
    (seconds, 0..1_000_000_000_i32).prop_map(|(seconds, nanoseconds)| {
        SignedDuration::new(seconds, if seconds < 0 { -nanoseconds } else { nanoseconds })
    })
}

fn any_wall() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let any = (first..=last).prop_map(|seconds| Timestamp::from_second(seconds).unwrap());
    prop_oneof![any, Just(Timestamp::MIN), Just(Timestamp::MAX), Just(Timestamp::UNIX_EPOCH)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn whatever_the_clocks_show_no_arithmetic_on_them_overflows_s_6(
        moments in (any_duration(), any_duration()), walls in (any_wall(), any_wall()), by: Duration
    ) {
        let (one, other) = (Moment(moments.0), Moment(moments.1));
        prop_assert!(one.after(by) >= one);
        prop_assert!(one.since(other).is_zero() || other.since(one).is_zero());
        let (before, now) = (Now { moment: one, wall: walls.0 }, Now { moment: other, wall: walls.1 });
        prop_assert_eq!(before.wall_at(one), walls.0);
        prop_assert_eq!(before.moment_at(walls.0), one);
        let (_, _) = (before.wall_at(other), before.moment_at(walls.1));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = runtime.enter();
        let _jump = Lookout::new(before).look(Event::Passed, now);
        let clock = Clock::beginning("a-boot", before);
        clock.move_boot(moments.1);
        clock.set_wall(walls.1);
        let stamp = clock.stamp(one);
        prop_assert_eq!(clock.moment(&stamp), one);
        let _moment = Clock::beginning("another-boot", now).moment(&stamp);
    }
}
