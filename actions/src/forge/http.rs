//! Speaking HTTP with a forge's interface, the same for whoever posts and whoever asks.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Endpoint, ForgeError, ForgeKind, Token, tls_config};

/// How much of an answer is read. Forges answer a few kilobytes.
pub(super) const ANSWER_LIMIT: usize = 256 * 1024;

/// Makes a client that follows no redirect and waits for nothing for ever.
pub(crate) fn client(endpoint: &Endpoint) -> Result<reqwest::Client, ForgeError> {
    let mut http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config(endpoint)?)
        // A redirect would carry the token to another host: not every forge's header is one that the HTTP library knows
        // to be secret.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("levain/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(30));
    if is_loopback(&endpoint.base) {
        http = http.no_proxy();
    }
    http.build().map_err(|source| ForgeError::Client { kind: endpoint.kind, source })
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the headers that a forge wants, the secret one included.
pub(crate) fn headers(kind: ForgeKind, token: &Token) -> HeaderMap {
    let forge = kind.record();
    let mut headers: HeaderMap = forge
        .headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let secret = format!("{}{}", forge.token_prefix, token.expose());
    let mut secret =
        HeaderValue::from_str(&secret).expect("a token is made of visible ASCII characters only");
    secret.set_sensitive(true);
    headers.insert(HeaderName::from_static(forge.token_header), secret);
    headers
}

/// Sends a request. Whoever listens hears what the answer says of limits.
pub(crate) async fn send(
    endpoint: &Endpoint,
    request: reqwest::RequestBuilder,
) -> Result<reqwest::Response, reqwest::Error> {
    let response = request.send().await?;
    if let Some(limits) = &endpoint.limits {
        limits.hear(response.status(), response.headers());
    }
    Ok(response)
}

/// Reads an answer up to [`ANSWER_LIMIT`]; whatever streams for ever is no forge.
pub(crate) async fn read(response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    read_within(response, ANSWER_LIMIT).await
}

/// Reads an answer up to a limit; one that has more bytes was cut.
pub(crate) async fn read_within(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            break;
        }
    }
    Ok(body)
}
