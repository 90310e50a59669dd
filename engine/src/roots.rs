//! Garbage collector roots: one link for each cache that a pointer names, and for each output that is
//! kept.
//!
//! The links live beside the other state and are registered with the store as
//! indirect roots, so deleting the repository releases them too.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use levain_store::{Connection, ProtocolError, StoreDir, StorePath};

/// A root could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The link could not be changed.
    #[error("cannot change the garbage collector root `{link}`: {source}")]
    Link {
        /// The link.
        link: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The store did not register it.
    #[error("cannot register the garbage collector root `{link}`: {source}")]
    Register {
        /// The link.
        link: String,
        /// What the store said.
        source: ProtocolError,
    },
}

/// Keeps `path` from garbage collection by a link in the directory `links`, until [`sync`] finds that
/// nobody names it.
pub(crate) fn add(
    links: &Path,
    connection: &mut Connection,
    dir: &StoreDir,
    path: &StorePath,
) -> Result<(), RootError> {
    let link = links.join(path.to_string());
    let failed = |source| RootError::Link { link: link.display().to_string(), source };
    let target = dir.display(path);
    match fs::read_link(&link) {
        Ok(present) if present == Path::new(&target) => {}
        Ok(_) | Err(_) => {
            match fs::remove_file(&link) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            symlink(&target, &link).map_err(failed)?;
        }
    }
    connection
        .add_indirect_root(&link)
        .map_err(|source| RootError::Register { link: link.display().to_string(), source })
}

/// Releases every path that is not in `named`.
pub(crate) fn sync(links: &Path, named: &BTreeSet<String>) -> Result<(), RootError> {
    let Ok(links) = fs::read_dir(links) else { return Ok(()) };
    for link in links.flatten() {
        let link = link.path();
        let keeps = fs::read_link(&link)
            .is_ok_and(|target| target.to_str().is_some_and(|target| named.contains(target)));
        if keeps {
            continue;
        }
        fs::remove_file(&link)
            .map_err(|source| RootError::Link { link: link.display().to_string(), source })?;
    }
    Ok(())
}
