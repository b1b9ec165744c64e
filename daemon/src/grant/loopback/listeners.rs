//! The sockets that the browser comes back to: on loopback addresses alone, bound before the URL is built.
//!
//! The thing to get wrong: `localhost` is both families, and whoever binds the one that we left free receives the code.
//! So both are bound on the same port, or none.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket};

use crate::grant::loopback::redirect_uri::{Host, RedirectUri};
use crate::grant::loopback::socket_table::{Holder, SocketTable};
use crate::token::failure::Failure;

/// Connections that wait to be accepted: a browser opens a handful.
const BACKLOG: u32 = 64;

/// How often a port that is free in both families is looked for: nearly every one is.
const ATTEMPTS: usize = 32;

/// How often, and with which pauses, we look for a port that an earlier login of ours is about to close: for longer
/// than one keeps it to show its last page.
const OWN_LOOKS: u32 = 60;
const OWN_PAUSE: Duration = Duration::from_millis(50);

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Sockets that listen on one port.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) sockets: Vec<TcpListener>,
    /// How the redirect URI names them.
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Listeners {
    /// Binds what a redirect URI names. Waits for a port that an earlier login of ours is about to close.
    pub(super) async fn bind(uri: &RedirectUri) -> Result<Self, Failure> {
        let mut looks = OWN_LOOKS;
        loop {
            let error = match Self::try_bind(uri) {
                Ok(bound) => return Ok(bound),
                Err(error) => error,
            };
            let Some(port) = uri.port.filter(|_| error.kind() == ErrorKind::AddrInUse) else {
                return Err(unusable(uri, &error));
            };
            // A look at every process of the machine takes its time.
            let holder = tokio::task::spawn_blocking(move || SocketTable::read().holder(port)).await;
            let holder = holder.unwrap_or(Holder::Unknown);
            if holder != Holder::Ourselves || looks == 0 {
                return Err(taken(port, &holder));
            }
            looks -= 1;
            tokio::time::sleep(OWN_PAUSE).await;
        }
    }

    fn try_bind(uri: &RedirectUri) -> io::Result<Self> {
        let port = uri.port.unwrap_or(0);
        match uri.host {
            Host::Ipv4 => Self::one(Host::Ipv4, IPV4, port),
            Host::Ipv6 => Self::one(Host::Ipv6, IPV6, port),
            Host::Either => Self::one(Host::Ipv4, IPV4, port).or_else(|error| {
                if is_missing(&error) { Self::one(Host::Ipv6, IPV6, port) } else { Err(error) }
            }),
            Host::Localhost => Self::both(port),
        }
    }

    fn one(host: Host, ip: IpAddr, port: u16) -> io::Result<Self> {
        let socket = listen(ip, port)?;
        let port = socket.local_addr()?.port();
        Ok(Self { sockets: vec![socket], host, port })
    }

    fn both(port: u16) -> io::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::pair(port) {
                Err(error) if port == 0 && error.kind() == ErrorKind::AddrInUse && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                bound => return bound,
            }
        }
    }

    /// Binds both families, or the one that the machine has.
    fn pair(port: u16) -> io::Result<Self> {
        let mut bound = match Self::one(Host::Localhost, IPV4, port) {
            Err(error) if is_missing(&error) => return Self::one(Host::Localhost, IPV6, port),
            bound => bound?,
        };
        match listen(IPV6, bound.port) {
            Ok(socket) => bound.sockets.push(socket),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(bound)
    }
}

