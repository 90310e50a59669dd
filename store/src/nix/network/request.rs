//! What a client asks of a proxy: the head of its request, read and written anew.
//!
//! Only what HTTP clients send to a proxy: `CONNECT HOST:PORT`, and requests for a whole `http://`
//! URL. No connection is made here. Start at [`Asked::parse`].

use std::net::IpAddr;

use super::address::split_port;

/// The longest head of a request.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The host's name or address.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// The request for the host itself; none for a tunnel.
    pub(super) forward: Option<Forward>,
}

/// A request that is passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forward {
    /// Its head.
    pub(super) head: Vec<u8>,
    /// How many bytes follow it. What comes after them would be another request, for any host.
    pub(super) body: u64,
}

impl Asked {
    /// Reads a head, with the empty line at its end. Nothing for what no client of a proxy sends.
    ///
    /// The operator's proxy reads the same head again, and it must not find another request in it. So
    /// only what every program reads alike is accepted: lines end with CR LF, and neither that nor
    /// another control character stands inside a line.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let is_known = matches!(version, "HTTP/1.0" | "HTTP/1.1");
        let splits = |c: char| c.is_control() || c.is_whitespace();
        if words.next().is_some() || !is_known || !is_token(method) || target.contains(splits) {
            return None;
        }
        let headers = lines.map(header).collect::<Option<Vec<_>>>()?;
        if method == "CONNECT" {
            let (host, port) = split_port(target)?;
            return Some(Self { host: valid(host)?, port: port?, forward: None });
        }
        // The scheme alone may have any case; `https` goes through a tunnel.
        let (scheme, rest) = target.split_once("://")?;
        // Clients keep the fragment to themselves.
        if !scheme.eq_ignore_ascii_case("http") || rest.contains('#') {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // What stands before an `@` is the user; clients send it in a header.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = split_port(authority)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        // As HTTP demands, the host that is asked for is the URL's, whatever the client names.
        let mut forward = format!("{method} {slash}{path} HTTP/1.1\r\nHost: {authority}\r\n");
        for (name, value) in &headers {
            if !OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                forward.push_str(&format!("{name}:{value}\r\n"));
            }
        }
        forward.push_str("Connection: close\r\n\r\n");
        let forward = Forward { head: forward.into_bytes(), body: body_length(&headers)? };
        Some(Self { host: valid(host)?, port: port.unwrap_or(80), forward: Some(forward) })
    }
}

/// What is not passed on: headers that concern a connection, of which there is one for each request (the
/// next one may be for another host); and the host, which is written anew.
const OWN: [&str; 8] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
];

/// Splits a header into its name and its value, with the blanks around that.
///
/// A name is a token, so no line that continues the one before passes for a header, and none whose
/// colon follows a blank: programs read those in different ways.
fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_plain = !value.contains(|c: char| c.is_control() && c != '\t');
    (is_token(name) && is_plain).then_some((name, value))
}

fn is_token(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(known)
}

/// Returns the length of a request's body; nothing if there are two ways to read it.
///
/// A body in chunks is refused as well: its end would have to be looked for, and nothing that evaluations
/// fetch without a tunnel needs one.
fn body_length(headers: &[(&str, &str)]) -> Option<u64> {
    let mut length = None;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim_matches([' ', '\t']);
            if length.is_some() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            length = Some(value.parse().ok()?);
        }
    }
    Some(length.unwrap_or(0))
}

