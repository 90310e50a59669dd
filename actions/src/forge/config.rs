//! Which forge, which repository, and how statuses are called there: checked once, at the edge.

use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{ForgeKind, LimitListener, remote};

/// The forge part of a declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ForgeConfig {
    /// Which forge it is.
    pub kind: ForgeKind,
    /// The root of the forge's interface; without it, the public one where there is one.
    #[serde(default)]
    pub api_url: Option<String>,
    /// `owner/name`; on a forge with groups also a longer path or the project's number.
    pub repository: String,
    /// What the names of levain's statuses start with.
    #[serde(default = "ForgeConfig::default_context_prefix")]
    pub context_prefix: String,
    /// A file with certificates that are trusted besides the system's; no part of a declaration.
    #[serde(skip)]
    pub ca_file: Option<PathBuf>,
    /// Who hears what the forge says of its limits; no part of a declaration either.
    #[serde(skip)]
    pub limits: Option<LimitListener>,
}

impl ForgeConfig {
    /// Returns the prefix used where a declaration names none.
    pub fn default_context_prefix() -> String {
        "levain".to_owned()
    }

    /// Reads interface and repository from the URL of a git remote.
    ///
    /// The URL may hold a password, so the error shows it without one.
    pub fn from_remote(kind: ForgeKind, url: &str) -> Result<Self, ForgeError> {
        let remote = remote::repository_from_remote(kind, url)
            .ok_or_else(|| ForgeError::Remote { kind, url: without_user(url) })?;
        Ok(Self {
            kind,
            api_url: Some(remote.api_url),
            repository: remote.repository,
            context_prefix: Self::default_context_prefix(),
            ca_file: None,
            limits: None,
        })
    }

    /// Fills an absent [`ForgeConfig::api_url`] from the URL of the git remote, if it tells.
    #[must_use]
    pub fn with_remote(mut self, url: &str) -> Self {
        if self.api_url.is_none() {
            self.api_url =
                remote::repository_from_remote(self.kind, url).map(|remote| remote.api_url);
        }
        self
    }

    /// Checks everything that can be checked without asking the forge.
    pub fn validate(&self) -> Result<(), ForgeError> {
        self.endpoint().map(|_| ())
    }

    /// Checks the fields and returns where to send.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, ForgeError> {
        let kind = self.kind;
        if !is_repository(kind, &self.repository) {
            let expected = kind.record().repository_names;
            let found = self.repository.clone();
            return Err(ForgeError::Repository { kind, found, expected });
        }
        // Only where the public interface has an address of its own does one mean it without saying so.
        let url = self.api_url.as_deref().or(kind.record().public_api);
        let base = api_url(kind, url.ok_or(ForgeError::ApiUrlMissing { kind })?)?;
        Ok(Endpoint {
            kind,
            base,
            repository: self.repository.clone(),
            ca_file: self.ca_file.clone(),
            limits: self.limits.clone(),
        })
    }
}

/// A forge's interface and one repository there, both checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) kind: ForgeKind,
    /// An `http` or `https` URL without user, query and fragment.
    pub(crate) base: Url,
    pub(crate) repository: String,
    pub(crate) ca_file: Option<PathBuf>,
    /// Who hears what it says of its limits.
    pub(crate) limits: Option<LimitListener>,
}

impl Endpoint {
    /// Returns the interface's URL with some path segments, each percent-encoded, appended.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        } else {
            // `api_url` lets only http and https pass, and the URLs of those always have a path.
            unreachable!("an http URL has a path");
        }
        url
    }

    /// Returns owner and name, for the forges where a repository is just these two.
    pub(crate) fn owner_and_name(&self) -> (&str, &str) {
        self.repository.split_once('/').unwrap_or((&self.repository, ""))
    }
}

