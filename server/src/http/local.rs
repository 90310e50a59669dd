//! Tells requests of this machine's own users from all others.
//!
//! The peer's address is not enough: a proxy on this machine passes on what comes from anywhere, and a web page can have
//! its reader's browser ask under a name of its own. So what came through a proxy, and what is not asked of this machine
//! by its address, is somebody else's.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HOST;

/// Headers that proxies add.
const PROXIED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Returns whether a user of this machine asks, from this address and with these headers.
pub(super) fn is_local(peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    peer.is_some_and(|address| address.to_canonical().is_loopback())
        && PROXIED.iter().all(|name| !headers.contains_key(*name))
        && headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(names_this_machine)
}

/// Returns whether a `Host` is this machine's loopback address, with or without a port.
fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn local(peer: &str, lines: &[(&'static str, &str)]) -> bool {
        let headers = lines
            .iter()
            .map(|(name, value)| {
                (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        is_local(Some(peer.parse().unwrap()), &headers)
    }

    #[test]
    fn only_what_is_asked_of_loopback_by_its_address_from_loopback() {
        for host in ["127.0.0.1:8740", "localhost", "LOCALHOST:1", "[::1]:8740", "127.0.0.2"] {
            for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                assert!(local(peer, &[("host", host)]), "{peer} {host}");
            }
            assert!(!local("192.0.2.1", &[("host", host)]));
            assert!(!local("127.0.0.1", &[("host", host), ("x-forwarded-for", "192.0.2.1")]));
            assert!(!is_local(None, &HeaderMap::new()));
        }
        for host in ["ci.example.org", "localhost.example.org", "192.0.2.1:8740", "", ":80"] {
            assert!(!local("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!local("127.0.0.1", &[]));
    }
}
