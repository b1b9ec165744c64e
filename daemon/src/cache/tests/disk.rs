//! The promises about a refresh token while the disk does not take what is written, and about what an earlier daemon wrote.

use std::path::PathBuf;

use super::*;
use crate::store::{Begun, Intent, Journal, Left, Place};
use crate::token::rotation::Doubt;

/// Keeps the store from writing tokens, until what is in the way is taken away again.
fn block(world: &World) -> PathBuf {
    let in_the_way = world.state.path().join("accounts/.prod.sealed.tmp");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    in_the_way
}

fn unblock(in_the_way: PathBuf) {
    fs::remove_dir_all(in_the_way).unwrap();
}

fn presented(world: &World) -> usize {
    world.issuer.0.lock().unwrap().presented.len()
}

/// Returns what is written down about a renewal.
fn left(world: &World) -> Option<Left> {
    world.store.left_rotation(&world.account.name).unwrap()
}

/// Returns a world whose tokens are in another place than the state directory, and whose access token is never long.
async fn volatile() -> (World, PathBuf) {
    let world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    let in_the_way = block(&world);
    pass(MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    assert!(matches!(world.entry.view().stored, Stored::Volatile(_)));
    pass(MINUTE).await;
    (world, in_the_way)
}

/// Ends the daemon, and leaves what one leaves that ended in mid-renewal: the journal of a presentation.
async fn dies_in_mid_renewal(world: &World, presentations: u32) -> Journal {
    world.entry.close();
    world.entry.ended().await;
    let record = world.store.load(&world.account.name).unwrap().unwrap();
    let intent = Intent {
        generation: record.generation,
        fingerprint: record.fingerprint,
        token_hash: record.tokens.refresh.unwrap().hash(),
        doubt: Doubt { presentations, since: world.clock.now().moment },
        adopted: None,
    };
    match world.store.begin_rotation(&world.account.name, &intent, Place::State).unwrap() {
        Begun::Ready(journal) => journal,
        Begun::Overtaken(_) => panic!("it is of the generation at rest"),
    }
}

/// Returns an answer with the issuer's next tokens.
async fn next_answer(world: &World) -> Answered {
    let live = world.issuer.0.lock().unwrap().live;
    let tokens = world.issuer.answer(Some(live)).await.unwrap();
    world.issuer.written(tokens)
}

fn starts(world: &mut World, account: Account) {
    world.entry = start(account, &world.issuer, &world.store, &world.clock);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_written_again_in_mid_renewal_leaves_its_journal_alone() {
    for heals in [true, false] {
        let (world, in_the_way) = volatile().await;
        world.issuer.set(|ledger| ledger.delay = 14 * SECOND);
        let entry = Arc::clone(&world.entry);
        let asked = tokio::spawn(async move { entry.token(own(), None, 30 * SECOND).await });
        pass(SECOND).await;
        assert!(left(&world).is_some(), "it was meant to be under way");
        if heals {
            unblock(in_the_way);
        }
        pass(12 * SECOND).await;
        assert!(left(&world).is_some(), "a crash now would lose the answer; heals: {heals}");
        assert_eq!(name(&asked.await.unwrap().unwrap()), "at-3");
        pass(10 * SECOND).await;
        assert_eq!(matches!(world.entry.view().stored, Stored::Durable), heals);
    }
}

#[tokio::test(start_paused = true)]
async fn the_count_of_presentations_outlives_a_disk_that_was_full() {
    for heals in [true, false] {
        let (mut world, in_the_way) = volatile().await;
        world.issuer.set(|ledger| ledger.lost_before = 10);
        let before = presented(&world);
        world.token().await.unwrap_err();
        pass(10 * SECOND).await;
        assert_eq!(presented(&world), before + 2);
        if heals {
            unblock(in_the_way);
        }
        for _ in 0..3 {
            pass(MINUTE).await;
            assert_eq!(matches!(world.entry.view().stored, Stored::Durable), heals);
            world.restart().await;
            world.token().await.unwrap_err();
        }
        assert_eq!(presented(&world), before + 2, "heals: {heals}");
        world.issuer.set(|ledger| ledger.lost_before = 0);
        let view = world.begin(Flow::Configured).await;
        assert!(matches!(view.login, LoginProgress::SignedIn), "its last try: {:?}", view.login);
    }
}

#[tokio::test(start_paused = true)]
async fn spilled_tokens_of_other_settings_are_left_alone() {
    let mut world = World::new(|_| ());
    let in_the_way = block(&world);
    world.log_in().await;
    world.entry.close();
    world.entry.ended().await;
    starts(&mut world, account("another-client"));
    pass(MINUTE).await;
    unblock(in_the_way);
    pass(MINUTE).await;
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1", "a login was thrown away that nobody ended");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_belongs_to_other_settings_is_left_to_them() {
    let mut world = World::signed_in(|_| ()).await;
    let answered = next_answer(&world).await;
    dies_in_mid_renewal(&world, 1).await.record(&answered).unwrap();
    starts(&mut world, account("another-client"));
    pass(MINUTE).await;
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    // A login by the other settings is the end of it.
    world.entry.close();
    world.entry.ended().await;
    dies_in_mid_renewal(&world, 1).await.record(&answered).unwrap();
    starts(&mut world, account("another-client"));
    world.log_in().await;
    assert!(left(&world).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_another_target_that_was_not_read_in_time_ends_no_login() {
    let mut world = World::signed_in(|_| ()).await;
    let mut answered = next_answer(&world).await;
    world.issuer.set(|ledger| ledger.live = 1);
    answered.terms.purpose = Purpose::Other;
    *answered.body = b"refused".to_vec();
    dies_in_mid_renewal(&world, 1).await.record(&answered).unwrap();
    world.restart().await;
    pass(HOUR).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_tells_nothing_does_not_clear_up_a_doubt() {
    for presentations in [2, 3] {
        let mut world = World::signed_in(|_| ()).await;
        let mut answered = next_answer(&world).await;
        *answered.body = b"busy".to_vec();
        dies_in_mid_renewal(&world, presentations).await.record(&answered).unwrap();
        let before = presented(&world);
        world.issuer.set(|ledger| ledger.lost_before = 10);
        world.restart().await;
        pass(2 * HOUR).await;
        let again = presented(&world) - before;
        assert_eq!(again, if presentations == 2 { 1 } else { 0 }, "after {presentations}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_its_reader_breaks_nothing_else() {
    let mut world = World::signed_in(|_| ()).await;
    let mut answered = next_answer(&world).await;
    *answered.body = b"poison".to_vec();
    dies_in_mid_renewal(&world, 1).await.record(&answered).unwrap();
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_for_a_while_is_not_written_over() {
    let mut world = World::signed_in(|_| ()).await;
    let answered = next_answer(&world).await;
    dies_in_mid_renewal(&world, 1).await.record(&answered).unwrap();
    let journal = world.state.path().join("accounts/prod.journal");
    fs::set_permissions(&journal, Permissions::from_mode(0o644)).unwrap();
    let before = presented(&world);
    world.restart().await;
    pass(HOUR).await;
    let refusal = world.token().await.unwrap_err();
    assert!(matches!(refusal, Refusal::Store(_)), "{refusal:?}");
    fs::set_permissions(&journal, Permissions::from_mode(0o600)).unwrap();
    pass(10 * SECOND).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3");
    assert_eq!(world.issuer.0.lock().unwrap().presented[before..], [2]);
}
