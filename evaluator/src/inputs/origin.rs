//! Where a locked input comes from, as far as that decides who may fetch it.
//!
//! A lock file is written by whoever wrote the commit, and fetched by a Nix that has the operator's
//! files, credentials and network. So nothing is guessed here: what could be read in two ways is
//! [`Origin::Unclear`]. Start at [`Origin::of_url`].

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::percent;

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Over HTTP, which a proxy can look at.
    Web,
    /// From a file, directory or repository of this machine.
    Local(PathBuf),
    /// From a host by a program that knows no proxy.
    Host(Host),
    /// From wherever its own content says, which no lock file names: its submodules, for instance.
    Content {
        /// What leads elsewhere.
        what: &'static str,
    },
    /// What programs may understand differently, or take for an option.
    Unclear,
}

/// A host, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// How.
    pub protocol: Protocol,
    /// Its name or address.
    pub name: String,
    /// Its port, if one is named.
    pub port: Option<u16>,
}

/// A protocol that knows no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SSH: it has credentials of the operator's.
    Ssh,
    /// Git's own, without credentials and encryption.
    Git,
}

impl Origin {
    /// Returns where a URL leads whose scheme is one of those that levain lets Nix fetch.
    pub(super) fn of_url(url: &str) -> Self {
        let unclear = |c: char| c.is_ascii_control() || c.is_whitespace() || c == '\\';
        let Some((scheme, rest)) = url.split_once("://").filter(|_| !url.contains(unclear)) else {
            return Self::Unclear;
        };
        let origin = match scheme {
            "http" | "https" => Some(Self::Web),
            "file" => local(rest).map(Self::Local),
            "ssh" => host(Protocol::Ssh, rest).map(Self::Host),
            "git" => host(Protocol::Git, rest).map(Self::Host),
            _ => None,
        };
        origin.unwrap_or(Self::Unclear)
    }
}

/// Reads the path of a `file:` URL. One that would be another path if escapes were resolved twice, or
/// not at all, is none.
fn local(rest: &str) -> Option<PathBuf> {
    if !rest.starts_with('/') || rest.contains(['?', '#']) {
        return None;
    }
    let bytes = percent::decode(rest)?;
    let unclear = bytes.iter().any(|byte| matches!(byte, 0 | b'%'));
    (!unclear).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

/// Reads `[USER@]HOST[:PORT]/PATH`. Git resolves escapes before it looks for the host, and Nix after,
/// so there may be none.
fn host(protocol: Protocol, rest: &str) -> Option<Host> {
    let (authority, _) = rest.split_once('/')?;
    let (user, place) = match authority.split_once('@') {
        Some((user, place)) => (user, place),
        None => ("", authority),
    };
    let is_word = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        !text.starts_with('-') && text.chars().all(known)
    };
    let (name, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let known = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
            let is_address = address.contains(':') && address.chars().all(known);
            is_address.then_some((address, port))?
        }
        None => {
            let (name, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            (is_word(name) && !name.is_empty()).then_some((name, port))?
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        None if port.is_empty() => None,
        Some(_) | None => return None,
    };
    is_word(user).then(|| Host { protocol, name: name.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_git_and_ssh_read_them() {
        let found = |url: &str| {
            let Origin::Host(host) = Origin::of_url(url) else { return None };
            Some((host.protocol, host.name, host.port))
        };
        let some = |protocol, name: &str, port| Some((protocol, name.to_owned(), port));
        assert_eq!(found("ssh://git@h.example/x"), some(Protocol::Ssh, "h.example", None));
        assert_eq!(found("ssh://127.0.0.1:2222/x"), some(Protocol::Ssh, "127.0.0.1", Some(2222)));
        assert_eq!(found("ssh://u@[::1]:22/x"), some(Protocol::Ssh, "::1", Some(22)));
        assert_eq!(found("git://127.0.0.1/x"), some(Protocol::Git, "127.0.0.1", None));
        for unclear in [
            "ssh://-oProxyCommand=touch%20x/x",
            "ssh://-oProxyCommand/x",
            "ssh://%2doProxyCommand/x",
            "ssh://-l@h/x",
            "ssh://h.example?@127.0.0.1/x",
            "ssh://h.example%2f@127.0.0.1/x",
            "ssh://a@b@c/x",
            "ssh://h:-1/x",
            "ssh://h:+1/x",
            "ssh://h:/x",
            "ssh://h:99999/x",
            "ssh://[h]/x",
            "ssh:///x",
            "ssh://h",
            "ssh://h\\x/y",
            "ssh://h /y",
            "SSH://h/x",
            "-x",
            "ext::sh -c x",
        ] {
            assert_eq!(Origin::of_url(unclear), Origin::Unclear, "{unclear}");
        }
    }

    #[test]
    fn files_have_one_path() {
        assert_eq!(Origin::of_url("file:///a/b"), Origin::Local("/a/b".into()));
        assert_eq!(Origin::of_url("file:///a%20b"), Origin::Local("/a b".into()));
        assert_eq!(Origin::of_url("https://h/%x?y"), Origin::Web);
        for unclear in [
            "file://h/a",
            "file://a",
            "file:///a?b",
            "file:///a#b",
            "file:///%252e%252e/a",
            "file:///a%00",
            "file:///a%",
            "FILE:///a",
        ] {
            assert_eq!(Origin::of_url(unclear), Origin::Unclear, "{unclear}");
        }
    }
}
