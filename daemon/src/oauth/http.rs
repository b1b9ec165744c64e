//! The one HTTP client.
//!
//! One call is one attempt: it follows no redirect, retries nothing, keeps no connection, goes through no proxy but its
//! account's and decodes no compression, so that a token goes to the one origin it is meant for, at most once. The thing
//! to get wrong: a retry by the client itself would present a refresh token twice, and an issuer may take that for a theft.

use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Client, Proxy, RequestBuilder, Response, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::oauth::EndpointUrl;
use crate::oauth::answer::Answer;
use crate::oauth::dpop::nonces::{self, Nonces};
use crate::oauth::error::{Kind, Sent};
use crate::oauth::form::Form;
use crate::oauth::gate::{Gates, Turn};
use crate::oauth::issuer_clock::IssuerClocks;
use crate::oauth::transport::{Transport, Trust, Unusable};
use crate::oauth::unreachable;

/// Name resolution, TCP and TLS together: a host that takes longer is down or filtered.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// A whole attempt. Issuers behind a cold start need up to ten seconds; a shutdown waits for no more than this.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(15);

/// The longest gap within a body. An issuer that has begun to answer has its answer ready.
const BODY_IDLE: Duration = Duration::from_secs(5);

/// Tokens reach tens of kilobytes; metadata with inlined keys some hundred.
pub(crate) const LARGEST_SUCCESS: usize = 1024 * 1024;

/// An error needs a few lines; a proxy's page has pictures in it.
const LARGEST_ERROR: usize = 256 * 1024;

/// Most answers fit, so that no copy of a token is left behind by a growing buffer.
const USUAL_BODY: usize = 16 * 1024;

/// The one form in which a body is taken (RFC 9110 §8.4). Who is not asked for it may choose (§12.5.3), and a few
/// kilobytes that unfold to gigabytes are not worth what they save.
const IDENTITY: &str = "identity";

/// The client of a policy. Clones share it.
#[derive(Clone, Debug)]
pub struct Http {
    transport: Transport,
    /// Why there is none is said when one is wanted: the other accounts have theirs.
    client: Result<Client, Unusable>,
    clocks: IssuerClocks,
    nonces: Nonces,
    gates: Gates,
}

impl Http {
    /// Sets up the client of a policy: it reads the CA file, and the certificate authorities that the system trusts at
    /// this time.
    pub fn of(transport: &Transport) -> Self {
        Self {
            transport: transport.clone(),
            client: client(transport),
            clocks: IssuerClocks::default(),
            nonces: Nonces::default(),
            gates: Gates::default(),
        }
    }

    /// Returns the client of a policy: this one where it has the same and needs nothing to be read again.
    #[must_use]
    pub fn under(&self, transport: &Transport) -> Self {
        let is_ours = self.transport == *transport && *transport == Transport::default();
        if is_ours && self.client.is_ok() {
            return self.clone();
        }
        // An origin is the same by whatever way it is reached.
        Self { gates: self.gates.clone(), ..Self::of(transport) }
    }

    /// Returns the client of a test. All tests have the same: reading the authorities of the system takes a while.
    #[cfg(test)]
    pub(crate) fn new() -> Result<Self, Unusable> {
        static SHARED: std::sync::LazyLock<Http> =
            std::sync::LazyLock::new(|| Http::of(&Transport::default()));
        let http = SHARED.clone();
        http.client.clone().map(|_| http)
    }

    /// Asks for a document. `now` is the time just before, here as everywhere below.
    pub(crate) async fn get(&self, endpoint: &EndpointUrl, now: Now) -> Result<Answer, Kind> {
        let request = self.client()?.get(endpoint.url().clone());
        self.attempt(endpoint, request, now).await
    }

