//! Accounts whose tokens a program prints: it runs as seldom as an issuer would be asked.

use std::fs;
use std::os::unix::fs::symlink;

use integration_tests::config::HEAD;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::shim;
use jiff::Timestamp;
use keyfob_protocol::account::{AccountState, GrantKind};
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};

/// What the arguments of the program hold.
const ARGUMENT: &str = "CANARY-argument";

#[test]
fn a_hundred_tools_one_after_the_other_cost_one_run() {
    let daemon = start(Home::new(), "echo token-$run", "");
    for _ in 0..100 {
        let output = daemon.shim(&["token", "iap"]);
        assert_eq!((output.status, output.stdout.as_str()), (0, "token-1\n"), "{}", output.stderr);
    }
    assert_eq!(runs(&daemon), 1);
}

#[test]
fn ten_tools_at_once_on_an_expired_token_cost_one_run() {
    let home = Home::new();
    let gate = home.write("gate", "", 0o600);
    // Not renewed ahead: it lives for less than twenty seconds.
    let script = format!("until [ -e {gate:?} ]; do sleep 0.02; done; echo token-$run");
    let daemon = start(home, &script, "assume_lifetime = 11");
    assert_eq!(daemon.token("iap").access_token, "token-1");
    eventually(SOON, "the token has expired", || daemon.account("iap").access_token.is_none());
    fs::remove_file(&gate).unwrap();
    let mut tools: Vec<_> = (0..10).map(|_| shim::spawn(daemon.home(), &["token", "iap"])).collect();
    eventually(SOON, "the second run", || runs(&daemon) == 2);
    fs::write(&gate, "").unwrap();
    for tool in &mut tools {
        let output = tool.wait();
        assert_eq!((output.status, output.stdout.as_str()), (0, "token-2\n"), "{}", output.stderr);
    }
    assert_eq!(runs(&daemon), 2);
}

#[test]
fn a_token_lives_for_as_long_as_its_program_says() {
    let in_json = r#"printf '{"accessToken":"token-%s","expires_on":%s}' $run $at"#;
    let in_the_token =
        r#"printf 'e30.%s.c2ln' $(printf '{"exp":%s}' $at | base64 -w 0 | tr '+/' '-_' | tr -d =)"#;
    for print in [in_json, in_the_token] {
        let home = Home::new();
        let file = home.path("at");
        let script = format!("at=$(($(date +%s) + 1800)); echo $at > {file:?}; {print}");
        let daemon = start(home, &script, "assume_lifetime = 60");
        daemon.token("iap");
        let at: i64 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let expires_at = daemon.account("iap").access_token.unwrap().expires_at.unwrap();
        let expected = Timestamp::from_second(at).unwrap();
        // What is shown is told by the boot clock, which no wall clock agrees with to the last digit.
        assert!(expires_at.duration_since(expected).abs().as_secs() <= 1, "{expires_at} {expected}");
    }
}

