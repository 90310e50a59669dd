//! The repository that a project is worked on in, and how missing commits get there.

use levain_actions::git::{CommitId, GitError, OverlayDirectory, Prune, RemoteError, Repository};

use super::{ProjectError, Remote};

/// A repository, or a temporary one on top of it where nothing may be written to that.
pub(super) struct Workplace {
    /// Where objects and refs are read, and where those that are fetched go.
    pub(super) repository: Repository,
    /// What `repository` lies on top of.
    pub(super) aside: Option<Aside>,
    /// Whether `repository` itself may be written to.
    pub(super) writes: bool,
}

/// What lies below a temporary repository, and holds it.
pub(super) struct Aside {
    original: Repository,
    _directory: OverlayDirectory,
}

impl Workplace {
    /// Returns the project's own repository, which has the settings, the reflogs and the remotes.
    pub(super) fn original(&self) -> &Repository {
        self.aside.as_ref().map_or(&self.repository, |aside| &aside.original)
    }

    /// Fetches the first of the refs that the remote has, as `reference`; returns its commit.
    ///
    /// Where nothing may be written, that is done in a temporary repository, and work goes on there.
    pub(super) fn obtain(
        self,
        remote: &Remote,
        tried: &[String],
        reference: &str,
    ) -> Result<(Self, Option<CommitId>), ProjectError> {
        if self.writes {
            let found = self.fetch_first(remote, tried, reference)?;
            return Ok((self, found));
        }
        let here = self.stepped_aside()?;
        for source in tried {
            let original = here.original();
            let found = original.fetch_aside(&remote.name, source, &here.repository, reference)?;
            if found.is_some() {
                return Ok((here, found));
            }
        }
        Ok((here, None))
    }

    /// Goes on in a temporary repository, unless this is one.
    pub(super) fn stepped_aside(self) -> Result<Self, GitError> {
        if self.aside.is_some() {
            return Ok(self);
        }
        let overlay = self.repository.overlay()?;
        overlay.copy_references(&self.repository)?;
        let aside = Aside { original: self.repository, _directory: overlay.directory };
        Ok(Self { repository: overlay.repository, aside: Some(aside), writes: self.writes })
    }

    /// Gets the files of a commit that a partial clone lacks.
    pub(super) fn complete(self, commit: CommitId) -> Result<Self, ProjectError> {
        if !self.original().is_partial()? {
            return Ok(self);
        }
        let here = if self.writes { self } else { self.stepped_aside()? };
        here.original().complete(commit, &here.repository)?;
        Ok(here)
    }

    fn fetch_first(
        &self,
        remote: &Remote,
        tried: &[String],
        reference: &str,
    ) -> Result<Option<CommitId>, ProjectError> {
        for source in tried {
            let refspec = format!("+{source}:{reference}");
            match self.repository.fetch(&remote.name, &[refspec], Prune::No) {
                Ok(()) => return Ok(self.repository.reference(reference)?),
                Err(error @ RemoteError::Failed { .. }) => {
                    tracing::debug!(%error, source, "no such ref");
                }
                Err(
                    error @ (RemoteError::Unreachable { .. }
                    | RemoteError::TimedOut { .. }
                    | RemoteError::Stopped
                    | RemoteError::GitMissing),
                ) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}
