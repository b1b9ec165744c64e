//! A fake proxy: HTTP's CONNECT or SOCKS 5, with a ledger, and in a bad mood where it is told to be.
//!
//! Whatever host it is asked for, it connects to loopback: so a name that only the proxy knows shows who resolved it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::server::{Server, listen, taken_over};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// CONNECT.
    Http,
    /// SOCKS 5 (RFC 1928).
    Socks,
}

/// How a proxy takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It connects everybody.
    Helpful,
    /// It connects whoever has this user name and password.
    Wary(&'static str, &'static str),
    /// It connects nobody.
    Refusing,
    /// It takes the connection and says nothing.
    Silent,
}

/// A request that a proxy has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The host and the port, as they were asked for.
    pub target: String,
    /// The user name and the password, with a colon between.
    pub credentials: Option<String>,
}

/// A fake proxy. It is gone, with every connection, when this is dropped.
#[derive(Debug)]
pub struct FakeProxy {
    address: String,
    ledger: Ledger,
    _serving: Server,
}

type Ledger = Arc<Mutex<Vec<Asked>>>;

impl FakeProxy {
    /// Starts a proxy on a free port.
    pub fn start(dialect: Dialect, mood: Mood) -> Self {
        let (listener, address) = listen();
        let ledger = Ledger::default();
        let kept = Arc::clone(&ledger);
        let serving = Server::run(async move || {
            let listener = taken_over(listener);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, dialect, mood, Arc::clone(&kept)));
            }
        });
        Self { address: address.to_string(), ledger, _serving: serving }
    }

    /// Returns its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns what it was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(mut stream: TcpStream, dialect: Dialect, mood: Mood, ledger: Ledger) {
    let served = match (mood, dialect) {
        (Mood::Silent, _) => stream.read_to_end(&mut Vec::new()).await.map(|_| ()),
        (_, Dialect::Http) => http(&mut stream, mood, &ledger).await,
        (_, Dialect::Socks) => socks(&mut stream, mood, &ledger).await,
    };
    // A connection that breaks is the business of whoever made it.
    drop(served);
}

fn note(ledger: &Ledger, target: &str, credentials: Option<&str>) {
    let asked = Asked { target: target.to_owned(), credentials: credentials.map(str::to_owned) };
    ledger.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
}

fn trusts(mood: Mood, credentials: Option<&str>) -> bool {
    match mood {
        Mood::Helpful => true,
        Mood::Wary(user, password) => credentials == Some(&format!("{user}:{password}")),
        Mood::Refusing | Mood::Silent => false,
    }
}

/// Connects a client to the port of a target, on loopback.
async fn pass(stream: &mut TcpStream, target: &str) -> io::Result<()> {
    let port = target.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
    let mut other = TcpStream::connect(("127.0.0.1", port)).await?;
    copy_bidirectional(stream, &mut other).await.map(|_| ())
}

async fn http(stream: &mut TcpStream, mood: Mood, ledger: &Ledger) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let credentials = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": Basic ")?;
        let decoded =
            STANDARD.decode(value).ok().filter(|_| name.eq_ignore_ascii_case("proxy-authorization"));
        String::from_utf8(decoded?).ok()
    });
    note(ledger, target.unwrap_or(&head), credentials.as_deref());
    let Some(target) = target else {
        return stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    if trusts(mood, credentials.as_deref()) {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        return pass(stream, target).await;
    }
    let refusal: &[u8] = match mood {
        Mood::Wary(..) => b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
        Mood::Helpful | Mood::Refusing | Mood::Silent => b"HTTP/1.1 403 Forbidden\r\n\r\n",
    };
    stream.write_all(refusal).await
}

async fn socks(stream: &mut TcpStream, mood: Mood, ledger: &Ledger) -> io::Result<()> {
    const PASSWORD: u8 = 2;
    let (_version, methods) = (stream.read_u8().await?, counted(stream).await?);
    let with_password = methods.contains(&PASSWORD);
    stream.write_all(&[5, if with_password { PASSWORD } else { 0 }]).await?;
    let mut credentials = None;
    if with_password {
        let _version = stream.read_u8().await?;
        let (user, password) = (counted(stream).await?, counted(stream).await?);
        let text = [user, password].map(|part| String::from_utf8_lossy(&part).into_owned()).join(":");
        let status = u8::from(matches!(mood, Mood::Wary(..)) && !trusts(mood, Some(&text)));
        stream.write_all(&[1, status]).await?;
        credentials = Some(text);
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => String::from_utf8_lossy(&counted(stream).await?).into_owned(),
        _ => std::net::Ipv6Addr::from(stream.read_u128().await?).to_string(),
    };
    let target = format!("{host}:{}", stream.read_u16().await?);
    note(ledger, &target, credentials.as_deref());
    // 2: not allowed by the ruleset.
    let reply = if trusts(mood, credentials.as_deref()) { 0 } else { 2 };
    stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if reply == 0 { pass(stream, &target).await } else { Ok(()) }
}

/// Reads what is preceded by its length.
async fn counted(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
