//! The keyring that other stories use is itself in the state that it claims, as `secret-tool` sees it.

use std::io::Write;
use std::process::{Command, Stdio};

use integration_tests::keyring::Keyring;

#[test]
fn an_unlocked_keyring_keeps_a_secret_and_a_locked_one_does_not_tell_it() {
    let keyring = Keyring::unlocked();
    assert_eq!(keyring.secrets(), 0);
    store(&keyring, "s3cret");
    assert_eq!(look_up(&keyring).as_deref(), Ok("s3cret"));
    assert_eq!(keyring.secrets(), 1);

    keyring.lock();
    assert!(keyring.is_locked());
    assert!(look_up(&keyring).is_err());

    keyring.unlock();
    assert!(!keyring.is_locked());
    assert_eq!(look_up(&keyring).as_deref(), Ok("s3cret"));
}

#[test]
fn a_keyring_that_died_comes_back_with_its_secrets_and_locked() {
    let keyring = Keyring::unlocked();
    store(&keyring, "s3cret");
    keyring.die();
    assert!(look_up(&keyring).unwrap_err().contains("not provided by any .service files"));

    keyring.start_locked();
    assert!(keyring.is_locked());
    assert!(look_up(&keyring).is_err());
    keyring.unlock();
    assert_eq!(look_up(&keyring).as_deref(), Ok("s3cret"));

    keyring.die();
    keyring.start();
    assert_eq!(look_up(&keyring).as_deref(), Ok("s3cret"));
}

#[test]
fn a_hanging_keyring_answers_nothing_until_it_goes_on() {
    let keyring = Keyring::unlocked();
    store(&keyring, "s3cret");
    keyring.hang();
    assert!(run(&keyring, &["timeout", "1", "secret-tool", "lookup", "keyfob", "fixture"]).is_err());
    keyring.resume();
    assert_eq!(look_up(&keyring).as_deref(), Ok("s3cret"));
}

#[test]
fn nobody_answers_where_the_keyring_is_absent() {
    let keyring = Keyring::absent();
    assert!(look_up(&keyring).unwrap_err().contains("not provided by any .service files"));
}

fn store(keyring: &Keyring, secret: &str) {
    let mut child = command(keyring, &["secret-tool", "store", "--label=fixture", "keyfob", "fixture"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn look_up(keyring: &Keyring) -> Result<String, String> {
    run(keyring, &["secret-tool", "lookup", "keyfob", "fixture"])
}

fn run(keyring: &Keyring, arguments: &[&str]) -> Result<String, String> {
    let output = command(keyring, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn command(keyring: &Keyring, arguments: &[&str]) -> Command {
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]).env("DBUS_SESSION_BUS_ADDRESS", keyring.bus_address());
    command
}