fn listen(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    let socket = match ip {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A fixed port that the last login closed is usable again at once, and not only when its connections are forgotten.
    // On Linux this never lets two programs listen on one port, as SO_REUSEPORT would.
    if port != 0 {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(SocketAddr::new(ip, port))?;
    socket.listen(BACKLOG)
}

/// Tells whether the machine does not have this family's loopback address.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

fn taken(port: u16, holder: &Holder) -> Failure {
    let holder = match holder {
        Holder::Ourselves => {
            return Failure::transient(format!(
                "another login of keyfobd waits on port {port}, and the issuer sends the browser to that port alone: \
                 finish the other login or cancel it, then try again"
            ));
        }
        Holder::Process { name, pid } => format!("{name} (pid {pid})"),
        Holder::User(uid) => format!("a program of another user (uid {uid})"),
        Holder::Unknown => "another program".to_owned(),
    };
    Failure::transient(format!(
        "{holder} holds port {port}, to which the issuer sends the browser after signing in: end that program, or log \
         in with --device where the issuer supports it"
    ))
}

fn unusable(uri: &RedirectUri, error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::PermissionDenied {
        Failure::misconfigured(format!(
            "keyfobd may not listen on the port of redirect_uri {uri}: register one above 1023 at the issuer"
        ))
    } else if is_missing(error) {
        Failure::misconfigured(format!(
            "this machine has no such loopback address as redirect_uri {uri} names: take the other family's, or \
             localhost"
        ))
    } else {
        Failure::transient(format!("cannot listen for the browser at {uri}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> RedirectUri {
        text.parse().unwrap()
    }

    async fn addresses(text: &str) -> Vec<SocketAddr> {
        let bound = Listeners::bind(&uri(text)).await.unwrap();
        bound.sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
    }

    fn has_ipv6() -> bool {
        std::net::TcpListener::bind((IPV6, 0)).is_ok()
    }

    #[tokio::test]
    async fn localhost_is_both_families_on_one_port_8252_2() {
        let addresses = addresses("http://localhost/callback").await;
        let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        assert_eq!(ips, if has_ipv6() { vec![IPV4, IPV6] } else { vec![IPV4] });
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()), "{addresses:?}");
    }

    #[tokio::test]
    async fn no_wildcard_is_ever_bound_8252_3() {
        assert_eq!(addresses("http://127.0.0.1").await[0].ip(), IPV4);
        let default = Listeners::bind(&RedirectUri::default()).await.unwrap();
        assert_eq!(default.sockets[0].local_addr().unwrap().ip(), IPV4);
        if has_ipv6() {
            assert_eq!(addresses("http://[::1]").await[0].ip(), IPV6);
        }
    }

    #[test]
    fn a_missing_family_is_told_from_a_port_that_is_taken_8252_4() {
        let error = |errno: Errno| io::Error::from(errno);
        assert!(is_missing(&error(Errno::ADDRNOTAVAIL)));
        assert!(is_missing(&error(Errno::AFNOSUPPORT)));
        assert!(!is_missing(&error(Errno::ADDRINUSE)));
        assert!(!is_missing(&error(Errno::ACCESS)));
    }

    #[tokio::test]
    async fn a_port_is_shared_with_nobody_8252_5() {
        let first = Listeners::bind(&uri("http://127.0.0.1")).await.unwrap();
        let again = TcpSocket::new_v4().unwrap();
        again.set_reuseaddr(true).unwrap();
        let bound = again.bind(SocketAddr::new(IPV4, first.port)).and_then(|()| again.listen(1));
        assert_eq!(bound.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn the_half_of_localhost_that_another_program_has_fails_the_login_8252_2() {
        if !has_ipv6() {
            return;
        }
        let squatter = std::net::TcpListener::bind((IPV6, 0)).unwrap();
        let port = squatter.local_addr().unwrap().port();
        let failure = Listeners::try_bind(&uri(&format!("http://localhost:{port}/callback"))).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::AddrInUse);
        drop(squatter);
        assert!(Listeners::try_bind(&uri(&format!("http://localhost:{port}/callback"))).is_ok());
    }

    #[test]
    fn whoever_holds_the_port_is_named_with_a_way_on() {
        let process = Holder::Process { name: "python3".to_owned(), pid: 4711 };
        for (holder, name) in [
            (process, "python3 (pid 4711)"),
            (Holder::User(1001), "another user (uid 1001)"),
            (Holder::Unknown, "another program"),
            (Holder::Ourselves, "another login of keyfobd"),
        ] {
            let sentence = taken(53593, &holder).to_string();
            assert!(sentence.starts_with(name) || sentence.contains(name), "{sentence}");
            assert!(sentence.contains("port 53593"), "{sentence}");
            assert!(sentence.contains("end that program") || sentence.contains("cancel it"), "{sentence}");
        }
    }
}
