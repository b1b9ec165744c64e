//! Connections for whoever speaks another protocol than HTTP/1.1 over them: gRPC, under the account's policy.
//!
//! `https` does TLS and offers HTTP/2 alone, `http` is the bare connection. The thing to get wrong: whoever allows plain
//! http must have been told to; nothing here asks why.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use rustls::ClientConfig;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tower_service::Service;
use url::Url;

use crate::oauth::http::CONNECT;
use crate::oauth::proxy::ProxyUrl;
use crate::oauth::transport::{Transport, Unusable};
use crate::oauth::unreachable;

/// What ALPN calls HTTP/2.
const H2: &[u8] = b"h2";

/// Makes connections under an account's policy, a new one for each call.
#[derive(Clone)]
pub(crate) struct Connector {
    transport: Transport,
    /// With the other side.
    tls: Arc<ClientConfig>,
    /// With a proxy, which is asked for HTTP/1.1.
    tls_with_proxy: Arc<ClientConfig>,
}

/// A connection.
pub(crate) trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// Why there is no connection: a sentence that names the host and the remedy. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} could not be reached: {reason}")]
pub(crate) struct Unreachable {
    /// Who was to be reached.
    pub(crate) host: String,
    /// Why, and what helps.
    pub(crate) reason: String,
}

impl Connector {
    /// Takes over a policy, and reads its CA file.
    pub(crate) fn new(transport: &Transport) -> Result<Self, Unusable> {
        let tls_with_proxy = transport.tls()?;
        let mut tls = tls_with_proxy.clone();
        tls.alpn_protocols = vec![H2.to_vec()];
        Ok(Self {
            transport: transport.clone(),
            tls: Arc::new(tls),
            tls_with_proxy: Arc::new(tls_with_proxy),
        })
    }

    /// Connects to the host of a URL.
    pub(crate) async fn connect(&self, uri: Uri) -> Result<Box<dyn Io>, Unreachable> {
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let failed = |reason: String| Unreachable { host: host.clone(), reason };
        let url = Url::parse(&uri.to_string()).map_err(|error| failed(error.to_string()))?;
        let proxy = self.transport.proxy_for(&url);
        let connecting = async {
            match proxy {
                Some(proxy) => self.through(proxy, uri).await,
                None => over(bare(), &self.tls, uri).await,
            }
        };
        match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| failed(unreachable::reason(&*error, proxy))),
            Err(_) => Err(failed(unreachable::silence(CONNECT, proxy))),
        }
    }

    async fn through(&self, proxy: &ProxyUrl, uri: Uri) -> Result<Box<dyn Io>, Trouble> {
        let way = proxy.intercept().ok_or("the proxy has no address")?;
        let uri = with_port(uri)?;
        match way.uri().scheme_str() {
            Some("socks5") => {
                let inner = socks(&way);
                let resolved = Resolved { address: resolve(&uri).await?, inner };
                over(resolved, &self.tls, uri).await
            }
            Some("socks5h") => over(socks(&way), &self.tls, uri).await,
            Some(_) | None => {
                let to_proxy = HttpsConnector::from((bare(), Arc::clone(&self.tls_with_proxy)));
                let mut tunnel = Tunnel::new(way.uri().clone(), to_proxy);
                if let Some(credentials) = way.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                over(tunnel, &self.tls, uri).await
            }
        }
    }
}

/// Whatever a part of a connection says; `unreachable` finds out what it is.
type Trouble = Box<dyn Error + Send + Sync>;

fn bare() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

/// Asks a SOCKS proxy for names.
fn socks(way: &Intercept) -> SocksV5<HttpConnector> {
    let socks = SocksV5::new(way.uri().clone(), bare());
    match way.raw_auth() {
        Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
        None => socks,
    }
}

/// Connects by a connector, with TLS on top for `https`.
async fn over<C>(connector: C, tls: &Arc<ClientConfig>, uri: Uri) -> Result<Box<dyn Io>, Trouble>
where
    C: Service<Uri, Error: Into<Trouble>, Future: Send + 'static> + Send,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
{
    let io = HttpsConnector::from((connector, Arc::clone(tls))).call(uri).await?;
    Ok(Box::new(io))
}

/// Returns the URL with the port that it means: a proxy must be told one.
fn with_port(uri: Uri) -> Result<Uri, Trouble> {
    if uri.port().is_some() {
        return Ok(uri);
    }
    let port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let mut parts = uri.into_parts();
    if let Some(host) = parts.authority.as_ref().map(http::uri::Authority::host) {
        parts.authority = Some(format!("{host}:{port}").parse()?);
    }
    Ok(Uri::from_parts(parts)?)
}

async fn resolve(uri: &Uri) -> Result<SocketAddr, Trouble> {
    let authority = uri.authority().ok_or("the address has no host")?;
    Ok(lookup_host(authority.as_str()).await?.next().ok_or("the host has no address")?)
}

/// Asks a SOCKS proxy for an address instead of a name; TLS goes on to ask for the name.
struct Resolved {
    address: SocketAddr,
    inner: SocksV5<HttpConnector>,
}

impl Service<Uri> for Resolved {
    type Response = <SocksV5<HttpConnector> as Service<Uri>>::Response;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Trouble>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let target = format!("http://{}", self.address).parse::<Uri>().map(|uri| self.inner.call(uri));
        Box::pin(async { Ok(target?.await?) })
    }
}

impl Service<Uri> for Connector {
    type Response = Box<dyn Io>;
    type Error = Unreachable;
    type Future = Pin<Box<dyn Future<Output = Result<Box<dyn Io>, Unreachable>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("transport", &self.transport).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use rustls::ServerConfig;
    use rustls::crypto::ring;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::oauth::proxy::Proxy;
    use crate::oauth::transport::Trust;