/// Returns a host that every program takes for the same one.
///
/// What ends in a number is an address. In any but the usual form (`127.1`, `010.0.0.1`, `0x7f.1`) some
/// programs read another one than we do, or a name.
fn valid(host: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = match digits {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let is_clear = !is_number || host.parse::<IpAddr>().is_ok();
    let is_valid = !host.is_empty() && host.len() <= 255 && host.chars().all(known);
    (is_valid && is_clear).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(head: &str) -> (String, u16, String) {
        let asked = Asked::parse(head.as_bytes()).unwrap();
        (asked.host, asked.port, String::from_utf8(asked.forward.unwrap().head).unwrap())
    }

    #[test]
    fn a_tunnel_has_a_host_and_a_port() {
        let parse = |head: &str| Asked::parse(head.as_bytes()).map(|a| (a.host, a.port, a.forward));
        assert_eq!(
            parse("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
            Some(("example.org".into(), 443, None))
        );
        assert_eq!(parse("CONNECT [::1]:443 HTTP/1.1\r\n\r\n"), Some(("::1".into(), 443, None)));
        for wrong in [
            "example.org",
            "example.org:x",
            ":443",
            "a b:443",
            "a@b:443",
            "a/b:443",
            // Ports and addresses that another program may read differently.
            "h:+443",
            "h:0443",
            "h:0",
            "010.0.0.1:443",
            "127.1:443",
            "0x7f.1:443",
            "2130706433:443",
            "h.1.:443",
        ] {
            assert_eq!(parse(&format!("CONNECT {wrong} HTTP/1.1\r\n\r\n")), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_for_a_url_becomes_one_for_its_host() {
        let head = "GET http://u:p@example.org:81/a?b HTTP/1.1\r\nHost: example.org:81\r\nProxy-Connection: Keep-Alive\r\nAccept: */*\r\n\r\n";
        let (host, port, forward) = forwarded(head);
        assert_eq!((host.as_str(), port), ("example.org", 81));
        assert_eq!(
            forward,
            "GET /a?b HTTP/1.1\r\nHost: example.org:81\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let (host, port, forward) = forwarded("GET HTTP://h?x HTTP/1.1\r\n\r\n");
        assert_eq!((host.as_str(), port), ("h", 80));
        assert!(forward.starts_with("GET /?x HTTP/1.1\r\nHost: h\r\n"), "{forward}");
    }

    #[test]
    fn what_is_no_request_to_a_proxy_is_refused() {
        for wrong in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET https://h/ HTTP/1.1\r\n\r\n",
            "GET ftp://h/ HTTP/1.1\r\n\r\n",
            "GET http:/// HTTP/1.1\r\n\r\n",
            "GET http://h/ HTTP/2\r\n\r\n",
            "GET http://h/ x HTTP/1.1\r\n\r\n",
            "GET http://h/ HTTP/1.1\r\nno header\r\n\r\n",
            "GET http://h/ HTTP/1.1\r\n",
            "\r\n\r\n",
            "GET http://h/#x HTTP/1.1\r\n\r\n",
            "GET http://h/ HTTP/1.11\r\n\r\n",
            "G(T http://h/ HTTP/1.1\r\n\r\n",
            "GET http://h/\tx HTTP/1.1\r\n\r\n",
            "GET http://h/\u{85}x HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Asked::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused() {
        for wrong in [
            "A: b\n\nGET http://10.0.0.1/ HTTP/1.1\nHost: 10.0.0.1",
            "A: b\nB: c",
            "A: b\rB: c",
            "A: b\r\r\nB: c",
            "A: b\0",
            "A: b\u{b}",
            "A: b\u{7f}",
            // Folded, a blank before the colon, no name.
            "A: b\r\n c",
            "A: b\r\n\tc: d",
            "A : b",
            "A\t: b",
            ": b",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\ncontent-length: 2",
            "Content-Length: +1",
            "Content-Length: 1, 2",
            "Content-Length:",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
        ] {
            for head in ["GET http://1.1.1.1/", "POST http://h/"] {
                let head = format!("{head} HTTP/1.1\r\n{wrong}\r\n\r\n");
                assert_eq!(Asked::parse(head.as_bytes()), None, "{head:?}");
            }
        }
        let tunnel = "CONNECT h:443 HTTP/1.1\r\nA: b\nB: c\r\n\r\n";
        assert_eq!(Asked::parse(tunnel.as_bytes()), None);
    }

    #[test]
    fn only_what_every_program_reads_alike_is_passed_on() {
        let head = "POST http://h:81/ HTTP/1.0\r\nHost: 10.0.0.1\r\nhost: h\r\nContent-Length: 12 \r\nUpgrade: h2c\r\nA:\tb\r\n\r\n";
        let forward = Asked::parse(head.as_bytes()).unwrap().forward.unwrap();
        assert_eq!(forward.body, 12);
        assert_eq!(
            String::from_utf8(forward.head).unwrap(),
            "POST / HTTP/1.1\r\nHost: h:81\r\nContent-Length: 12 \r\nA:\tb\r\nConnection: close\r\n\r\n"
        );
        let plain = Asked::parse(b"GET http://h/ HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(plain.forward.unwrap().body, 0);
    }
}
