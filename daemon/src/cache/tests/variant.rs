//! The promises about tokens for other targets, and about ID tokens.

use super::*;
use crate::cache::variant::MAX_VARIANTS;
use crate::token::need::TokenKind;

fn scope(scope: &str) -> Wanted {
    Wanted::Other(Target { scope: Scope::parse(scope), ..Target::default() })
}

fn resource(resource: &str) -> Wanted {
    Wanted::Other(Target { resources: [resource.to_owned()].into(), ..Target::default() })
}

fn asked(wanted: Wanted) -> Asked {
    Asked { wanted, need: Need::default(), refused: None }
}

fn id_token() -> Asked {
    Asked { wanted: Wanted::Own, need: Need { kind: TokenKind::Id, min_ttl: None }, refused: None }
}

impl World {
    async fn token_for(&self, wanted: Wanted) -> Result<Served, Refusal> {
        self.entry.token(asked(wanted), None, 30 * SECOND).await
    }

    async fn name_for(&self, wanted: Wanted) -> String {
        name(&self.token_for(wanted).await.unwrap())
    }

    async fn id_token(&self) -> Result<String, Refusal> {
        let served = self.entry.token(id_token(), None, 30 * SECOND).await?;
        Ok(served.tokens.token(TokenKind::Id).unwrap().expose_secret().to_owned())
    }

