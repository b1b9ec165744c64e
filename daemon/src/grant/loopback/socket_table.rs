//! Linux's table of TCP sockets (`/proc/net/tcp`, `/proc/net/tcp6`): who holds a port, and whose a connection is.
//!
//! The thing to get wrong: a socket that its program has closed stays in the table for a while with user 0 and inode 0,
//! so an entry without an inode is nobody's, not root's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that listens, as the table has it.
const LISTEN: u8 = 0x0a;

/// A program that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// This daemon.
    Ourselves,
    /// A program whose name can be seen.
    Process { name: String, pid: u32 },
    /// A program of which only the user can be seen.
    User(u32),
    /// Nothing can be seen.
    Unknown,
}

/// Whose the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// This user's.
    User(u32),
    /// Nobody's any more: whoever asked does not wait for the answer.
    Gone,
    /// The table does not even have our own socket, so it says nothing.
    Unknown,
}

/// The table of one moment.
#[derive(Debug, Default)]
pub(super) struct SocketTable(Vec<Entry>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    uid: u32,
    /// 0 where no program has it open.
    inode: u64,
}

impl SocketTable {
    /// Reads the table; it is empty where there is none.
    pub(super) fn read() -> Self {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        Self::parse(&tables.concat())
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Entry::read).collect())
    }

    /// Returns who holds a port of this machine.
    pub(super) fn holder(&self, port: u16) -> Holder {
        let on_port = || self.0.iter().filter(|entry| entry.local.port() == port && entry.inode != 0);
        let Some(entry) = on_port().find(|entry| entry.state == LISTEN).or_else(|| on_port().next()) else {
            return Holder::Unknown;
        };
        match process_with(entry.inode) {
            Some(pid) if pid == std::process::id() => Holder::Ourselves,
            Some(pid) => {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                Holder::Process { name: name.trim_end().to_owned(), pid }
            }
            None => Holder::User(entry.uid),
        }
    }

    /// Returns whose the other end of a connection is. Both ends of a loopback connection are in the table.
    pub(super) fn caller(&self, ours: SocketAddr, theirs: SocketAddr) -> Caller {
        let has = |local, remote| self.0.iter().find(|entry| entry.local == local && entry.remote == remote);
        match (has(theirs, ours), has(ours, theirs)) {
            (Some(entry), _) if entry.inode != 0 => Caller::User(entry.uid),
            (Some(_), _) | (None, Some(_)) => Caller::Gone,
            (None, None) => Caller::Unknown,
        }
    }
}

impl Entry {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = address(fields.next()?)?;
        let remote = address(fields.next()?)?;
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        // Queues, timers, retransmits.
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Self { local, remote, state, uid, inode })
    }
}

/// Reads an address: words of 32 bits in the byte order of the machine, then the port.
fn address(field: &str) -> Option<SocketAddr> {
    let (host, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = host.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = if host.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let mut bytes = [0; 16];
        for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&word(at)?);
        }
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    Some(SocketAddr::new(ip, port))
}

/// Returns the process that has a socket open, if we may look at it.
fn process_with(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let mut open = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        open.any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
            .then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_of_the_table_is_read_in_both_families() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:D159 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0\n\
            \x20  1: 00000000000000000000000001000000:D159 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 4712 1 0 100 0 0 10 0\n";
        let entry = |local: &str, remote: &str, uid, inode| Entry {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: LISTEN,
            uid,
            inode,
        };
        assert_eq!(
            SocketTable::parse(text).0,
            [entry("127.0.0.1:53593", "0.0.0.0:0", 1000, 4711), entry("[::1]:53593", "[::]:0", 7, 4712),]
        );
    }

    #[test]
    fn a_connection_of_our_own_is_known_by_its_user_and_one_that_was_closed_is_nobodys() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // The other family alone must do where this one is missing.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, theirs) = listener.accept().unwrap();
            let ours = server.local_addr().unwrap();
            let caller = || SocketTable::read().caller(ours, theirs);
            assert_eq!(caller(), Caller::User(rustix::process::geteuid().as_raw()));
            drop(client);
            assert_eq!(caller(), Caller::Gone);
        }
    }

    #[test]
    fn a_table_without_our_own_socket_says_nothing() {
        let [ours, theirs] = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap());
        assert_eq!(SocketTable::default().caller(ours, theirs), Caller::Unknown);
        assert_eq!(SocketTable::default().holder(1), Holder::Unknown);
    }

    #[test]
    fn a_port_that_this_process_holds_is_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(SocketTable::read().holder(port), Holder::Ourselves);
    }
}
