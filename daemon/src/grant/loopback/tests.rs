//! The listener, reached through its port as browsers, scanners and attackers reach it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// What a test listens for: the code behind the right state.
fn code(query: &str) -> Heard<String> {
    match query.strip_prefix("state=right&code=") {
        Some(code) => Heard::Answer(code.to_owned()),
        None => Heard::Stray("another state"),
    }
}

/// A listener and where it is.
struct Port {
    listening: Listening<String>,
    address: SocketAddr,
    host: String,
}

async fn listen_at(uri: &str, pages: Pages) -> Port {
    let loopback = Loopback::bind(&uri.parse().unwrap(), pages).await.unwrap();
    let address = loopback.listeners.sockets[0].local_addr().unwrap();
    let host = url::Url::parse(loopback.redirect_uri()).unwrap();
    let host = format!("{}:{}", host.host_str().unwrap(), host.port().unwrap());
    Port { listening: loopback.listen(code), address, host }
}

async fn listen() -> Port {
    listen_at("http://127.0.0.1/callback", Pages::default()).await
}

impl Port {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn request(&self, target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host)
    }

    /// Sends a request and returns the whole answer.
    async fn get(&self, target: &str) -> String {
        self.send(&self.request(target)).await
    }

    async fn send(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(stream).await
    }

    /// Sends a request and leaves its answer for later.
    async fn ask(&self, target: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(self.request(target).as_bytes()).await.unwrap();
        stream
    }

    /// Brings the right callback, as a browser does, which then waits for the outcome.
    async fn call_back(&mut self) -> TcpStream {
        let answer = self.get("/callback?state=right&code=1").await;
        assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
        assert!(answer.contains("location: /callback/done\r\n"), "{answer}");
        assert_eq!(self.listening.answer().await, "1");
        self.ask("/callback/done").await
    }
}

/// Reads an answer to its end, which a closed connection is too.
async fn answer(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset after the answer is an end as well.
    timeout(LONG, stream.read_to_end(&mut text)).await.unwrap().unwrap_or_default();
    String::from_utf8(text).unwrap()
}

/// Waits until nobody listens any more.
async fn closed(address: SocketAddr) {
    let gone = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(LONG, gone).await.expect("the port is closed");
}

#[tokio::test]
async fn a_login_ends_with_its_page_and_a_closed_port_8252_3() {
    for uri in ["http://127.0.0.1/callback", "http://localhost/callback"] {
        let mut port = listen_at(uri, Pages::default()).await;
        let tab = port.call_back().await;
        port.listening.conclude(Ok(()));
        let page = answer(tab).await;
        assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
        assert!(page.contains("<h1>You are signed in</h1>"), "{page}");
        closed(port.address).await;
    }
}

#[tokio::test]
async fn a_login_that_failed_says_so_by_its_remedy_and_repeats_nothing() {
    let cases = [
        (Failure::transient("<script>evil"), "That did not work"),
        (Failure::Refused { message: "<script>evil".into() }, "The sign-in was refused"),
        (Failure::misconfigured("<script>evil"), "keyfob needs other settings"),
    ];
    for (failure, title) in cases {
        let mut port = listen().await;
        let tab = port.call_back().await;
        port.listening.conclude(Err(&failure));
        let page = answer(tab).await;
        assert!(page.starts_with("HTTP/1.1 400 "), "{page}");
        assert!(page.contains(&format!("<h1>{title}</h1>")) && !page.contains("evil"), "{page}");
    }
}

#[tokio::test]
async fn the_callback_has_the_same_port_as_its_redirect_uri_8252_5() {
    let loopback = Loopback::bind(&RedirectUri::default(), Pages::default()).await.unwrap();
    let address = loopback.listeners.sockets[0].local_addr().unwrap();
    assert_eq!(loopback.redirect_uri(), format!("http://{address}/callback"));
}

#[tokio::test]
async fn a_second_callback_waits_for_nothing_and_is_not_an_answer() {
    let mut port = listen().await;
    let tab = port.call_back().await;
    let second = port.get("/callback?state=right&code=1").await;
    assert!(second.contains("<h1>Already being processed</h1>"), "{second}");
    port.listening.conclude(Ok(()));
    assert!(answer(tab).await.contains("You are signed in"));
}

