//! The promises about accounts that a reload takes away while something of theirs is under way.

use super::*;
use crate::account::registry::Registry;
use crate::cache::TokenCache;

/// Returns a cache on the store of a world whose account has signed in.
async fn cache_of(world: &World) -> TokenCache {
    world.entry.close();
    world.entry.ended().await;
    let issuer = world.issuer.clone();
    let sources = Box::new(move |_: &Account| Arc::new(issuer.clone()) as Arc<dyn TokenSource>);
    TokenCache::new(Arc::clone(&world.store), sources, world.clock.clone())
}

fn registry() -> Registry {
    Registry::new([account("cli")], None)
}

/// Applies settings with the account, and without it once its token is being renewed.
async fn removed_during_a_renewal(world: &World) -> TokenCache {
    let cache = cache_of(world).await;
    cache.apply(registry());
    world.issuer.set(|ledger| ledger.delay = 10 * SECOND);
    while world.issuer.requests() < 2 {
        pass(SECOND).await;
    }
    cache.apply(Registry::default());
    cache
}

#[tokio::test(start_paused = true)]
async fn an_account_that_comes_back_waits_for_the_renewal_that_it_left_behind() {
    let world = World::signed_in(|_| ()).await;
    let cache = removed_during_a_renewal(&world).await;
    cache.apply(Registry::default());
    cache.apply(registry());
    pass(MINUTE).await;
    let entry = cache.entry("prod").unwrap();
    assert_eq!(name(&entry.token(own(), None, 30 * SECOND).await.unwrap()), "at-2");
    pass(HOUR).await;
    assert_eq!(
        name(&entry.token(own(), None, 30 * SECOND).await.unwrap()),
        "at-3",
        "it had the spent refresh token"
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_daemon_waits_for_a_renewal_of_an_account_that_was_removed() {
    let mut world = World::signed_in(|_| ()).await;
    removed_during_a_renewal(&world).await.shut_down().await;
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
}
