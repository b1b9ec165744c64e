//! Who may have an account's tokens: by program, by unit, by scope, by a person's word; and who had them.

use std::path::{Path, PathBuf};

use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::process::{Output, Process};
use integration_tests::{config, programs};
use keyfob_protocol::audit::{AuditEntry, AuditLog, AuditOutcome};
use keyfob_protocol::confirmation::{Confirmation, ConfirmationList};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::token::TokenKind;
use sha2::{Digest, Sha256};

/// The exit code for what is not allowed.
const DENIED: i32 = 6;

/// As long as a shim holds out for an answer.
const LONG: &str = "--wait 19";

#[test]
fn only_a_program_that_is_listed_gets_tokens_whatever_it_says_about_itself() {
    let world = World::start("");
    let (listed, other) = (world.program("listed"), world.program("other"));
    world.set_policy(&format!("programs = [{listed:?}]"));
    let output = world.run(&listed, "");
    assert_eq!((output.status, output.stdout.trim_end()), (0, world.token.as_str()), "{output:?}");

    let output = world.run(&other, "");
    assert_eq!((output.status, output.stdout.as_str()), (DENIED, ""), "{output:?}");
    for part in [other.to_str().unwrap(), " prod", "accounts.prod.policy.programs", "keyfob reload"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    // Who speaks to the socket counts for itself, also where it calls itself the shim.
    let shim = ("user-agent", "keyfob");
    for headers in [&[][..], &[shim]] {
        let answer = world.daemon.api_with("GET", "/v1/accounts/prod/token", headers);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.json::<ErrorBody>().error, ErrorCode::Denied);
    }
    // Nor does whoever was started by a listed program.
    let speaking = format!("python3 -c \"$SPEAK\" {:?}; exit $?", world.daemon.home().socket());
    let mut command = world.daemon.home().command(&listed);
    command.arg("-c").arg(speaking).env("SPEAK", SPEAK);
    let output = world.daemon.home().spawn_command(command).wait();
    assert!(output.stdout.starts_with("HTTP/1.1 403"), "{output:?}");
    // A directory lists all below it.
    world.set_policy(&format!("programs = [\"{}/\"]", other.parent().unwrap().display()));
    assert_eq!(world.run(&other, "").status, 0);
}

#[test]
fn a_program_that_took_the_place_of_a_listed_one_is_not_taken_for_it() {
    let world = World::start("");
    let listed = world.program("listed");
    world.set_policy(&format!("programs = [{listed:?}]"));
    // It runs, and then another file has its name.
    let (go, keyfob) = (world.daemon.home().path("go"), keyfob());
    let lines = format!("while [ ! -e {go:?} ]; do :; done; {keyfob:?} token; exit $?");
    let mut running = world.spawn(&listed, &lines);
    let is_running = || {
        let exe = std::fs::read_link(format!("/proc/{}/exe", running.id()));
        exe.is_ok_and(|exe| exe == listed)
    };
    eventually(SOON, "the listed program runs", is_running);
    std::fs::remove_file(&listed).unwrap();
    world.program("listed");
    std::fs::write(go, "").unwrap();
    let output = running.wait();
    assert_eq!(output.status, DENIED, "{output:?}");
    assert!(output.stderr.contains("start it again"), "{}", output.stderr);
}

#[test]
fn only_a_unit_that_is_listed_gets_tokens() {
    let world = World::start("units = [\"agent.service\"]");
    let output = world.run(&world.program("program"), "");
    assert_eq!(output.status, DENIED, "{output:?}");
    assert!(output.stderr.contains("accounts.prod.policy.units"), "{}", output.stderr);
}

#[test]
fn another_policy_counts_from_the_reload_on_and_keeps_the_login() {
    let world = World::start("");
    let program = world.program("program");
    world.set_policy("access = \"deny\"");
    let output = world.run(&program, "");
    assert_eq!((output.status, output.stdout.as_str()), (DENIED, ""), "{output:?}");
    assert!(output.stderr.contains("accounts.prod.policy.access"), "{}", output.stderr);
    assert_eq!(world.daemon.api("GET", "/v1/accounts/prod/token").status, 403);
    world.set_policy("access = \"allow\"");
    assert_eq!(world.run(&program, "").stdout.trim_end(), world.token);
    assert!(world.issuer.ledger().requests("refresh_token").is_empty());
}

