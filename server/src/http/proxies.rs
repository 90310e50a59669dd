//! Where a request comes from, if proxies stand in between.
//!
//! Whoever asks can send any `X-Forwarded-For`. It is believed only as far as it was written by proxies that the operator
//! named, from its end on: the last address that no such proxy has is the visitor's.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::HeaderMap;

/// The header in which each proxy notes who asked it.
const FORWARDED: &str = "x-forwarded-for";
/// How many addresses in it are looked at.
const MOST: usize = 32;

/// The proxies that are believed. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits of it count.
    bits: u8,
}

/// A text names no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a network, such as `192.0.2.7` or `10.0.0.0/8`")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_unreadable| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(text) => text.parse().map_err(|_unreadable| NoNetwork)?,
            None => most,
        };
        if bits > most { Err(NoNetwork) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Proxies {
    /// Believes these.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// Returns whose request it is that comes from `peer` with these headers.
    pub(super) fn visitor(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut visitor = peer.to_canonical();
        if !self.has(visitor) {
            return visitor;
        }
        // Several lines are one list.
        let lines = headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok());
        let lines: Vec<&str> = lines.collect();
        let noted = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for text in noted.take(MOST) {
            // What a proxy did not understand is its own.
            let Some(address) = address(text.trim()) else { break };
            visitor = address;
            if !self.has(visitor) {
                break;
            }
        }
        visitor
    }
}

/// Reads an address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse().ok();
    let with_port = || text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

/// Returns what tells one visitor from another by their address: whoever has an address of the newer kind has as many as
/// they like that begin alike.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn visitor(proxies: &[&str], peer: &str, lines: &[&str]) -> String {
        let proxies = Proxies::new(proxies.iter().map(|text| text.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_str(line).unwrap());
        }
        proxies.visitor(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_proxies_that_were_named_are_believed() {
        let ours = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"];
        for (proxies, peer, lines, expected) in [
            // Nobody is, unless they are named.
            (&[][..], "127.0.0.1", &["192.0.2.1"][..], "127.0.0.1"),
            (&ours, "192.0.2.9", &["192.0.2.1"], "192.0.2.9"),
            (&ours, "127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            (&ours, "::ffff:127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            // What a visitor made up stands before what the proxy noted.
            (&ours, "127.0.0.1", &["203.0.113.5, 192.0.2.1"], "192.0.2.1"),
            (&ours, "127.0.0.1", &["203.0.113.5", "192.0.2.1"], "192.0.2.1"),
            (&ours, "127.0.0.1", &["10.1.1.1, 192.0.2.1"], "192.0.2.1"),
            // Through two of ours.
            (&ours, "127.0.0.1", &["203.0.113.5, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
            (&ours, "fd00::1", &["2001:db8::1"], "2001:db8::1"),
            (&ours, "127.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            (&ours, "127.0.0.1", &["192.0.2.1:443"], "192.0.2.1"),
            (&ours, "127.0.0.1", &["192.0.2.1, unknown"], "127.0.0.1"),
            (&ours, "127.0.0.1", &[""], "127.0.0.1"),
            (&ours, "127.0.0.1", &[], "127.0.0.1"),
        ] {
            assert_eq!(visitor(proxies, peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn networks_are_read_whole() {
        let has = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().has(address.parse().unwrap())
        };
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:db8::/32", "2001:db8:1::1") && !has("2001:db8::/32", "2001:db9::1"));
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        for text in ["", "x", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/-1", "a/8"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }

    #[test]
    fn a_household_has_many_addresses_of_the_newer_kind() {
        let of = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
