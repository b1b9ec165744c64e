//! What a store promises, on a machine with a desktop whose keyring can be locked, absent or robbed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::account::Fingerprint;
use crate::store::key::Key;
use crate::store::key::KeyError;
use crate::store::master_key::RETRY;
use crate::store::slot::Slot;
use crate::token::{AccessToken, IdToken, RefreshToken, TokenSet};

#[tokio::test(start_paused = true)]
async fn a_record_outlives_the_daemon() {
    let machine = Machine::new();
    let saved = machine.record(1, "at-1");
    let store = machine.open(KeyChoice::File).unwrap();
    assert!(store.load(&name("prod")).unwrap().is_none());
    tokio::time::advance(Duration::from_secs(60)).await;
    store.save(&name("prod"), &saved).unwrap();
    drop(store);
    tokio::time::advance(Duration::from_secs(60)).await;
    let loaded = machine.open(KeyChoice::Auto).unwrap().load(&name("prod")).unwrap().unwrap();
    assert_eq!((loaded.generation, &loaded.fingerprint), (1, &saved.fingerprint));
    assert_eq!(loaded.tokens.access.secret().expose_secret(), "at-1-CANARY");
    assert_eq!(loaded.tokens.access.issued_at, saved.tokens.access.issued_at);
    assert_eq!(loaded.tokens.access.expires_at, saved.tokens.access.expires_at);
    assert_eq!(loaded.tokens.scope, saved.tokens.scope);
    assert_eq!(loaded.tokens.header.as_deref(), Some("flyte-authorization"));
    let id = loaded.tokens.id.unwrap();
    assert_eq!((id.secret().expose_secret(), id.expires_at), ("id-CANARY", saved.tokens.access.expires_at));
    let refresh = loaded.tokens.refresh.unwrap();
    assert_eq!(refresh.secret.expose_secret(), "rt \"CANARY\" \u{e9}\n");
    assert_eq!(refresh.origin, "https://login.example.com");
}

