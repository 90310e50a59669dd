//! Which addresses an evaluation may be connected to.
//!
//! Decides about addresses, never about names: what a name stands for is whatever its owner says at
//! the moment. Start at [`reserved`]; [`AllowedHost`] is the operator's exception.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// A host that evaluations may reach although its address is not public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// A name in lower case, or an address.
    host: String,
    /// The only port, or all.
    port: Option<u16>,
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no host\nhint: write `NAME`, `ADDRESS`, `NAME:PORT` or `[ADDRESS]:PORT`")]
pub struct AllowedHostError {
    text: String,
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AllowedHostError { text: text.to_owned() };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: None });
        }
        let (host, port) = split_port(text).ok_or_else(wrong)?;
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(known) {
            return Err(wrong());
        }
        Ok(Self { host: normal(host), port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => formatter.write_str(&self.host),
            Some(port) if self.host.contains(':') => write!(formatter, "[{}]:{port}", self.host),
            Some(port) => write!(formatter, "{}:{port}", self.host),
        }
    }
}

impl AllowedHost {
    /// Returns whether the operator has named a host as it is named here.
    pub(in crate::nix) fn names(&self, host: &str, port: u16) -> bool {
        self.host == normal(host) && self.port.is_none_or(|own| own == port)
    }

    /// Returns whether this is the host that was asked for, by its name or by its address.
    pub(super) fn allows(&self, host: &str, address: SocketAddr) -> bool {
        let named = self.host == normal(host)
            || self.host.parse::<IpAddr>().is_ok_and(|own| own == address.ip().to_canonical());
        named && self.port.is_none_or(|port| port == address.port())
    }
}

/// Splits `HOST:PORT` and `[ADDRESS]:PORT`; the port may be missing.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(rest) => Some((host, Some(port(rest)?))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        Some((host, rest)) => Some((host, Some(port(rest)?))),
        None => Some((text, None)),
    }
}

/// Reads a port as people write it; other programs may read `+80`, `080` or 0 differently.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Returns a name as it is compared: names differ neither in case nor in a dot at the end.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Returns why an address is not one of the public network, or nothing if it is.
pub(super) fn reserved(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => reserved_v4(address),
        IpAddr::V6(address) => reserved_v6(address),
    }
    .or_else(|| is_of_this_machine(address).then_some("an address of this machine"))
}

fn reserved_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some("an unspecified address"),
        (127, ..) => Some("a loopback address"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("a private address"),
        (169, 254, _) => Some("a link-local address"),
        (100, 64..=127, _) => Some("an address shared by a provider's customers"),
        (224..=239, ..) => Some("a multicast address"),
        // For protocols, documentation, relays, measurements, and the future.
        (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113)
        | (240..=255, ..) => Some("a reserved address"),
        _ => None,
    }
}

fn reserved_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        // IPv4 in other clothes: mapped, compatible, translated (two prefixes), 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => reserved_v4(inner(high, low)),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some("a private address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Everything else that is routed lies in 2000::/3; in it Teredo, ORCHID, benchmarks and
        // documentation do not lead to a public host.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Some("a reserved address")
        }
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

/// Returns whether a service of this machine may answer there: the address of an interface can be
/// bound, any other one not. Some machines may bind all; about those nothing is known.
fn is_of_this_machine(address: IpAddr) -> bool {
    let can_be_bound = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    let of_nobody: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    can_be_bound(address) && !can_be_bound(of_nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_not_reserved() {
        for (address, rule) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("169.254.169.254", "link-local"),
            ("100.64.0.1", "shared"),
            ("100.100.100.200", "shared"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("240.0.0.1", "reserved"),
            ("198.18.0.1", "reserved"),
            ("192.0.0.170", "reserved"),
            ("192.0.2.1", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::127.0.0.1", "loopback"),
            ("::ffff:0:127.0.0.1", "loopback"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::1", "reserved"),
            ("2002:7f00:1::", "loopback"),
            ("2002:c0a8:0101::1", "private"),
            ("2001::1", "reserved"),
            ("2001:db8::1", "reserved"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "private"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("ff02::1", "multicast"),
            ("100::1", "reserved"),
            ("5f00::1", "reserved"),
        ] {
            let found = reserved(address.parse().unwrap());
            assert!(found.is_some_and(|found| found.contains(rule)), "{address}: {found:?}");
        }
        for address in [
            "1.1.1.1",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "2606:4700:4700::1111",
            "2a01:4f8::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(reserved(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn an_operator_allows_names_addresses_and_ports() {
        let allows = |allowed: &str, host: &str, address: &str| {
            allowed.parse::<AllowedHost>().unwrap().allows(host, address.parse().unwrap())
        };
        assert!(allows("Git.Example", "git.example.", "10.0.0.1:80"));
        assert!(allows("git.example:8080", "git.example", "10.0.0.1:8080"));
        assert!(!allows("git.example:8080", "git.example", "10.0.0.1:80"));
        assert!(!allows("git.example", "other.git.example", "10.0.0.1:80"));
        assert!(!allows("git.example", "evil.org", "10.0.0.1:80"));
        assert!(allows("10.0.0.1", "any.name", "10.0.0.1:80"));
        assert!(allows("10.0.0.1", "any.name", "[::ffff:10.0.0.1]:80"));
        assert!(allows("[fd00::1]:443", "any.name", "[fd00::1]:443"));
        assert!(allows("fd00::1", "fd00::1", "[fd00::1]:443"));
        assert!(!allows("10.0.0.1", "10.0.0.1.evil.org", "10.0.0.2:80"));
        let git: AllowedHost = "git.example:9418".parse().unwrap();
        assert!(git.names("GIT.example.", 9418) && !git.names("git.example", 22));
        assert!(!git.names("10.0.0.1", 9418));
        for wrong in ["", "a b", "http://x", "x:port", "x:99999", "[::1", "[x]:1", "a/b", "*"] {
            assert!(wrong.parse::<AllowedHost>().is_err(), "{wrong}");
        }
        for right in ["git.example:8080", "10.0.0.1", "[fd00::1]:443", "fd00::1"] {
            assert_eq!(right.parse::<AllowedHost>().unwrap().to_string(), right);
        }
    }
}
