//! Making an App: somebody agrees to a manifest on the forge's own page, and comes back with a code for its secrets.
//!
//! The code is exchanged once, within the hour, and without signing in. Start at [`manifest_form`] and at [`made`].

use std::path::PathBuf;

use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::{AppError, Apps};
use crate::forge::{Endpoint, ForgeKind, http, remote};

/// The longest code that is sent back, and the longest name of an organisation.
const LONGEST: usize = 200;

/// What an App is to be.
#[derive(Clone, Debug)]
pub struct Manifest<'a> {
    /// Its name, which nobody else has at that forge.
    pub name: &'a str,
    /// Where people find this server.
    pub url: &'a str,
    /// Where its deliveries are sent to.
    pub hook: &'a str,
    /// Where somebody who agreed is sent back to.
    pub return_to: &'a str,
    /// Where somebody who installed it is sent to.
    pub installed: &'a str,
}

/// A form that leads to the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestForm {
    /// Where it is posted.
    pub action: Url,
    /// What its field `manifest` holds.
    pub manifest: String,
}

/// An App that was made, with its secrets. Its `Debug` shows none.
#[derive(Clone)]
pub struct MadeApp {
    /// The forge's number for it.
    pub number: u64,
    /// What it is called in addresses.
    pub name: String,
    /// Its page.
    pub page: String,
    /// Its key.
    pub private_key: String,
    /// What its deliveries are signed with.
    pub webhook_secret: Option<String>,
}

impl std::fmt::Debug for MadeApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MadeApp({} {})", self.number, self.name)
    }
}

fn apps(kind: ForgeKind) -> Result<&'static Apps, AppError> {
    kind.record().apps.ok_or(AppError::NoApps { kind })
}

/// Returns the form by which an App is made at a forge, for somebody's own account or for an organisation.
pub fn manifest_form(
    kind: ForgeKind,
    web: &str,
    organization: Option<&str>,
    manifest: &Manifest<'_>,
    state: &str,
) -> Result<ManifestForm, AppError> {
    let apps = apps(kind)?;
    // What cannot be the forge's address is not asked for the App's secrets later.
    endpoint(kind, web, None)?;
    let web = Url::parse(web).ok().ok_or_else(|| no_address(web))?;
    let is_name = |name: &&str| {
        name.len() <= LONGEST
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let organization = organization.filter(|name| !name.is_empty());
    if organization.is_some_and(|name| !is_name(&name)) {
        return Err(AppError::Organization);
    }
    let mut action = (apps.make)(&web, organization);
    action.query_pairs_mut().append_pair("state", state);
    Ok(ManifestForm { action, manifest: (apps.manifest)(manifest).to_string() })
}

/// Exchanges the code that somebody came back with.
pub async fn made(
    kind: ForgeKind,
    web: &str,
    code: &str,
    ca_file: Option<PathBuf>,
) -> Result<MadeApp, AppError> {
    let apps = apps(kind)?;
    let endpoint = endpoint(kind, web, ca_file)?;
    let url = endpoint.base.to_string();
    let is_code = (1..=LONGEST).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_code {
        return Err(AppError::Code);
    }
    let http = http::client(&endpoint)?;
    let unreachable = |source: reqwest::Error| AppError::Unreachable {
        url: url.clone(),
        // The address holds the code.
        source: source.without_url(),
    };
    let mut request = http.post((apps.conversion)(&endpoint, code));
    for (name, value) in kind.record().headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = http::read(response).await.map_err(unreachable)?;
    let what = "the new App";
    match status {
        StatusCode::CREATED | StatusCode::OK => {
            (apps.read_made)(&body).ok_or(AppError::Garbage { url, what })
        }
        status => {
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            let said = answer.get("message").and_then(Value::as_str).unwrap_or_default();
            let message =
                crate::status::shorten(&said.replace(code, "[code]"), super::EXCERPT_LIMIT);
            Err(AppError::Refused { url, status: status.as_u16(), what, message })
        }
    }
}

/// Returns where the interface of a forge is, by the address of its web pages.
fn endpoint(kind: ForgeKind, web: &str, ca_file: Option<PathBuf>) -> Result<Endpoint, AppError> {
    let is_web = Url::parse(web).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let below = format!("{}/owner/name", web.trim_end_matches('/'));
    let found = remote::repository_from_remote(kind, &below)
        .filter(|found| is_web && found.repository == "owner/name");
    let base = found.and_then(|found| Url::parse(&found.api_url).ok());
    let base = base.ok_or_else(|| no_address(web))?;
    Ok(Endpoint { kind, base, repository: "owner/name".to_owned(), ca_file, limits: None })
}

fn no_address(web: &str) -> AppError {
    AppError::Address { url: crate::git::masked(web) }
}