#[test]
fn a_mistake_in_a_policy_leaves_the_old_one_in_force() {
    let world = World::start("access = \"deny\"");
    world.configure("acess = \"allow\"");
    let answer = world.daemon.reload();
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.body.contains("did you mean \\\"access\\\"?"), "{answer:?}");
    assert_eq!(world.daemon.api("GET", "/v1/accounts/prod/token").status, 403);
}

#[test]
fn no_token_goes_out_that_is_good_for_more_than_the_policy_says() {
    let world = World::start("scopes = [\"all\"]");
    let program = world.program("program");
    // The account's own was granted more.
    let output = world.run(&program, "");
    assert_eq!((output.status, output.stdout.as_str()), (DENIED, ""), "{output:?}");
    assert!(output.stderr.contains("the scope offline"), "{}", output.stderr);
    // More is not even asked for.
    assert_eq!(world.run(&program, "--scope offline").status, DENIED);
    assert!(world.issuer.ledger().requests("refresh_token").is_empty());
    let output = world.run(&program, "--scope all");
    assert_eq!(output.status, 0, "{output:?}");
    assert_ne!(output.stdout.trim_end(), world.token);
}

#[test]
fn a_program_waits_for_the_word_of_a_person_at_a_terminal() {
    let world = World::start("access = \"confirm\"");
    let program = world.program("program");
    let mut waiting: Vec<_> = (0..2).map(|_| world.spawn(&program, &asking(LONG))).collect();
    let question = world.question();
    assert_eq!(question.program, program.to_str().unwrap());
    assert_eq!(question.account.as_str(), "prod");
    let warned =
        world.daemon.account("prod").warnings.iter().any(|line| line.contains("run: keyfob confirm"));
    assert!(warned);

    let said = world.at_terminal("y\n");
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.stdout.contains(program.to_str().unwrap()), "{said:?}");
    assert!(said.stdout.contains("may have tokens of prod for"), "{said:?}");
    for asked in &mut waiting {
        let output = asked.wait();
        assert_eq!((output.status, output.stdout.trim_end()), (0, world.token.as_str()), "{output:?}");
    }
    // It holds for the program, and for no other.
    assert_eq!(world.run(&program, "--wait 0").status, 0);
    assert_eq!(world.run(&world.program("other"), "--wait 0").status, DENIED);
    // Until the configuration is read again.
    assert_eq!(world.daemon.reload().status, 200);
    assert_eq!(world.run(&program, "--wait 0").status, DENIED);
}

#[test]
fn who_is_not_answered_in_time_is_told_what_to_run_and_served_later() {
    let world = World::start("access = \"confirm\"");
    let program = world.program("program");
    let output = world.run(&program, "--wait 0");
    assert_eq!((output.status, output.stdout.as_str()), (DENIED, ""), "{output:?}");
    assert!(output.stderr.trim_end().ends_with("run: keyfob confirm"), "{}", output.stderr);
    // Nobody waits any more, and the question does.
    let id = world.question().id.to_string();
    let listed = world.daemon.shim(&["confirm", "--list"]);
    assert!(listed.stdout.starts_with(&format!("{id}: {}", program.display())), "{listed:?}");
    let answered = world.daemon.shim(&["confirm", "--allow", &id, "--for", "1h"]);
    assert_eq!(answered.status, 0, "{answered:?}");
    assert_eq!(world.run(&program, "--wait 0").stdout.trim_end(), world.token);
    let again = world.daemon.shim(&["confirm", "--allow", &id]);
    assert_eq!(again.status, 2, "{again:?}");
    assert_eq!(world.daemon.shim(&["confirm", "--list"]).stdout, "no program waits to be confirmed\n");
}

