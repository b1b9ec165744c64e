//! What a cached token costs the shim in instructions, from its start to its end, held to figures: a time would say how busy the
//! machine is, and this says what the program does.
//!
//! The shim is built as it is meant to be installed, and runs under callgrind, which counts. Whatever else could decide how much
//! it does is the same each time: its environment, the lengths of all paths, and the answer, which comes in one piece from a
//! server that says nothing else. The thing to get wrong: the loader and a dynamic library's start are most of a dynamic
//! program's instructions and belong to the system. So there the figure is what a token costs beyond `keyfob --version`.

// Where there are figures.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "where the harness fails, the test fails")]

use std::env::consts::ARCH;
use std::fs::DirBuilder;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use integration_tests::programs;
use tempfile::TempDir;

/// What a cached token may cost each build of the shim. To set a figure anew, run
/// `cargo test -p integration-tests --test instructions -- --nocapture`, take the number that it prints, and say here what the
/// cost is for. They are of rustc 1.95; another compiler may well need others.
const FIGURES: [Figure; 2] = [
    // All that it does: a fifth is libc's start with the look at arguments and environment. Then the socket is found and looked
    // at, and each byte of the answer is read and judged.
    Figure { target: "x86_64-unknown-linux-musl", counted: Counted::All, instructions: 16_871 },
    // The same without the start and the end, and with glibc's functions in place of musl's.
    Figure { target: "x86_64-unknown-linux-gnu", counted: Counted::BeyondVersion, instructions: 12_140 },
];

/// How far off a figure may be. Two runs do not differ; another processor or another libc may come to a hundredth.
const TOLERANCE_PERCENT: u64 = 10;

/// The token: as long as those that people have.
const TOKEN_LENGTH: usize = 1_000;

/// What a shim may cost.
struct Figure {
    target: &'static str,
    counted: Counted,
    instructions: u64,
}

/// Which instructions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// All of them: nothing of the system is in a static program.
    All,
    /// Those that a token takes and a version does not.
    BeyondVersion,
}

impl Figure {
    /// Holds what was measured to the figure, in both directions: what got better is written down as well, else its loss
    /// goes unseen.
    fn judge(&self, measured: u64) -> Result<(), String> {
        let Self { target, counted, instructions: written } = self;
        if measured.abs_diff(*written) * 100 <= written * TOLERANCE_PERCENT {
            return Ok(());
        }
        Err(format!(
            "a cached token takes {measured} instructions of {target} ({counted:?}), and FIGURES says {written}: find out why, \
             then write {measured} and the reason beside it in {}",
            file!()
        ))
    }
}

#[test]
fn a_cached_token_costs_the_shim_as_many_instructions_as_it_did() {
    let stage = Stage::set();
    let measured: Vec<_> =
        FIGURES.iter().filter_map(|figure| Some((figure, stage.measure(figure)?))).collect();
    assert!(
        !measured.is_empty(),
        "there is no figure for this machine: add its target to FIGURES in {}",
        file!()
    );
    for (Figure { target, counted, .. }, measured) in &measured {
        println!("{target}: {measured} ({counted:?})");
    }
    let broken: Vec<_> =
        measured.into_iter().filter_map(|(figure, measured)| figure.judge(measured).err()).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn what_got_better_is_told_as_what_got_worse_is() {
    let figure = Figure { target: "pdp11", counted: Counted::All, instructions: 1_000 };
    for near in [900, 1_000, 1_100] {
        assert_eq!(figure.judge(near), Ok(()));
    }
    for far in [899, 1_101] {
        let told = figure.judge(far).unwrap_err();
        assert!(
            told.contains(&format!("takes {far} ")) && told.contains("write") && told.ends_with(file!()),
            "{told}"
        );
    }
}

/// A server in a directory whose name is always as long.
struct Stage {
    directory: TempDir,
}

impl Stage {
    fn set() -> Self {
        // Not where TMPDIR says.
        let directory = tempfile::Builder::new().prefix("kf-").rand_bytes(6).tempdir_in("/tmp").unwrap();
        DirBuilder::new().mode(0o700).create(directory.path().join("keyfob")).unwrap();
        let listener = UnixListener::bind(directory.path().join("keyfob/keyfob.sock")).unwrap();
        // It ends with the test.
        thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap())));
        Self { directory }
    }

    /// Returns what a token costs; nothing where the figure's target is that of another machine, or is not installed.
    fn measure(&self, figure: &Figure) -> Option<u64> {
        let is_ours = figure.target.starts_with(ARCH);
        let shim = is_ours.then(|| programs::optimized_shim(figure.target)).flatten()?;
        let all = self.count(&shim, &["token", "prod"], &format!("{}\n", token()));
        let version =
            || self.count(&shim, &["--version"], concat!("keyfob ", env!("CARGO_PKG_VERSION"), "\n"));
        Some(match figure.counted {
            Counted::All => all,
            Counted::BeyondVersion => all - version(),
        })
    }

    /// Returns how many instructions a run of the shim takes.
    fn count(&self, shim: &Path, arguments: &[&str], expected: &str) -> u64 {
        let name = Path::new(".").join(shim.file_name().unwrap());
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(name)
            .args(arguments)
            .current_dir(shim.parent().unwrap())
            .env_clear()
            // A processor that has it copies and clears by one instruction, which counts as one for each byte.
            .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS")
            .env("HOME", self.directory.path())
            .env("XDG_RUNTIME_DIR", self.directory.path());
        let output = command.output().unwrap_or_else(|error| {
            panic!("valgrind, which counts the instructions, does not run ({error}); run: apt-get install valgrind")
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout == expected.as_bytes(), "{command:?}: {said}");
        let counted = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count);
        counted
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or_else(|| panic!("it did not count: {said}"))
    }
}

/// Answers as keyfobd does, always the same and in one piece.
fn answer(mut stream: UnixStream) {
    // A request is shorter, and sent in one piece.
    let mut request = [0; 4096];
    let length = stream.read(&mut request).unwrap();
    assert!(request[..length].starts_with(b"GET /v1/accounts/prod/token?"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: no-store\r\ncontent-length: {TOKEN_LENGTH}\r\n\
         connection: close\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n{}",
        token()
    );
    stream.write_all(answer.as_bytes()).unwrap();
}

fn token() -> String {
    "e".repeat(TOKEN_LENGTH)
}
