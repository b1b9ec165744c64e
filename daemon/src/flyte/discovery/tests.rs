//! What is remembered, for how long, and who waits for whom. Simulated time, a real directory.

use super::*;
use crate::flyte::scripted_grpc::{Canned, ScriptedFlyte};

const TOKEN: &str = "https://login.example.com/token";
const SERVICE: &str = "/flyteidl.service.AuthMetadataService";
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    flyte: ScriptedFlyte,
    state: tempfile::TempDir,
    clock: Clock,
    discoveries: Discoveries,
}

impl World {
    async fn new() -> Self {
        let flyte = ScriptedFlyte::start().await;
        flyte.say_by_grpc(&Said::example("https://login.example.com"));
        let (state, clock) = (tempfile::tempdir().unwrap(), Clock::following_tokio());
        let discoveries = Discoveries::new(state.path(), clock.clone());
        Self { flyte, state, clock, discoveries }
    }

    fn discovery(&self) -> Arc<Discovery> {
        self.of(&self.discoveries)
    }

    /// Returns what a daemon finds that starts now.
    fn restarted(&self) -> Arc<Discovery> {
        self.of(&Discoveries::new(self.state.path(), self.clock.clone()))
    }

    fn of(&self, discoveries: &Discoveries) -> Arc<Discovery> {
        discoveries.of(&self.flyte.endpoint(), &Http::new().unwrap(), &Transport::default())
    }

    /// Has the endpoint fail.
    fn break_down(&self) {
        self.flyte.clear();
        self.flyte.set(&format!("{SERVICE}/GetOAuth2Metadata"), Canned::grpc_error(14));
    }

    /// Returns how often the endpoint was asked.
    fn attempts(&self) -> usize {
        self.flyte
            .asked()
            .iter()
            .filter(|path| path.ends_with(".service.AuthMetadataService/GetOAuth2Metadata"))
            .count()
    }

    /// Lets time pass; network and disk go on at their own pace.
    async fn pass(&self, time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }
}

async fn token(discovery: &Arc<Discovery>) -> Result<String, Failure> {
    discovery.auth_metadata(LoopbackHttp::Refused).await.map(|found| found.endpoints.token.to_string())
}

/// Waits until whatever is asked again in the background has been answered.
async fn settled(discovery: &Arc<Discovery>) {
    let is_settled = async {
        while discovery.state.lock().await.is_asking {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_settled).await.unwrap();
}

#[tokio::test]
async fn all_accounts_share_one_answer() {
    let world = World::new().await;
    let (one, other) = (world.discovery(), world.discovery());
    let (first, second) = tokio::join!(token(&one), token(&other));
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), (TOKEN, TOKEN));
    world.pass(HOUR - Duration::from_secs(60)).await;
    token(&world.discovery()).await.unwrap();
    assert_eq!(world.attempts(), 1);
}

#[tokio::test]
async fn whoever_waited_shares_a_failure_and_whoever_comes_later_does_not() {
    let world = World::new().await;
    world.break_down();
    let (one, other) = (world.discovery(), world.discovery());
    let (first, second) = tokio::join!(token(&one), token(&other));
    assert_eq!(first.unwrap_err(), second.unwrap_err());
    assert_eq!(world.attempts(), 1);
    assert!(token(&one).await.is_err());
    assert_eq!(world.attempts(), 2);
    world.flyte.say_by_grpc(&Said::example("https://login.example.com"));
    assert_eq!(token(&one).await.unwrap(), TOKEN);
}

#[tokio::test]
async fn what_is_old_is_served_while_it_is_asked_for_again() {
    let world = World::new().await;
    let discovery = world.discovery();
    token(&discovery).await.unwrap();
    world.flyte.say_by_grpc(&Said::example("https://new.example.com"));
    world.pass(HOUR * 2).await;
    assert_eq!(token(&discovery).await.unwrap(), TOKEN);
    settled(&discovery).await;
    assert_eq!(token(&discovery).await.unwrap(), "https://new.example.com/token");
    assert_eq!(world.attempts(), 2);
}

#[tokio::test]
async fn what_is_known_stays_in_force_while_the_endpoint_is_down_however_long() {
    let world = World::new().await;
    let discovery = world.discovery();
    token(&discovery).await.unwrap();
    world.break_down();
    for (passes, attempts) in [(HOUR * 2, 2), (Duration::from_secs(60), 2), (HOUR * 24 * 365, 3)] {
        world.pass(passes).await;
        assert_eq!(token(&discovery).await.unwrap(), TOKEN);
        settled(&discovery).await;
        assert_eq!(world.attempts(), attempts);
    }
}

#[tokio::test]
async fn a_daemon_that_starts_while_the_endpoint_is_down_knows_it_from_disk() {
    let world = World::new().await;
    token(&world.discovery()).await.unwrap();
    world.break_down();
    world.pass(HOUR * 24).await;
    let restarted = world.restarted();
    assert_eq!(token(&restarted).await.unwrap(), TOKEN);
    settled(&restarted).await;
    assert_eq!(token(&restarted).await.unwrap(), TOKEN);
    assert_eq!(world.attempts(), 2);
}

#[tokio::test]
async fn what_is_on_disk_is_checked_like_what_is_said() {
    let world = World::new().await;
    world.flyte.say_by_grpc(&Said::example("http://127.0.0.1:1"));
    let discovery = world.discovery();
    assert!(discovery.auth_metadata(LoopbackHttp::Allowed).await.is_ok());
    let failure = world.restarted().auth_metadata(LoopbackHttp::Refused).await.unwrap_err();
    assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
    let host = world.flyte.endpoint().host().to_owned();
    assert!(
        failure.to_string().starts_with(&format!("{host} names an unusable token_endpoint: ")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_file_from_the_future_is_not_fresh_for_ever() {
    let world = World::new().await;
    let discovery = world.discovery();
    token(&discovery).await.unwrap();
    let later = world.clock.now().moment.after(HOUR * 1000);
    discovery.file.write(Said::example("https://login.example.com"), world.clock.stamp(later));
    let restarted = world.restarted();
    token(&restarted).await.unwrap();
    world.pass(HOUR * 2).await;
    token(&restarted).await.unwrap();
    settled(&restarted).await;
    assert_eq!(world.attempts(), 2);
}
