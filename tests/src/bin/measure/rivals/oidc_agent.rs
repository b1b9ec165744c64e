//! oidc-agent, Debian's, signed in with a refresh token.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::issuer;
use crate::contender::Contender;

/// An agent that holds a token.
pub(crate) struct OidcAgent {
    home: TempDir,
    socket: PathBuf,
    pid: String,
}

impl OidcAgent {
    /// Starts one and signs it in, where it is installed.
    pub(crate) fn start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".oidc-agent")).unwrap();
        let said = Command::new("oidc-agent")
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8(said.stdout).unwrap();
        let value = |name: &str| {
            let (_, rest) = said.split_once(&format!("{name}="))?;
            Some(rest.split(';').next().unwrap_or_default().to_owned())
        };
        let (socket, pid) = (value("OIDC_SOCK")?.into(), value("OIDCD_PID")?);
        let agent = Self { home, socket, pid };
        let issuer = format!("{}/", issuer::serve());
        let status = Command::new("oidc-gen")
            .args(["prod", "--issuer", &issuer, "--client-id", "cli", "--client-secret", "", "--rt", "rt"])
            .args(["--scope", "openid offline_access", "--redirect-uri", "http://localhost:4242"])
            .args(["-m", "--no-save", "--pw-cmd", "echo x", "--prompt=none", "--confirm-default"])
            .env("HOME", agent.home.path())
            .env("OIDC_SOCK", &agent.socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "oidc-gen: {status}");
        Some(agent)
    }

    /// Returns the look-up for the race.
    pub(crate) fn token(&self) -> Contender {
        Contender::new("oidc-token", "/usr/bin/oidc-token", &["prod"])
            .with("HOME", self.home.path())
            .with("OIDC_SOCK", &self.socket)
    }
}

impl Drop for OidcAgent {
    fn drop(&mut self) {
        let status = Command::new("oidc-agent")
            .arg("--kill")
            .env("HOME", self.home.path())
            .env("OIDC_SOCK", &self.socket)
            .env("OIDCD_PID", &self.pid)
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "oidc-agent stays behind");
    }
}