#[test]
fn hostile_programs_end_in_time_and_disturb_nobody_l12() {
    let home = Home::new();
    let directory = home.path("").display().to_string();
    // What they start can be told by its command line.
    let sleep = home.path("sleep");
    symlink("/bin/sleep", &sleep).unwrap();
    let sleep = sleep.display();
    let scripts = [
        (
            "bomb",
            format!("i=0; while [ $i -lt 40 ]; do (while :; do {sleep} 1000; done) & i=$((i+1)); done; wait"),
        ),
        ("flood", "yes CANARY-flood".to_owned()),
        ("deaf", format!("trap '' TERM INT HUP; while :; do {sleep} 1000; done")),
        ("orphan", format!("(setsid sh -c 'while :; do {sleep} 1000; done' &); echo CANARY-orphan")),
        ("escapes", r"printf '\033]0;owned\007\033[2J'".to_owned()),
        ("other", r#"echo '{"account":"prod","access_token":"CANARY-other","expires_in":600}'"#.to_owned()),
    ];
    let accounts = scripts.iter().map(|(name, script)| {
        format!("[accounts.{name}]\ngrant = \"command\"\ncommand = ['sh', '-c', '''{script}''']\n")
    });
    home.configure(&(HEAD.replace("\"prod\"", "\"other\"") + &accounts.collect::<String>()));
    let mut daemon = Daemon::start_in(home);
    let mut tools: Vec<_> = scripts
        .iter()
        .map(|(name, _)| (*name, shim::spawn(daemon.home(), &["token", name, "--wait", "60"])))
        .collect();
    eventually(SOON, "forty processes", || processes_with(&directory) > 40);
    for (name, tool) in &mut tools {
        let output = tool.wait();
        let is_token = *name == "other";
        assert_eq!(output.status == 0, is_token, "{name}: {output:?}");
        let expected = if is_token { "CANARY-other\n" } else { "" };
        assert_eq!(output.stdout, expected, "{name}");
        assert!(!output.stderr.contains(['\u{1b}', '\u{7}']), "{name}: {}", output.stderr);
        assert!(!output.stderr.contains("CANARY"), "{name}: {}", output.stderr);
    }
    eventually(SOON * 2, "their end", || processes_with(&directory) == 0);
    assert_eq!(daemon.api("GET", "/healthz").status, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process().id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 100 * 1024, "{peak} KiB: what a program prints is kept");
    assert_eq!(daemon.stop().status, 0);
}

/// Returns how many processes name a program below this directory that is none of ours.
fn processes_with(directory: &str) -> usize {
    let lines = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let program = format!("{directory}sleep\0");
    lines.filter(|line| line.starts_with(program.as_bytes())).count()
}

#[test]
fn a_program_that_fails_is_an_outage_in_one_line_and_heals() {
    let home = Home::new();
    let flag = home.path("logged-in");
    let script = format!(
        "[ -e {flag:?} ] && echo token-$run && exit; echo CANARY-printed; printf 'log in\\n\\033[2Jfirst\\n' >&2; exit 1"
    );
    let daemon = start(home, &script, "");
    let output = daemon.shim(&["token", "iap"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Unavailable as i32, ""), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("sh failed (exit status: 1): log in"), "{}", output.stderr);
    assert!(!output.stderr.contains("CANARY") && !output.stderr.contains('\u{1b}'), "{}", output.stderr);
    fs::write(&flag, "").unwrap();
    let healed = found(SOON, "a token", || {
        let output = daemon.shim(&["token", "iap"]);
        (output.status == 0).then_some(output.stdout)
    });
    assert!(healed.starts_with("token-"), "{healed}");
    assert_eq!(daemon.account("iap").last_error, None);
    assert!(!daemon.log().contains("CANARY"), "{}", daemon.log());
}

#[test]
fn a_program_that_is_not_there_is_a_mistake_to_mend() {
    let home = Home::new();
    home.configure(&(HEAD.replace("prod", "iap") + &account(r#"["keyfob-test-no-such-program"]"#, "")));
    let daemon = Daemon::start_in(home);
    let output = daemon.shim(&["token", "iap"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Configuration as i32, ""), "{output:?}");
    assert!(output.stderr.contains("keyfob-test-no-such-program"), "{}", output.stderr);
}

#[test]
fn an_account_with_a_program_needs_no_login_and_shows_its_name_alone() {
    let mut daemon = start(Home::new(), "echo token-$run", "");
    let refused = daemon.api("POST", "/v1/accounts/iap/login");
    assert_eq!(refused.json::<ErrorBody>().error, ErrorCode::BadRequest);
    let token = daemon.token("iap").access_token;
    let account = daemon.account("iap");
    assert_eq!((account.grant, account.issuer.as_str()), (GrantKind::Command, "sh"));
    assert_eq!((account.state, account.last_error), (AccountState::SignedIn, None));
    for shown in [daemon.api("GET", "/v1/accounts").body, daemon.shim(&["status"]).stdout] {
        assert!(shown.contains("sh") && !shown.contains(ARGUMENT), "{shown}");
    }
    // What it printed is kept over a restart, so that it does not run again.
    daemon.restart();
    assert_eq!(daemon.token("iap").access_token, token);
    assert_eq!(runs(&daemon), 1);
    assert!(!daemon.log().contains(ARGUMENT), "{}", daemon.log());
}

/// Starts a daemon with one account, whose program counts its runs and then does what `script` says; `$run` is the
/// number of this run.
fn start(home: Home, script: &str, more: &str) -> Daemon {
    let runs = home.path("count");
    let script = format!("echo run >> {runs:?}\nrun=$(wc -l < {runs:?})\n{script}\n");
    let file = home.write("program", &script, 0o600);
    // By its interpreter: a file that was written a moment ago may be busy for an exec.
    let argv = format!("[\"sh\", {file:?}, {ARGUMENT:?}]");
    home.configure(&(HEAD.replace("prod", "iap") + &account(&argv, more)));
    Daemon::start_in(home)
}

fn account(argv: &str, more: &str) -> String {
    format!("\n[accounts.iap]\ngrant = \"command\"\ncommand = {argv}\n{more}\n")
}

/// Returns how often the program has been run.
fn runs(daemon: &Daemon) -> usize {
    fs::read_to_string(daemon.home().path("count")).unwrap_or_default().lines().count()
}