    /// Sends a form, with headers that are secret.
    pub(crate) async fn post(
        &self,
        endpoint: &EndpointUrl,
        form: &Form,
        headers: &[(HeaderName, SecretString)],
        now: Now,
    ) -> Result<Answer, Kind> {
        let mut request = self
            .client()?
            .post(endpoint.url().clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.encode());
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| Kind::Transport {
                sent: Sent::No,
                cause: "the credentials fit no header".to_owned(),
            })?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        self.attempt(endpoint, request, now).await
    }

    /// Sends a document, with a header beside the usual ones.
    pub(crate) async fn post_json(
        &self,
        endpoint: &EndpointUrl,
        document: &'static str,
        header: (HeaderName, HeaderValue),
        now: Now,
    ) -> Result<Answer, Kind> {
        let request = self.client()?.post(endpoint.url().clone()).header(header.0, header.1);
        let request = request.header(CONTENT_TYPE, "application/json").body(document);
        self.attempt(endpoint, request, now).await
    }

    /// Waits until a renewal may be under way at an endpoint's origin.
    pub(crate) async fn turn(&self, endpoint: &EndpointUrl) -> Turn {
        self.gates.turn(&endpoint.origin()).await
    }

    /// Returns the time by the clock of an endpoint's host, as far as it told.
    pub(crate) fn time_at(&self, endpoint: &EndpointUrl, now: Now) -> Now {
        self.clocks.at(endpoint, now)
    }

    /// Returns the newest nonce that an endpoint's origin gave for proofs of possession.
    pub(crate) fn nonce_at(&self, endpoint: &EndpointUrl) -> Option<String> {
        self.nonces.newest(endpoint)
    }

    fn client(&self) -> Result<&Client, Kind> {
        self.client.as_ref().map_err(|unusable| Kind::Unusable { reason: unusable.to_string() })
    }

    async fn attempt(
        &self,
        endpoint: &EndpointUrl,
        request: RequestBuilder,
        now: Now,
    ) -> Result<Answer, Kind> {
        let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, IDENTITY);
        let mut response = request.send().await.map_err(|error| self.transport(endpoint, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(date) = headers.get(DATE).and_then(|date| date.to_str().ok())
            && self.transport.trust != Trust::Anyone
        {
            self.clocks.hear(endpoint, date, now);
        }
        if let Some(nonce) = headers.get(nonces::HEADER).and_then(|nonce| nonce.to_str().ok()) {
            self.nonces.hear(endpoint, nonce);
        }
        let body = if is_encoded(&headers) {
            if status.is_success() {
                return Err(Kind::Malformed {
                    reason: "it is compressed, which was not asked for".to_owned(),
                });
            }
            Zeroizing::default()
        } else if status.is_success() {
            self.read(endpoint, &mut response, LARGEST_SUCCESS).await?
        } else {
            // What an error status means does not hang on its body.
            self.read(endpoint, &mut response, LARGEST_ERROR).await.unwrap_or_default()
        };
        Ok(Answer::new(status, &headers, body, now.wall))
    }

    async fn read(
        &self,
        endpoint: &EndpointUrl,
        response: &mut Response,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Kind> {
        let mut body = Zeroizing::new(Vec::with_capacity(USUAL_BODY));
        loop {
            let chunk = timeout(BODY_IDLE, response.chunk())
                .await
                .map_err(|_| Kind::Transport {
                    sent: Sent::Maybe,
                    cause: format!("it stalled for {BODY_IDLE:?}"),
                })?
                .map_err(|error| self.transport(endpoint, &error))?;
            let Some(chunk) = chunk else { return Ok(body) };
            if body.len() + chunk.len() > limit {
                return Err(Kind::Malformed { reason: format!("it is larger than {} KiB", limit / 1024) });
            }
            append(&mut body, &chunk);
        }
    }

    fn transport(&self, endpoint: &EndpointUrl, error: &reqwest::Error) -> Kind {
        let proxy = self.transport.proxy_for(endpoint.url());
        // The connector does TLS as well: before it is done, no byte of a request has left.
        let sent = if error.is_connect() || error.is_builder() { Sent::No } else { Sent::Maybe };
        let cause = match (error.is_timeout(), sent) {
            (true, Sent::No) => unreachable::silence(CONNECT, proxy),
            (true, Sent::Maybe) => format!("not within {ATTEMPT:?}"),
            (false, Sent::No) => unreachable::reason(error, proxy),
            // The proxy did its part.
            (false, Sent::Maybe) => unreachable::reason(error, None),
        };
        Kind::Transport { sent, cause }
    }
}

/// Sets a client up.
fn client(transport: &Transport) -> Result<Client, Unusable> {
    let policy = transport.clone();
    let proxy =
        Proxy::custom(move |url| policy.proxy_for(url).map(|proxy| proxy.whole().expose_secret().to_owned()));
    Client::builder()
        .user_agent(concat!("keyfob/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(transport.tls()?)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .proxy(proxy)
        .referer(false)
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT)
        .timeout(ATTEMPT)
        .build()
        .map_err(|error| Unusable::Tls(unreachable::reason(&error, None)))
}

/// Tells whether a body is in another form than the one that was asked for.
fn is_encoded(headers: &HeaderMap) -> bool {
    let is_other = |value: &HeaderValue| {
        value.to_str().map_or(true, |value| {
            value
                .split(',')
                .map(str::trim)
                .any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(IDENTITY))
        })
    };
    headers.get_all(CONTENT_ENCODING).iter().any(is_other)
}

/// Appends without leaving an unwiped copy behind.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let length = body.len() + chunk.len();
    if length > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length * 2));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use reqwest::header::AUTHORIZATION;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;
    use crate::oauth::LoopbackHttp;
    use crate::oauth::scripted_server::{ScriptedServer, answer};

    async fn post(endpoint: &EndpointUrl) -> Result<Answer, Kind> {
        let form = Form::default().with("grant_type", "client_credentials");
        Http::new().unwrap().post(endpoint, &form, &[], Clock::system().now()).await
    }

    async fn posted(script: Vec<u8>) -> (Result<Answer, Kind>, ScriptedServer) {
        let server = ScriptedServer::answering([script]).await;
        (post(&server.endpoint("/token")).await, server)
    }

    #[tokio::test]
    async fn a_form_is_posted_as_it_is_6749_1() {
        let server = ScriptedServer::answering([answer(200, "", "{}")]).await;
        let (http, now) = (Http::new().unwrap(), Clock::system().now());
        let form = Form::default()
            .with("grant_type", "refresh_token")
            .with_secret("refresh_token", &SecretString::from("R+"));
        let headers = [(AUTHORIZATION, "Basic abc".into())];
        http.post(&server.endpoint("/token?tenant=1"), &form, &headers, now).await.unwrap();
        let [request] = server.requests().try_into().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "grant_type=refresh_token&refresh_token=R%2B");
        let head = head.to_ascii_lowercase();
        for line in [
            "post /token?tenant=1 http/1.1",
            "content-type: application/x-www-form-urlencoded",
            "accept: application/json",
            "authorization: basic abc",
            "accept-encoding: identity",
            concat!("user-agent: keyfob/", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(head.lines().any(|found| found == line), "{line} is missing in {head}");
        }
    }

    #[tokio::test]
    async fn each_attempt_has_a_connection_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                // Answers for as long as the client asks.
                tokio::spawn(async move {
                    while let Ok(1..) = stream.read(&mut [0; 4096]).await {
                        stream.write_all(&answer(200, "", "{}")).await.unwrap();
                    }
                });
            }
        });
        let endpoint = EndpointUrl::parse(&url, LoopbackHttp::Allowed).unwrap();
        let (http, now) = (Http::new().unwrap(), Clock::system().now());
        for _ in 0..3 {
            http.get(&endpoint, now).await.unwrap();
        }
        assert_eq!(connections.load(Ordering::SeqCst), 3);
    }

    /// Returns what becomes of a request to a server that begins its answer so, and then adds a byte every second
    /// or nothing; with the runtime's clock at rest once there is nothing else to wait for.
    async fn answered_slowly(begin: &'static str, drip: Option<u8>) -> Kind {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(begin.as_bytes()).await.unwrap();
            tokio::time::pause();
            while let Some(byte) = drip {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        post(&EndpointUrl::parse(&url, LoopbackHttp::Allowed).unwrap()).await.unwrap_err()
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_in_time_is_given_up_i2() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{";
        for (begin, drip, expected) in [
            ("", None, "not within 15s"),
            ("HTTP/1.1 200 OK\r\nX: ", Some(b'x'), "not within 15s"),
            (head, Some(b' '), "not within 15s"),
            (head, None, "it stalled for 5s"),
        ] {
            let before = tokio::time::Instant::now();
            let kind = answered_slowly(begin, drip).await;
            // By the runtime's clock, which nothing but this waiting moves on.
            assert!(before.elapsed() <= ATTEMPT + CONNECT, "{:?}", before.elapsed());
            assert_eq!(kind, Kind::Transport { sent: Sent::Maybe, cause: expected.to_owned() });
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn a_redirect_is_never_followed_9700_7_i4() {
        let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("http://{}", trap.local_addr().unwrap());
        for status in [301, 302, 303, 307, 308] {
            let (answered, server) =
                posted(answer(status, &format!("Location: {target}/token\r\n"), "")).await;
            let kind = answered.unwrap().failure();
            assert!(matches!(&kind, Kind::Redirect { target: found, .. } if *found == target), "{kind}");
            assert_eq!(server.requests().len(), 1);
        }
        // A connection would wait in the listener's queue by now.
        let connection = timeout(Duration::from_millis(50), trap.accept()).await;
        assert!(connection.is_err(), "the trap was reached");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_i1() {
        let body = "x".repeat(LARGEST_SUCCESS);
        assert!(posted(answer(200, "", &body)).await.0.is_ok());
        for larger in [body.len() + 1, 2 * 1024 * 1024] {
            let kind = posted(answer(200, "", &"x".repeat(larger))).await.0.unwrap_err();
            assert_eq!(kind, Kind::Malformed { reason: "it is larger than 1024 KiB".to_owned() });
        }
        let endless = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(4 * 1024 * 1024));
        assert!(matches!(posted(endless.into_bytes()).await.0, Err(Kind::Malformed { .. })));
    }

    #[tokio::test]
    async fn an_error_with_a_body_that_is_too_large_is_still_that_error() {
        let headers = "Retry-After: 30\r\n";
        let answered = posted(answer(503, headers, &"x".repeat(LARGEST_ERROR + 1))).await.0.unwrap();
        let expected = Some(Duration::from_secs(30));
        assert_eq!(answered.failure(), Kind::Status { status: answered.status, retry_after: expected });
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_may_have_been_a_success() {
        let whole = answer(200, "", r#"{"access_token":"a","token_type":"bearer"}"#);
        for length in [0, 1, 12, 17, 40, whole.len() - 10, whole.len() - 1] {
            let kind = posted(whole[..length].to_vec()).await.0.unwrap_err();
            assert!(matches!(kind, Kind::Transport { sent: Sent::Maybe, .. }), "{length}: {kind}");
        }
    }

    #[tokio::test]
    async fn what_is_compressed_is_neither_unfolded_nor_read_i3() {
        let bomb = "\u{1f}\u{8b}\u{8}".repeat(100);
        for encoding in ["gzip", "br", "zstd", "deflate", "x-unknown", "identity, gzip", "\u{e9}"] {
            let headers = format!("Content-Encoding: {encoding}\r\n");
            for body in [bomb.as_str(), r#"{"access_token":"a","token_type":"bearer"}"#] {
                let kind = posted(answer(200, &headers, body)).await.0.unwrap_err();
                assert!(matches!(kind, Kind::Malformed { .. }), "{encoding}: {kind}");
            }
            // What an error status says it says without its body; an invalid_grant that cannot be read ends no login.
            let refusal = posted(answer(400, &headers, r#"{"error":"invalid_grant"}"#)).await.0.unwrap();
            assert!(matches!(refusal.failure(), Kind::Status { .. }), "{encoding}");
        }
        for encoding in ["", "identity", "Identity"] {
            let headers = format!("Content-Encoding: {encoding}\r\n");
            assert!(posted(answer(200, &headers, "{}")).await.0.is_ok(), "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn without_a_connection_nothing_was_sent() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let no_tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let no_tls_address = no_tls.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = no_tls.accept().await.unwrap();
            stream.write_all(&answer(400, "", "this is no TLS")).await.unwrap();
        });
        for address in [format!("http://{closed}/"), format!("https://{no_tls_address}/")] {
            let endpoint = EndpointUrl::parse(&address, LoopbackHttp::Allowed).unwrap();
            let kind = post(&endpoint).await.unwrap_err();
            let Kind::Transport { sent, cause } = kind else { panic!("{address}: {kind}") };
            assert_eq!(sent, Sent::No, "{address}: {cause}");
            assert!(!cause.contains(&address), "{cause}");
        }
    }
}