    /// Asks for one target a hundred times at once, and returns all answers.
    async fn a_hundred_callers_for(&self, wanted: &Wanted) -> Vec<Result<Served, Refusal>> {
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let (entry, wanted) = (Arc::clone(&self.entry), wanted.clone());
            callers.spawn(async move { entry.token(asked(wanted), None, 30 * SECOND).await });
        }
        callers.join_all().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_for_one_target_is_served_to_no_request_for_another_6749_7_8707_2() {
    let mut world = World::signed_in(|_| ()).await;
    let targets = [scope("a"), scope("b"), scope("a b"), resource("https://a"), resource("https://b")];
    for (target, expected) in targets.iter().zip(["at-2", "at-3", "at-4", "at-5", "at-6"]) {
        assert_eq!(world.name_for(target.clone()).await, expected);
    }
    for (target, expected) in targets.iter().zip(["at-2", "at-3", "at-4", "at-5", "at-6"]) {
        assert_eq!(world.name_for(target.clone()).await, expected, "the second time from memory");
    }
    assert_eq!(world.name_for(scope("b a")).await, "at-4", "the order of scopes means nothing");
    assert_eq!(
        name(&world.token().await.unwrap()),
        "at-1",
        "another target displaced the account's own token"
    );
    world.restart().await;
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_in_full_is_the_accounts_own_token() {
    let world = World::signed_in(|_| ()).await;
    assert_eq!(world.entry.wanted(None, None, [].into()), Wanted::Own);
    assert_eq!(world.entry.wanted(Some(Scope::default()), None, [].into()), Wanted::Own);
    assert_eq!(world.entry.wanted(Some(Scope::parse("a")), None, [].into()), scope("a"));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_for_one_target_share_one_request_and_its_error() {
    for attendance in [Attendance::Person, Attendance::Unattended] {
        let world = World::new(|ledger| ledger.attendance = attendance);
        if attendance == Attendance::Person {
            world.log_in().await;
        }
        let before = world.issuer.requests();
        for answer in world.a_hundred_callers_for(&scope("a")).await {
            answer.unwrap();
        }
        assert_eq!(world.issuer.requests() - before, 1);
        world.issuer.set(|ledger| ledger.outage = true);
        for answer in world.a_hundred_callers_for(&scope("b")).await {
            let refusal = answer.unwrap_err();
            assert!(matches!(refusal, Refusal::Unavailable(Unavailable::Failed { .. })), "{refusal:?}");
        }
        assert!(world.token_for(scope("b")).await.is_err());
        assert_eq!(world.issuer.requests() - before, 2, "the error was meant to stay the answer for a while");
        assert!(world.token_for(scope("a")).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_for_another_target_is_answered_without_a_message_to_the_owner() {
    let world = World::signed_in(|_| ()).await;
    world.name_for(scope("a")).await;
    let asked = pin!(world.token_for(scope("a")));
    let answer = asked.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Ok(_))), "the caller had to wait for another task");
}

#[tokio::test(start_paused = true)]
async fn two_requests_are_never_made_with_one_refresh_token_at_a_time() {
    let mut world = World::signed_in(|ledger| ledger.lifetime = 15 * SECOND).await;
    pass(MINUTE).await;
    let entry = Arc::clone(&world.entry);
    let mut callers = JoinSet::new();
    for wanted in [Wanted::Own, scope("a"), scope("b"), resource("https://a"), Wanted::Own] {
        let entry = Arc::clone(&entry);
        callers.spawn(async move { entry.token(asked(wanted), None, MINUTE).await });
    }
    for answer in callers.join_all().await {
        // A spent refresh token would end the login.
        answer.unwrap();
    }
    assert_eq!(world.issuer.0.lock().unwrap().max_under_way, 1);
    drop(entry);
    world.restart().await;
    pass(MINUTE).await;
    world.token().await.expect("the refresh token on disk was a spent one");
}

#[tokio::test(start_paused = true)]
async fn targets_of_an_account_without_a_person_do_not_wait_for_each_other() {
    let world = World::new(|ledger| ledger.attendance = Attendance::Unattended);
    let (one, other) = tokio::join!(world.token_for(scope("a")), world.token_for(scope("b")));
    assert_ne!(name(&one.unwrap()), name(&other.unwrap()));
    assert_eq!(world.issuer.0.lock().unwrap().max_under_way, 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_for_another_target_that_hangs_up_does_not_lose_the_rotated_refresh_token() {
    let mut world = World::signed_in(|_| ()).await;
    let hung_up = timeout(SECOND / 10, world.token_for(scope("a"))).await;
    assert!(hung_up.is_err(), "the caller was meant to give up");
    // The end of the daemon waits for it as well.
    world.restart().await;
    pass(2 * HOUR).await;
    world.token().await.expect("the refresh token on disk was a spent one");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_target_is_no_end_of_a_login_that_still_works() {
    let world = World::signed_in(|_| ()).await;
    pass(MINUTE).await;
    let refused = Failure::Refused { message: "invalid_grant: no consent".into() };
    world.issuer.set(|ledger| ledger.failures.push_back(refused));
    for _ in 0..5 {
        let refusal = world.token_for(scope("a")).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unavailable(Unavailable::Failed { .. })), "{refusal:?}");
    }
    pass(MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2", "the login was to prove itself by a renewal");
    assert_eq!(world.issuer.requests(), 3, "a login, the target, the proof");
    assert_eq!(world.name_for(scope("b")).await, "at-3");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_dead_ends_the_login_whichever_target_found_out() {
    let world = World::signed_in(|_| ()).await;
    pass(MINUTE).await;
    let refused = || Failure::Refused { message: "invalid_grant".into() };
    world.issuer.set(|ledger| ledger.failures.extend([refused(), refused()]));
    assert!(world.token_for(scope("a")).await.is_err());
    pass(MINUTE).await;
    let why = Unavailable::LoginRequired(SignedOut::Refused);
    let refusal = world.token_for(scope("a")).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Unavailable(is) if *is == why), "{refusal:?}");
    assert_eq!(name(&world.token().await.unwrap()), "at-1", "the token in hand is served to its end");
    let before = world.issuer.requests();
    pass(HOUR).await;
    let refusal = world.token().await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Unavailable(is) if *is == why), "{refusal:?}");
    assert_eq!(world.issuer.requests(), before);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_the_issuer_does_not_give_fails_alone() {
    let world = World::signed_in(|_| ()).await;
    world.issuer.set(|ledger| ledger.failures.push_back(Failure::misconfigured("invalid_target")));
    for _ in 0..5 {
        let refusal = world.token_for(resource("https://x")).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unavailable(Unavailable::Failed { .. })), "{refusal:?}");
    }
    assert_eq!(world.issuer.requests(), 2, "it was meant to be asked for once");
    assert!(world.entry.view().state.trouble().is_none(), "the account was blamed");
    assert_eq!(world.name_for(resource("https://y")).await, "at-2");
    pass(50 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-3");
}

#[tokio::test(start_paused = true)]
async fn a_scope_beyond_what_was_granted_is_not_asked_for_6749_5() {
    let world = World::signed_in(|ledger| ledger.scope = "a b").await;
    let refusal = world.token_for(scope("b c d")).await.unwrap_err();
    let Refusal::InsufficientScope { missing } = refusal else { panic!("{refusal:?}") };
    assert_eq!(missing, Scope::parse("c d"));
    assert_eq!(world.issuer.requests(), 1, "nothing was meant to be sent");
    assert_eq!(world.name_for(scope("b")).await, "at-2");
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_there_is_the_accounts_own_token_alone() {
    let world = World::signed_in(|ledger| ledger.gives_refresh_tokens = false).await;
    let refusal = world.token_for(scope("a")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoRefreshToken), "{refusal:?}");
    assert_eq!(name(&world.token().await.unwrap()), "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_target_is_renewed_for_those_who_use_it_and_not_otherwise() {
    let world = World::new(|ledger| ledger.attendance = Attendance::Unattended);
    world.name_for(scope("used")).await;
    world.name_for(scope("unused")).await;
    for _ in 0..180 {
        pass(MINUTE).await;
        let before = world.clock.now().moment;
        world.name_for(scope("used")).await;
        assert_eq!(
            world.clock.now().moment,
            before,
            "who uses a token all the time was made to wait for one"
        );
    }
    let wanted = world.issuer.0.lock().unwrap().wanted.clone();
    let count = |target: Wanted| wanted.iter().filter(|wanted| **wanted == target).count();
    assert_eq!(count(scope("unused")), 1);
    assert!((4..=6).contains(&count(scope("used"))), "{}", count(scope("used")));
}

#[tokio::test(start_paused = true)]
async fn a_logout_and_another_login_forget_what_the_old_one_obtained() {
    let world = World::signed_in(|_| ()).await;
    assert_eq!(world.name_for(scope("a")).await, "at-2");
    world.entry.log_out().await.unwrap();
    let refusal = world.token_for(scope("a")).await.unwrap_err();
    let why = Unavailable::LoginRequired(SignedOut::ByUser);
    assert!(matches!(&refusal, Refusal::Unavailable(is) if *is == why), "{refusal:?}");
    world.log_in().await;
    assert_eq!(world.name_for(scope("a")).await, "at-4");
    world.log_in().await;
    assert_eq!(world.name_for(scope("a")).await, "at-6");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_target_during_a_logout_is_told_of_it() {
    let world = World::signed_in(|_| ()).await;
    let (answer, ()) = tokio::join!(world.token_for(scope("a")), async {
        pass(SECOND / 2).await;
        world.entry.log_out().await.unwrap();
    });
    let refusal = answer.unwrap_err();
    let why = Unavailable::LoginRequired(SignedOut::ByUser);
    assert!(matches!(&refusal, Refusal::Unavailable(is) if *is == why), "{refusal:?}");
    pass(MINUTE).await;
    assert_eq!(world.issuer.0.lock().unwrap().revoked, 2, "what came afterwards is given back as well");
}

#[tokio::test(start_paused = true)]
async fn of_too_many_targets_the_one_least_recently_used_goes() {
    let world = World::new(|ledger| ledger.attendance = Attendance::Unattended);
    for number in 0..MAX_VARIANTS {
        world.name_for(scope(&number.to_string())).await;
    }
    world.name_for(scope("0")).await;
    world.name_for(scope("one too many")).await;
    let held = world.entry.view().variants.clone();
    assert_eq!(held.len(), MAX_VARIANTS);
    let has = |number: &str| held.contains_key(scope(number).other().unwrap());
    assert!(has("0") && !has("1") && has("2") && has("one too many"));
}

#[tokio::test(start_paused = true)]
async fn an_id_token_is_served_as_long_as_it_lives_and_renewed_for_who_asks() {
    let world = World::signed_in(|ledger| ledger.gives_id_tokens = true).await;
    assert_eq!(world.id_token().await.unwrap(), "id-1");
    pass(50 * MINUTE).await;
    assert_eq!(world.id_token().await.unwrap(), "id-2");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_id_token_keeps_the_earlier_one_as_long_as_it_lives() {
    let world = World::signed_in(|ledger| ledger.gives_id_tokens = true).await;
    world.issuer.set(|ledger| ledger.gives_id_tokens = false);
    pass(50 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    assert_eq!(world.id_token().await.unwrap(), "id-1");
    pass(15 * MINUTE).await;
    let before = world.issuer.requests();
    for _ in 0..2 {
        let refusal = world.id_token().await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unavailable(Unavailable::NoIdToken)), "{refusal:?}");
    }
    assert_eq!(world.issuer.requests(), before, "an issuer that gives none was asked again");
    world.issuer.set(|ledger| ledger.gives_id_tokens = true);
    pass(HOUR).await;
    assert!(world.id_token().await.is_ok(), "one that gives some again was not believed");
}

#[tokio::test(start_paused = true)]
async fn an_id_token_about_somebody_else_is_dropped_and_the_tokens_beside_it_are_kept_oidc_1() {
    let mut world = World::signed_in(|ledger| ledger.gives_id_tokens = true).await;
    world.issuer.set(|ledger| ledger.subject = "eve");
    pass(50 * MINUTE).await;
    assert_eq!(name(&world.token().await.unwrap()), "at-2");
    assert_eq!(world.id_token().await.unwrap(), "id-1");
    // Neither does one get in when the earlier one is gone, nor after a restart.
    pass(HOUR).await;
    assert!(world.id_token().await.is_err());
    world.restart().await;
    pass(HOUR).await;
    assert!(world.token().await.is_ok(), "the refresh token was not kept");
    assert!(world.id_token().await.is_err());
    world.issuer.set(|ledger| ledger.subject = "ann");
    pass(HOUR).await;
    assert!(world.id_token().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reload_lets_a_target_that_failed_be_tried_at_once() {
    let world = World::signed_in(|_| ()).await;
    let failure = Failure::misconfigured("the client's secret is wrong");
    world.issuer.set(|ledger| ledger.failures.push_back(failure));
    assert!(world.token_for(scope("a")).await.is_err());
    assert!(world.token_for(scope("a")).await.is_err());
    world.entry.reconfigure(account("cli"), Arc::new(world.issuer.clone()));
    pass(SECOND).await;
    assert_eq!(world.name_for(scope("a")).await, "at-2");
}
