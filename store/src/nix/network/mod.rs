//! The network of an evaluation: a proxy in our own process, and nothing else.
//!
//! A confined evaluation has a network namespace with nothing in it but a loopback interface. What it
//! may still fetch by hash goes to this proxy, which resolves the name, checks the addresses, and
//! connects to one that it has checked. It knows no credentials, and looks into no tunnel.
//! Start at [`Proxy::start`].

mod address;
mod request;
mod upstream;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use address::{AllowedHost, AllowedHostError};
use request::{Asked, MAX_HEAD};
use upstream::Upstream;
pub(super) use upstream::Upstreams;

/// How long a client may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a host may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How many connections may be open at a time; Nix itself opens 25.
const MAX_CONNECTIONS: usize = 64;
/// How many bytes one evaluation may download.
const MAX_BYTES: u64 = 16 << 30;
/// How many refusals are kept to be shown.
const MAX_REFUSALS: usize = 16;

/// A host that an evaluation was not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its address is not one of the public network.
    #[error(
        "an evaluation may not connect to `{host}`, port {port}: it is {rule}\nhint: pass `--allow-host {host}:{port}` if evaluations may reach that host"
    )]
    Reserved {
        /// The name or address that was asked for.
        host: String,
        /// The port.
        port: u16,
        /// What kind of address it has.
        rule: &'static str,
    },
    /// Nobody knows its address, so it could become one of this network.
    #[error(
        "an evaluation may not connect to `{host}`, port {port}: its address is not known\nhint: pass `--allow-host {host}:{port}` if evaluations may reach that host"
    )]
    Unknown {
        /// The name that was asked for.
        host: String,
        /// The port.
        port: u16,
    },
    /// It would be spoken to past the proxy, and without encryption.
    #[error(
        "`git://{host}` goes through no proxy\nhint: use `https://`, or pass `--allow-host {host}:{port}` if evaluations may reach that host"
    )]
    Unproxied {
        /// The name or address that was asked for.
        host: String,
        /// The port.
        port: u16,
    },
    /// Too much was downloaded.
    #[error("an evaluation may download {limit} bytes, and `{host}` sends more")]
    TooMuch {
        /// The host that sent the last of it.
        host: String,
        /// The limit.
        limit: u64,
    },
}

/// A proxy that serves one evaluation. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    allowed: Vec<AllowedHost>,
    upstreams: Upstreams,
    max_bytes: u64,
    received: AtomicU64,
    open: AtomicUsize,
    refusals: Mutex<Vec<Refusal>>,
}

impl Proxy {
    /// Serves the connections of a listening socket.
    pub(super) fn start(
        listener: TcpListener,
        allowed: &[AllowedHost],
        upstreams: &Upstreams,
    ) -> io::Result<Self> {
        Self::with_limit(listener, allowed, upstreams, MAX_BYTES)
    }

