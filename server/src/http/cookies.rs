//! The cookies of this server: who somebody is, and that it is the same browser which left for a forge.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::secret::Secret;

/// How cookies are set here: by the address under which people reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookies {
    /// By https: no other site, nor a neighbour of this one, can set or read them.
    Secure,
    /// By http on this machine, where nothing listens in between.
    Loopback,
}

/// A cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Who somebody is.
    Session,
    /// Which browser left for a forge.
    Departure,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self {
            Self::Session => "levain",
            Self::Departure => "levain-departure",
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Session => crate::people::SESSION.as_secs(),
            Self::Departure => crate::people::WAIT.as_secs(),
        }
    }
}

impl Cookies {
    /// Returns how cookies are set at an address; nothing if anybody could listen in.
    pub(super) fn of(public_url: &str) -> Option<Self> {
        let url = reqwest::Url::parse(public_url).ok()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => Some(Self::Secure),
            "http" if is_loopback => Some(Self::Loopback),
            _ => None,
        }
    }

    fn full_name(self, cookie: Cookie) -> String {
        match self {
            // Browsers take such a name only from this very host, by https.
            Self::Secure => format!("__Host-{}", cookie.name()),
            Self::Loopback => cookie.name().to_owned(),
        }
    }

    /// Returns what sets a cookie.
    pub(super) fn set(self, cookie: Cookie, secret: &Secret) -> HeaderValue {
        self.header(cookie, secret.expose(), cookie.seconds())
    }

    /// Returns what takes a cookie away.
    pub(super) fn clear(self, cookie: Cookie) -> HeaderValue {
        self.header(cookie, "", 0)
    }

    fn header(self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let name = self.full_name(cookie);
        let secure = match self {
            Self::Secure => "; Secure",
            Self::Loopback => "",
        };
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut header =
            HeaderValue::from_str(&text).expect("a secret is made of hexadecimal digits");
        header.set_sensitive(true);
        header
    }

    /// Returns what a browser sends for a cookie; nothing if it is no secret of ours, or there are two of them.
    pub(super) fn read(self, cookie: Cookie, headers: &HeaderMap) -> Option<String> {
        let name = self.full_name(cookie);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
        let value = found.next()?;
        let is_secret = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        (found.next().is_none() && is_secret).then(|| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_set_by_https_or_on_this_machine() {
        for (url, expected) in [
            ("https://ci.example.org/levain", Some(Cookies::Secure)),
            ("http://127.0.0.1:8740", Some(Cookies::Loopback)),
            ("http://[::1]:8740", Some(Cookies::Loopback)),
            ("http://localhost", Some(Cookies::Loopback)),
            ("http://ci.example.org", None),
            ("http://localhost.example.org", None),
            ("ftp://127.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(Cookies::of(url), expected, "{url}");
        }
    }

    #[test]
    fn a_cookie_is_for_this_host_alone_and_for_no_script() {
        let secret = Secret::new().unwrap();
        let secure = Cookies::Secure.set(Cookie::Session, &secret);
        let expected = format!(
            "__Host-levain={}; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure",
            secret.expose()
        );
        assert_eq!(secure.to_str().unwrap(), expected);
        let plain = Cookies::Loopback.clear(Cookie::Session);
        let expected = "levain=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
        assert_eq!(plain.to_str().unwrap(), expected);
    }

    #[test]
    fn what_is_read_is_one_secret_of_that_name() {
        let secret = "0".repeat(64);
        let read = |lines: &[&String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
            }
            Cookies::Secure.read(Cookie::Session, &headers)
        };
        let good = format!("__Host-levain={secret}");
        assert_eq!(read(&[&good]), Some(secret.clone()));
        assert_eq!(read(&[&format!("a=b; {good}; c=d")]), Some(secret.clone()));
        assert_eq!(read(&[&"a=b".to_owned(), &good]), Some(secret.clone()));
        for bad in [
            &[][..],
            &[&format!("levain={secret}")],
            &[&format!("__host-levain={secret}")],
            &[&"__Host-levain=".to_owned()],
            &[&format!("__Host-levain={}", "g".repeat(64))],
            &[&format!("__Host-levain={secret}0")],
            &[&format!("{good}; {good}")],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
