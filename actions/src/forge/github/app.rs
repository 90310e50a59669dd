//! Apps: which installation has a repository, tokens for it, and how an App is made.

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::forge::Endpoint;
use crate::forge::app::{
    Apps, GivenToken, Installation, Installations, Installed, MadeApp, Manifest, Reach,
};
use crate::forge::pull_request::asking;

pub(super) const APPS: Apps = Apps {
    installation: |endpoint| {
        let (owner, name) = endpoint.owner_and_name();
        endpoint.url(&["repos", owner, name, "installation"])
    },
    read_installation: |body| serde_json::from_slice::<Numbered>(body).ok().map(|found| found.id),
    tokens: |endpoint, installation| {
        endpoint.url(&["app", "installations", &installation.to_string(), "access_tokens"])
    },
    narrowed,
    read_token,
    installations: Installations {
        app: |endpoint| endpoint.url(&["app"]),
        owner: |body| serde_json::from_slice::<Owned>(body).ok().map(|app| app.owner.id),
        list: |endpoint, page| paged(endpoint.url(&["app", "installations"]), page),
        read: read_installations,
        narrowed: || json!({ "permissions": { "metadata": "read" } }),
        repositories: |endpoint, page| paged(endpoint.url(&["installation", "repositories"]), page),
        read_repositories,
        page_size: PAGE,
    },
    make: |web, organization| {
        let own = ["settings", "apps", "new"];
        let mut url = web.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(organization.iter().flat_map(|name| ["organizations", name]));
            path.extend(own);
        }
        url
    },
    manifest,
    conversion: |endpoint, code| endpoint.url(&["app-manifests", code, "conversions"]),
    read_made,
};

/// What an App may do, and what it is told of. What concerns installations is told in any case.
fn manifest(manifest: &Manifest<'_>) -> Value {
    json!({
        "name": manifest.name,
        "url": manifest.url,
        "hook_attributes": { "url": manifest.hook, "active": true },
        "redirect_url": manifest.return_to,
        "setup_url": manifest.installed,
        "public": false,
        "default_permissions": {
            "checks": "write",
            // The shadow branch is pushed.
            "contents": "write",
            // Comments are told only to those who may read issues.
            "issues": "read",
            "metadata": "read",
            "pull_requests": "read",
        },
        "default_events": [
            "check_run", "check_suite", "create", "delete", "issue_comment", "pull_request",
            "push", "repository",
        ],
    })
}

/// A new App. It has a client's secret as well, which nobody needs.
#[derive(Deserialize)]
struct Made {
    id: u64,
    slug: String,
    html_url: String,
    pem: String,
    webhook_secret: Option<String>,
}

fn read_made(body: &[u8]) -> Option<MadeApp> {
    let Made { id, slug, html_url, pem, webhook_secret } = serde_json::from_slice(body).ok()?;
    Some(MadeApp { number: id, name: slug, page: html_url, private_key: pem, webhook_secret })
}

/// What the tokens are for: one repository, by its number if that is known, else by its name without the owner's.
fn narrowed(endpoint: &Endpoint, reach: Reach, number: Option<u64>) -> Value {
    let (_, name) = endpoint.owner_and_name();
    let permissions = match reach {
        Reach::Read => json!({ "contents": "read", "metadata": "read", "pull_requests": "read" }),
        // The shadow branch is pushed.
        Reach::Write => json!({
            "checks": "write", "contents": "write", "metadata": "read", "pull_requests": "read",
        }),
    };
    match number {
        Some(number) => json!({ "repository_ids": [number], "permissions": permissions }),
        None => json!({ "repositories": [name], "permissions": permissions }),
    }
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

/// How many are asked for at a time: what is said of a repository is long.
const PAGE: usize = 20;

fn paged(url: Url, page: u32) -> Url {
    asking(url, &[("per_page", &PAGE.to_string()), ("page", &page.to_string())])
}

#[derive(Deserialize)]
struct Owned {
    owner: Numbered,
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
    account: Numbered,
    suspended_at: Option<String>,
}

fn read_installations(body: &[u8]) -> Option<Vec<Installation>> {
    let list: Vec<Listed> = serde_json::from_slice(body).ok()?;
    // The page counts all, so those that are suspended are kept, as nobody's.
    let of = |one: Listed| Installation {
        id: one.id,
        account: one.suspended_at.is_none().then_some(one.account.id),
    };
    Some(list.into_iter().map(of).collect())
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Vec<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    id: u64,
    full_name: String,
    html_url: String,
    #[serde(default)]
    archived: bool,
}

fn read_repositories(body: &[u8]) -> Option<Vec<Installed>> {
    let Repositories { repositories } = serde_json::from_slice(body).ok()?;
    let seen = |seen: Seen| Installed {
        id: seen.id,
        full_name: seen.full_name,
        url: seen.html_url,
        is_archived: seen.archived,
    };
    Some(repositories.into_iter().map(seen).collect())
}

/// What is given. Tokens begin with `ghs_`, and that is all that is known of them.
#[derive(Deserialize)]
struct Given {
    token: String,
    expires_at: String,
    #[serde(default)]
    repositories: Vec<Numbered>,
}

fn read_token(body: &[u8]) -> Option<GivenToken> {
    let Given { token, expires_at, repositories } = serde_json::from_slice(body).ok()?;
    let repository = match repositories.as_slice() {
        [only] => Some(only.id),
        _ => None,
    };
    Some(GivenToken { token, expires_at, repository })
}