    fn with_limit(
        listener: TcpListener,
        allowed: &[AllowedHost],
        upstreams: &Upstreams,
        max_bytes: u64,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            allowed: allowed.to_vec(),
            upstreams: upstreams.clone(),
            max_bytes,
            received: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            refusals: Mutex::new(Vec::new()),
        });
        let listener = Arc::new(listener);
        let (theirs, serving) = (Arc::clone(&listener), Arc::clone(&shared));
        let accepting = std::thread::Builder::new().spawn(move || accept(&theirs, &serving))?;
        Ok(Self { shared, listener, accepting: Some(accepting) })
    }

    /// Returns what was refused so far, each host and rule once.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        self.shared.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Wakes the thread that waits for connections. Those that are open end with the evaluation,
        // which has their other ends.
        if let Err(error) = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both) {
            tracing::debug!(%error, "ending the proxy of an evaluation");
            return;
        }
        if let Some(accepting) = self.accepting.take()
            && accepting.join().is_err()
        {
            tracing::debug!("the proxy of an evaluation panicked");
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                let shared = Arc::clone(shared);
                let serve = move || {
                    if shared.open.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS
                        && let Err(error) = shared.serve(&client)
                    {
                        tracing::debug!(%error, "a connection of an evaluation");
                    }
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                };
                if let Err(error) = std::thread::Builder::new().spawn(serve) {
                    tracing::debug!(%error, "no thread for a connection of an evaluation");
                }
            }
            // What `shutdown` leads to.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                tracing::debug!(%error, "accepting a connection of an evaluation");
                // Too few descriptors, for instance: that passes, but not at once.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(HEAD_TIMEOUT))?;
        let Some((head, rest)) = read_head(client)? else { return Ok(()) };
        let Some(asked) = Asked::parse(&head) else {
            return answer(client, "400 Bad Request", "this is no request to a proxy");
        };
        let upstream = self.upstreams.of(&asked);
        let connected = match upstream {
            Some(upstream) => self.connect_through(upstream, &asked),
            None => self.connect(&asked),
        };
        let host = match connected {
            Ok(host) => host,
            Err(Unreachable::Refused(refusal)) => {
                let text = refusal.to_string();
                self.note(refusal);
                return answer(client, "403 Forbidden", &text);
            }
            Err(Unreachable::Failed(error)) => {
                let text = format!("cannot connect to `{}`: {error}", asked.host);
                return answer(client, "502 Bad Gateway", &text);
            }
        };
        client.set_read_timeout(None)?;
        match (&asked.forward, upstream) {
            (Some(_), Some(upstream)) => (&host).write_all(&upstream.head(&asked))?,
            (Some(forward), None) => (&host).write_all(&forward.head)?,
            (None, _) => (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
        }
        let most = asked.forward.as_ref().map_or(u64::MAX, |forward| forward.body);
        let sent = &rest[..rest.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
        (&host).write_all(sent)?;
        self.relay(client, &host, &asked.host, most - sent.len() as u64)
    }

    /// Connects to an address of the host that may be connected to: to exactly the one that was
    /// checked, since another look-up may give another one.
    fn connect(&self, asked: &Asked) -> Result<TcpStream, Unreachable> {
        let addresses = (asked.host.as_str(), asked.port).to_socket_addrs();
        self.connect_to_one_of(asked, addresses.map_err(Unreachable::Failed)?)
    }

    fn connect_to_one_of(
        &self,
        asked: &Asked,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<TcpStream, Unreachable> {
        let mut refused = None;
        let mut failed = None;
        for address in addresses {
            if let Some(rule) = self.refused(&asked.host, address) {
                refused =
                    Some(Refusal::Reserved { host: asked.host.clone(), port: asked.port, rule });
                continue;
            }
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(error),
            }
        }
        Err(match (failed, refused) {
            (Some(error), _) => Unreachable::Failed(error),
            (None, Some(refusal)) => Unreachable::Refused(refusal),
            (None, None) => Unreachable::Failed(io::ErrorKind::NotFound.into()),
        })
    }

    /// Connects to the operator's proxy, which resolves names for itself. A name that leads to no public
    /// host as seen from here is refused all the same.
    fn connect_through(
        &self,
        upstream: &Upstream,
        asked: &Asked,
    ) -> Result<TcpStream, Unreachable> {
        let addresses = (asked.host.as_str(), asked.port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = addresses.map(Iterator::collect).unwrap_or_default();
        let rules = addresses.iter().map(|address| self.refused(&asked.host, *address));
        if let Some(rule) =
            rules.collect::<Option<Vec<_>>>().and_then(|rules| rules.first().copied())
        {
            let (host, port) = (asked.host.clone(), asked.port);
            return Err(Unreachable::Refused(Refusal::Reserved { host, port, rule }));
        }
        let stream = open((upstream.host.as_str(), upstream.port)).map_err(Unreachable::Failed)?;
        if asked.forward.is_none() {
            make_tunnel(&stream, upstream, asked).map_err(Unreachable::Failed)?;
        }
        Ok(stream)
    }

    fn refused(&self, host: &str, address: SocketAddr) -> Option<&'static str> {
        rule_against(host, address, &self.allowed)
    }

    fn note(&self, refusal: Refusal) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() < MAX_REFUSALS && !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    }

    /// Passes bytes in both directions until the host has ended, and no more than `most` to the host.
    fn relay(&self, client: &TcpStream, host: &TcpStream, name: &str, most: u64) -> io::Result<()> {
        host.set_read_timeout(Some(IDLE_TIMEOUT))?;
        let (from, to) = (client.try_clone()?, host.try_clone()?);
        let upwards = std::thread::Builder::new().spawn(move || {
            // Behind the body the client is only listened to: some hosts take an end for an abort.
            let copied = io::copy(&mut (&from).take(most), &mut &to)
                .and_then(|_| io::copy(&mut &from, &mut io::sink()));
            // A client that is gone, or has said all.
            let ended = to.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both });
            copied.and(ended)
        })?;
        let downwards = self.download(client, host, name);
        // Both, so that the other thread ends too. An end that is gone already is no error.
        client.shutdown(Shutdown::Both).ok();
        host.shutdown(Shutdown::Both).ok();
        let _ended = upwards.join();
        downwards
    }

    fn download(&self, mut client: &TcpStream, mut host: &TcpStream, name: &str) -> io::Result<()> {
        let mut block = vec![0; 64 * 1024];
        loop {
            let count = match host.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let before = self.received.fetch_add(count as u64, Ordering::Relaxed);
            if before.saturating_add(count as u64) > self.max_bytes {
                self.note(Refusal::TooMuch { host: name.to_owned(), limit: self.max_bytes });
                return Ok(());
            }
            client.write_all(&block[..count])?;
        }
    }
}

