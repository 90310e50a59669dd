//! Apps: which installation has a repository, and tokens for it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::forge::Endpoint;
use crate::forge::app::{Apps, GivenToken, Reach};

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
};

/// What the tokens are for: one repository, by its name without the owner's.
fn narrowed(endpoint: &Endpoint, reach: Reach) -> Value {
    let (_, name) = endpoint.owner_and_name();
    let permissions = match reach {
        Reach::Read => json!({ "contents": "read", "metadata": "read", "pull_requests": "read" }),
        // The shadow branch is pushed.
        Reach::Write => json!({
            "checks": "write", "contents": "write", "metadata": "read", "pull_requests": "read",
        }),
    };
    json!({ "repositories": [name], "permissions": permissions })
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
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
