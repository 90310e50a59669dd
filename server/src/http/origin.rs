//! Tells whether a browser sends a request on behalf of a page of this server, or of somebody else's.
//!
//! Cookies come along with both, so whatever changes something is refused unless the browser says that a page of ours
//! asked. Whoever sends no cookie but a token of its own is no browser that could be misled, and is not asked.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, Method};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Returns what browsers call a page at an address: its scheme, host and port.
pub(super) fn of(url: &str) -> String {
    let origin = reqwest::Url::parse(url).map(|url| url.origin());
    match origin {
        Ok(origin) if origin.is_tuple() => origin.ascii_serialization(),
        // No page has this one.
        Ok(_) | Err(_) => "nothing".to_owned(),
    }
}

/// Returns whether a method may change something.
pub(super) fn changes_something(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Returns whether a page of one of our `own` origins, such as `https://ci.example.org`, asked for this.
///
/// All browsers tell the origin of what they post, so a request that tells nothing is refused. Where two headers tell,
/// both must.
pub(super) fn is_own(headers: &HeaderMap, own: &[String]) -> bool {
    let site = headers.get_all(SEC_FETCH_SITE).iter().collect::<Vec<_>>();
    let origin = headers.get_all(ORIGIN).iter().collect::<Vec<_>>();
    let is_own_site = match site.as_slice() {
        [] => None,
        [one] => Some(*one == "same-origin"),
        _ => Some(false),
    };
    let is_own_origin = match origin.as_slice() {
        [] => None,
        [one] => Some(own.iter().any(|own| one.as_bytes() == own.as_bytes())),
        _ => Some(false),
    };
    match (is_own_site, is_own_origin) {
        (None, None) => false,
        (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const OWN: &str = "https://ci.example.org";

    fn asked(lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_own(&headers, &[OWN.to_owned()])
    }

    #[test]
    fn only_what_a_page_of_ours_asks() {
        let (site, origin) = ("sec-fetch-site", "origin");
        for good in [
            &[(site, "same-origin")][..],
            &[(origin, OWN)],
            &[(site, "same-origin"), (origin, OWN)],
        ] {
            assert!(asked(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &[(site, "cross-site")],
            // A neighbour on the same domain is somebody else.
            &[(site, "same-site")],
            &[(site, "none")],
            &[(site, "")],
            &[(site, "SAME-ORIGIN")],
            &[(origin, "null")],
            &[(origin, "")],
            &[(origin, "http://ci.example.org")],
            &[(origin, "https://ci.example.org:8443")],
            &[(origin, "https://ci.example.org.evil.example")],
            &[(origin, "https://evil.example")],
            &[(site, "cross-site"), (origin, OWN)],
            &[(site, "same-origin"), (origin, "https://evil.example")],
            &[(site, "same-origin"), (site, "cross-site")],
            &[(origin, OWN), (origin, "https://evil.example")],
        ] {
            assert!(!asked(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_is_what_browsers_send() {
        for (url, origin) in [
            ("https://CI.example.org/levain", OWN),
            ("https://ci.example.org:443", OWN),
            ("http://127.0.0.1:8740", "http://127.0.0.1:8740"),
            ("http://[::1]:80/", "http://[::1]"),
            ("file:///", "nothing"),
            ("", "nothing"),
        ] {
            assert_eq!(of(url), origin);
        }
    }

    #[test]
    fn whatever_is_no_question_may_change_something() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(!changes_something(&method), "{method}");
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::CONNECT] {
            assert!(changes_something(&method), "{method}");
        }
        assert!(changes_something(&Method::from_bytes(b"ANYTHING").unwrap()));
    }
}
