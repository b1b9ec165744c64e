//! pizauth, signed in to an issuer of a few lines, so that its `show` can race.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use integration_tests::patience::eventually;
use tempfile::TempDir;

use crate::commands::Contender;

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
        let issuer = serve_tokens();
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

/// Answers every request with the same token.
fn serve_tokens() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    url
}

fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let body = r#"{"access_token":"at","token_type":"Bearer","expires_in":36000,"refresh_token":"rt"}"#;
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    write!(reader.get_mut(), "{head}connection: close\r\n\r\n{body}").unwrap();
}
