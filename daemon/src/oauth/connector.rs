//! Connections for whoever speaks another protocol than HTTP/1.1 over them: gRPC, under the account's policy.
//!
//! `https` does TLS and offers HTTP/2 alone, `http` is the bare connection. The thing to get wrong: whoever allows plain
//! http must have been told to; nothing here asks why.

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
type Trouble = Box<dyn std::error::Error + Send + Sync>;

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
