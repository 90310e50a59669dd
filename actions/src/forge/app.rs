//! Apps: what a forge lets a program be by itself, instead of acting with somebody's token.
//!
//! An App proves itself with a key, for a few minutes at a time, and is given tokens that are good for one repository and
//! for about an hour. Nothing that a delivery says about installations is used: the forge is asked which one a repository
//! is in. Start at [`AppLogin::token`].

mod installed;
mod key;
mod manifest;

use std::time::{Duration, SystemTime};

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::{Endpoint, ForgeConfig, ForgeError, ForgeKind, Masks, Token, http};
use crate::status::shorten;
pub use installed::Installed;
pub(super) use installed::{Installation, Installations};
pub use key::{AppKey, AppKeyError};
pub use manifest::{MadeApp, Manifest, ManifestForm, made, manifest_form};

/// How much of a refusal is shown.
const EXCERPT_LIMIT: usize = 200;

/// What a token is for. It is allowed to do that and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// To fetch, and to read pull requests and what people may do.
    Read,
    /// To push and to report results, besides.
    Write,
}

/// How a forge deals with Apps.
pub(super) struct Apps {
    /// Where it says which installation a repository is in. The method is GET, the token the App's own.
    pub(super) installation: fn(&Endpoint) -> Url,
    /// Reads the number of the installation.
    pub(super) read_installation: fn(&[u8]) -> Option<u64>,
    /// Where it gives tokens of an installation. The method is POST, the token the App's own.
    pub(super) tokens: fn(&Endpoint, u64) -> Url,
    /// What it is asked for: a token for one repository, by its number if that is known.
    pub(super) narrowed: fn(&Endpoint, Reach, Option<u64>) -> Value,
    /// Reads what it gives.
    pub(super) read_token: fn(&[u8]) -> Option<GivenToken>,
    /// How it lists where an App is installed.
    pub(super) installations: Installations,
    /// The page on which somebody makes an App, for themselves or for an organisation.
    pub(super) make: fn(&Url, Option<&str>) -> Url,
    /// What such a page is to be posted.
    pub(super) manifest: fn(&Manifest<'_>) -> Value,
    /// Where the code that it sends people back with is exchanged. The method is POST.
    pub(super) conversion: fn(&Endpoint, &str) -> Url,
    /// Reads the new App.
    pub(super) read_made: fn(&[u8]) -> Option<MadeApp>,
}

/// A token, as a forge gives it.
pub(super) struct GivenToken {
    pub(super) token: String,
    /// When it ends, as the forge writes times.
    pub(super) expires_at: String,
    /// The number of the repository that it is for, if it is for just one.
    pub(super) repository: Option<u64>,
}

/// A token that an App was given for one repository.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The token. Its length tells nothing.
    pub token: Token,
    /// When it ends.
    pub expires_at: SystemTime,
    /// The forge's number for the repository, if it says.
    pub repository: Option<u64>,
    /// The forge's number for the installation.
    pub installation: u64,
}

/// The repository that an App was granted before, by the forge's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownGrant {
    /// The repository's.
    pub repository: u64,
    /// That of the installation it was in.
    pub installation: u64,
}

/// An App was given no token.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The forge has no Apps.
    #[error("{kind} has no Apps\nhint: use a token: `--token-file`")]
    NoApps {
        /// The forge.
        kind: ForgeKind,
    },
    /// The App is in no installation with the repository.
    #[error(
        "the App may not see `{repository}`\nhint: install it there, or let its installation have this repository"
    )]
    NotInstalled {
        /// The repository.
        repository: String,
    },
    /// The forge does not take the key.
    #[error(
        "{url} does not take the App's key: {message}\nhint: is it the key of this App, and is the clock of this machine right?"
    )]
    Key {
        /// The root of its interface.
        url: String,
        /// What it said.
        message: String,
    },
    /// The forge refuses.
    #[error("{url} answered {status} when asked for {what}: {message}")]
    Refused {
        /// The root of its interface.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it was asked for.
        what: &'static str,
        /// What it said.
        message: String,
    },
    /// The forge was not reached.
    #[error("cannot reach {url}: {source}")]
    Unreachable {
        /// The root of its interface.
        url: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// Its answer says something else.
    #[error("the answer of {url} does not hold {what}")]
    Garbage {
        /// The root of its interface.
        url: String,
        /// What it should have.
        what: &'static str,
    },
    /// It is not where a forge's web pages are.
    #[error("`{url}` is not the address of a forge\nhint: such as `https://git.example.org`")]
    Address {
        /// What it is, without a password.
        url: String,
    },
    /// It is no name of an organisation.
    #[error("that is no name of an organization\nhint: copy it from the address of its page")]
    Organization,
    /// It is no code of a forge.
    #[error("that is no code of the forge\nhint: begin anew")]
    Code,
    /// The key cannot sign.
    #[error(transparent)]
    Signing(#[from] AppKeyError),
    /// The forge cannot be asked at all.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

impl AppError {
    /// Returns whether it makes sense to ask once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status == 403 || *status == 429 || *status >= 500,
            Self::NoApps { .. }
            | Self::NotInstalled { .. }
            | Self::Key { .. }
            | Self::Garbage { .. }
            | Self::Address { .. }
            | Self::Organization
            | Self::Code
            | Self::Signing(_)
            | Self::Forge(_) => false,
        }
    }
}

