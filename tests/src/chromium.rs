//! A real browser: Debian's chromium without a window. It opens one page, as a person would by clicking on a link, and
//! tells what it showed and what it asked for.
//!
//! Each has a profile of its own, so that nothing that one has seen is known to the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::Process;
use crate::programs;

/// A window that is wide enough for a page and small enough for a picture of it.
const WINDOW: &str = "--window-size=900,640";

/// What keeps it from asking the rest of the world for anything.
const ALONE: [&str; 9] = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--no-pings",
];

/// The colours that a person likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// A browser that loads a page.
#[derive(Debug)]
pub struct Chromium {
    process: Process,
    profile: TempDir,
}

/// What a browser has shown. A picture is too long for a `Debug` form.
#[derive(Clone)]
pub struct Shown {
    /// The page as the browser understood it.
    pub dom: String,
    /// The URLs on this machine that it asked for, in this order and once each. It tries others for its own sake.
    pub requests: Vec<String>,
    /// A picture of the page.
    pub picture: Vec<u8>,
}

impl Chromium {
    /// Opens a page.
    pub fn open(url: &str, colours: Colours) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let file = |name: &str| profile.path().join(name);
        let mut command = Command::new("chromium");
        command
            .env_clear()
            .env("HOME", profile.path())
            .arg("--headless=new")
            .args(ALONE)
            .arg(WINDOW)
            .arg(match colours {
                Colours::Light => "--blink-settings=preferredColorScheme=1",
                Colours::Dark => "--blink-settings=preferredColorScheme=0",
            })
            .arg(option("--user-data-dir", &file("profile")))
            .arg(option("--log-net-log", &file("requests.json")))
            .arg(option("--screenshot", &file("picture.png")))
            .arg("--dump-dom");
        if let Some(path) = programs::search_path() {
            command.env("PATH", path);
        }
        if rustix::process::geteuid().is_root() {
            // Its sandbox needs a user to come from.
            command.arg("--no-sandbox");
        }
        command.arg(url);
        let process = Process::start(command, file("dom.html"), file("complaints"));
        Self { process, profile }
    }

    /// Waits until the page is there, and returns it.
    ///
    /// # Panics
    /// Panics where the browser shows nothing.
    #[track_caller]
    pub fn shown(mut self) -> Shown {
        let output = self.process.wait();
        assert_eq!(output.status, 0, "chromium: {}", output.stderr);
        let file = |name: &str| self.profile.path().join(name);
        let requests = fs::read_to_string(file("requests.json")).unwrap();
        Shown {
            dom: output.stdout,
            requests: requested(&requests),
            picture: fs::read(file("picture.png")).unwrap_or_default(),
        }
    }
}

impl Shown {
    /// Keeps the picture for people to look at, in `target/pictures`.
    pub fn keep_picture(&self, name: &str) {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name).with_extension("png"), &self.picture).unwrap();
    }
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// Returns the URLs on this machine that a network log says were requested, once each.
fn requested(log: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for part in log.split("\"url\":\"").skip(1) {
        let url = part.split('"').next().unwrap_or_default().to_owned();
        let is_here = ["http://127.0.0.1:", "http://localhost:"].iter().any(|start| url.starts_with(start));
        if is_here && !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}
