//! pizauth, signed in to an issuer of a few lines, so that its `show` can race.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use integration_tests::patience::eventually;
use tempfile::TempDir;

use super::issuer;
use crate::contender::Contender;

/// How long pizauth may take to start and to sign in.
const DEADLINE: Duration = Duration::from_secs(20);

/// A pizauth that holds a token.
pub(crate) struct Pizauth {
    program: PathBuf,
    home: TempDir,
    server: Child,
}

impl Pizauth {
    /// Starts pizauth in a temporary home and signs it in.
    pub(crate) fn start(program: PathBuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        let issuer = issuer::serve();
        let config = home.path().join("pizauth.conf");
        fs::write(
            &config,
            format!(
                "account \"prod\" {{ auth_uri = \"{issuer}/auth\"; token_uri = \"{issuer}/token\"; \
                 client_id = \"cli\"; scopes = [\"all\"]; }}\n"
            ),
        )
        .unwrap();
        let server = Command::new(&program)
            .args(["server", "-d", "-c"])
            .arg(&config)
            .env("XDG_RUNTIME_DIR", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pizauth = Self { program, home, server };
        let mut visited = None;
        eventually(DEADLINE, "pizauth has a token", || pizauth.is_signed_in(&mut visited));
        pizauth
    }

    /// Returns `pizauth show` for the race.
    pub(crate) fn show(&self) -> Contender {
        Contender::new("pizauth show prod", &self.program, &["show", "prod"])
            .with("XDG_RUNTIME_DIR", self.home.path())
    }

    /// Asks for the token, and follows the redirect of the login where pizauth wants one: once, since each time makes it
    /// exchange the code.
    fn is_signed_in(&self, visited: &mut Option<url::Url>) -> bool {
        let shown = Command::new(&self.program)
            .args(["show", "prod"])
            .env("XDG_RUNTIME_DIR", self.home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&shown.stderr).into_owned();
        if let Some(start) = said.find("http://") {
            let url: url::Url = said[start..].split_whitespace().next().unwrap().parse().unwrap();
            if visited.replace(url.clone()).is_some_and(|earlier| earlier == url) {
                return false;
            }
            let parameter =
                |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
            let mut redirect: url::Url = parameter("redirect_uri").parse().unwrap();
            redirect.query_pairs_mut().append_pair("code", "1").append_pair("state", &parameter("state"));
            let port = redirect.port().unwrap();
            let target = format!("{}?{}", redirect.path(), redirect.query().unwrap());
            // In one piece and with the port: pizauth compares the whole address.
            let request = format!("GET {target} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            // The page is for a person; that the token is there is what counts.
            drop(stream.read(&mut [0; 512]));
        }
        shown.status.success()
    }
}

impl Drop for Pizauth {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}
