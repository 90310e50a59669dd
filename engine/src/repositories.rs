//! Repositories of this machine as sources of trees for the embedded evaluator.
//!
//! A commit is read from its objects, so that evaluating one needs neither a checkout nor a copy of it
//! in the store. Start at [`LocalRepositories`].

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use levain_actions::git::{CommitId, GitError, Repository};
use levain_evaluator::lang::io::{Fetch, FetchValue, IoError};
use levain_evaluator::outside::{Access, FetchedTree, Fetcher};

/// The repositories that an evaluation may read.
pub struct LocalRepositories {
    access: Access,
}

/// What a request says about the commit that it wants.
struct Wanted<'f> {
    request: &'f Fetch,
    path: PathBuf,
}

impl LocalRepositories {
    /// Opens the repositories that lie where `access` allows it.
    pub fn new(access: Access) -> io::Result<Self> {
        Ok(Self { access: access.resolved()? })
    }
}

impl Fetcher for LocalRepositories {
    fn fetch(&self, request: &Fetch) -> Result<Option<FetchedTree>, IoError> {
        let Some(wanted) = Wanted::of(request) else { return Ok(None) };
        let allowed = self.access.allows_target(&wanted.path);
        let allowed = allowed.map_err(|error| wanted.refused(error.to_string()))?;
        if !allowed {
            return Err(IoError::Forbidden {
                path: wanted.path.display().to_string(),
                reason: "it is outside of the trees that this evaluation may read".to_owned(),
            });
        }
        wanted.supported()?;
        let repository =
            Repository::discover(&wanted.path).map_err(|error| wanted.failed(&error))?;
        // The search for a repository goes upwards, perhaps out of what may be read.
        let place = std::fs::canonicalize(&wanted.path);
        let place = place.map_err(|error| wanted.refused(error.to_string()))?;
        let is_it = |root: &Path| std::fs::canonicalize(root).is_ok_and(|root| root == place);
        if !is_it(repository.location()) && !is_it(repository.git_dir()) {
            return Err(wanted.refused("it is not the root of a repository"));
        }
        let commit = wanted.commit(&repository)?;
        wanted.tree(&repository, commit).map(Some)
    }
}

impl<'f> Wanted<'f> {
    /// Understands a request for a repository on this machine.
    fn of(request: &'f Fetch) -> Option<Self> {
        if text(request, "type") != Some("git") {
            return None;
        }
        let url = text(request, "url")?;
        let url = url.strip_prefix("git+").unwrap_or(url);
        let path = url.strip_prefix("file://").unwrap_or(url);
        path.starts_with('/').then(|| Self { request, path: PathBuf::from(path) })
    }

    fn refused(&self, reason: impl Into<String>) -> IoError {
        let path = self.path.display();
        IoError::Unavailable {
            what: format!("fetch the repository `{path}` with `{}`", self.request.builtin),
            reason: reason.into(),
        }
    }

    fn failed(&self, error: &GitError) -> IoError {
        self.refused(error.to_string())
    }

    fn flag(&self, wanted: &str) -> bool {
        let wanted = (wanted.to_owned(), FetchValue::Bool(true));
        self.request.attributes.contains(&wanted)
    }

    /// Refuses what a commit's own objects do not have.
    fn supported(&self) -> Result<(), IoError> {
        for (name, what) in [
            ("submodules", "submodules are not read"),
            ("lfs", "files of Git LFS are not read"),
            ("verifyCommit", "signatures are not checked"),
        ] {
            if self.flag(name) {
                return Err(self.refused(format!("{what} (`{name} = true`)")));
            }
        }
        Ok(())
    }

    /// Finds the commit: the revision, else the head of a ref, else that of the work tree.
    fn commit(&self, repository: &Repository) -> Result<CommitId, IoError> {
        if let Some(revision) = text(self.request, "rev") {
            let id: CommitId = revision
                .parse()
                .map_err(|_text| self.refused(format!("`{revision}` is no commit")))?;
            return repository.commit(&id.to_string()).map_err(|error| self.failed(&error));
        }
        if let Some(reference) = text(self.request, "ref").filter(|name| *name != "HEAD") {
            let full = match reference {
                full if full.starts_with("refs/") => full.to_owned(),
                branch => format!("refs/heads/{branch}"),
            };
            let found = repository.reference(&full).map_err(|error| self.failed(&error))?;
            return found.ok_or_else(|| self.refused(format!("it has no ref `{full}`")));
        }
        // Nix would take the files as they are in the work tree; only commits are read here.
        if repository.has_changes().map_err(|error| self.failed(&error))? {
            let reason =
                "its work tree has changes that are not committed, and no `rev` or `ref` is given";
            return Err(self.refused(reason));
        }
        repository.head().map_err(|error| self.failed(&error))
    }

    fn tree(&self, repository: &Repository, commit: CommitId) -> Result<FetchedTree, IoError> {
        let failed = |error: GitError| self.failed(&error);
        let shallow = self.flag("shallow");
        if repository.is_shallow() && !shallow {
            return Err(self.refused("its history was cut off, and `shallow = true` is not given"));
        }
        let tree = repository.tree(commit).map_err(failed)?;
        // Nix applies this attribute for `fetchGit`, and for others on demand.
        let leaves_out = self.request.builtin == "fetchGit" || self.flag("exportIgnore");
        let mentioned = leaves_out.then(|| tree.mentions_attribute("export-ignore")).transpose();
        if mentioned.map_err(|error| self.refused(error.to_string()))? == Some(true) {
            let reason = "its `.gitattributes` say `export-ignore`, which is not followed here; `fetchTree` takes all files";
            return Err(self.refused(reason));
        }
        let mut attributes = vec![
            ("rev".to_owned(), FetchValue::String(commit.to_string())),
            (
                "lastModified".to_owned(),
                FetchValue::Int(repository.commit_time(commit).map_err(failed)?),
            ),
        ];
        if !shallow {
            let mut count = 0;
            for ancestor in repository.ancestors(commit).map_err(failed)? {
                ancestor.map_err(failed)?;
                count += 1;
            }
            attributes.push(("revCount".to_owned(), FetchValue::Int(count)));
        }
        Ok(FetchedTree { tree: Rc::new(tree), attributes })
    }
}

fn text<'f>(request: &'f Fetch, wanted: &str) -> Option<&'f str> {
    request.attributes.iter().find_map(|(name, value)| match value {
        FetchValue::String(text) if name == wanted => Some(text.as_str()),
        FetchValue::String(_) | FetchValue::Int(_) | FetchValue::Bool(_) => None,
    })
}
