//! The keys of a project: which one signs its pointer entries, and whose signatures count.

use std::path::Path;
use std::sync::Arc;

use levain_actions::forge::place_of_remote;
use levain_actions::git::Repository;

use super::{ProjectError, Remote, Surroundings};
use crate::declaration::Declaration;
use crate::signing::{Keyring, PublicKey, SigningError, SigningKey};
use crate::state::{State, StateWriter};

/// Gathers the keys of the repository at `location`; makes its own key if `writer` may.
pub(super) fn keyring(
    surroundings: &Surroundings,
    declaration: &Declaration,
    remote: Option<&Remote>,
    location: &Path,
    state: &State,
    writer: Option<&StateWriter>,
) -> Result<Keyring, SigningError> {
    let own = match &surroundings.signing_key {
        Some(key) => Some(Arc::clone(key)),
        None => {
            let writer = writer.filter(|_| declaration.incremental.enable);
            signing_key(state, writer)?.map(Arc::new)
        }
    };
    let keys = Keyring::new(signed_name(remote, location), own, declaration.trusted_keys()?);
    // The key of a repository's state serves no other project, so what it signed before there was a
    // remote still counts.
    Ok(if surroundings.signing_key.is_none() { keys.also_called(ALONE) } else { keys })
}

/// Returns the key of the repository's own state; makes it if there is none and `writer` may.
fn signing_key(
    state: &State,
    writer: Option<&StateWriter>,
) -> Result<Option<SigningKey>, SigningError> {
    let path = state.signing_key();
    match (SigningKey::find(&path)?, writer) {
        (None, Some(_)) => SigningKey::make(&path).map(Some),
        (found, _) => Ok(found),
    }
}

/// Returns the public key that signs the entries of the repository in `directory`; makes a key if
/// there is none.
pub fn public_key(directory: &Path) -> Result<PublicKey, ProjectError> {
    let state = State::of(Repository::discover(directory)?.git_dir());
    if let Some(key) = signing_key(&state, None)? {
        return Ok(key.public().clone());
    }
    let writer = state.lock()?;
    let key = match signing_key(&state, Some(&writer))? {
        Some(key) => key,
        None => SigningKey::make(&state.signing_key())?,
    };
    Ok(key.public().clone())
}

/// What signatures call a project without a remote.
const ALONE: &str = "local";

/// Returns what signatures call the project: the place of its remote, so that a key that serves
/// several projects cannot carry an entry of one over to another.
fn signed_name(remote: Option<&Remote>, location: &Path) -> String {
    remote.map_or_else(|| ALONE.into(), |remote| place_of(&remote.url, location))
}

/// Returns what the repository at `url` is called, the same whichever way leads there. Paths may start at `location`.
pub fn place_of(url: &str, location: &Path) -> String {
    if let Some(place) = place_of_remote(url) {
        return place;
    }
    let path = location.join(url.strip_prefix("file://").unwrap_or(url));
    path.canonicalize().unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_called_the_same_whichever_way_leads_there() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("o.git")).unwrap();
        std::fs::create_dir_all(dir.join("c")).unwrap();
        let path = dir.join("o.git").display().to_string();
        let name = |url: &str| {
            signed_name(Some(&Remote { name: "origin".into(), url: url.into() }), &dir.join("c"))
        };
        for url in [
            "https://forge.example/a/b.git",
            "https://user:secret@Forge.example/a/b",
            "ssh://git@forge.example:2222/a/b.git/",
            "git@forge.example:a/b.git",
        ] {
            assert_eq!(name(url), "forge.example/a/b", "{url}");
        }
        assert_ne!(name("https://forge.example/a/c"), "forge.example/a/b");
        assert_ne!(name("https://other.example/a/b"), "forge.example/a/b");
        for url in [path.as_str(), "../o.git", &format!("file://{path}")] {
            assert_eq!(name(url), path, "{url}");
        }
        assert_eq!(signed_name(None, &dir), "local");
    }
}
