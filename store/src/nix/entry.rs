//! The first program inside a confined evaluation: this executable, started again.
//!
//! It opens a listening socket in the evaluation's own network namespace, hands it to the parent
//! over standard input, limits itself, and becomes Nix. Only the parent ever accepts a connection of
//! that socket, so that nothing of ours is left running inside. Start at [`run`], which the
//! program's `main` calls first, and [`receive`].

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The first argument of the executable when it is to be the entry.
const WORD: &str = "__enter-evaluation";
/// Its second argument where the memory has no limit.
const UNLIMITED: &str = "unlimited";
/// What error messages begin with; those of Nix never do.
pub(super) const PREFIX: &str = "levain-entry: ";
/// The variables by which curl and git find a proxy.
const PROXIES: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
];

/// Returns the arguments that go before those of a confined program.
pub(super) fn words(executable: &Path, memory: Option<u64>) -> Vec<OsString> {
    let memory = memory.map_or_else(|| UNLIMITED.to_owned(), |bytes| bytes.to_string());
    vec![executable.into(), WORD.into(), memory.into()]
}

/// Becomes the program that the arguments name, if they are those of an entry.
///
/// `arguments` are those of the process, its own name first. Returns only if they are not, or with
/// the message why that program cannot be started.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    if arguments.nth(1).is_none_or(|word| word != WORD) {
        return Ok(());
    }
    let failed = |what: &str, error: io::Error| format!("{PREFIX}{what}: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| failed("cannot listen", error))?;
    let address = listener.local_addr().map_err(|error| failed("cannot listen", error))?;
    send(&listener).map_err(|error| failed("cannot send a socket", error))?;
    drop(listener);
    let memory = arguments.next().unwrap_or_default();
    limit(&memory).map_err(|error| failed("cannot limit the memory", error))?;
    let program = arguments.next().ok_or_else(|| format!("{PREFIX}no program is named"))?;
    #[expect(clippy::disallowed_methods, reason = "this module starts Nix")]
    let mut command = Command::new(&program);
    command.args(arguments);
    for name in PROXIES {
        command.env(name, format!("http://{address}"));
    }
    for name in ["no_proxy", "NO_PROXY", "HTTP_PROXY"] {
        command.env_remove(name);
    }
    Err(failed("cannot start the program", command.exec()))
}

/// Limits the memory of this process and of all that it starts.
///
/// Of the two kinds of limit that are there without control groups, that of the data segment counts
/// what is written; that of the address space would count what Nix only reserves.
fn limit(memory: &OsStr) -> io::Result<()> {
    if memory == UNLIMITED {
        return Ok(());
    }
    let bytes = memory.to_str().and_then(|text| text.parse().ok());
    let bytes: u64 = bytes.ok_or(io::ErrorKind::InvalidInput)?;
    setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    Ok(())
}

fn send(listener: &TcpListener) -> io::Result<()> {
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let stdin = io::stdin();
    rustix::net::sendmsg(&stdin, &[IoSlice::new(b"l")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// Receives the socket of an entry; nothing if it ended without sending one.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Option<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match rustix::net::recvmsg(stream, &mut buffers, &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 || received.flags.contains(ReturnFlags::CTRUNC) {
        return Ok(None);
    }
    let mut descriptors = Vec::<OwnedFd>::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(descriptors.pop().map(TcpListener::from))
}
