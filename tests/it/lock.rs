//! Somebody leaves their desk: nobody gets anything out of keyfob, and afterwards all is as before.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use integration_tests::config;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Point};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::Output;
use integration_tests::{programs, shim};
use keyfob_protocol::account::{AccountList, AccountState};
use keyfob_protocol::daemon::{LogoutReport, ReloadReport, Revocation, StoreState};
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};
use keyfob_protocol::lock::{LockState, LockStatus};
use rustix::process::Signal;

/// Found nowhere but where it was brought.
const PASSPHRASE: &str = "CANARY-PASSPHRASE";

#[test]
fn a_lock_keeps_everybody_out_and_an_unlock_brings_the_same_session_back() {
    let issuer = FakeIssuer::start(short_lived());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    let locked = with_passphrase(&daemon, "correct horse", "lock --passphrase-stdin");
    assert_eq!((locked.status, locked.stderr.as_str()), (0, ""), "{locked:?}");
    let refused = daemon.shim(&["token"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (4, ""));
    assert_eq!(refused.stderr, "keyfob: keyfob is locked; run: keyfob unlock\n");
    for path in ["token?scope=all", "token?kind=id", "token?wait=0"] {
        let answer = daemon.api("GET", &format!("/v1/accounts/prod/{path}"));
        assert_eq!(answer.json::<ErrorBody>().error, ErrorCode::Locked, "{path}");
    }
    let login = daemon.shim(&["login"]);
    assert_eq!((login.status, login.stderr.as_str()), (4, refused.stderr.as_str()));
    let list: AccountList = daemon.api("GET", "/v1/accounts").json();
    assert_eq!(list.lock, LockStatus { state: LockState::Locked, takes_passphrase: true });
    assert_eq!((list.accounts[0].state, list.store.state), (AccountState::Locked, StoreState::Locked));
    assert!(daemon.shim(&["status"]).stdout.contains("keyfob is locked; run: keyfob unlock"));
    assert_eq!(daemon.api("GET", "/healthz").status, 200);

    for wrong in ["correct hors", "Correct horse"] {
        let refused = with_passphrase(&daemon, wrong, "unlock --passphrase-stdin");
        assert_eq!(refused.status, Exit::Denied as i32, "{refused:?}");
        assert_eq!(refused.stderr, "keyfob: the passphrase is wrong; run: keyfob unlock\n");
    }
    assert_eq!(daemon.shim(&["token"]).status, 4);
    let unlocked = with_passphrase(&daemon, "correct horse", "unlock --passphrase-stdin");
    assert_eq!((unlocked.status, unlocked.stdout.as_str()), (0, "keyfob is unlocked\n"), "{unlocked:?}");
    assert_eq!(daemon.token("prod").access_token, before);
    assert_ne!(daemon.renew("prod").access_token, before, "the refresh token was lost");
    let ledger = issuer.ledger();
    assert_eq!((ledger.families.len(), ledger.violations.len()), (1, 0), "{:?}", ledger.violations);
}

#[test]
fn a_lock_in_mid_renewal_waits_for_the_answer_and_loses_no_refresh_token() {
    let issuer = FakeIssuer::start(short_lived());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    eventually(SOON, "a renewal that has no answer yet", || {
        daemon.api("GET", &format!("/v1/accounts/prod/token?wait=0&{MORE_LIFE}"));
        issuer.held() == 1
    });
    let mut locking = shim::spawn(daemon.home(), &["lock"]);
    assert_eq!(daemon.token("prod").access_token, before, "it is not locked before it can be");
    issuer.release();
    let locked = locking.wait();
    assert_eq!((locked.status, locked.stderr.as_str()), (0, ""), "{locked:?}");
    assert_eq!(daemon.shim(&["token"]).status, 4);
    assert_eq!(daemon.shim(&["unlock"]).stdout, "keyfob is unlocked\n");
    assert_ne!(daemon.token("prod").access_token, before, "what the issuer answered was lost");
    daemon.renew("prod");
    let ledger = issuer.ledger();
    assert_eq!(
        (ledger.violations.as_slice(), ledger.replayed().len()),
        ([""; 0].map(String::from).as_slice(), 0)
    );
}

#[test]
fn a_restart_ends_the_lock_and_so_it_says() {
    let issuer = FakeIssuer::start(short_lived());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    for kill in [false, true] {
        assert_eq!(with_passphrase(&daemon, "secret", "lock --passphrase-stdin").status, 0);
        if kill {
            daemon.kill();
            daemon.start_again();
        } else {
            daemon.restart();
        }
        assert_eq!(daemon.token("prod").access_token, before);
    }
    assert!(daemon.shim(&["help", "lock"]).stdout.contains("is not locked"));
}

#[test]
fn what_needs_no_secret_goes_on_while_it_is_locked() {
    let issuer = FakeIssuer::start(short_lived());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    assert_eq!(daemon.shim(&["lock"]).stdout, "keyfob is locked; to unlock it run: keyfob unlock\n");
    assert_eq!(daemon.shim(&["lock"]).status, 0, "it is locked, as it was asked to be");
    daemon.home().configure(&format!("{}{}", config::device_code(&issuer), config::account("new", &issuer)));
    let report: ReloadReport = daemon.reload().json();
    assert_eq!((report.added.len(), report.kept.len()), (1, 1));
    daemon.signal(Signal::HUP);
    for account in ["prod", "new"] {
        assert_eq!(daemon.account(account).state, AccountState::Locked);
        assert_eq!(daemon.shim(&["token", account]).status, 4);
        let login = daemon.api("POST", &format!("/v1/accounts/{account}/login"));
        assert_eq!(login.json::<ErrorBody>().error, ErrorCode::Locked);
    }
    let left: LogoutReport = daemon.api("DELETE", "/v1/accounts/prod/session").json();
    assert_eq!((left.revocation, left.reason.as_deref()), (Revocation::Failed, Some("keyfob is locked")));
    assert_eq!(daemon.shim(&["unlock"]).status, 0);
    assert_eq!(daemon.shim(&["unlock"]).stdout, "keyfob is not locked\n");
    assert_eq!(daemon.shim(&["token"]).status, Exit::LoginRequired as i32);
    daemon.log_in("new");
    daemon.shim(&["lock"]);
    assert_eq!(daemon.shim(&["stop"]).status, 0);
    assert_eq!(daemon.wait().status, 0);
    assert_eq!(daemon.shim(&["unlock"]).stdout, "keyfobd is not running, so nothing is locked\n");
}

#[test]
fn a_request_that_makes_no_sense_locks_nothing() {
    let issuer = FakeIssuer::start(short_lived());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let long = format!(r#"{{"passphrase":"{}"}}"#, "x".repeat(1025));
    for body in ["", "7", r#"{"passphrase":""}"#, r#"{"pasphrase":"CANARY"}"#, r#"{"passphrase":7}"#, &long] {
        let answer = daemon.send("/v1/lock", body);
        assert_eq!(answer.json::<ErrorBody>().error, ErrorCode::BadRequest, "{body}");
        assert!(!answer.body.contains("CANARY"), "{answer:?}");
    }
    let nobody = daemon.shim(&["lock", "--passphrase-stdin"]);
    assert_eq!((nobody.status, nobody.stdout.as_str()), (Exit::Usage as i32, ""), "{nobody:?}");
    assert_eq!(daemon.api("GET", "/v1/lock").json::<LockStatus>(), LockStatus::default());
    daemon.token("prod");
}

#[test]
fn what_follows_a_passphrase_in_the_input_is_left_for_whoever_reads_on() {
    let daemon = Daemon::start("");
    let input = daemon.home().write("input", "secret\nthe rest\n", 0o600);
    let keyfob = programs::directory().join("keyfob");
    let mut command = daemon.home().command("sh");
    let (keyfob, input) = (keyfob.display(), input.display());
    command.arg("-c").arg(format!("cat {input} | {{ {keyfob} lock --passphrase-stdin >&2 && cat; }}"));
    let output = daemon.home().spawn_command(command).wait();
    assert_eq!((output.status, output.stdout.as_str()), (0, "the rest\n"), "{output:?}");
}

#[test]
fn a_daemon_that_is_locked_has_no_secret_in_its_memory_l9() {
    // With the one the refresh token is a new one, with the other it has been presented.
    for rotation in [Rotation::Strict, Rotation::Omitted] {
        let issuer = FakeIssuer::start(Settings { rotation, ..short_lived() });
        let daemon = Daemon::start(&config::device_code(&issuer));
        daemon.log_in("prod");
        let first = issuer.ledger().families[0].live().unwrap().token.clone();
        let access = daemon.renew("prod").access_token;
        let live = issuer.ledger().families[0].live().unwrap().token.clone();
        let hex = fs::read_to_string(daemon.home().path("state/keyfob/key")).unwrap().trim().to_owned();
        let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        let key: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let secrets = [
            ("refresh token", live.as_bytes()),
            ("key", &key),
            ("key in hexadecimal", hex.as_bytes()),
            ("first refresh token", first.as_bytes()),
            ("access token", access.as_bytes()),
            ("passphrase", PASSPHRASE.as_bytes()),
        ];
        let open = copies(&daemon, &secrets);
        assert!(open[0] > 0 && open[1] > 0 && open[4] > 0, "it does not find what is there: {open:?}");
        assert_eq!(with_passphrase(&daemon, PASSPHRASE, "lock --passphrase-stdin").status, 0);
        let locked = copies(&daemon, &secrets);
        let names = secrets.map(|(name, _)| name);
        println!("copies of {names:?} under {rotation:?}: {open:?} while open, {locked:?} when locked");
        assert_eq!(locked, [0; 6]);
        assert_eq!(with_passphrase(&daemon, PASSPHRASE, "unlock --passphrase-stdin").status, 0);
        assert_eq!(daemon.token("prod").access_token, access);
    }
}

/// Tokens that are renewed as soon as somebody asks for more life, ten seconds after the last renewal.
fn short_lived() -> Settings {
    Settings { access_lifetime: Duration::from_secs(60), ..Settings::default() }
}

/// Runs `keyfob` with a passphrase on its standard input.
fn with_passphrase(daemon: &Daemon, passphrase: &str, arguments: &str) -> Output {
    let file = daemon.home().write("passphrase", &format!("{passphrase}\n"), 0o600);
    let keyfob = programs::directory().join("keyfob");
    let mut command = daemon.home().command("sh");
    command.arg("-c").arg(format!("exec {} {arguments} < {}", keyfob.display(), file.display()));
    let output = daemon.home().spawn_command(command).wait();
    fs::remove_file(file).unwrap();
    output
}

/// Returns how often each of these is in the memory of the daemon.
fn copies(daemon: &Daemon, secrets: &[(&str, &[u8])]) -> Vec<usize> {
    let pid = daemon.process().id();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut counts = vec![0; secrets.len()];
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        if !mode.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        for (count, (_, secret)) in counts.iter_mut().zip(secrets) {
            *count += bytes.windows(secret.len()).filter(|window| window == secret).count();
        }
    }
    counts
}