#[test]
fn who_is_denied_by_a_person_gets_no_token_and_asks_nobody_again_for_a_while() {
    let world = World::start("access = \"confirm\"");
    let program = world.program("program");
    let mut waiting = world.spawn(&program, &asking(LONG));
    let id = world.question().id.to_string();
    assert_eq!(world.daemon.shim(&["confirm", "--deny", &id, "--json"]).status, 0);
    for output in [waiting.wait(), world.run(&program, "")] {
        assert_eq!((output.status, output.stdout.as_str()), (DENIED, ""), "{output:?}");
        assert!(output.stderr.contains("was refused"), "{}", output.stderr);
    }
    assert!(world.questions().is_empty());
}

#[test]
fn a_policy_that_comes_while_a_program_waits_counts_for_it_whatever_a_person_says() {
    let world = World::start("access = \"confirm\"");
    let mut waiting = world.spawn(&world.program("program"), &asking(LONG));
    let id = world.question().id.to_string();
    world.set_policy("access = \"deny\"");
    world.daemon.shim(&["confirm", "--allow", &id]);
    let output = waiting.wait();
    assert_ne!(output.status, 0, "{output:?}");
    assert_eq!(output.stdout, "", "{output:?}");
}

#[test]
fn nothing_but_a_clear_word_at_a_terminal_is_an_answer() {
    let world = World::start("access = \"confirm\"");
    let program = world.program("program");
    assert_eq!(world.run(&program, "--wait 0").status, DENIED);
    // Without a terminal nobody is asked.
    let output = world.daemon.shim(&["confirm"]);
    assert_eq!(output.status, 2, "{output:?}");
    for word in ["\n", "yy\n", "\u{4}"] {
        let said = world.at_terminal(word);
        assert_eq!(said.status, 0, "{said:?}");
        assert_eq!(world.questions().len(), 1, "{word:?}");
    }
    assert_eq!(world.run(&program, "--wait 0").status, DENIED);
}

#[test]
fn it_is_taken_down_who_had_which_token_and_never_the_token() {
    let world = World::start("");
    let program = world.program("program");
    assert_eq!(world.run(&program, "").status, 0);
    world.set_policy("access = \"deny\"");
    assert_eq!(world.run(&program, "").status, DENIED);

    let fingerprint: String =
        Sha256::digest(&world.token).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let [issued, denied] = &world.audit("limit=2")[..] else { panic!("two requests") };
    assert_eq!(issued.outcome, AuditOutcome::Issued);
    assert_eq!(issued.fingerprint.as_deref(), Some(fingerprint.as_str()));
    assert_eq!(issued.program, program.to_str().unwrap());
    assert_eq!(issued.uid, rustix::process::getuid().as_raw());
    assert_eq!((issued.kind, issued.scope.as_deref()), (TokenKind::Access, Some("all offline")));
    assert_eq!((denied.outcome, denied.fingerprint.as_deref()), (AuditOutcome::Denied, None));
    assert!(denied.reason.as_ref().unwrap().contains("nobody gets a token of prod"), "{denied:?}");
    assert!(world.audit("account=other").is_empty());

    let shown = world.daemon.shim(&["status", "prod", "--log", "2"]).stdout;
    assert_eq!(shown.lines().take(3).count(), 3, "{shown}");
    let json = world.daemon.shim(&["status", "--log", "--json"]).stdout;
    let log = world.daemon.log();
    for (what, text) in [("the table", &shown), ("the JSON", &json), ("the log", &log)] {
        for part in [fingerprint.as_str(), program.to_str().unwrap()] {
            assert!(text.contains(part), "{part} is not in {what}: {text}");
        }
        assert!(!text.contains(&world.token), "the token is in {what}");
    }
    let pid = issued.pid.unwrap();
    let line = log.lines().find(|line| line.contains(&format!("pid={pid} ")));
    let line = line.unwrap_or_else(|| panic!("no line with pid={pid} in {log}"));
    assert!(line.contains("a token was issued") && line.contains(&fingerprint), "{line}");
}

#[test]
fn the_name_of_a_program_can_break_no_line() {
    let world = World::start("");
    let program = world.program("a\n\u{1b}[2Jb");
    assert_eq!(world.run(&program, "").status, 0);
    let entry = world.audit("limit=1").remove(0);
    assert!(entry.program.ends_with("/a[2Jb"), "{entry:?}");
    let shown = world.daemon.shim(&["status", "--log"]).stdout;
    for text in [shown, world.daemon.log()] {
        assert!(!text.contains('\u{1b}') && text.contains("/a[2Jb"), "{text}");
    }
}

