//! What a store does about files that were damaged, swapped, cut short, or written by another version: tests alone.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::store::journal::tests::{answered, begun, intent};
use crate::store::key::KeyChoice;
use crate::store::tests::{Machine, access_token, name};
use crate::store::{Left, Place, Record, Store, StoreError};
use crate::token::answered::Purpose;

/// A store whose accounts `prod` and `corp` each have tokens of generation 7 and a journal with an answer.
struct Pair {
    machine: Machine,
    store: Store,
}

impl Pair {
    fn new() -> Self {
        let machine = Machine::in_memory();
        let store = machine.open(KeyChoice::File).unwrap();
        for account in ["corp", "prod"] {
            let mut journal = begun_for(&store, account, &machine);
            journal.record(&answered(&machine, b"{\"refresh_token\":\"rt\"}")).unwrap();
            store.save(&name(account), &machine.record(7, account)).unwrap();
        }
        Self { machine, store }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.machine.path(&format!("accounts/{file}"))
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        self.machine.write(&format!("accounts/{file}"), bytes);
    }

    fn load(&self) -> Result<Option<Record>, StoreError> {
        self.store.load(&name("prod"))
    }

    fn left(&self) -> Result<Option<Left>, StoreError> {
        self.store.left_rotation(&name("prod"))
    }

    /// Asserts that bytes which lay in a file of `prod` are on disk still, in place or aside, and clears what is aside.
    fn keeps(&self, file: &str, bytes: &[u8], what: &str) {
        let mut found = false;
        for entry in self.machine.account_files() {
            if !entry.starts_with(file) {
                continue;
            }
            // A file that stays in its place lost none of it; the room of a journal is no part of it.
            found |= self.bytes(&entry).starts_with(bytes);
            if entry != file {
                fs::remove_file(self.path(&entry)).unwrap();
            }
        }
        assert!(found, "{what}: what was damaged is gone");
    }
}

fn begun_for(store: &Store, account: &str, machine: &Machine) -> crate::store::Journal {
    match store.begin_rotation(&name(account), &intent(machine, 7, 1), Place::State).unwrap() {
        crate::store::Begun::Ready(journal) => journal,
        crate::store::Begun::Overtaken(record) => panic!("generation {} rests", record.generation),
    }
}

#[tokio::test(start_paused = true)]
async fn no_changed_bit_of_a_record_is_believed_or_thrown_away_k7() {
    let pair = Pair::new();
    let whole = pair.bytes("prod.sealed");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        pair.put("prod.sealed", &damaged);
        let what = format!("byte {at}");
        match pair.load() {
            Err(StoreError::Corrupt { aside }) => assert_eq!(fs::read(aside).unwrap(), damaged, "{what}"),
            // Nobody can tell these from damage, and they may not be touched.
            Err(StoreError::WrongKey { .. } | StoreError::NewerFormat { .. }) => {
                assert_eq!(pair.bytes("prod.sealed"), damaged, "{what}");
            }
            outcome => panic!("{what}: {outcome:?}"),
        }
        pair.keeps("prod.sealed", &damaged, &what);
    }
}

