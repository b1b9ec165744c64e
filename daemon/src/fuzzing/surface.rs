//! The API as it is served, in front of accounts whose issuer is out of reach.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use keyfob_protocol::daemon::ReloadReport;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::account::registry::Registry;
use crate::account::{Account, Means};
use crate::api::control::{Control, MAX_ORDERS, Order};
use crate::api::peer::Peer;
use crate::api::{self, Api, serve};
use crate::cache::TokenCache;
use crate::clock::Clock;
use crate::flyte::discovery::Discoveries;
use crate::flyte::keyring::Keyrings;
use crate::grant::binding::Lessons;
use crate::grant::program;
use crate::oauth::http::Http;
use crate::oauth::transport::Transport;
use crate::store::journal::Place;
use crate::store::key::KeyChoice;
use crate::store::{Location, Record, Sources, Store};
use crate::token::{AccessToken, RefreshToken, Scope, TokenSet};

/// The access token that every account holds.
pub const ACCESS_TOKEN: &str = "CANARY-access-token";

/// The refresh token that every account holds. No answer may have it.
pub const REFRESH_TOKEN: &str = "CANARY-refresh-token";

/// Starts the accounts of a configuration, all of them signed in, with an empty directory for the store, and returns the
/// API. Orders to reload and to stop are taken and change nothing.
///
/// # Panics
/// Panics outside of a runtime, and where the configuration has a mistake.
pub fn serve(config: &str, state: &Path) -> Router {
    let config =
        super::settings::parse(config.as_bytes()).expect("the target's configuration has no mistake");
    let clock = Clock::system();
    let keys = Sources::of_the_system(None);
    let store = Store::open(&Location::of(state), KeyChoice::Memory, keys, clock.clone())
        .expect("the directory is empty and ours");
    for account in &config.accounts {
        store.save(&account.name, &record(account, &clock)).expect("memory takes everything");
    }
    let means = Means {
        http: Http::of(&Transport::default()),
        clock: clock.clone(),
        environment: program::Environment::from_own([]),
        flyte: Discoveries::new(state, clock.clone()),
        lessons: Lessons::default(),
    };
    let sources = Box::new(move |account: &Account| account.source(&means));
    let started_at = clock.now().wall;
    let cache = TokenCache::new(Arc::new(store), sources, clock);
    cache.apply(Registry::new(config.accounts, config.default_account));
    let (orders, given) = mpsc::channel(MAX_ORDERS);
    tokio::spawn(heed(given));
    let control = Control { orders, started_at };
    api::router(Arc::new(Api::new(cache, control, Keyrings::new(None, None))))
}

/// Lets the API answer on one connection, as it does on one of the socket, until either side has enough.
pub async fn converse(router: Router, stream: DuplexStream) {
    let peer = Peer::unknown(rustix::process::getuid().as_raw());
    serve::converse_alone(stream, peer, router).await;
}

fn record(account: &Account, clock: &Clock) -> Record {
    let access =
        AccessToken::new(ACCESS_TOKEN.into(), clock.now().moment, None).expect("it is visible ASCII");
    let refresh = RefreshToken::new(REFRESH_TOKEN.into(), "http://127.0.0.1:1".to_owned());
    let tokens = TokenSet { refresh: Some(refresh), scope: Scope::parse("all"), ..TokenSet::of(access) };
    Record { generation: 1, fingerprint: account.fingerprint(), tokens, ended: None, place: Place::State }
}

async fn heed(mut given: mpsc::Receiver<Order>) {
    while let Some(order) = given.recv().await {
        match order {
            // Whoever asked may have gone.
            Order::Reload(reply) => drop(reply.send(Ok(ReloadReport::default()))),
            Order::Stop => {}
        }
    }
}