/// A daemon whose account `prod` is signed in and has a policy.
struct World {
    issuer: FakeIssuer,
    daemon: Daemon,
    /// The account's own token.
    token: String,
}

impl World {
    #[track_caller]
    fn start(policy: &str) -> Self {
        let issuer = FakeIssuer::start(Settings::default());
        let daemon = Daemon::start(&config::device_code(&issuer));
        daemon.log_in("prod");
        let token = daemon.token("prod").access_token;
        let world = Self { issuer, daemon, token };
        world.set_policy(policy);
        world
    }

    fn configure(&self, policy: &str) {
        let config = config::device_code(&self.issuer);
        self.daemon.home().configure(&format!("{config}\n[accounts.prod.policy]\n{policy}\n"));
    }

    #[track_caller]
    fn set_policy(&self, policy: &str) {
        self.configure(policy);
        let answer = self.daemon.reload();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Makes a program that runs what it is told to.
    #[track_caller]
    fn program(&self, name: &str) -> PathBuf {
        let path = self.daemon.home().path(name).to_path_buf();
        // By a process of its own: a program that is open for writing cannot be run.
        let mut command = self.daemon.home().command("cp");
        command.arg(shell()).arg(&path);
        let copied = self.daemon.home().spawn_command(command).wait();
        assert_eq!(copied.status, 0, "{copied:?}");
        path
    }

    /// Lets a program run lines.
    fn spawn(&self, program: &Path, lines: &str) -> Process {
        let mut command = self.daemon.home().command(program);
        command.arg("-c").arg(lines);
        self.daemon.home().spawn_command(command)
    }

    /// Lets a program run the token command with these options.
    #[track_caller]
    fn run(&self, program: &Path, options: &str) -> Output {
        self.spawn(program, &asking(options)).wait()
    }

    /// Runs `keyfob confirm` at a terminal, where a person types this when they are asked.
    #[track_caller]
    fn at_terminal(&self, typed: &str) -> Output {
        let mut command = self.daemon.home().command("python3");
        command.arg("-c").arg(TERMINAL).arg(typed).arg(keyfob()).arg("confirm");
        self.daemon.home().spawn_command(command).wait()
    }

    fn questions(&self) -> Vec<Confirmation> {
        self.daemon.api("GET", "/v1/confirmations").json::<ConfirmationList>().confirmations
    }

    /// Waits for the only question.
    #[track_caller]
    fn question(&self) -> Confirmation {
        let questions = found(SOON, "a question", || Some(self.questions()).filter(|list| !list.is_empty()));
        assert_eq!(questions.len(), 1, "{questions:?}");
        questions[0].clone()
    }

    #[track_caller]
    fn audit(&self, query: &str) -> Vec<AuditEntry> {
        let answer = self.daemon.api("GET", &format!("/v1/audit?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json::<AuditLog>().entries
    }
}

fn keyfob() -> PathBuf {
    programs::directory().join("keyfob")
}

/// Returns lines for a shell that stays while the token command runs.
fn asking(options: &str) -> String {
    format!("{:?} token {options}; exit $?", keyfob())
}

/// Returns the file of the shell, all links followed.
fn shell() -> PathBuf {
    std::fs::canonicalize("/bin/sh").unwrap()
}

/// Asks for a token as the shim does, and prints the answer.
const SPEAK: &str = "
import socket, sys
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(sys.argv[1])
daemon.sendall(b'GET /v1/accounts/prod/token HTTP/1.1\\r\\nHost: x\\r\\nUser-Agent: keyfob\\r\\nConnection: close\\r\\n\\r\\n')
print(daemon.recv(4096).decode())
";

/// Runs a program at a terminal of its own, and types something once it asks.
const TERMINAL: &str = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown, typed = b'', False
while True:
    try:
        part = os.read(terminal, 1024)
    except OSError:
        break
    if not part:
        break
    shown += part
    if not typed and b'y or n' in shown:
        os.write(terminal, sys.argv[1].encode())
        typed = True
sys.stdout.write(shown.decode())
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
