//! Fetching without a network: from the store, from a directory, or from whoever has trees.

use std::rc::Rc;

use levain_store::content_address::make_source_path;
use levain_store::{Digest, HashAlgorithm, NarHash};

use super::files::Files;
use super::host::{self, HostTree};
use crate::lang::io::{Fetch, FetchValue, Fetched, IoError};
use crate::lang::value::NixPath;

/// What is known about a tree that lies in the store already, if the request says it.
const KEPT: [&str; 3] = ["rev", "revCount", "lastModified"];

fn text<'f>(request: &'f Fetch, wanted: &str) -> Option<&'f str> {
    request.attributes.iter().find_map(|(name, value)| match value {
        FetchValue::String(text) if name == wanted => Some(text.as_str()),
        FetchValue::String(_) | FetchValue::Int(_) | FetchValue::Bool(_) => None,
    })
}

fn unavailable(request: &Fetch, reason: String) -> IoError {
    let one = |name: &&str| text(request, name).map(str::to_owned);
    let object = match (text(request, "type"), text(request, "owner"), text(request, "repo")) {
        (Some(forge), Some(owner), Some(repository)) => {
            Some(format!("{forge}:{owner}/{repository}"))
        }
        _ => ["url", "path", "fromPath", "id"].iter().find_map(one),
    };
    IoError::Unavailable {
        what: match object {
            Some(object) => format!("fetch `{object}` with `{}`", request.builtin),
            None => format!("fetch with `{}`", request.builtin),
        },
        reason,
    }
}

impl Files {
    pub(super) fn fetched(&self, request: &Fetch) -> Result<Fetched, IoError> {
        match request.builtin {
            "fetchClosure" => self.closure(request),
            // The language has looked for what a hash names already.
            "fetchurl" | "fetchTarball" => {
                let reason = match text(request, "sha256") {
                    Some(_) => "no object with its hash is in the store, and nothing is downloaded",
                    None => "without `sha256` it cannot be found in the store",
                };
                Err(unavailable(request, reason.to_owned()))
            }
            "fetchMercurial" => {
                let reason = "nothing says where it would be in the store".to_owned();
                Err(unavailable(request, reason))
            }
            _ => self.fetched_tree(request),
        }
    }

    /// Takes a store object that is here already.
    fn closure(&self, request: &Fetch) -> Result<Fetched, IoError> {
        let to = text(request, "toPath").filter(|path| !path.is_empty());
        let Some(path) = to.or_else(|| text(request, "fromPath")) else {
            return Err(unavailable(request, "`fromPath` is missing".to_owned()));
        };
        let is_store_path = self.store.parse(path).is_ok();
        if !is_store_path || !self.has(path) {
            let reason = format!("`{path}` is not in the store, and nothing is downloaded");
            return Err(unavailable(request, reason));
        }
        self.open(path)?;
        Ok(Fetched { path: path.into(), attributes: Vec::new() })
    }

    fn fetched_tree(&self, request: &Fetch) -> Result<Fetched, IoError> {
        let wrong = |reason: String| unavailable(request, reason);
        let name = text(request, "name").unwrap_or("source");
        let expected = match text(request, "narHash").filter(|hash| !hash.is_empty()) {
            None => None,
            Some(hash) => {
                let digest = Digest::parse(hash, Some(HashAlgorithm::Sha256));
                let digest = digest.map_err(|error| wrong(error.to_string()))?;
                let bytes = digest.as_bytes().try_into().ok();
                Some(NarHash::from_bytes(
                    bytes.ok_or_else(|| wrong(format!("`{hash}` is no SHA-256")))?,
                ))
            }
        };
        let mut missing = "without `narHash` it cannot be found in the store".to_owned();
        if let Some(hash) = &expected {
            let path = make_source_path(&self.store, name, hash, &Default::default());
            let path = self.store.display(&path.map_err(|error| wrong(error.to_string()))?);
            if self.has(&path) {
                self.open(&path)?;
                let kept = |(name, _): &&(String, FetchValue)| KEPT.contains(&name.as_str());
                let attributes = request.attributes.iter().filter(kept).cloned();
                return Ok(Fetched {
                    path: path.into(),
                    attributes: attributes.chain([nar_hash(hash)]).collect(),
                });
            }
            missing = format!("`{path}` is not in the store, and nothing is downloaded");
        }
        let (mut fetched, found) = if text(request, "type") == Some("path") {
            self.directory(request, name)?
        } else if let Some(fetched) = self.fetcher.fetch(request)? {
            let (path, hash) = self.mount(name, fetched.tree)?;
            (Fetched { path, attributes: fetched.attributes }, hash)
        } else {
            return Err(wrong(missing));
        };
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(wrong(format!("it has the hash `{found}`, not `{expected}`")));
        }
        fetched.attributes.push(nar_hash(&found));
        Ok(fetched)
    }

    /// Takes a directory of this machine.
    fn directory(&self, request: &Fetch, name: &str) -> Result<(Fetched, NarHash), IoError> {
        let place = text(request, "path").filter(|path| path.starts_with('/'));
        let place =
            place.ok_or_else(|| unavailable(request, "its path is not absolute".to_owned()))?;
        let place = self.visible(&NixPath::canonical(place.as_bytes()))?;
        let tree = HostTree::new(place.clone());
        let given = request.attributes.iter().find(|(name, _)| name == "lastModified").cloned();
        let modified = match given {
            Some(given) => given,
            None => {
                let time = tree.last_modified(b"").map_err(|error| host::failed(&place, &error))?;
                ("lastModified".to_owned(), FetchValue::Int(time))
            }
        };
        let (path, hash) = self.mount(name, Rc::new(tree))?;
        Ok((Fetched { path, attributes: vec![modified] }, hash))
    }
}

fn nar_hash(hash: &NarHash) -> (String, FetchValue) {
    ("narHash".to_owned(), FetchValue::String(hash.to_string()))
}
