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

/// Random numbers that are the same at every run: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Returns settings with some of these: the account that logs in, and another as one of two clients.
fn settings(has_login: bool, other: Option<&'static str>) -> Registry {
    let other = other.map(|client| Account { name: "other".parse().unwrap(), ..account(client) });
    Registry::new(has_login.then(|| account("cli")).into_iter().chain(other), None)
}

/// The account that logs in is not edited, but removed and put back; the other is edited, removed and put back.
#[tokio::test(start_paused = true)]
async fn a_thousand_reloads_at_random_moments_lose_no_login_and_mix_up_no_tokens_r16() {
    let world = World::signed_in(|ledger| ledger.lifetime = 30 * SECOND).await;
    world.entry.close();
    world.entry.ended().await;
    let unattended = |client: &'static str| {
        FakeIssuer::new(&world.clock).with(|ledger| {
            ledger.attendance = Attendance::Unattended;
            ledger.lifetime = 30 * SECOND;
            ledger.scope = client;
        })
    };
    let (login, one, two) = (world.issuer.clone(), unattended("one"), unattended("two"));
    let sources = Box::new(move |account: &Account| -> Arc<dyn TokenSource> {
        let Provider::Issuer(settings) = &account.provider else { panic!("an account with an issuer") };
        Arc::new(match &settings.client.id {
            ClientId::Given(id) if id == "one" => one.clone(),
            ClientId::Given(id) if id == "two" => two.clone(),
            ClientId::Given(_) | ClientId::FromEndpoint => login.clone(),
        })
    });
    let cache = TokenCache::new(Arc::clone(&world.store), sources, world.clock.clone());
    let mut dice = Dice(0x5EED);
    let (mut served, mut hung_up) = (0, 0);
    for reload in 0..1_000 {
        let other = [None, Some("one"), Some("two")][dice.below(3) as usize];
        cache.apply(settings(dice.below(4) > 0, other));
        pass(Duration::from_millis(dice.below(3_000))).await;
        if let (Some(client), Ok(entry)) = (other, cache.entry("other")) {
            match timeout(Duration::from_millis(dice.below(4_000)), entry.token(own(), None, MINUTE)).await {
                Ok(answer) => {
                    let scope = answer.unwrap().tokens.scope.to_string();
                    assert_eq!(scope, client, "a token of the settings before reload {reload}");
                    served += 1;
                }
                Err(_) => hung_up += 1,
            }
        }
    }
    assert!(served > 100 && hung_up > 50, "{served} were served, and {hung_up} hung up");
    cache.apply(settings(true, None));
    pass(MINUTE).await;
    assert!(cache.entry("prod").unwrap().token(own(), None, MINUTE).await.is_ok(), "the login was lost");
    let ledger = world.issuer.0.lock().unwrap();
    assert!(ledger.presented.len() > 50, "{} renewals", ledger.presented.len());
    assert!(ledger.presented.is_sorted_by(|one, next| one < next), "a refresh token came twice");
    assert_eq!(ledger.max_under_way, 1);
}