    fn behind(proxy: &str) -> Connector {
        let proxy = Proxy::Url(ProxyUrl::parse(proxy, "http_proxy").unwrap());
        Connector::new(&Transport { proxy, ..Transport::default() }).unwrap()
    }

    /// Starts a server that greets back, and tells what it is sent before: the head of a CONNECT, or the messages of a
    /// SOCKS client, for each of which there is an answer.
    async fn proxy(answers: &'static [&'static [u8]]) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            for answer in answers {
                let mut part = [0; 1024];
                let length = stream.read(&mut part).await.unwrap();
                heard.extend_from_slice(&part[..length]);
                stream.write_all(answer).await.unwrap();
            }
            stream.read_u8().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            heard
        });
        (address, heard)
    }

    async fn greeting(connector: &Connector, uri: &str) -> String {
        let mut io = TokioIo::new(connector.connect(uri.parse().unwrap()).await.unwrap());
        io.write_all(b"?").await.unwrap();
        let mut greeting = [0; 5];
        io.read_exact(&mut greeting).await.unwrap();
        String::from_utf8_lossy(&greeting).into_owned()
    }

    #[tokio::test]
    async fn an_http_proxy_is_asked_to_connect_with_its_credentials() {
        let (address, heard) = proxy(&[b"HTTP/1.1 200 OK\r\n\r\n"]).await;
        let connector = behind(&format!("http://ann:pw@{address}"));
        assert_eq!(greeting(&connector, "http://grpc.hidden.test/").await, "hello");
        let heard = String::from_utf8(heard.await.unwrap()).unwrap();
        assert!(heard.starts_with("CONNECT grpc.hidden.test:80 HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains("\r\nProxy-Authorization: Basic YW5uOnB3\r\n"), "{heard}");
    }

    /// The answer of a SOCKS proxy that has connected.
    const DONE: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn with_socks5h_the_proxy_gets_the_name() {
        let (address, heard) = proxy(&[&[5, 0], &DONE]).await;
        let connector = behind(&format!("socks5h://{address}"));
        assert_eq!(greeting(&connector, "http://grpc.hidden.test:81/").await, "hello");
        assert!(heard.await.unwrap().ends_with(b"\x03\x10grpc.hidden.test\x00\x51"));
    }

    #[tokio::test]
    async fn with_socks5_the_proxy_gets_an_address() {
        let (address, heard) = proxy(&[&[5, 0], &DONE]).await;
        let connector = behind(&format!("socks5://{address}"));
        // The greeting is no TLS.
        assert!(connector.connect("https://localhost:81/".parse().unwrap()).await.is_err());
        let heard = heard.await.unwrap();
        assert!(heard.ends_with(b"\x01\x00\x51"), "{heard:?}");
    }

    #[tokio::test]
    async fn plain_http_to_loopback_goes_through_no_proxy() {
        let (address, _) = proxy(&[]).await;
        let connector = behind("http://proxy.invalid:1");
        assert_eq!(greeting(&connector, &format!("http://{address}/")).await, "hello");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_named_without_its_credentials() {
        let (address, _) = proxy(&[b"HTTP/1.1 403 Forbidden\r\n\r\n"]).await;
        let connector = behind(&format!("http://CANARY:CANARY@{address}"));
        let Err(failure) = connector.connect("https://grpc.hidden.test".parse().unwrap()).await else {
            panic!("connected")
        };
        assert_eq!(
            failure.to_string(),
            format!(
                "grpc.hidden.test could not be reached: the proxy http://{address} refuses to connect us there: ask \
                 who runs it, or change http_proxy"
            )
        );
        assert!(!format!("{connector:?}").contains("CANARY"));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Opaque(#[source] Trouble);

    /// Calls what a gRPC client can take, and says as little as it.
    async fn call<C>(mut connector: C, uri: &str) -> Result<(), Opaque>
    where
        C: Service<Uri, Error: Into<Trouble>, Future: Send> + Send + 'static,
        C::Response: Read + Write + Send + Unpin + 'static,
    {
        connector.call(uri.parse().unwrap()).await.map(drop).map_err(|error| Opaque(error.into()))
    }

    #[tokio::test]
    async fn a_client_that_hides_why_there_is_no_connection_still_has_it() {
        let (address, _) = proxy(&[b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"]).await;
        let connector = behind(&format!("http://{address}"));
        let failure = call(connector, "https://grpc.hidden.test/").await.unwrap_err();
        assert_eq!(failure.to_string(), "transport error");
        let found: &Unreachable = unreachable::found(&failure).unwrap();
        assert!(found.reason.contains("wants a user name and a password"), "{found}");
    }

    /// Starts a server with TLS that certifies itself, and returns its address and its certificate as PEM.
    async fn with_tls() -> (SocketAddr, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate.der());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), H2.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let chosen = stream.get_ref().1.alpn_protocol().unwrap_or(b"none").to_vec();
                    stream.write_all(&[&chosen[..], b"..."].concat()).await.unwrap();
                }
            }
        });
        (address, pem)
    }

    #[tokio::test]
    async fn with_tls_http2_is_offered_to_whom_the_policy_believes() {
        let (address, pem) = with_tls().await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        let uri = format!("https://{address}");
        for trust in [Trust::AlsoFile(path), Trust::Anyone] {
            let connector = Connector::new(&Transport { trust, ..Transport::default() }).unwrap();
            assert_eq!(greeting(&connector, &uri).await, "h2...");
        }
        let stranger = Connector::new(&Transport::default()).unwrap();
        let Err(failure) = stranger.connect(uri.parse().unwrap()).await else { panic!("connected") };
        assert_eq!(failure.host, address.to_string());
        assert!(failure.reason.contains("ca_file"), "{failure}");
    }
}
