//! The proxies that the operator's own network demands.
//!
//! Where the machine reaches nothing by itself, the requests of an evaluation go on to the proxy that
//! the operator has set, by the same variables as for curl. Its credentials stay here. Only proxies that
//! speak HTTP are known. Start at [`Upstreams::read`].

use std::collections::BTreeMap;
use std::ffi::OsString;

use data_encoding::BASE64;

use super::address::split_port;
use super::request::Asked;

/// The proxies for each kind of request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::nix) struct Upstreams {
    http: Option<Upstream>,
    https: Option<Upstream>,
    /// Hosts, or ends of their names, that are reached directly; `*` for all.
    direct: Vec<String>,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upstream {
    /// Its host.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// `USER:PASSWORD`.
    user: Option<String>,
}

impl Upstreams {
    /// Reads the variables that curl reads.
    pub(in crate::nix) fn read(environment: &BTreeMap<String, OsString>) -> Self {
        let first = |names: &[&str]| {
            let value = names.iter().find_map(|name| environment.get(*name));
            value.map(|value| value.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
        };
        let proxy = |names: &[&str]| {
            let text = first(names).or_else(|| first(&["all_proxy", "ALL_PROXY"]))?;
            let upstream = Upstream::parse(&text);
            if upstream.is_none() {
                tracing::warn!("evaluations cannot use the proxy of `{}`", names[0]);
            }
            upstream
        };
        let direct = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let direct = direct.split([',', ' ']).filter(|text| !text.is_empty());
        Self {
            // As in curl, not `HTTP_PROXY`: a web server would set it from a header.
            http: proxy(&["http_proxy"]),
            https: proxy(&["https_proxy", "HTTPS_PROXY"]),
            direct: direct.map(|text| text.trim_start_matches('.').to_lowercase()).collect(),
        }
    }

    /// Returns the proxy for a request, if there is one.
    pub(super) fn of(&self, asked: &Asked) -> Option<&Upstream> {
        let host = asked.host.to_lowercase();
        let is_direct = self.direct.iter().any(|end| {
            let before = host.strip_suffix(end.as_str());
            end == "*" || before.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        let proxy = if asked.forward.is_some() { &self.http } else { &self.https };
        proxy.as_ref().filter(|_| !is_direct)
    }
}

impl Upstream {
    fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return None,
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, rest),
        };
        let (host, port) = split_port(place)?;
        let host = (!host.is_empty()).then(|| host.to_owned())?;
        Some(Self { host, port: port.unwrap_or(1080), user })
    }

    /// Returns the head of the request for this proxy.
    pub(super) fn head(&self, asked: &Asked) -> Vec<u8> {
        let host =
            if asked.host.contains(':') { format!("[{}]", asked.host) } else { asked.host.clone() };
        let place = format!("{host}:{}", asked.port);
        let mut lines = match &asked.forward {
            None => format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"),
            Some(forward) => {
                // What was a URL becomes one again.
                String::from_utf8_lossy(&forward.head).replacen(
                    " /",
                    &format!(" http://{place}/"),
                    1,
                )
            }
        };
        if let Some(user) = &self.user {
            let header = format!(
                "\r\nProxy-Authorization: Basic {}\r\n\r\n",
                BASE64.encode(user.as_bytes())
            );
            lines.truncate(lines.len() - "\r\n\r\n".len());
            lines.push_str(&header);
        }
        lines.into_bytes()
    }
}

/// Returns whether a proxy has made the tunnel, from the head of its answer.
pub(super) fn has_tunnel(head: &[u8]) -> bool {
    let status = head.split(|byte| *byte == b' ').nth(1);
    head.starts_with(b"HTTP/1.") && status.is_some_and(|status| status.starts_with(b"2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(variables: &[(&str, &str)]) -> Upstreams {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into()));
        Upstreams::read(&environment.collect())
    }

    fn asked(head: &str) -> Asked {
        Asked::parse(head.as_bytes()).unwrap()
    }

    #[test]
    fn the_variables_of_curl_choose_the_proxy() {
        let tunnel = asked("CONNECT git.example.org:443 HTTP/1.1\r\n\r\n");
        let plain = asked("GET http://example.org/x HTTP/1.1\r\n\r\n");
        let host =
            |upstreams: &Upstreams, asked| upstreams.of(asked).map(|u| (u.host.clone(), u.port));
        let both = upstreams(&[("all_proxy", "http://p:3128/"), ("http_proxy", "q:8080")]);
        assert_eq!(host(&both, &tunnel), Some(("p".into(), 3128)));
        assert_eq!(host(&both, &plain), Some(("q".into(), 8080)));
        let direct =
            upstreams(&[("https_proxy", "http://p:1"), ("no_proxy", "x.org, .example.org")]);
        assert_eq!(host(&direct, &tunnel), None);
        let other = upstreams(&[("https_proxy", "http://p:1"), ("no_proxy", "ample.org")]);
        assert!(host(&other, &tunnel).is_some());
        for none in ["socks5://p:1", "https://p:1", "http://:1", "http://p:x"] {
            assert_eq!(host(&upstreams(&[("https_proxy", none)]), &tunnel), None, "{none}");
        }
    }

    #[test]
    fn requests_are_written_for_the_proxy_with_its_credentials() {
        let proxy = upstreams(&[("all_proxy", "http://me:secret@p:1")]);
        let text = |asked: &Asked| String::from_utf8(proxy.of(asked).unwrap().head(asked)).unwrap();
        assert_eq!(
            text(&asked("CONNECT [2a01::1]:443 HTTP/1.1\r\n\r\n")),
            "CONNECT [2a01::1]:443 HTTP/1.1\r\nHost: [2a01::1]:443\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
        );
        assert_eq!(
            text(&asked("GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n")),
            "GET http://h:80/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
        );
    }

    #[test]
    fn a_tunnel_is_made_if_the_proxy_says_so() {
        assert!(has_tunnel(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!has_tunnel(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
        assert!(!has_tunnel(b"nonsense"));
    }
}
