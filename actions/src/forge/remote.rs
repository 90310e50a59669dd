//! Reads a git remote's URL: which host it is on, and which repository there.
//!
//! Local paths and URLs of unknown shape give nothing rather than a guess.

use reqwest::Url;

use super::ForgeKind;

/// Where a forge's interface is and what it calls a repository, as told by the remote's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRepository {
    /// The root of the forge's interface.
    pub api_url: String,
    /// `owner/name`, with any number of groups before the name where the forge has those.
    pub repository: String,
}

/// Returns the interface and the repository that belong to a remote's URL.
///
/// Reads `https://`, `http://`, `ssh://`, `git://` and the `user@host:path` form; a user name or a
/// password in the URL is dropped. The scheme of the interface is `https` unless the remote's is
/// `http`; a port is kept for those two and dropped for `ssh`, where it is another server's.
pub fn repository_from_remote(kind: ForgeKind, url: &str) -> Option<RemoteRepository> {
    let remote = parse(url)?;
    let path = remote.path.trim_matches('/');
    let repository = path.strip_suffix(".git").unwrap_or(path);
    if !super::config::is_repository(kind, repository) || !repository.contains('/') {
        return None;
    }
    let forge = kind.record();
    let api_url = match forge.public_api {
        Some(url) if remote.host == forge.public_host => url.to_owned(),
        Some(_) | None => format!("{}{}", remote.web, forge.api_path),
    };
    Some(RemoteRepository { api_url, repository: repository.to_owned() })
}

/// Returns `host/path` of a remote's URL: the same text whichever way leads to the repository.
pub fn place_of_remote(url: &str) -> Option<String> {
    let remote = parse(url)?;
    let path = remote.path.trim_matches('/');
    Some(format!("{}/{}", remote.host, path.strip_suffix(".git").unwrap_or(path)))
}

/// Returns the address of a remote's URL without what makes no difference: the same text for all spellings of one way to a
/// repository, and another one for each other way. Without a password.
pub fn address_of_remote(url: &str) -> Option<String> {
    let url = url.trim();
    let url = url.strip_prefix("git+").unwrap_or(url);
    let parsed = match url.contains("://") {
        true => Url::parse(url).ok()?,
        false => {
            parse_scp(url)?;
            let (place, path) = url.split_once(':')?;
            Url::parse(&format!("ssh://{place}/{}", path.trim_start_matches('/'))).ok()?
        }
    };
    parse(url)?;
    let host = parsed.host_str()?.to_ascii_lowercase();
    let user = match parsed.username() {
        "" => String::new(),
        user => format!("{user}@"),
    };
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = parsed.path().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    Some(format!("{}://{user}{host}{port}/{path}", parsed.scheme()))
}

/// Returns a remote's URL as it is since its repository is called `path`; nothing if that is no path at such a forge.
pub fn renamed(kind: ForgeKind, url: &str, path: &str) -> Option<String> {
    let before = repository_from_remote(kind, url)?.repository;
    if !super::config::is_repository(kind, path) || !path.contains('/') {
        return None;
    }
    // The last, since a host or a user may be called like an owner.
    let at = url.rfind(&before)?;
    let after = format!("{}{path}{}", &url[..at], &url[at + before.len()..]);
    // Whatever else stands in the URL leads where it led.
    let is_right = repository_from_remote(kind, &after).is_some_and(|read| read.repository == path);
    (is_right && host(url) == host(&after)).then_some(after)
}

/// Returns the host in a remote's URL, in lower case and as browsers reach it.
pub(super) fn host(url: &str) -> Option<String> {
    parse(url).map(|remote| remote.host)
}

struct Remote {
    host: String,
    /// Scheme, host and port of the web server.
    web: String,
    path: String,
}

fn parse(url: &str) -> Option<Remote> {
    let url = url.trim();
    let url = url.strip_prefix("git+").unwrap_or(url);
    if !url.contains("://") {
        return parse_scp(url);
    }
    let url = Url::parse(url).ok()?;
    let host = web_host(url.host_str()?);
    let web = match url.scheme() {
        scheme @ ("https" | "http") => match url.port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        },
        "ssh" | "git" => format!("https://{host}"),
        _ => return None,
    };
    Some(Remote { host, web, path: url.path().to_owned() })
}

/// Reads `user@host:path`. Without a user, `host:path` is taken only if the host has a dot, since
/// `github:owner/name` is a flake reference and `C:/dir` a path.
fn parse_scp(url: &str) -> Option<Remote> {
    let (place, path) = url.split_once(':')?;
    if place.contains('/') {
        return None;
    }
    let (user, host) = match place.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, place),
    };
    if host.is_empty() || (user.is_none() && !host.contains('.')) {
        return None;
    }
    // The URL parser is the judge of what a host is.
    let host = Url::parse(&format!("https://{host}/")).ok()?.host_str().map(web_host)?;
    Some(Remote { web: format!("https://{host}"), host, path: path.to_owned() })
}

/// Maps the hosts that serve SSH on port 443 to the ones they stand for.
fn web_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "ssh.github.com" | "www.github.com" => "github.com".to_owned(),
        "altssh.gitlab.com" => "gitlab.com".to_owned(),
        _ => host,
    }
}