#[tokio::test(start_paused = true)]
async fn no_changed_bit_of_a_journal_is_believed_or_thrown_away_k7() {
    let pair = Pair::new();
    let whole = written(&pair.bytes("prod.journal"));
    let answer_at = end_of_intent(&whole);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        pair.put("prod.journal", &damaged);
        let what = format!("byte {at}");
        match pair.left() {
            // The intent still says what is to be known of the token.
            Ok(Some(left)) if at >= answer_at => {
                assert!(left.answered.is_none(), "{what}");
                assert!(pair.left().unwrap().unwrap().answered.is_none(), "{what}");
            }
            Err(StoreError::DamagedJournal { aside }) if at < answer_at => {
                assert_eq!(fs::read(aside).unwrap(), damaged, "{what}");
            }
            Err(StoreError::WrongKey { .. } | StoreError::NewerFormat { .. }) if at < answer_at => {}
            outcome => panic!("{what}: {outcome:?}"),
        }
        pair.keeps("prod.journal", &damaged, &what);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_short_anywhere_is_told_and_kept_k7() {
    let pair = Pair::new();
    let whole = pair.bytes("prod.sealed");
    for length in 0..whole.len() {
        pair.put("prod.sealed", &whole[..length]);
        assert!(matches!(pair.load(), Err(StoreError::Corrupt { .. })), "{length} bytes");
        pair.keeps("prod.sealed", &whole[..length], &format!("{length} bytes"));
    }
    pair.put("prod.sealed", &whole);
    let whole = written(&pair.bytes("prod.journal"));
    let answer_at = end_of_intent(&whole);
    for length in 0..whole.len() {
        pair.put("prod.journal", &whole[..length]);
        match pair.left() {
            Ok(Some(left)) if length >= answer_at => assert!(left.answered.is_none(), "{length} bytes"),
            Err(StoreError::DamagedJournal { .. }) if length < answer_at => {}
            outcome => panic!("{length} bytes: {outcome:?}"),
        }
        pair.keeps("prod.journal", &whole[..length], &format!("{length} bytes"));
    }
}

#[tokio::test(start_paused = true)]
async fn no_file_passes_for_that_of_another_account_or_for_another_file_of_its_own_k7() {
    let pair = Pair::new();
    for (other, place) in [
        ("corp.sealed", "prod.sealed"),
        ("corp.journal", "prod.journal"),
        ("prod.journal", "prod.sealed"),
        ("prod.sealed", "prod.journal"),
    ] {
        let pair = Pair::new();
        let foreign = pair.bytes(other);
        pair.put(place, &foreign);
        match (pair.load(), pair.left()) {
            (Err(StoreError::Corrupt { .. }), _) if place == "prod.sealed" => {}
            (Ok(Some(_)), Err(StoreError::DamagedJournal { .. })) if place == "prod.journal" => {}
            outcome => panic!("{other} in place of {place}: {outcome:?}"),
        }
        pair.keeps(place, &foreign, other);
    }
    // Nor does an answer pass for an intent, or the other way round.
    let whole = written(&pair.bytes("prod.journal"));
    let (intent, answer) = whole.split_at(end_of_intent(&whole));
    pair.put("prod.journal", answer);
    assert!(matches!(pair.left(), Err(StoreError::DamagedJournal { .. })));
    pair.put("prod.journal", &[intent, intent].concat());
    assert!(pair.left().unwrap().unwrap().answered.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_generation_is_none_k7() {
    let pair = Pair::new();
    let whole = written(&pair.bytes("prod.journal"));
    let at = end_of_intent(&whole);
    let mut journal =
        match pair.store.begin_rotation(&name("prod"), &intent(&pair.machine, 8, 1), Place::State) {
            Ok(crate::store::Begun::Ready(journal)) => journal,
            outcome => panic!("{outcome:?}"),
        };
    journal.record(&answered(&pair.machine, b"{}")).unwrap();
    let later = written(&pair.bytes("prod.journal"));
    let later_at = end_of_intent(&later);
    pair.put("prod.journal", &[&whole[..at], &later[later_at..]].concat());
    assert!(pair.left().unwrap().unwrap().answered.is_none());
}

#[tokio::test(start_paused = true)]
async fn damaged_tokens_and_journals_that_were_spilled_are_kept_and_the_older_tokens_serve_k7() {
    let machine = Machine::in_memory();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(7, "home")).unwrap();
    store.spill(&name("prod"), &machine.record(8, "spilled")).unwrap();
    drop(begun(&store, &intent(&machine, 8, 1), Place::Spill));
    let before: Vec<_> = machine.spilled_files();
    assert_eq!(before.len(), 2);
    let mut damaged = Vec::new();
    for (path, content) in before {
        let mut content = content;
        content[100] ^= 1;
        fs::write(path, &content).unwrap();
        damaged.push(content);
    }
    assert_eq!(access_token(&store, "prod"), "home-CANARY");
    assert!(matches!(store.left_rotation(&name("prod")), Err(StoreError::DamagedJournal { .. })));
    assert!(store.left_rotation(&name("prod")).unwrap().is_none());
    store.save(&name("prod"), &machine.record(8, "new")).unwrap();
    let kept: Vec<_> = machine.spilled_files().into_iter().map(|(_, content)| content).collect();
    assert!(damaged.iter().all(|content| kept.contains(content)), "what was damaged is gone");
}

/// The files are as the second version wrote them. They must open in every later one.
#[tokio::test(start_paused = true)]
async fn a_store_of_the_second_format_opens_for_ever_k8() {
    let machine = Machine::with_the_key_of_the_fixtures();
    machine.write("accounts/prod.sealed", include_bytes!("fixtures/v2.sealed"));
    machine.write("accounts/prod.journal", include_bytes!("fixtures/v2.journal"));
    let store = machine.open(KeyChoice::Auto).unwrap();
    let Record { generation, tokens, .. } = store.load(&name("prod")).unwrap().unwrap();
    assert_eq!(generation, 42);
    assert_eq!(tokens.access.secret().expose_secret(), "an-access-token");
    // It was written in an earlier boot, ten minutes ago, for an hour.
    let now = machine.clock.now().moment;
    assert_eq!(now.since(tokens.access.issued_at), Duration::from_secs(600));
    assert_eq!(tokens.access.remaining(now), Some(Duration::from_secs(3000)));
    let refresh = tokens.refresh.unwrap();
    assert_eq!((refresh.secret.expose_secret(), refresh.uses), ("a-refresh-token", 1));
    assert_eq!(refresh.proof_key.unwrap().expose_pkcs8(), b"pkcs8");
    assert_eq!(tokens.id.unwrap().secret().expose_secret(), "an-id-token");
    assert_eq!(tokens.subject.unwrap().expose_secret(), "ann");
    assert_eq!(
        (tokens.scope.to_string().as_str(), tokens.header.as_deref()),
        ("all offline", Some("flyte-authorization"))
    );

    let Left { intent, answered } = store.left_rotation(&name("prod")).unwrap().unwrap();
    assert_eq!((intent.generation, intent.token_hash, intent.doubt.presentations), (42, [7; 32], 2));
    assert!(intent.adopted.is_none());
    assert_eq!(now.since(intent.doubt.since), Duration::from_secs(600));
    let answered = answered.unwrap();
    assert_eq!((answered.status, answered.retry_after), (200, Some(Duration::from_millis(1500))));
    assert_eq!(answered.redirect.as_deref(), Some("https://other"));
    assert_eq!(*answered.body, br#"{"access_token":"an-access-token"}"#);
    assert_eq!(now.since(answered.terms.sent_at), Duration::from_secs(600));
    assert_eq!(answered.terms.purpose, Purpose::Own);
    assert_eq!(
        (&*answered.terms.origin, &*answered.terms.client_id),
        ("https://login.example.com", "a-client")
    );
    assert_eq!(answered.terms.issuer.as_deref(), Some("https://login.example.com"));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_another_key_or_version_sealed_is_told_and_left_alone_k8() {
    let pair = Pair::new();
    let mut newer = pair.bytes("prod.journal");
    newer[4 + 9] = 3;
    let mut foreign = pair.bytes("prod.journal");
    foreign[4 + 10] ^= 1;
    for (journal, expected) in [(newer, "later version"), (foreign, "sealed with a key")] {
        pair.put("prod.journal", &journal);
        let told = pair.left().unwrap_err().to_string();
        assert!(told.contains(expected) && told.contains("prod.journal"), "{told}");
        assert_eq!(pair.bytes("prod.journal"), journal);
        // Nor is it replaced.
        let begun = pair.store.begin_rotation(&name("prod"), &intent(&pair.machine, 7, 1), Place::State);
        assert!(begun.unwrap_err().to_string().contains(expected));
        assert_eq!(pair.bytes("prod.journal"), journal);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_a_later_version_spilled_are_told_and_left_alone_k8() {
    let machine = Machine::in_memory();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(7, "home")).unwrap();
    store.spill(&name("prod"), &machine.record(8, "spilled")).unwrap();
    let (path, mut content) = machine.spilled_files().remove(0);
    content[9] = 3;
    fs::write(&path, &content).unwrap();
    let outcomes = [
        store.load(&name("prod")).map(drop),
        store.save(&name("prod"), &machine.record(8, "new")),
        store.spill(&name("prod"), &machine.record(8, "new")),
    ];
    for outcome in outcomes {
        assert!(
            matches!(&outcome, Err(StoreError::NewerFormat { path: told }) if *told == path),
            "{outcome:?}"
        );
    }
    assert_eq!(fs::read(path).unwrap(), content);
}

/// Returns where the frame of the answer begins.
fn end_of_intent(journal: &[u8]) -> usize {
    let (length, _) = journal.split_first_chunk().unwrap();
    4 + usize::try_from(u32::from_be_bytes(*length)).unwrap()
}

/// Returns what was written of a journal: without the room that was taken.
fn written(journal: &[u8]) -> Vec<u8> {
    let end = journal.iter().rposition(|byte| *byte != 0).unwrap();
    journal[..=end].to_vec()
}