/// An App that asks for tokens of one repository.
#[derive(Debug)]
pub struct AppLogin {
    endpoint: Endpoint,
    http: reqwest::Client,
    apps: &'static Apps,
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Apps")
    }
}

impl AppLogin {
    /// Prepares to ask; asks nothing yet.
    pub fn new(config: &ForgeConfig) -> Result<Self, AppError> {
        let kind = config.kind;
        let apps = kind.record().apps.ok_or(AppError::NoApps { kind })?;
        let endpoint = config.endpoint()?;
        let http = http::client(&endpoint)?;
        Ok(Self { endpoint, http, apps })
    }

    /// Asks for a token that is good for this repository alone.
    ///
    /// `known` is the repository as it was granted before. If there is no such repository any more, the token is for what
    /// has its name now: the caller compares the numbers.
    pub async fn token(
        &self,
        key: &AppKey,
        reach: Reach,
        now: SystemTime,
        known: Option<KnownGrant>,
    ) -> Result<Granted, AppError> {
        let own = key.sign(now)?;
        if let Some(KnownGrant { repository, installation }) = known {
            match self.granted(installation, reach, Some(repository), &own).await {
                // It was deleted, taken out of the installation, or is in another one since.
                Err(AppError::NotInstalled { .. }) => {}
                granted => return granted,
            }
        }
        let url = (self.apps.installation)(&self.endpoint);
        let (status, body) = self.ask(Method::GET, url, &own, None).await?;
        let what = "the installation";
        let installation = match status {
            StatusCode::OK => (self.apps.read_installation)(&body)
                .ok_or_else(|| AppError::Garbage { url: self.base(), what })?,
            // Repositories that it may not see are not told from those that are not there.
            StatusCode::NOT_FOUND => return Err(self.not_installed()),
            status => return Err(self.refused(status, what, &body, &own)),
        };
        self.granted(installation, reach, None, &own).await
    }

    /// Asks an installation for a token, for the repository of a number or of this name.
    async fn granted(
        &self,
        installation: u64,
        reach: Reach,
        number: Option<u64>,
        own: &Token,
    ) -> Result<Granted, AppError> {
        let url = (self.apps.tokens)(&self.endpoint, installation);
        let asked = (self.apps.narrowed)(&self.endpoint, reach, number);
        let (status, body) = self.ask(Method::POST, url, own, Some(asked)).await?;
        let what = "a token";
        match status {
            StatusCode::CREATED | StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_installed()),
            // So it says that the installation has no such repository.
            StatusCode::UNPROCESSABLE_ENTITY if number.is_some() => {
                return Err(self.not_installed());
            }
            status => return Err(self.refused(status, what, &body, own)),
        }
        let garbage = || AppError::Garbage { url: self.base(), what };
        let given = (self.apps.read_token)(&body).ok_or_else(garbage)?;
        // What is wrong with a token could be told only by showing it.
        let token = Token::from_value(&given.token).ok().ok_or_else(garbage)?;
        let expires_at = humantime::parse_rfc3339(&given.expires_at).ok().ok_or_else(garbage)?;
        let repository = given.repository.or(number);
        Ok(Granted { token, expires_at, repository, installation })
    }

    async fn ask(
        &self,
        method: Method,
        url: Url,
        token: &Token,
        body: Option<Value>,
    ) -> Result<(StatusCode, Vec<u8>), AppError> {
        let unreachable = |source: reqwest::Error| AppError::Unreachable {
            url: self.base(),
            source: source.without_url(),
        };
        let headers = http::headers(self.endpoint.kind, token);
        let request = self.http.request(method, url).headers(headers);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = http::send(&self.endpoint, request).await.map_err(unreachable)?;
        let status = response.status();
        Ok((status, http::read(response).await.map_err(unreachable)?))
    }

    fn base(&self) -> String {
        self.endpoint.base.to_string()
    }

    fn not_installed(&self) -> AppError {
        AppError::NotInstalled { repository: self.endpoint.repository.clone() }
    }

    fn refused(
        &self,
        status: StatusCode,
        what: &'static str,
        body: &[u8],
        own: &Token,
    ) -> AppError {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let said = answer.get("message").and_then(Value::as_str);
        // Masked before it is cut: half a token is not recognised any more.
        let message = match said.map(str::trim) {
            None | Some("") => "no reason was given".to_owned(),
            Some(said) => shorten(&Masks::new([own]).apply(said), EXCERPT_LIMIT),
        };
        let (url, code) = (self.base(), status.as_u16());
        match status {
            StatusCode::UNAUTHORIZED => AppError::Key { url, message },
            _ => AppError::Refused { url, status: code, what, message },
        }
    }
}

/// How long before its end a token is not used any more: what is begun with it has to end, and clocks differ.
pub const SPARE: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests;
