//! Where an App is installed: the repositories that its own owner lets it have.
//!
//! An App that is public can be installed by anybody. Their repositories are not listed: nobody who runs the server chose
//! them.

use std::time::SystemTime;

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::{AppError, AppKey, AppLogin};
use crate::forge::{Endpoint, Token};

/// How many pages of a list are read.
const PAGES: u32 = 50;

/// How a forge lists what an App may see.
pub(in crate::forge) struct Installations {
    /// Where it describes the App. The token is the App's own.
    pub(in crate::forge) app: fn(&Endpoint) -> Url,
    /// Reads whose it is.
    pub(in crate::forge) owner: fn(&[u8]) -> Option<u64>,
    /// Where it lists the installations. The token is the App's own.
    pub(in crate::forge) list: fn(&Endpoint, page: u32) -> Url,
    /// Reads a page.
    pub(in crate::forge) read: fn(&[u8]) -> Option<Vec<Installation>>,
    /// What a token is asked for that lists the repositories of an installation, and does nothing else.
    pub(in crate::forge) narrowed: fn() -> Value,
    /// Where it lists the repositories of an installation. The token is the installation's.
    pub(in crate::forge) repositories: fn(&Endpoint, page: u32) -> Url,
    /// Reads a page.
    pub(in crate::forge) read_repositories: fn(&[u8]) -> Option<Vec<Installed>>,
    /// How many a page of either has at most.
    pub(in crate::forge) page_size: usize,
}

/// A place where an App is installed.
pub(in crate::forge) struct Installation {
    pub(in crate::forge) id: u64,
    /// The number of whose it is; nobody's while it is suspended.
    pub(in crate::forge) account: Option<u64>,
}

/// A repository that an App may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The forge's number for it.
    pub id: u64,
    /// Its path, `owner/name`.
    pub full_name: String,
    /// The address of its page.
    pub url: String,
    /// Whether nobody can push to it.
    pub is_archived: bool,
}

impl AppLogin {
    /// Fails unless the forge takes the App's key.
    pub async fn try_key(&self, key: &AppKey, now: SystemTime) -> Result<(), AppError> {
        let own = key.sign(now)?;
        let url = (self.apps.installations.app)(&self.endpoint);
        self.read(url, &own, "the App").await.map(drop)
    }

    /// Lists the repositories that the App's owner lets it have: all of them, or an error.
    pub async fn installed(
        &self,
        key: &AppKey,
        now: SystemTime,
    ) -> Result<Vec<Installed>, AppError> {
        let own = key.sign(now)?;
        let installations = &self.apps.installations;
        let body = self.read((installations.app)(&self.endpoint), &own, "the App").await?;
        let owner = (installations.owner)(&body).ok_or_else(|| self.garbage("the App"))?;
        let mut found = Vec::new();
        for page in 1..=PAGES {
            let what = "the installations";
            let body = self.read((installations.list)(&self.endpoint, page), &own, what).await?;
            let list = (installations.read)(&body).ok_or_else(|| self.garbage(what))?;
            let count = list.len();
            for installation in list {
                if installation.account == Some(owner) {
                    found.extend(self.repositories(installation.id, &own).await?);
                }
            }
            if count < installations.page_size {
                return Ok(found);
            }
        }
        Err(self.garbage("an end of the installations"))
    }

    async fn repositories(
        &self,
        installation: u64,
        own: &Token,
    ) -> Result<Vec<Installed>, AppError> {
        let installations = &self.apps.installations;
        let url = (self.apps.tokens)(&self.endpoint, installation);
        let asked = Some((installations.narrowed)());
        let (status, body) = self.ask(Method::POST, url, own, asked).await?;
        if !matches!(status, StatusCode::CREATED | StatusCode::OK) {
            return Err(self.refused(status, "a token", &body, own));
        }
        let given = (self.apps.read_token)(&body).ok_or_else(|| self.garbage("a token"))?;
        let token = Token::from_value(&given.token).ok().ok_or_else(|| self.garbage("a token"))?;
        let mut found = Vec::new();
        let what = "the repositories";
        for page in 1..=PAGES {
            let url = (installations.repositories)(&self.endpoint, page);
            let body = self.read(url, &token, what).await?;
            let list = (installations.read_repositories)(&body);
            let list = list.ok_or_else(|| self.garbage(what))?;
            let count = list.len();
            found.extend(list);
            if count < installations.page_size {
                return Ok(found);
            }
        }
        Err(self.garbage("an end of the repositories"))
    }

    async fn read(&self, url: Url, token: &Token, what: &'static str) -> Result<Vec<u8>, AppError> {
        match self.ask(Method::GET, url, token, None).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, body) => Err(self.refused(status, what, &body, token)),
        }
    }

    fn garbage(&self, what: &'static str) -> AppError {
        AppError::Garbage { url: self.base(), what }
    }
}