/// Returns what kind of address it is, if a host must not be reached there.
fn rule_against(host: &str, address: SocketAddr, allowed: &[AllowedHost]) -> Option<&'static str> {
    let is_allowed = allowed.iter().any(|allowed| allowed.allows(host, address));
    if is_allowed { None } else { address::reserved(address.ip()) }
}

/// Returns why a host with these addresses must not be reached by a program that chooses one of them
/// itself.
pub(super) fn refusal(
    host: &str,
    port: u16,
    addresses: &[SocketAddr],
    allowed: &[AllowedHost],
) -> Option<Refusal> {
    let host = host.to_owned();
    if addresses.is_empty() {
        return Some(Refusal::Unknown { host, port });
    }
    let rule = addresses.iter().find_map(|address| rule_against(&host, *address, allowed))?;
    Some(Refusal::Reserved { host, port, rule })
}

/// Connects to the first address that answers.
fn open(place: (&str, u16)) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks a proxy for a tunnel. The host at its other end speaks only when spoken to.
fn make_tunnel(mut stream: &TcpStream, upstream: &Upstream, asked: &Asked) -> io::Result<()> {
    stream.set_read_timeout(Some(HEAD_TIMEOUT))?;
    stream.write_all(&upstream.head(asked))?;
    match read_head(stream)? {
        Some((head, _)) if upstream::has_tunnel(&head) => Ok(()),
        Some(_) | None => Err(io::Error::other("the operator's proxy makes no tunnel to it")),
    }
}

/// Why there is no connection.
#[derive(Debug)]
enum Unreachable {
    Refused(Refusal),
    Failed(io::Error),
}

/// Reads up to the empty line; returns what came behind it too, and nothing if the client is gone.
fn read_head(mut client: &TcpStream) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut block = [0; 4096];
    loop {
        let count = client.read(&mut block)?;
        if count == 0 {
            return Ok(None);
        }
        let start = head.len().saturating_sub(END.len() - 1);
        head.extend_from_slice(&block[..count]);
        if let Some(found) = head[start..].windows(END.len()).position(|window| window == END) {
            let rest = head.split_off(start + found + END.len());
            return Ok(Some((head, rest)));
        }
        if head.len() > MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head has no end"));
        }
    }
}

fn answer(mut client: &TcpStream, status: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(text.as_bytes())?;
    client.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests;
