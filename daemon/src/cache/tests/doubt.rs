//! The promises about refresh tokens whose presentation had no outcome that anybody knows.

use super::*;

/// Returns a world that has signed in at an issuer of this profile, with an access token of an hour.
async fn world(profile: Profile, change: impl FnOnce(&mut Ledger)) -> World {
    let mut account = account("cli");
    if let Provider::Issuer(settings) = &mut account.provider {
        settings.rotation = profile;
    }
    let world = World::of(account, change);
    world.log_in().await;
    world
}

/// Returns the refresh tokens that were presented so far.
fn presented(world: &World) -> Vec<u32> {
    world.issuer.0.lock().unwrap().presented.clone()
}

fn logins(world: &World) -> u32 {
    world.issuer.0.lock().unwrap().logins
}

fn why(refusal: Result<Served, Refusal>) -> SignedOut {
    let refusal = refusal.unwrap_err();
    let Refusal::Unavailable(Unavailable::LoginRequired(why)) = refusal else { panic!("{refusal:?}") };
    why
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_got_lost_is_asked_for_again_where_that_is_forgiven() {
    for profile in [Profile::Unknown, Profile::Grace(10 * SECOND)] {
        let mut world = world(profile, |ledger| {
            ledger.forgives = true;
            ledger.lost_after = 1;
        })
        .await;
        pass(43 * MINUTE).await;
        assert_eq!(name(&world.token().await.unwrap()), "at-2", "{profile:?}");
        assert_eq!(presented(&world), [1, 1]);
        world.restart().await;
        pass(HOUR).await;
        assert_eq!(name(&world.token().await.unwrap()), "at-3", "the refresh token on disk was a spent one");
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_replay_ends_the_login_it_waits_until_there_is_nothing_to_lose_r4() {
    let world = world(Profile::Strict, |ledger| ledger.lost_after = 1).await;
    for minute in 0..59 {
        pass(MINUTE).await;
        assert_eq!(name(&world.token().await.unwrap()), "at-1", "minute {minute}");
        assert!(presented(&world).len() <= 1, "it was presented again in minute {minute}");
    }
    let warning = world.entry.view().warning(world.clock.now().moment).unwrap();
    assert!(warning.contains("keyfob login prod"), "{warning}");
    pass(MINUTE).await;
    assert_eq!(presented(&world), [1, 1], "it had its one chance before the end");
    pass(MINUTE).await;
    assert_eq!(why(world.token().await), SignedOut::AmbiguousRotation);
    pass(HOUR).await;
    assert_eq!(presented(&world), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_issuer_never_saw_is_as_good_as_ever() {
    for profile in [Profile::Unknown, Profile::Grace(10 * SECOND), Profile::Strict] {
        let world = world(profile, |ledger| ledger.lost_before = 1).await;
        pass(60 * MINUTE - 10 * SECOND).await;
        assert_eq!(name(&world.token().await.unwrap()), "at-2", "{profile:?}");
        assert_eq!(presented(&world), [1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_and_nobody_but_a_person_presents_a_token_a_third_time() {
    let mut world = world(Profile::Unknown, |ledger| ledger.lost_before = 2).await;
    pass(HOUR - MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    pass(2 * MINUTE).await;
    for _ in 0..3 {
        assert_eq!(why(world.token().await), SignedOut::AmbiguousRotation);
        world.entry.reconfigure(world.account.clone(), Arc::new(world.issuer.clone()));
        pass(10 * MINUTE).await;
        world.restart().await;
        pass(10 * MINUTE).await;
    }
    assert_eq!(presented(&world), [1, 1]);
    let view = world.begin(Flow::Configured).await;
    assert!(matches!(view.login, LoginProgress::SignedIn), "{:?}", view.login);
    assert_eq!(presented(&world), [1, 1, 1]);
    assert_eq!(logins(&world), 1, "a person was asked although the refresh token was good");
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
}

#[tokio::test(start_paused = true)]
async fn a_login_is_asked_for_where_the_last_try_of_a_token_fails() {
    let mut world = world(Profile::Unknown, |ledger| ledger.lost_before = 3).await;
    pass(HOUR + MINUTE).await;
    world.log_in().await;
    assert_eq!(presented(&world), [1, 1, 1]);
    assert_eq!(logins(&world), 2);
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    world.restart().await;
    pass(HOUR).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3");
    assert_eq!(presented(&world)[3..], [2], "the old refresh token came back");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_refused_says_that_an_answer_got_lost() {
    let world = world(Profile::Unknown, |ledger| ledger.lost_after = 1).await;
    pass(HOUR + MINUTE).await;
    assert_eq!(why(world.token().await), SignedOut::AmbiguousRotation);
    assert_eq!(presented(&world), [1, 1]);
    world.log_in().await;
    assert_eq!(presented(&world), [1, 1], "a token that was refused has no last try");
}

#[tokio::test(start_paused = true)]
async fn why_a_login_was_ended_outlives_the_daemon() {
    let refused = || Failure::Refused { message: "invalid_grant".into() };
    for (lost, expected) in [(0, SignedOut::Refused), (1, SignedOut::AmbiguousRotation)] {
        let mut world = world(Profile::Unknown, |ledger| ledger.lost_before = lost).await;
        world.issuer.set(|ledger| ledger.failures.push_back(refused()));
        pass(50 * MINUTE).await;
        assert_eq!(name(&world.token().await.unwrap()), "at-1");
        for _ in 0..2 {
            world.restart().await;
            pass(20 * MINUTE).await;
            assert_eq!(why(world.token().await), expected);
        }
        assert!(presented(&world).len() <= 2, "a token that was refused was presented again");
        world.log_in().await;
        world.restart().await;
        assert_eq!(name(&world.token().await.unwrap()), "at-2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_rotated_is_presented_as_often_as_it_takes() {
    let world = world(Profile::None, |ledger| {
        ledger.keeps = true;
        ledger.lost_after = 20;
    })
    .await;
    pass(8 * HOUR).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    assert!(presented(&world).len() > 20);
    assert!(world.entry.view().warning(world.clock.now().moment).is_none());
}

#[tokio::test(start_paused = true)]
async fn two_renewals_that_leave_a_token_in_force_are_remembered_across_a_restart() {
    let mut world = world(Profile::Unknown, |ledger| {
        ledger.keeps = true;
        ledger.gives_refresh_tokens = true;
    })
    .await;
    pass(2 * HOUR).await;
    assert!(presented(&world).len() >= 2);
    world.restart().await;
    world.issuer.set(|ledger| ledger.lost_after = 5);
    pass(3 * HOUR).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1", "a token that stays good was given up");
}

#[tokio::test(start_paused = true)]
async fn the_count_of_presentations_outlives_the_daemon() {
    let mut world = world(Profile::Strict, |ledger| ledger.lost_before = 5).await;
    for _ in 0..10 {
        pass(7 * MINUTE).await;
        world.restart().await;
    }
    pass(HOUR).await;
    assert_eq!(presented(&world), [1, 1]);
    assert_eq!(why(world.token().await), SignedOut::AmbiguousRotation);
}

#[tokio::test(start_paused = true)]
async fn a_last_try_that_a_person_does_not_wait_for_stays_the_last() {
    let world = world(Profile::Unknown, |ledger| ledger.lost_before = 2).await;
    pass(HOUR + MINUTE).await;
    world.issuer.set(|ledger| ledger.outage = true);
    world.entry.begin_login(Flow::Configured).await.unwrap();
    world.entry.cancel_login().await;
    pass(HOUR).await;
    assert_eq!(presented(&world), [1, 1, 1], "it was presented again, and nobody was there");
    assert_eq!(why(world.token().await), SignedOut::AmbiguousRotation);
    world.issuer.set(|ledger| ledger.outage = false);
    let view = world.begin(Flow::Configured).await;
    assert!(matches!(view.login, LoginProgress::SignedIn), "{:?}", view.login);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_outlasts_the_grace_leaves_nothing_but_the_last_minute() {
    let world = world(Profile::Grace(10 * SECOND), |ledger| ledger.lost_after = 1).await;
    while presented(&world).is_empty() {
        pass(SECOND).await;
    }
    world.issuer.set(|ledger| ledger.outage = true);
    pass(11 * SECOND).await;
    let within_grace = presented(&world).len();
    world.issuer.set(|ledger| ledger.outage = false);
    pass(13 * MINUTE).await;
    assert_eq!(presented(&world).len(), within_grace, "a replay that is held against us");
    pass(15 * MINUTE).await;
    assert_eq!(presented(&world).len(), within_grace + 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_a_token_is_presented_again_counts_for_nothing() {
    let world = world(Profile::Unknown, |ledger| ledger.lost_before = 1).await;
    while presented(&world).is_empty() {
        pass(SECOND / 4).await;
    }
    world.issuer.set(|ledger| ledger.panics = true);
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.panics = false);
    pass(5 * MINUTE).await;
    assert_eq!(presented(&world), [1, 1]);
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
}
