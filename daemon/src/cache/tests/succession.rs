//! The promises about an account whose owner came to grief.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_panic_of_its_owner_costs_an_account_a_moment_and_nothing_that_rests_r6() {
    let mut world = World::signed_in(|ledger| ledger.lifetime = 40 * SECOND).await;
    world.issuer.set(|ledger| ledger.breaks_owner = true);
    pass(21 * SECOND).await;
    // The renewal has panicked. What is held is served, and nobody is kept waiting for what does not come.
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
    assert_eq!(world.issuer.requests(), 1);
    pass(21 * SECOND).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    world.restart().await;
    pass(25 * SECOND).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3", "the refresh token on disk was a spent one");
}

#[tokio::test(start_paused = true)]
async fn an_account_without_an_owner_ends_when_it_is_told_to() {
    let world = World::signed_in(|ledger| ledger.breaks_owner = true).await;
    pass(43 * MINUTE - 10 * SECOND).await;
    world.entry.close();
    timeout(MINUTE, world.entry.ended()).await.unwrap();
}