/// The files are as the first version wrote them. They must open in every later one.
#[tokio::test(start_paused = true)]
async fn a_store_of_the_first_format_opens_for_ever() {
    let machine = Machine::with_the_key_of_the_fixtures();
    machine.write("accounts/prod.sealed", include_bytes!("fixtures/v1.sealed"));
    let store = machine.open(KeyChoice::Auto).unwrap();
    let record = store.load(&name("prod")).unwrap().unwrap();
    assert_eq!(record.generation, 42);
    assert_eq!(serde_json::to_string(&record.fingerprint).unwrap(), r#""a-fingerprint""#);
    assert_eq!(record.tokens.access.secret().expose_secret(), "an-access-token");
    // It was written in an earlier boot, ten minutes ago, for an hour.
    let now = machine.clock.now().moment;
    assert_eq!(now.since(record.tokens.access.issued_at), Duration::from_secs(600));
    assert_eq!(record.tokens.access.remaining(now), Some(Duration::from_secs(3000)));
    assert!(record.tokens.id.is_none() && record.tokens.header.is_none());
    let refresh = record.tokens.refresh.unwrap();
    assert_eq!(
        (refresh.secret.expose_secret(), &*refresh.origin),
        ("a-refresh-token", "https://login.example.com")
    );
    assert_eq!(record.tokens.scope.to_string(), "all offline");
}

#[tokio::test(start_paused = true)]
async fn a_state_directory_has_one_daemon() {
    let machine = Machine::new();
    let first = machine.open(KeyChoice::File).unwrap();
    let second = machine.open(KeyChoice::File).unwrap_err();
    assert!(
        matches!(second, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{second:?}"
    );
    drop(first);
    machine.open(KeyChoice::File).unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_at_rest_and_no_debug_form_shows_a_secret() {
    let machine = Machine::new();
    let record = machine.record(1, "at");
    let key = Key::parse(&[b'K'; 32]).unwrap();
    machine.keyring.holds(&key);
    for choice in [KeyChoice::Keyring, KeyChoice::Memory] {
        let store = machine.open(choice).unwrap();
        store.save(&name("prod"), &record).unwrap();
        let shown = format!("{store:?} {:?}", store.load(&name("prod")));
        assert!(!shown.contains("CANARY") && !shown.contains("KKKK") && !shown.contains("75, 75"), "{shown}");
        store.delete(&name("prod")).unwrap();
    }
    machine.open(KeyChoice::Keyring).unwrap().save(&name("prod"), &record).unwrap();
    for (path, content) in machine.files() {
        for secret in [&b"CANARY"[..], key.bytes(), key.to_hex().as_bytes()] {
            assert!(!content.windows(secret.len()).any(|window| window == secret), "{path:?} shows a secret");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auto_takes_the_first_place_that_there_is() {
    let machine = Machine::new();
    machine.keyring.is(Mood::Absent);
    let store = machine.open(KeyChoice::Auto).unwrap();
    let status = store.status();
    assert_eq!((status.key, status.state), (KeyKind::File, StoreState::Open));
    assert!(status.note.unwrap().contains(machine.path("key").to_str().unwrap()));

    let machine = Machine::new();
    machine.keyring.is(Mood::Absent);
    fs::write(machine.credential(), "ab".repeat(32)).unwrap();
    let status = machine.open(KeyChoice::Auto).unwrap().status();
    assert_eq!(status, StoreStatus { key: KeyKind::Credential, state: StoreState::Open, note: None });
    assert!(!machine.path("key").exists());

    let machine = Machine::new();
    fs::write(machine.credential(), "ab".repeat(32)).unwrap();
    let status = machine.open(KeyChoice::Auto).unwrap().status();
    assert_eq!(status, StoreStatus { key: KeyKind::Keyring, state: StoreState::Open, note: None });
    assert!(machine.keyring.desktop().item.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_locked_keyring_is_never_a_quieter_store() {
    let machine = Machine::new();
    fs::write(machine.credential(), "ab".repeat(32)).unwrap();
    machine.keyring.is(Mood::Locked);
    let store = machine.open(KeyChoice::Auto).unwrap();
    assert_eq!((store.status().key, store.status().state), (KeyKind::Keyring, StoreState::Locked));
    assert!(store.status().note.unwrap().contains("unlock the keyring"));
    let record = machine.record(1, "at");
    assert!(matches!(store.load(&name("prod")), Err(StoreError::Locked { .. })));
    assert!(matches!(store.save(&name("prod"), &record), Err(StoreError::Locked { .. })));
    assert_eq!(machine.names(), ["accounts", "lock"]);

    // Unlocking heals it, with no restart.
    machine.keyring.is(Mood::Unlocked);
    tokio::time::advance(RETRY).await;
    store.save(&name("prod"), &record).unwrap();
    assert_eq!(store.status(), StoreStatus { key: KeyKind::Keyring, state: StoreState::Open, note: None });
    drop(store);

    // Nor is it one later, when it is locked or does not even answer.
    for mood in [Mood::Locked, Mood::Absent] {
        machine.keyring.is(mood);
        for choice in [KeyChoice::Auto, KeyChoice::Keyring] {
            let store = machine.open(choice).unwrap();
            assert_eq!((store.status().key, store.status().state), (KeyKind::Keyring, StoreState::Locked));
            assert!(matches!(store.load(&name("prod")), Err(StoreError::Locked { .. })));
        }
    }
    assert!(!machine.path("key").exists());
    machine.keyring.is(Mood::Unlocked);
    assert!(machine.open(KeyChoice::Auto).unwrap().load(&name("prod")).unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_forgotten_is_asked_for_by_nobody_and_comes_back_as_the_same() {
    for choice in [KeyChoice::Keyring, KeyChoice::File] {
        let machine = Machine::new();
        let store = machine.open(choice).unwrap();
        let record = machine.record(1, "at");
        store.save(&name("prod"), &record).unwrap();
        store.withhold_key();
        let questions = machine.keyring.desktop().questions;
        tokio::time::advance(RETRY * 10).await;
        assert!(matches!(store.load(&name("prod")), Err(StoreError::Withheld)));
        assert!(matches!(store.save(&name("prod"), &record), Err(StoreError::Withheld)));
        assert!(matches!(store.spill(&name("prod"), &record), Err(StoreError::Withheld)));
        assert!(matches!(store.load_login(&name("prod")), Err(StoreError::Withheld)));
        assert_eq!(store.status().state, StoreState::Locked);
        assert_eq!(machine.keyring.desktop().questions, questions);
        store.recall_key().unwrap();
        assert!(store.load(&name("prod")).unwrap().is_some());
        // What needs no key goes on without it.
        store.withhold_key();
        store.delete(&name("prod")).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_forgotten_stays_so_while_its_keyring_is_locked() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::Keyring).unwrap();
    store.save(&name("prod"), &machine.record(1, "at")).unwrap();
    store.withhold_key();
    for mood in [Mood::Locked, Mood::Absent] {
        machine.keyring.is(mood);
        assert!(matches!(store.recall_key(), Err(StoreError::Locked { .. })));
        assert!(matches!(store.load(&name("prod")), Err(StoreError::Withheld)));
    }
    machine.keyring.is(Mood::Unlocked);
    assert!(
        matches!(store.load(&name("prod")), Err(StoreError::Withheld)),
        "it is not the keyring's to unlock"
    );
    store.recall_key().unwrap();
    assert!(store.load(&name("prod")).unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_locked_keyring_is_asked_at_a_measured_pace() {
    let machine = Machine::new();
    machine.keyring.is(Mood::Locked);
    let store = machine.open(KeyChoice::Auto).unwrap();
    for _ in 0..100 {
        store.load(&name("prod")).unwrap_err();
    }
    assert_eq!(machine.keyring.desktop().questions, 1);
    tokio::time::advance(RETRY).await;
    for _ in 0..100 {
        store.load(&name("prod")).unwrap_err();
    }
    assert_eq!(machine.keyring.desktop().questions, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_fetched_needs_no_keyring_any_more() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::Auto).unwrap();
    let questions = machine.keyring.desktop().questions;
    for mood in [Mood::Locked, Mood::Absent] {
        machine.keyring.is(mood);
        tokio::time::advance(RETRY * 10).await;
        store.save(&name("prod"), &machine.record(1, "at")).unwrap();
        assert!(store.load(&name("prod")).unwrap().is_some());
        assert_eq!(store.status().state, StoreState::Open);
    }
    assert_eq!(machine.keyring.desktop().questions, questions);
}

#[tokio::test(start_paused = true)]
async fn a_keyring_whose_key_was_changed_or_removed_costs_no_stored_token() {
    let machine = Machine::new();
    machine.open(KeyChoice::Auto).unwrap().save(&name("prod"), &machine.record(1, "at")).unwrap();
    let sealed = fs::read(machine.path("accounts/prod.sealed")).unwrap();
    let right = machine.keyring.desktop().item.clone();
    for wrong in [None, Some("cd".repeat(32))] {
        machine.keyring.desktop().item.clone_from(&wrong);
        let store = machine.open(KeyChoice::Auto).unwrap();
        assert_eq!(store.status().state, StoreState::Locked);
        assert!(matches!(store.load(&name("prod")), Err(StoreError::WrongKey { .. })));
        let outcome = store.save(&name("prod"), &machine.record(2, "newer"));
        assert!(matches!(outcome, Err(StoreError::WrongKey { .. })));
        assert_eq!(fs::read(machine.path("accounts/prod.sealed")).unwrap(), sealed);
        assert_eq!(machine.keyring.desktop().item, wrong, "a new key was made while tokens are sealed");

        machine.keyring.desktop().item.clone_from(&right);
        tokio::time::advance(RETRY).await;
        assert!(store.load(&name("prod")).unwrap().is_some());
    }
    // Logging out ends it as well: then nothing needs the old key.
    machine.keyring.desktop().item = None;
    let store = machine.open(KeyChoice::Auto).unwrap();
    store.delete(&name("prod")).unwrap();
    tokio::time::advance(RETRY).await;
    store.save(&name("prod"), &machine.record(1, "after")).unwrap();
    assert!(machine.keyring.desktop().item.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_key_file_or_credential_that_is_gone_stops_the_daemon_and_is_not_made_anew() {
    let machine = Machine::new();
    machine.open(KeyChoice::File).unwrap().save(&name("prod"), &machine.record(1, "at")).unwrap();
    fs::remove_file(machine.path("key")).unwrap();
    for choice in [KeyChoice::Auto, KeyChoice::File] {
        assert!(matches!(machine.open(choice), Err(OpenError::WrongKey { place: KeyPlace::File, .. })));
    }
    machine.write("key", b"damaged");
    assert!(matches!(machine.open(KeyChoice::File), Err(OpenError::Key { place: KeyPlace::File, .. })));
    assert_eq!(fs::read(machine.path("key")).unwrap(), b"damaged");

    let machine = Machine::new();
    fs::write(machine.credential(), [7; 32]).unwrap();
    machine.open(KeyChoice::Credential).unwrap().save(&name("prod"), &machine.record(1, "at")).unwrap();
    fs::write(machine.credential(), [8; 32]).unwrap();
    assert!(matches!(machine.open(KeyChoice::Auto), Err(OpenError::WrongKey { .. })));
    fs::remove_file(machine.credential()).unwrap();
    assert!(matches!(machine.open(KeyChoice::Auto), Err(OpenError::Key { place: KeyPlace::Credential, .. })));
    assert!(machine.keyring.desktop().item.is_none() && !machine.path("key").exists());
}

#[tokio::test(start_paused = true)]
async fn another_choice_needs_an_empty_store() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(1, "at")).unwrap();
    drop(store);
    for choice in [KeyChoice::Keyring, KeyChoice::Memory] {
        let refused = machine.open(choice).unwrap_err();
        assert!(matches!(refused, OpenError::OtherChoice { recorded: KeyPlace::File, .. }));
        assert!(refused.to_string().contains("key = \"file\""), "{refused}");
    }
    machine.open(KeyChoice::File).unwrap().delete(&name("prod")).unwrap();
    assert_eq!(machine.open(KeyChoice::Keyring).unwrap().status().key, KeyKind::Keyring);
    assert_eq!(machine.open(KeyChoice::Auto).unwrap().status().key, KeyKind::Keyring);
}

#[tokio::test(start_paused = true)]
async fn without_its_record_of_the_key_a_store_is_not_opened_with_a_guess() {
    let machine = Machine::new();
    machine.open(KeyChoice::File).unwrap().save(&name("prod"), &machine.record(1, "at")).unwrap();
    let record = fs::read(machine.path("store.json")).unwrap();
    for damage in [None, Some(&b"{}"[..])] {
        fs::remove_file(machine.path("store.json")).unwrap();
        if let Some(damage) = damage {
            machine.write("store.json", damage);
        }
        for choice in [KeyChoice::Auto, KeyChoice::File, KeyChoice::Keyring] {
            assert!(matches!(machine.open(choice), Err(OpenError::ChoiceLost { .. })));
        }
        machine.write("store.json", &record);
    }
    machine.write("store.json", br#"{"format":2}"#);
    assert!(matches!(machine.open(KeyChoice::Auto), Err(OpenError::NewerFormat { .. })));
    machine.write("store.json", &record);
    machine.open(KeyChoice::Auto).unwrap().delete(&name("prod")).unwrap();
    machine.write("store.json", b"{}");
    machine.open(KeyChoice::Keyring).unwrap();
}

#[tokio::test(start_paused = true)]
async fn damaged_tokens_are_reported_once_kept_and_make_room() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let sealed = |account: &str| machine.path(&format!("accounts/{account}.sealed"));
    for account in ["read", "written"] {
        store.save(&name(account), &machine.record(9, "at")).unwrap();
        let mut damaged = fs::read(sealed(account)).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(sealed(account), damaged).unwrap();
    }
    let damaged = fs::read(sealed("read")).unwrap();
    let Err(StoreError::Corrupt { aside }) = store.load(&name("read")) else { panic!("it was not reported") };
    assert_eq!(fs::read(aside).unwrap(), damaged);
    assert!(store.load(&name("read")).unwrap().is_none());

    let damaged = fs::read(sealed("written")).unwrap();
    store.save(&name("written"), &machine.record(1, "new")).unwrap();
    assert_eq!(access_token(&store, "written"), "new-CANARY");
    assert!(machine.files().iter().any(|(_, content)| *content == damaged), "the damaged file is gone");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_another_key_or_version_sealed_are_never_overwritten() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let other = Key::parse(&[9; 32]).unwrap();
    let foreign = sealed_file::seal(&other, Slot::tokens(&name("prod")), 1, b"{}".to_vec().into()).unwrap();
    let mut later = foreign.clone();
    later[9] = 3;
    for (file, expected) in [(foreign, "sealed with a key"), (later, "later version")] {
        machine.write("accounts/prod.sealed", &file);
        let errors =
            [store.load(&name("prod")).map(drop), store.save(&name("prod"), &machine.record(2, "at"))];
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("prod.sealed"), "{error}");
        }
        assert_eq!(fs::read(machine.path("accounts/prod.sealed")).unwrap(), file);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_ours_alone_is_neither_read_nor_replaced_nor_removed() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let (prod, corp) = (machine.path("accounts/prod.sealed"), machine.path("accounts/corp.sealed"));
    store.save(&name("prod"), &machine.record(1, "at")).unwrap();
    symlink(&prod, &corp).unwrap();
    fs::set_permissions(&prod, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(&prod).unwrap();
    for (account, expected) in [("prod", Problem::Open), ("corp", Problem::NoFile)] {
        let outcomes = [
            store.load(&name(account)).map(drop),
            store.save(&name(account), &machine.record(2, "new")),
            store.delete(&name(account)),
        ];
        for outcome in outcomes {
            assert!(
                matches!(outcome, Err(StoreError::File(FileError::Unsafe { problem, .. })) if problem == expected),
                "{account}: {outcome:?}"
            );
        }
    }
    assert_eq!(fs::read(&prod).unwrap(), before);
    assert!(corp.symlink_metadata().unwrap().is_symlink());
}

#[tokio::test(start_paused = true)]
async fn a_save_that_fails_leaves_the_old_record() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(1, "old")).unwrap();
    let obstacle = machine.path("accounts/.prod.sealed.tmp");
    fs::create_dir(&obstacle).unwrap();
    let failed = store.save(&name("prod"), &machine.record(2, "new"));
    assert!(matches!(failed, Err(StoreError::File(FileError::Io { .. }))), "{failed:?}");
    assert_eq!(access_token(&store, "prod"), "old-CANARY");
    // And nothing of it lasts.
    fs::remove_dir(obstacle).unwrap();
    store.save(&name("prod"), &machine.record(2, "new")).unwrap();
    assert_eq!(access_token(&store, "prod"), "new-CANARY");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_could_not_be_read_back_are_not_written() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    store.save(&name("prod"), &machine.record(1, "old")).unwrap();
    let huge = machine.record(2, &"x".repeat(Shelf::LONGEST_FILE));
    assert!(matches!(store.save(&name("prod"), &huge), Err(StoreError::TooLarge { .. })));
    assert_eq!(access_token(&store, "prod"), "old-CANARY");
    let large = machine.record(2, &"x".repeat(Shelf::LONGEST_FILE - 2048));
    store.save(&name("prod"), &large).unwrap();
    assert_eq!(access_token(&store, "prod").len(), Shelf::LONGEST_FILE - 2048 + "-CANARY".len());
}

#[tokio::test(start_paused = true)]
async fn the_generation_at_rest_always_grows() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    let mut last = None;
    for generation in [5, 6, 6, 1, 100] {
        store.save(&name("prod"), &machine.record(generation, &format!("at-{generation}"))).unwrap();
        let record = store.load(&name("prod")).unwrap().unwrap();
        assert!(Some(record.generation) > last && record.generation >= generation);
        assert_eq!(access_token(&store, "prod"), format!("at-{generation}-CANARY"));
        last = Some(record.generation);
    }
}

#[tokio::test(start_paused = true)]
async fn logging_out_needs_no_key() {
    let machine = Machine::new();
    machine.open(KeyChoice::Auto).unwrap().save(&name("prod"), &machine.record(1, "at")).unwrap();
    machine.keyring.is(Mood::Locked);
    let store = machine.open(KeyChoice::Auto).unwrap();
    store.delete(&name("prod")).unwrap();
    store.delete(&name("prod")).unwrap();
    assert!(fs::read_dir(machine.path("accounts")).unwrap().next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_store_in_memory_writes_nothing_and_ends_with_the_daemon() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::Memory).unwrap();
    store.save(&name("prod"), &machine.record(1, "at")).unwrap();
    assert_eq!(access_token(&store, "prod"), "at-CANARY");
    assert_eq!(store.status().key, KeyKind::Memory);
    assert!(store.status().note.unwrap().contains("end with the daemon"));
    assert_eq!(machine.names(), ["accounts", "lock"]);
    assert!(fs::read_dir(machine.path("accounts")).unwrap().next().is_none());
    drop(store);
    assert!(machine.open(KeyChoice::Memory).unwrap().load(&name("prod")).unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn many_accounts_share_a_store() {
    let machine = Machine::new();
    let store = machine.open(KeyChoice::File).unwrap();
    std::thread::scope(|threads| {
        for account in 0..8 {
            let (store, machine) = (&store, &machine);
            let name = name(&format!("account-{account}"));
            let records: Vec<_> = (1..10).map(|n| machine.record(n, &format!("{name}-{n}"))).collect();
            threads.spawn(move || {
                for record in records {
                    store.save(&name, &record).unwrap();
                    assert_eq!(store.load(&name).unwrap().unwrap().generation, record.generation);
                }
            });
        }
    });
    assert_eq!(access_token(&store, "account-7"), "account-7-9-CANARY");
}

/// A machine with a desktop, and a home for the state directory.
pub(super) struct Machine {
    home: TempDir,
    keyring: FakeKeyring,
    pub(super) clock: Clock,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            home: TempDir::new().unwrap(),
            keyring: FakeKeyring::default(),
            clock: Clock::following_tokio(),
        }
    }

    /// Returns a machine whose files are in memory, if it can be: syncing thousands of them takes long elsewhere.
    pub(super) fn in_memory() -> Self {
        let home = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        Self { home, ..Self::new() }
    }

    /// Returns a machine whose store has the key that the fixtures were sealed with.
    pub(super) fn with_the_key_of_the_fixtures() -> Self {
        let machine = Self::new();
        drop(machine.open(KeyChoice::File).unwrap());
        machine.write("key", b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        machine.write("store.json", br#"{"format":1,"key":"file","key_id":"8e9f6f335dc1fd33"}"#);
        machine
    }

    pub(super) fn open(&self, choice: KeyChoice) -> Result<Store, OpenError> {
        let sources = Sources {
            keyring: Box::new(self.keyring.clone()),
            credential: Box::new(Credential::new(Some(self.credential()))),
        };
        Store::open(&self.location(), choice, sources, self.clock.clone())
    }

    pub(super) fn record(&self, generation: u64, access: &str) -> Record {
        let now = self.clock.now().moment;
        let expires_at = Some(now.after(Duration::from_secs(3600)));
        let refresh =
            RefreshToken::new("rt \"CANARY\" \u{e9}\n".into(), "https://login.example.com".to_owned());
        let tokens = TokenSet {
            access: AccessToken::new(format!("{access}-CANARY").into(), now, expires_at).unwrap(),
            refresh: Some(refresh),
            id: Some(IdToken::new("id-CANARY".into(), expires_at).unwrap()),
            subject: Some("ann-CANARY".into()),
            scope: ["all", "offline"].into_iter().collect(),
            header: Some("flyte-authorization".to_owned()),
        };
        Record {
            generation,
            fingerprint: fingerprint("a-fingerprint"),
            tokens,
            ended: None,
            place: Place::State,
        }
    }

    pub(super) fn location(&self) -> Location {
        Location { state: self.path(""), spill: Some(self.home.path().join("runtime/keyfob/spill")) }
    }

    pub(super) fn credential(&self) -> PathBuf {
        self.home.path().join("keyfob-key")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("state").join(name)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns the names of the files of the accounts, in order.
    pub(super) fn account_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("accounts")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns the files that were spilled.
    pub(super) fn spilled_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let Ok(stores) = fs::read_dir(self.home.path().join("runtime/keyfob/spill")) else {
            return Vec::new();
        };
        let directories = stores.map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
        let paths = directories.flatten().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = [self.path(""), self.path("accounts")].map(|path| fs::read_dir(path).unwrap());
        let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

/// A keyring that can be locked, unlocked and absent, and counts the questions it gets.
#[derive(Clone, Debug, Default)]
struct FakeKeyring(Arc<Mutex<Desktop>>);

#[derive(Debug, Default)]
struct Desktop {
    mood: Mood,
    item: Option<String>,
    questions: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mood {
    #[default]
    Unlocked,
    Locked,
    Absent,
}

impl FakeKeyring {
    fn desktop(&self) -> std::sync::MutexGuard<'_, Desktop> {
        self.0.lock().unwrap()
    }

    fn is(&self, mood: Mood) {
        self.desktop().mood = mood;
    }

    fn holds(&self, key: &Key) {
        self.desktop().item = Some(key.to_hex().to_string());
    }

    fn ask(&self) -> Result<std::sync::MutexGuard<'_, Desktop>, KeyError> {
        let mut desktop = self.desktop();
        desktop.questions += 1;
        match desktop.mood {
            Mood::Unlocked => Ok(desktop),
            Mood::Locked => Err(KeyError::Locked),
            Mood::Absent => Err(KeyError::Unavailable("no keyring answers".into())),
        }
    }
}

impl KeySource for FakeKeyring {
    fn fetch(&self) -> Result<Option<Key>, KeyError> {
        Ok(self.ask()?.item.as_ref().map(|item| Key::parse(item.as_bytes()).unwrap()))
    }

    fn create(&self, key: &Key) -> Result<(), KeyError> {
        self.ask()?.item = Some(key.to_hex().to_string());
        Ok(())
    }
}

pub(super) fn access_token(store: &Store, account: &str) -> String {
    let record = store.load(&name(account)).unwrap().unwrap();
    record.tokens.access.secret().expose_secret().to_owned()
}

pub(super) fn fingerprint(text: &str) -> Fingerprint {
    serde_json::from_value(text.into()).unwrap()
}

pub(super) fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}
