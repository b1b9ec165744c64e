//! The promises about a refresh token that another client obtained: presented once, and what it brings is not lost.

use tokio::task::JoinHandle;

use super::*;
use crate::store::{Adopted, Begun, Intent, Journal, Left, Place};
use crate::token::rotation::Doubt;

/// The refresh token of the other client.
const FOREIGN: u32 = 7;

fn foreign() -> RefreshToken {
    RefreshToken::new(FOREIGN.to_string().into(), "https://i".to_owned())
}

/// Takes over the session of the other client. Returns how that ended.
async fn import(world: &World) -> LoginProgress {
    world.issuer.set(|ledger| ledger.live = FOREIGN);
    world.entry.import(FOREIGN.to_string().into()).await.unwrap();
    world.login_ends().await.login.clone()
}

fn presented(world: &World) -> Vec<u32> {
    world.issuer.0.lock().unwrap().presented.clone()
}

/// Returns what is written down about a presentation.
fn left(world: &World) -> Option<Left> {
    world.store.left_rotation(&world.account.name).unwrap()
}

/// Ends the daemon, and leaves what one leaves that ended in mid-import.
async fn dies_in_mid_import(world: &World, displaced: Option<Doubt>) -> Journal {
    world.entry.close();
    world.entry.ended().await;
    world.issuer.set(|ledger| ledger.live = FOREIGN);
    let record = world.store.load(&world.account.name).unwrap();
    let intent = Intent {
        generation: record.map_or(0, |record| record.generation),
        fingerprint: world.account.fingerprint(),
        token_hash: foreign().hash(),
        doubt: Doubt::after(None, world.clock.now().moment),
        adopted: Some(Adopted { refresh: foreign(), displaced }),
    };
    match world.store.begin_rotation(&world.account.name, &intent, Place::State).unwrap() {
        Begun::Ready(journal) => journal,
        Begun::Overtaken(_) => panic!("it is of the generation at rest"),
    }
}

/// Returns the answer of the issuer to the other client's refresh token.
async fn answer(world: &World) -> Answered {
    let tokens = world.issuer.answer(Some(FOREIGN)).await.unwrap();
    world.issuer.written(tokens)
}

/// Returns a world in which the refresh token was presented twice with no outcome, which is as often as it is by itself.
async fn in_doubt() -> World {
    let world = World::signed_in(|ledger| ledger.lost_before = 2).await;
    pass(HOUR + MINUTE).await;
    world.token().await.unwrap_err();
    assert_eq!(presented(&world), [1, 1]);
    world
}

/// Looks whether the refresh token of that world has its last try before it, and no more than that.
async fn has_its_last_try(world: &mut World) {
    let before = presented(world);
    for _ in 0..2 {
        pass(HOUR).await;
        world.token().await.unwrap_err();
        assert_eq!(presented(world), before, "it was presented a third time, and nobody was there");
        world.restart().await;
    }
    world.issuer.set(|ledger| ledger.live = 1);
    let view = world.begin(Flow::Configured).await;
    assert!(matches!(view.login, LoginProgress::SignedIn), "{:?}", view.login);
    assert_eq!(presented(world)[before.len()..], [1]);
}

