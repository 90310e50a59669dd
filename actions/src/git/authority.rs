//! Whether a repository may say which branches the project has.
//!
//! People push to a bare repository, so its branches are those of the project. Into a work tree they fetch, and a branch
//! there may hold anybody's commits. Settings of the repository, which nothing that is fetched can change, say otherwise.
//! What follows from that is decided elsewhere; start at [`Repository::doubt`].

use std::path::{Path, PathBuf};

use git2::{ConfigLevel, RepositoryOpenFlags};
use percent_encoding::percent_decode_str;

use super::remote::Session;
use super::repository::NO_CEILING;
use super::{Conduct, GitError, RemoteError, Repository};

/// Names the local branch that is the project's default branch, and vouches for all that it holds.
const DEFAULT_BRANCH: &str = "levain.defaultBranch";
/// Vouches for all branches of the repository.
const OWN_BRANCHES: &str = "levain.ownBranches";
/// Where forges keep the commits of pull requests.
const PULL_REQUESTS: [&str; 6] = ["pull", "merge-requests", "pull-requests", "changes", "pr", "mr"];

/// Why the branches of a repository may hold anybody's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It has a work tree.
    WorkTree,
    /// It is bare, but commits were fetched into it.
    Fetched,
    /// It cannot be looked at.
    Unreadable,
}

/// A sign of how commits come into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    WorkTree,
    /// `FETCH_HEAD`, a tracking branch, or a shallow or partial clone.
    Fetched,
    /// Refs of pull requests. A forge has them, too.
    PullRequests,
    /// A remote.
    Remote,
}

/// Who looks at a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    /// A levain that works in it.
    Inside,
    /// A levain in another repository, whose remote it is.
    Outside,
}

impl Doubt {
    /// Decides from the traces that were found.
    fn of(traces: &[Trace], looking: Looking) -> Option<Self> {
        if traces.contains(&Trace::WorkTree) {
            return Some(Self::WorkTree);
        }
        let is_foreign = |trace: &Trace| match (trace, looking) {
            (Trace::WorkTree | Trace::Fetched, _) | (_, Looking::Inside) => true,
            // What a remote serves beside its branches, and what it was cloned from, does not say that
            // branches were fetched into it: forges and servers that people push to look like that.
            (Trace::PullRequests | Trace::Remote, Looking::Outside) => false,
        };
        traces.iter().any(is_foreign).then_some(Self::Fetched)
    }
}

impl Trace {
    /// Returns what a ref says.
    fn of(name: &str) -> Option<Self> {
        let (kind, _) = name.strip_prefix("refs/")?.split_once('/')?;
        if kind == "remotes" {
            return Some(Self::Fetched);
        }
        PULL_REQUESTS.contains(&kind).then_some(Self::PullRequests)
    }
}

impl Repository {
    /// Returns why the branches of this repository may hold anybody's commits; nothing if they are the project's own.
    pub fn doubt(&self) -> Result<Option<Doubt>, GitError> {
        self.doubt_of(Looking::Inside)
    }

    /// Returns why the branches that a remote lists may hold anybody's commits, as far as that can be seen from here:
    /// the remote has to be a directory of this machine.
    pub fn doubt_of_remote(&self, remote: &str) -> Result<Option<Doubt>, RemoteError> {
        let session = Session::fetching(self, remote);
        // Git knows best which of several URLs it uses, and what its settings make of it.
        let mut command = session.command("ls-remote");
        command.args(["--get-url", "--", session.remote()]);
        let output = session.run(command)?;
        if !output.status.success() {
            return Err(session.failure(&output));
        }
        let url = String::from_utf8_lossy(&output.stdout);
        let Some(path) = local_path(url.trim_end_matches('\n')) else { return Ok(None) };
        let doubt = match Self::served(&self.location().join(path)) {
            Some(there) => there.doubt_of(Looking::Outside).unwrap_or(Some(Doubt::Unreadable)),
            None => Some(Doubt::Unreadable),
        };
        Ok(doubt)
    }

    /// Returns the local branch that the settings of this repository call the project's default branch.
    pub fn said_default(&self) -> Option<String> {
        self.own_setting(|config| config.get_string(DEFAULT_BRANCH))
    }

    /// Returns the branch that a remote called its default branch when it was cloned.
    pub fn tracked_default(&self, remote: &str) -> Option<String> {
        let head = self.inner.find_reference(&format!("refs/remotes/{remote}/HEAD")).ok()?;
        let target = head.symbolic_target().ok()??;
        target.strip_prefix(&format!("refs/remotes/{remote}/")).map(str::to_owned)
    }

    /// Reads a setting that was made for this repository, and not for all of a user's.
    pub(super) fn own_setting<T>(
        &self,
        read: impl Fn(&git2::Config) -> Result<T, git2::Error>,
    ) -> Option<T> {
        let config = self.inner.config().ok()?;
        [ConfigLevel::Worktree, ConfigLevel::Local]
            .into_iter()
            .find_map(|level| read(&config.open_level(level).ok()?).ok())
    }

