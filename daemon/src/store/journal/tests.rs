//! What is left of a renewal that nobody ended, and where tokens go that the state directory does not take.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::store::key::KeyChoice;
use crate::store::tests::{Machine, access_token, fingerprint, name};
use crate::token::Scope;
use crate::token::answered::{Purpose, Terms};

#[tokio::test(start_paused = true)]
async fn an_answer_outlives_the_daemon_that_could_not_read_it() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(7, "at")).unwrap();
    assert!(store.left_rotation(&name("prod")).unwrap().is_none());
    let intent = intent(&machine, 7, 1);
    let mut journal = begun(&store, &intent, Place::State);
    let answered = answered(&machine, b"{\"refresh_token\":\"CANARY\"}");
    journal.record(&answered).unwrap();
    drop((journal, store));
    tokio::time::advance(Duration::from_secs(60)).await;

    let store = machine.open(KeyChoice::Auto).unwrap();
    let left = store.left_rotation(&name("prod")).unwrap().unwrap();
    assert_eq!(left.intent, intent);
    let came = left.answered.unwrap();
    assert_eq!((came.status, came.retry_after), (200, Some(Duration::from_millis(1500))));
    assert_eq!((came.redirect.as_deref(), &*came.body), (Some("https://other"), &*answered.body));
    assert_eq!(came.terms, answered.terms);
    store.end_rotation(&name("prod")).unwrap();
    assert!(store.left_rotation(&name("prod")).unwrap().is_none());
    assert_eq!(machine.account_files(), ["prod.sealed"]);
    store.end_rotation(&name("prod")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_intent_without_an_answer_says_that_the_token_may_be_spent() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    for presentations in [1, 2] {
        let intent = intent(&machine, 7, presentations);
        drop(begun(&store, &intent, Place::State));
        let left = store.left_rotation(&name("prod")).unwrap().unwrap();
        assert_eq!(left.intent, intent);
        assert!(left.answered.is_none());
    }
    store.delete(&name("prod")).unwrap();
    assert!(machine.account_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_no_record_has_rests_sealed_in_its_intent() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let refresh = RefreshToken::new("rt \"CANARY\"".into(), "https://login.example.com".to_owned());
    for displaced in [None, Some(Doubt { presentations: 2, since: machine.clock.now().moment })] {
        let adopted = Some(Adopted { refresh: refresh.clone(), displaced });
        let intent = Intent { adopted, ..intent(&machine, 0, 1) };
        begun(&store, &intent, Place::State).record(&answered(&machine, b"{}")).unwrap();
        assert_eq!(store.left_rotation(&name("prod")).unwrap().unwrap().intent, intent);
        let journal = fs::read(machine.path("accounts/prod.journal")).unwrap();
        assert!(!journal.windows(6).any(|window| window == b"CANARY"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_an_earlier_generation_is_over() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(7, "at-7")).unwrap();
    begun(&store, &intent(&machine, 7, 1), Place::State).record(&answered(&machine, b"{}")).unwrap();
    store.save(&name("prod"), &machine.record(8, "at-8")).unwrap();
    assert!(store.left_rotation(&name("prod")).unwrap().is_none());
    assert_eq!(machine.account_files(), ["prod.sealed"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_generation_at_rest_is_adopted_and_nothing_is_sent() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(8, "at-8")).unwrap();
    for place in [Place::State, Place::Spill] {
        let begun = store.begin_rotation(&name("prod"), &intent(&machine, 7, 1), place).unwrap();
        let Begun::Overtaken(record) = begun else { panic!("{begun:?}") };
        assert_eq!((record.generation, record.place), (8, Place::State));
    }
    assert_eq!(machine.account_files(), ["prod.sealed"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_mebibyte_fits_and_a_larger_one_than_can_be_read_is_refused() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let mut journal = begun(&store, &intent(&machine, 7, 1), Place::State);
    let body = vec![b'x'; 1024 * 1024];
    journal.record(&answered(&machine, &body)).unwrap();
    let came = store.left_rotation(&name("prod")).unwrap().unwrap().answered.unwrap();
    assert!(*came.body == body);
    let huge = vec![b'x'; Shelf::LONGEST_FILE];
    assert!(matches!(journal.record(&answered(&machine, &huge)), Err(StoreError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_the_state_directory_does_not_take_is_spilled_and_comes_home() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(7, "at-7")).unwrap();
    let mut journal = begun(&store, &intent(&machine, 7, 1), Place::Spill);
    journal.record(&answered(&machine, b"{}")).unwrap();
    assert_eq!(machine.account_files(), ["prod.sealed"]);
    assert!(store.left_rotation(&name("prod")).unwrap().unwrap().answered.is_some());
    store.spill(&name("prod"), &machine.record(8, "at-8")).unwrap();
    store.end_rotation(&name("prod")).unwrap();
    drop(store);

    let store = machine.open(KeyChoice::File).unwrap();
    assert!(store.left_rotation(&name("prod")).unwrap().is_none());
    let record = store.load(&name("prod")).unwrap().unwrap();
    assert_eq!((record.generation, record.place), (8, Place::Spill));
    assert_eq!(access_token(&store, "prod"), "at-8-CANARY");
    store.save(&name("prod"), &record).unwrap();
    assert_eq!(store.load(&name("prod")).unwrap().unwrap().place, Place::State);
    assert_eq!(access_token(&store, "prod"), "at-8-CANARY");
    assert!(machine.spilled_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_spilled_and_is_at_rest_already_is_removed() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.spill(&name("prod"), &machine.record(7, "spilled")).unwrap();
    let spilled = machine.spilled_files();
    let [(path, content)] = &spilled[..] else { panic!("{spilled:?}") };
    store.save(&name("prod"), &machine.record(8, "at-8")).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(access_token(&store, "prod"), "at-8-CANARY");
    assert!(machine.spilled_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn logging_out_leaves_nothing_anywhere() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(7, "at")).unwrap();
    for place in [Place::State, Place::Spill] {
        begun(&store, &intent(&machine, 7, 1), place).record(&answered(&machine, b"{}")).unwrap();
    }
    store.spill(&name("prod"), &machine.record(8, "at")).unwrap();
    assert_eq!((machine.account_files().len(), machine.spilled_files().len()), (2, 2));
    store.delete(&name("prod")).unwrap();
    assert!(machine.account_files().is_empty() && machine.spilled_files().is_empty());
    assert!(store.load(&name("prod")).unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_store_in_memory_keeps_no_journal_and_needs_none() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::Memory).unwrap();
    for place in [Place::State, Place::Spill] {
        begun(&store, &intent(&machine, 7, 1), place).record(&answered(&machine, b"{}")).unwrap();
    }
    assert!(store.left_rotation(&name("prod")).unwrap().is_none());
    store.spill(&name("prod"), &machine.record(8, "at")).unwrap();
    assert_eq!(access_token(&store, "prod"), "at-CANARY");
    store.end_rotation(&name("prod")).unwrap();
    assert!(machine.account_files().is_empty() && machine.spilled_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_token_is_bound_to_rests_with_it() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let mut record = machine.record(1, "at");
    let refresh = record.tokens.refresh.as_mut().unwrap();
    refresh.proof_key = Some(crate::token::ProofKey::from_pkcs8(Zeroizing::new(vec![0, 1, 255])));
    refresh.uses = 3;
    store.save(&name("prod"), &record).unwrap();
    let refresh = store.load(&name("prod")).unwrap().unwrap().tokens.refresh.unwrap();
    assert_eq!((refresh.proof_key.unwrap().expose_pkcs8(), refresh.uses), (&[0, 1, 255][..], 3));
    assert_eq!(refresh.secret.expose_secret(), record.tokens.refresh.unwrap().secret.expose_secret());
}

/// Begins a renewal of `prod`.
pub(in crate::store) fn begun(store: &Store, intent: &Intent, place: Place) -> Journal {
    match store.begin_rotation(&name("prod"), intent, place).unwrap() {
        Begun::Ready(journal) => journal,
        Begun::Overtaken(record) => panic!("generation {} rests", record.generation),
    }
}

/// Returns an intent about a generation.
pub(in crate::store) fn intent(machine: &Machine, generation: u64, presentations: u32) -> Intent {
    let doubt = Doubt { presentations, since: machine.clock.now().moment };
    Intent {
        generation,
        fingerprint: fingerprint("a-fingerprint"),
        token_hash: [7; 32],
        doubt,
        adopted: None,
    }
}

/// Returns an answer with a body.
pub(in crate::store) fn answered(machine: &Machine, body: &[u8]) -> Answered {
    let terms = Terms {
        purpose: Purpose::Own,
        sent_at: machine.clock.now().moment,
        origin: "https://login.example.com".to_owned(),
        scope: Scope::parse("all offline"),
        issuer: Some("https://login.example.com/\"t".to_owned()),
        client_id: "a-client".to_owned(),
        header: None,
    };
    Answered {
        status: 200,
        retry_after: Some(Duration::from_millis(1500)),
        redirect: Some("https://other".to_owned()),
        body: Zeroizing::new(body.to_vec()),
        terms,
    }
}