#[tokio::test]
async fn stray_requests_change_nothing_and_the_right_callback_is_heard_after_them_a1() {
    let mut port = listen().await;
    let host = port.host.clone();
    let strays = [
        port.request("/favicon.ico"),
        port.request("/callback"),
        port.request("/callback?state=wrong&code=2"),
        port.request("/callback?error=access_denied"),
        port.request("/callback/done"),
        port.request("/callbac%6B?state=right&code=2"),
        format!("POST /callback?state=right&code=2 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\na=b"),
        format!("HEAD /callback?state=right&code=2 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        "GET /callback?state=right&code=2 HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        "GET /callback?state=right&code=2 HTTP/1.1\r\n\r\n".to_owned(),
        "GET /callback?state=right&code=2 HTTP/1.0\r\n\r\n".to_owned(),
        format!(
            "GET /callback?state=right&code=2 HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: no-cors\r\n\r\n"
        ),
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned(),
        "SSH-2.0-scan\r\n\r\n".to_owned(),
        "\r\n\r\n\r\n\r\n".to_owned() + "nonsense\r\n\r\n",
    ];
    for stray in strays {
        let answered = port.send(&stray).await;
        assert!(
            answered.starts_with("HTTP/1.1 4") || answered.starts_with("HTTP/1.0 4"),
            "{stray:?}: {answered:?}"
        );
        assert!(!answered.contains("evil") && !answered.contains("code=2"), "{answered}");
    }
    let tab = port.call_back().await;
    port.listening.conclude(Ok(()));
    assert!(answer(tab).await.contains("You are signed in"));
}

#[tokio::test]
async fn a_browser_of_http_1_0_is_heard() {
    let mut port = listen().await;
    let request = format!("GET /callback?state=right&code=1 HTTP/1.0\r\nHost: {}\r\n\r\n", port.host);
    let answered = port.send(&request).await;
    assert!(answered.starts_with("HTTP/1.0 303 "), "{answered}");
    assert_eq!(port.listening.answer().await, "1");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let mut port = listen().await;
    let mut stream = port.connect().await;
    stream.write_all(port.request("/callback").trim_end().as_bytes()).await.unwrap();
    let line = format!("\r\nX-Long: {}", "x".repeat(8 * 1024));
    let sending = async { while stream.write_all(line.as_bytes()).await.is_ok() {} };
    timeout(LONG, sending).await.expect("the server hangs up");
    let tab = port.call_back().await;
    port.listening.conclude(Ok(()));
    assert!(answer(tab).await.contains("You are signed in"));
}

#[tokio::test]
async fn whoever_says_nothing_makes_room_for_a_browser() {
    let mut port = listen().await;
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = port.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"GET /call").await.unwrap();
        }
        silent.push(stream);
    }
    let tab = port.call_back().await;
    port.listening.conclude(Ok(()));
    assert!(answer(tab).await.contains("You are signed in"));
    closed(port.address).await;
}

#[tokio::test]
async fn a_login_that_is_given_up_tells_the_browser_and_closes_the_port_8252_3() {
    let mut port = listen().await;
    let tab = port.call_back().await;
    drop(port.listening);
    assert!(answer(tab).await.contains("<h1>The sign-in was cancelled</h1>"));
    closed(port.address).await;
    let port = listen().await;
    let silent = port.connect().await;
    drop(port.listening);
    assert_eq!(answer(silent).await, "");
    closed(port.address).await;
}

#[tokio::test]
async fn a_browser_that_is_on_its_way_is_still_told_the_outcome() {
    let mut port = listen().await;
    port.get("/callback?state=right&code=1").await;
    assert_eq!(port.listening.answer().await, "1");
    let late = port.ask("/callback/done").await;
    port.listening.conclude(Ok(()));
    assert!(answer(late).await.contains("You are signed in"));
    closed(port.address).await;
}

#[tokio::test]
async fn a_fixed_port_can_be_bound_again_as_soon_as_the_last_login_is_over() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri = format!("http://{free}/callback");
    let mut first = listen_at(&uri, Pages::default()).await;
    let tab = first.call_back().await;
    first.listening.conclude(Ok(()));
    answer(tab).await;
    let mut second = listen_at(&uri, Pages::default()).await;
    assert_eq!(second.address, first.address);
    second.call_back().await;
}

#[tokio::test]
async fn pages_keep_to_themselves_and_load_nothing() {
    let mut port = listen().await;
    let not_found = port.get("/").await;
    let redirect = port.get("/callback?state=right&code=1").await;
    for answered in [&not_found, &redirect] {
        for header in [
            "cache-control: no-store\r\n",
            "referrer-policy: no-referrer\r\n",
            "x-content-type-options: nosniff\r\n",
        ] {
            assert!(answered.contains(header), "{header}: {answered}");
        }
        assert!(!answered.contains("code=1"), "{answered}");
    }
    assert!(
        not_found.contains("content-security-policy: default-src 'none'; style-src 'sha256-"),
        "{not_found}"
    );
    assert!(
        !not_found.contains("<script") && !not_found.contains("http://") && !not_found.contains("https://")
    );
    drop(port.listening.answer().await);
}

#[tokio::test]
async fn an_account_has_its_own_pages_and_ours_where_they_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let shown = |success, failure, outcome: Result<(), Failure>| async move {
        let mut port = listen_at("http://127.0.0.1", Pages { success, failure }).await;
        port.get("/?state=right&code=1").await;
        port.listening.answer().await;
        let tab = port.ask("/done").await;
        port.listening.conclude(outcome.as_ref().map(|&()| ()));
        answer(tab).await
    };
    let (own, sad) = (file("own.html", b"<h1>Welcome"), file("sad.html", b"<h1>Alas"));
    let page = shown(own.clone(), sad.clone(), Ok(())).await;
    assert!(
        page.contains("<h1>Welcome") && page.contains("default-src 'none'; style-src 'unsafe-inline'"),
        "{page}"
    );
    assert!(shown(own, sad, Err(Failure::LoginRequired)).await.contains("<h1>Alas"));
    let huge = file("huge.html", &vec![b'x'; 256 * 1024 + 1]);
    let foreign = file("foreign.html", b"\xff\xfe");
    for unusable in [huge, foreign, Some("/nowhere.html".into()), Some("/dev/zero".into()), Some("/".into())]
    {
        assert!(shown(unusable, None, Ok(())).await.contains("<h1>You are signed in</h1>"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_drips_is_closed_in_the_end() {
    let port = listen().await;
    let mut stream = port.connect().await;
    stream.write_all(b"GET /callback HTTP/1.1\r\n").await.unwrap();
    // The paused clock runs on whenever nothing else is to be done.
    let mut byte = [0; 1024];
    let ended = loop {
        tokio::select! {
            read = stream.read(&mut byte) => break read.unwrap_or_default(),
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if stream.write_all(b"X").await.is_err() { break 0; }
            }
        }
    };
    assert!(ended == 0 || byte.starts_with(b"HTTP/1.1 4"), "{ended}");
}