    /// Returns the directories where git keeps what belongs to one work tree: the repository's, and those of linked ones.
    pub(super) fn git_dirs(&self) -> Vec<PathBuf> {
        let mut found = vec![self.git_dir().to_owned()];
        // There are none as long as nobody linked one.
        if let Ok(linked) = std::fs::read_dir(self.git_dir().join("worktrees")) {
            found.extend(linked.flatten().map(|entry| entry.path()));
        }
        found
    }

    fn doubt_of(&self, looking: Looking) -> Result<Option<Doubt>, GitError> {
        if self.own_setting(|config| config.get_bool(OWN_BRANCHES)).unwrap_or(false) {
            return Ok(None);
        }
        Ok(Doubt::of(&self.traces()?, looking))
    }

    fn traces(&self) -> Result<Vec<Trace>, GitError> {
        let mut traces = Vec::new();
        if !self.is_bare() {
            traces.push(Trace::WorkTree);
        }
        let has_fetched = self.git_dirs().iter().any(|dir| dir.join("FETCH_HEAD").exists());
        if has_fetched || self.is_shallow() || self.is_partial()? {
            traces.push(Trace::Fetched);
        }
        if !self.remote_names()?.is_empty() {
            traces.push(Trace::Remote);
        }
        let references = self.references("refs/")?;
        traces.extend(references.iter().filter_map(|(name, _)| Trace::of(name)));
        Ok(traces)
    }

    /// Opens the repository that git serves at a path of this machine, in the order in which it looks.
    fn served(path: &Path) -> Option<Self> {
        let mut with_suffix = path.as_os_str().to_owned();
        with_suffix.push(".git");
        let with_suffix = PathBuf::from(with_suffix);
        let tried = [path.join(".git"), path.to_owned(), with_suffix.join(".git"), with_suffix];
        let flags = RepositoryOpenFlags::NO_SEARCH
            | RepositoryOpenFlags::NO_DOTGIT
            | RepositoryOpenFlags::CROSS_FS;
        tried.iter().filter(|path| path.exists()).find_map(|path| {
            let inner = git2::Repository::open_ext(path, flags, NO_CEILING).ok()?;
            Some(Self { inner, conduct: Conduct::default() })
        })
    }
}

/// Returns the path that a URL means on this machine, as git understands it; it may be relative.
fn local_path(url: &str) -> Option<PathBuf> {
    if let Some(rest) = url.strip_prefix("file://") {
        let path = &rest[rest.find('/')?..];
        return Some(PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned()));
    }
    match (url.find(':'), url.find('/')) {
        // `host:path`, `ssh://host/path`, `helper::address`
        (Some(colon), Some(slash)) if colon < slash => None,
        (Some(_), None) => None,
        _ => Some(PathBuf::from(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_leaves_traces() {
        use Looking::{Inside, Outside};
        use Trace::{Fetched, PullRequests, Remote, WorkTree};
        for (traces, inside, outside) in [
            (&[][..], None, None),
            (&[WorkTree], Some(Doubt::WorkTree), Some(Doubt::WorkTree)),
            (&[Fetched, WorkTree], Some(Doubt::WorkTree), Some(Doubt::WorkTree)),
            (&[Fetched], Some(Doubt::Fetched), Some(Doubt::Fetched)),
            (&[PullRequests], Some(Doubt::Fetched), None),
            (&[Remote], Some(Doubt::Fetched), None),
            (&[PullRequests, Remote, Fetched], Some(Doubt::Fetched), Some(Doubt::Fetched)),
        ] {
            assert_eq!(Doubt::of(traces, Inside), inside, "{traces:?}");
            assert_eq!(Doubt::of(traces, Outside), outside, "{traces:?}");
        }
        for (name, trace) in [
            ("refs/heads/pull/7", None),
            ("refs/tags/remotes/x", None),
            ("refs/notes/commits", None),
            ("refs/levain/pull/7", None),
            ("refs/mine/heads/main", None),
            ("refs/remotes/origin/main", Some(Fetched)),
            ("refs/pull/7/head", Some(PullRequests)),
            ("refs/merge-requests/7/head", Some(PullRequests)),
            ("refs/changes/34/1234/1", Some(PullRequests)),
        ] {
            assert_eq!(Trace::of(name), trace, "{name}");
        }
    }

    #[test]
    fn urls_of_this_machine_are_known_as_git_knows_them() {
        for (url, path) in [
            ("/srv/git/p.git", Some("/srv/git/p.git")),
            ("../p", Some("../p")),
            (".", Some(".")),
            ("/with:colon", Some("/with:colon")),
            ("./a:b", Some("./a:b")),
            ("file:///srv/my%20p", Some("/srv/my p")),
            ("file://localhost/srv/p", Some("/srv/p")),
            ("host:p", None),
            ("host:/srv/p", None),
            ("git@host:a/b.git", None),
            ("ssh://host/p", None),
            ("https://host/p", None),
            ("ext::sh -c x", None),
        ] {
            assert_eq!(local_path(url), path.map(PathBuf::from), "{url}");
        }
    }
}
