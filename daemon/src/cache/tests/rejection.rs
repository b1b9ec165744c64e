//! The promises about tokens that servers refuse.

use super::*;
use crate::cache::entry::Told;
use crate::cache::rejection::Consumer;

const PYTHON: Consumer = Consumer { pid: 7, started: 1 };

impl World {
    async fn token_of(&self, consumer: Consumer) -> String {
        name(&self.entry.token(own(), Some(consumer), 30 * SECOND).await.unwrap())
    }

    async fn reject(&self, token: &str) -> Told {
        self.entry.rejected(own(), crate::token::TokenHash::of(token), 30 * SECOND).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_refused_clients_shares_one_renewal_and_others_are_not_made_to_wait() {
    let world = World::signed_in(|_| ()).await;
    assert_eq!(world.token_of(PYTHON).await, "at-1");
    pass(10 * MINUTE).await;
    let mut burst = JoinSet::new();
    for _ in 0..4 {
        let entry = Arc::clone(&world.entry);
        burst.spawn(async move { entry.token(own(), Some(PYTHON), 30 * SECOND).await });
    }
    pass(SECOND / 2).await;
    assert_eq!(world.token_of(Consumer { pid: 8, ..PYTHON }).await, "at-1");
    for answer in burst.join_all().await {
        assert_eq!(name(&answer.unwrap()), "at-2");
    }
    assert_eq!(world.issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_for_a_refusal_that_fails_leaves_the_token_in_force() {
    let world = World::signed_in(|_| ()).await;
    world.token_of(PYTHON).await;
    pass(10 * MINUTE).await;
    world.issuer.set(|ledger| ledger.outage = true);
    for _ in 0..10 {
        assert_eq!(world.token_of(PYTHON).await, "at-1");
    }
    assert!(world.issuer.requests() <= 3, "{} requests", world.issuer.requests());
    world.issuer.set(|ledger| ledger.outage = false);
    pass(MINUTE).await;
    assert_eq!(world.token_of(PYTHON).await, "at-2");
}

#[tokio::test(start_paused = true)]
async fn who_says_that_a_token_was_refused_is_believed_for_the_one_in_force_once_in_a_while_6750_4() {
    let world = World::signed_in(|_| ()).await;
    assert!(matches!(world.reject("at-0").await, Told::Superseded));
    assert!(matches!(world.reject("at-1").await, Told::Unchanged(_)), "no two renewals within ten seconds");
    pass(MINUTE).await;
    assert!(matches!(world.reject("at-1").await, Told::Renewed));
    assert!(matches!(world.reject("at-1").await, Told::Superseded));
    assert!(matches!(world.reject("at-2").await, Told::Futile));
    assert!(world.entry.warning().is_some());
    assert_eq!(world.issuer.requests(), 2);
    pass(3 * MINUTE).await;
    assert!(world.entry.warning().is_none());
    assert!(matches!(world.reject("at-2").await, Told::Renewed));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_gives_the_same_token_again_is_not_asked_all_the_time() {
    let world = World::new(|ledger| {
        ledger.attendance = Attendance::Unattended;
        ledger.repeats_itself = true;
    });
    for _ in 0..360 {
        assert_eq!(world.token_of(PYTHON).await, "at");
        pass(5 * SECOND).await;
    }
    assert!(world.issuer.requests() <= 7, "{} requests in half an hour", world.issuer.requests());
    assert!(world.entry.warning().is_some());
}