#[tokio::test(start_paused = true)]
async fn what_an_import_may_lose_is_written_down_before_it_is_presented() {
    let mut world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.live = FOREIGN);
    world.entry.import(FOREIGN.to_string().into()).await.unwrap();
    pass(SECOND / 2).await;
    assert_eq!(presented(&world), [FOREIGN]);
    let Left { intent, answered } = left(&world).unwrap();
    assert_eq!(intent.adopted, Some(Adopted { refresh: foreign(), displaced: None }));
    assert!(answered.is_none());
    world.login_ends().await;
    assert!(left(&world).is_none());
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-8");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_daemon_did_not_get_to_read_becomes_the_login() {
    for (holds_one, gives_another) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut world = World::new(|ledger| ledger.gives_refresh_tokens = gives_another);
        if holds_one {
            world.log_in().await;
        }
        let mut journal = dies_in_mid_import(&world, None).await;
        let answered = answer(&world).await;
        journal.record(&answered).unwrap();
        world.issuer.set(|ledger| ledger.gives_refresh_tokens = true);
        world.restart().await;
        assert_eq!(name(&world.token().await.unwrap()), "at-8", "{holds_one} {gives_another}");
        assert!(matches!(world.entry.view().login, LoginProgress::SignedIn));
        assert!(left(&world).is_none(), "it would be read again");
        // Where the answer had no other, the one that was presented is in force.
        world.issuer.set(|ledger| ledger.live = if gives_another { 8 } else { FOREIGN });
        world.restart().await;
        pass(HOUR).await;
        world.token().await.unwrap();
        assert_eq!(presented(&world), [FOREIGN, if gives_another { 8 } else { FOREIGN }]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_without_an_answer_is_lost_and_said_to_be_and_costs_nothing_else() {
    for holds_one in [true, false] {
        let mut world = World::new(|_| ());
        if holds_one {
            world.log_in().await;
        }
        drop(dies_in_mid_import(&world, None).await);
        world.issuer.set(|ledger| ledger.live = 1);
        world.restart().await;
        let outcome = world.token().await;
        assert_eq!(outcome.is_ok(), holds_one, "{outcome:?}");
        let LoginProgress::Failed(failure) = &world.entry.view().login else { panic!("nobody was told") };
        assert!(failure.to_string().contains("import it again, or log in"), "{failure}");
        assert!(left(&world).is_none());
        pass(HOUR).await;
        assert_eq!(world.token().await.is_ok(), holds_one);
        let renewed: &[u32] = if holds_one { &[1] } else { &[] };
        assert_eq!(presented(&world), renewed, "it was presented again, or a doubt was made up");
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_that_fails_leaves_what_was_known_of_the_login_before() {
    let refused = || Failure::Refused { message: "invalid_grant".into() };
    for (lost, failures) in [(0, vec![refused()]), (1, vec![]), (0, vec![Failure::transient("busy")])] {
        let mut world = in_doubt().await;
        world.issuer.set(|ledger| {
            ledger.lost_before = lost;
            ledger.failures.extend(failures);
        });
        let ended = import(&world).await;
        assert!(matches!(ended, LoginProgress::Failed(_)), "{ended:?}");
        assert_eq!(presented(&world), [1, 1, FOREIGN]);
        let Left { intent, .. } = left(&world).unwrap();
        assert_eq!((intent.doubt.presentations, intent.adopted), (2, None));
        has_its_last_try(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_mid_import_leaves_what_was_known_of_the_login_before() {
    for answer in [None, Some(&b"refused"[..]), Some(b"poison")] {
        let mut world = in_doubt().await;
        let doubt = left(&world).unwrap().intent.doubt;
        let mut journal = dies_in_mid_import(&world, Some(doubt)).await;
        if let Some(body) = answer {
            let mut answered = self::answer(&world).await;
            *answered.body = body.to_vec();
            journal.record(&answered).unwrap();
        }
        world.restart().await;
        has_its_last_try(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_its_reader_is_read_from_what_was_written_down() {
    let world = World::new(|ledger| ledger.breaks_reader = true);
    let ended = import(&world).await;
    assert!(matches!(ended, LoginProgress::SignedIn), "{ended:?}");
    assert_eq!(name(&world.token().await.unwrap()), "at-8");
    assert_eq!(presented(&world), [FOREIGN]);
}

#[tokio::test(start_paused = true)]
async fn an_import_that_ends_abnormally_before_it_is_sent_has_failed() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.panics = true);
    let ended = import(&world).await;
    assert!(matches!(ended, LoginProgress::Failed(_)), "{ended:?}");
    assert!(presented(&world).is_empty());
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_and_an_import_take_turns_with_the_journal() {
    let (world, asked) = in_mid_renewal().await;
    let is_about = |adopts: bool| left(&world).unwrap().intent.adopted.is_some() == adopts;
    assert!(is_about(false));
    world.entry.import(FOREIGN.to_string().into()).await.unwrap();
    pass(SECOND).await;
    assert!(presented(&world) == [1] && is_about(false), "the journal of the renewal was written over");
    assert!(matches!(world.entry.import(FOREIGN.to_string().into()).await, Err(NoLogin::Exchanging)));
    // The answer to the renewal has been decided.
    world.issuer.set(|ledger| {
        ledger.live = FOREIGN;
        ledger.lifetime = HOUR;
    });
    assert_eq!(name(&asked.await.unwrap().unwrap()), "at-2");
    pass(6 * SECOND).await;
    assert!(presented(&world) == [1, FOREIGN] && is_about(true), "{:?}", presented(&world));
    assert_eq!(name(&world.token().await.unwrap()), "at-8", "it has expired, and waits for the import");
    assert_eq!(presented(&world), [1, FOREIGN]);
    assert_eq!(world.issuer.0.lock().unwrap().max_under_way, 1);
}

/// Returns a world in which a renewal is under way for ten seconds more, and who waits for it.
async fn in_mid_renewal() -> (World, JoinHandle<Result<Served, Refusal>>) {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    world.issuer.set(|ledger| ledger.delay = 10 * SECOND);
    let entry = Arc::clone(&world.entry);
    let asked = tokio::spawn(async move { entry.token(own(), None, 30 * SECOND).await });
    pass(SECOND / 4).await;
    assert_eq!(presented(&world), [1]);
    (world, asked)
}

#[tokio::test(start_paused = true)]
async fn an_import_that_waits_for_its_turn_can_be_left_and_has_spent_nothing() {
    for is_cancelled in [true, false] {
        let (mut world, asked) = in_mid_renewal().await;
        world.entry.import(FOREIGN.to_string().into()).await.unwrap();
        if is_cancelled {
            world.entry.cancel_login().await;
        } else {
            world.restart().await;
        }
        pass(MINUTE).await;
        assert!(!world.entry.view().login.is_pending());
        assert_eq!(presented(&world), [1]);
        assert_eq!(name(&asked.await.unwrap().unwrap()), "at-2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_during_an_import_takes_its_tokens_back_and_leaves_nothing() {
    let mut world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.live = FOREIGN);
    world.entry.import(FOREIGN.to_string().into()).await.unwrap();
    pass(SECOND / 2).await;
    world.entry.log_out().await.unwrap();
    assert!(matches!(world.entry.view().login, LoginProgress::Cancelled));
    pass(MINUTE).await;
    assert_eq!(world.issuer.0.lock().unwrap().revoked, 2, "its own, and what the import brought");
    assert!(left(&world).is_none());
    world.restart().await;
    world.token().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_shows_before_the_session_of_another_client_is_spent() {
    let world = World::new(|_| ());
    let in_the_way = world.state.path().join("accounts/.prod.journal.tmp");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    let ended = import(&world).await;
    let LoginProgress::Failed(failure) = &ended else { panic!("{ended:?}") };
    assert!(failure.to_string().contains("not used while its successor could not be stored"), "{failure}");
    assert!(presented(&world).is_empty());
    fs::remove_dir_all(in_the_way).unwrap();
    let ended = import(&world).await;
    assert!(matches!(ended, LoginProgress::SignedIn), "{ended:?}");
}