/// Why a forge cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// No forge has that name.
    #[error(
        "unknown forge `{found}`, expected one of {}\nhint: set `kind` to the software that serves your repository",
        kinds()
    )]
    UnknownKind {
        /// What was found.
        found: String,
    },
    /// The interface's URL is neither given nor known.
    #[error(
        "forge `{kind}` needs its `apiUrl`\nhint: set it to the address of your server, such as `https://git.example.org`"
    )]
    ApiUrlMissing {
        /// The forge.
        kind: ForgeKind,
    },
    /// The interface's URL is not one that can be used.
    #[error(
        "`apiUrl` of forge `{kind}` is `{url}`, which {problem}\nhint: give scheme, host and path only, such as `https://git.example.org`"
    )]
    ApiUrl {
        /// The forge.
        kind: ForgeKind,
        /// The URL, without user and password.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The repository's name has the wrong form.
    #[error(
        "`repository` of forge `{kind}` is `{found}`, expected {expected}\nhint: copy it from the address of the repository's page, without the host and without `.git`"
    )]
    Repository {
        /// The forge.
        kind: ForgeKind,
        /// What was found.
        found: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// A remote's URL does not tell the repository.
    #[error(
        "the remote `{url}` does not tell a repository of forge `{kind}`\nhint: set `apiUrl` and `repository` of the forge in the project's declaration"
    )]
    Remote {
        /// The forge.
        kind: ForgeKind,
        /// The remote's URL, without user and password.
        url: String,
    },
    /// No certificate authorities were found, so no https server can be trusted.
    #[error("no certificate authorities found, looked in {}\nhint: install your system's CA certificates, or set `NIX_SSL_CERT_FILE` to a PEM bundle", .looked_in.join(", "))]
    NoCertificates {
        /// The files that were tried.
        looked_in: Vec<String>,
    },
    /// A file of certificate authorities that was asked for cannot be used.
    #[error(
        "cannot read certificate authorities from `{path}`: {message}\nhint: `{variable}` must name a PEM bundle"
    )]
    Certificates {
        /// The file.
        path: String,
        /// The setting that names it.
        variable: &'static str,
        /// Why not.
        message: String,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client for forge `{kind}`")]
    Client {
        /// The forge.
        kind: ForgeKind,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

fn kinds() -> String {
    ForgeKind::ALL.map(|kind| format!("`{kind}`")).join(", ")
}

/// Returns whether a text can be a repository's name on that forge.
pub(super) fn is_repository(kind: ForgeKind, text: &str) -> bool {
    let segments: Vec<&str> = text.split('/').collect();
    let well_formed = segments.iter().all(|segment| {
        !segment.is_empty()
            && *segment != "."
            && *segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+~".contains(&b))
    });
    well_formed
        && match kind.record().has_groups {
            false => segments.len() == 2,
            true => segments.len() >= 2 || text.bytes().all(|byte| byte.is_ascii_digit()),
        }
}

/// Checks an interface's URL and completes the path that the forge's software always has.
fn api_url(kind: ForgeKind, text: &str) -> Result<Url, ForgeError> {
    let problem = |problem| ForgeError::ApiUrl { kind, url: without_user(text), problem };
    // The parser's own words would add nothing to "is not a URL".
    let Ok(mut url) = Url::parse(text) else { return Err(problem("is not a URL")) };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(problem("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("holds a user or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(problem("has a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let forge = kind.record();
    let root = match forge.public_api {
        Some(_) => {
            let host = url.host_str().unwrap_or_default();
            if host.trim_start_matches("www.") == forge.public_host {
                return Err(problem("is the web site, not the interface"));
            }
            // There it stands alone on a host, and elsewhere below a path.
            ""
        }
        None => forge.api_path,
    };
    let path = if path.ends_with(root) { path } else { path + root };
    url.set_path(&path);
    Ok(url)
}

/// Removes user and password from a text that may be a URL.
fn without_user(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}{}", &rest[at + 1..]),
        None => format!("{scheme}{rest}"),
    }
}
