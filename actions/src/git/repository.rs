//! Opening repositories, and what can be asked of one: its head, branches, commits, files.
//!
//! Nothing here writes, but [`Repository::mirror`]. Refs move in [`super::references`].

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use git2::{ErrorCode, ObjectType, Oid, RepositoryOpenFlags, StatusOptions};
use levain_store::nix::Stop;

use super::address::Address;
use super::{CommitId, GitError, Login};

/// The key that marks a repository as a mirror of ours: only there does a fetch set HEAD.
const MIRROR_KEY: &str = "levain.mirror";
/// A repository is looked for in all directories above.
pub(super) const NO_CEILING: [&OsStr; 0] = [];
/// Symbolic links within a tree that are followed before one is taken for a loop.
const LINKS: usize = 16;
/// Bytes of the longest symbolic link that Linux follows.
const LONGEST_LINK: usize = 4095;

/// A git repository on this machine.
pub struct Repository {
    pub(super) inner: git2::Repository,
    pub(super) conduct: Conduct,
}

/// How the `git` program is run where it talks to a remote.
#[derive(Clone, Debug)]
pub struct Conduct {
    /// Ends it from another thread.
    pub stop: Stop,
    /// How long one conversation may take.
    pub limit: Duration,
    /// What git may show a web server that asks who it is.
    pub login: Option<Login>,
}

impl Conduct {
    /// How long a conversation may take where nobody says otherwise.
    pub const LIMIT: Duration = Duration::from_secs(600);
}

impl Default for Conduct {
    fn default() -> Self {
        Self { stop: Stop::default(), limit: Self::LIMIT, login: None }
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Repository").field("location", &self.location()).finish()
    }
}

impl Repository {
    /// Opens the repository that `path` lies in: a work tree, a directory in it, a linked work tree, or a bare repository.
    pub fn discover(path: &Path) -> Result<Self, GitError> {
        // Unlike `discover`, this knows the work tree of a git directory that lies elsewhere.
        let flags = RepositoryOpenFlags::CROSS_FS;
        let inner = git2::Repository::open_ext(path, flags, NO_CEILING).map_err(|source| {
            // `.` tells nobody where levain looked.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            opening(path, source)
        })?;
        Ok(Self { inner, conduct: Conduct::default() })
    }

    /// Opens the bare mirror of `url` at `dir`, and creates it when there is none.
    ///
    /// The URL is recorded as the remote `origin`, without any password: secrets do not belong on disk,
    /// so a fetch that needs one gives [`Repository::fetch`] the URL itself.
    pub fn mirror(dir: &Path, url: &str) -> Result<Self, GitError> {
        let at = |source| opening(dir.to_owned(), source);
        // Making one where there is one already changes nothing, and completes one whose making was interrupted.
        let inner = git2::Repository::open_bare(dir)
            .or_else(|_| {
                let mut options = git2::RepositoryInitOptions::new();
                // Templates of the user's would bring hooks.
                options.bare(true).mkpath(true).external_template(false);
                git2::Repository::init_opts(dir, &options)
            })
            .map_err(at)?;
        let mut config = inner.config().map_err(at)?;
        let address = Address::parse(url);
        let recorded = config.get_string("remote.origin.url").ok();
        if recorded.as_deref() != Some(address.plain()) {
            config
                .set_str("remote.origin.url", address.plain())
                .and_then(|()| config.set_str("remote.origin.fetch", "+refs/heads/*:refs/heads/*"))
                .map_err(at)?;
        }
        if !config.get_bool(MIRROR_KEY).unwrap_or(false) {
            config.set_bool(MIRROR_KEY, true).map_err(at)?;
        }
        Ok(Self { inner, conduct: Conduct::default() })
    }

    /// Sets how conversations with remotes are run, from here and from overlays of this repository.
    #[must_use]
    pub fn conducted(self, conduct: Conduct) -> Self {
        Self { conduct, ..self }
    }

    /// Returns the directory that holds objects and refs; linked work trees share one.
    pub fn git_dir(&self) -> &Path {
        self.inner.commondir()
    }

    /// Returns what a `git+file:` reference names: the work tree, or the directory of a bare repository.
    pub fn location(&self) -> &Path {
        let path = self.inner.workdir().unwrap_or_else(|| self.inner.path());
        // Without the slash that libgit2 ends it with.
        path.components().as_path()
    }

    /// Tells whether the repository has no work tree.
    pub fn is_bare(&self) -> bool {
        self.inner.is_bare()
    }

    /// Tells whether history was cut off when the repository was cloned.
    pub fn is_shallow(&self) -> bool {
        // libgit2 looks into the directory of a linked work tree, where git keeps no such file.
        std::fs::metadata(self.git_dir().join("shallow")).is_ok_and(|file| file.len() > 0)
    }

    /// Tells whether [`Repository::mirror`] made this repository.
    pub fn is_mirror(&self) -> bool {
        self.is_bare() && self.own_setting(|config| config.get_bool(MIRROR_KEY)).unwrap_or(false)
    }

    /// Returns the branch that HEAD is on, born or not, or nothing when HEAD is detached.
    pub fn head_branch(&self) -> Result<Option<String>, GitError> {
        let head = self.inner.find_reference("HEAD").map_err(GitError::doing("read HEAD"))?;
        let target = head.symbolic_target().map_err(GitError::doing("read HEAD"))?;
        Ok(target.and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned))
    }

    /// Returns the head of the local branch `name`.
    pub fn branch(&self, name: &str) -> Result<CommitId, GitError> {
        if let Some(id) = self.reference(&format!("refs/heads/{name}"))? {
            return Ok(id);
        }
        let branches = self.branches()?;
        if branches.is_empty() {
            return Err(GitError::EmptyRepository { path: self.location().to_owned() });
        }
        Err(GitError::UnknownBranch { name: name.to_owned(), similar: similar(name, branches) })
    }

    /// Returns the names of all local branches, sorted.
    fn branches(&self) -> Result<Vec<String>, GitError> {
        let heads = self.references("refs/heads/")?;
        Ok(heads
            .into_iter()
            .filter_map(|(name, _)| name.strip_prefix("refs/heads/").map(str::to_owned))
            .collect())
    }

    /// Returns the name of the default branch, as far as it is known here without asking anybody.
    ///
    /// That is the branch that `remote` called its head; in a bare repository the branch of its own HEAD; else `main` or
    /// `master`, whichever exists.
    pub fn default_branch(&self, remote: Option<&str>) -> Result<Option<String>, GitError> {
        if self.is_bare() {
            if let Some(name) = self.head_branch()?
                && self.reference(&format!("refs/heads/{name}"))?.is_some()
            {
                return Ok(Some(name));
            }
        } else if let Some(name) = remote.and_then(|remote| self.tracked_default(remote)) {
            return Ok(Some(name));
        }
        for name in ["main", "master"] {
            if self.reference(&format!("refs/heads/{name}"))?.is_some() {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    /// Returns the commit that a full or abbreviated name stands for.
    pub fn commit(&self, text: &str) -> Result<CommitId, GitError> {
        let unknown = || GitError::UnknownCommit { id: text.to_owned() };
        // Four digits is git's own minimum; anything but digits would be a revision expression, which is not read here.
        if !(4..=40).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let object = self.inner.find_object_by_prefix(text, None).map_err(|source| {
            if source.code() == ErrorCode::Ambiguous {
                return GitError::AmbiguousCommit { id: text.to_owned() };
            }
            missing(text, "look up a commit", source)
        })?;
        let commit = object.peel(ObjectType::Commit).ok().ok_or_else(unknown)?;
        Ok(CommitId::new(commit.id()))
    }

    /// Returns at most `limit` paths in which the work tree or the index differs from HEAD.
    ///
    /// Untracked paths count, ignored ones do not. The index is read and never refreshed.
    pub fn changes(&self, limit: usize) -> Result<Vec<String>, GitError> {
        if self.is_bare() {
            return Ok(Vec::new());
        }
        let mut options = StatusOptions::new();
        options.include_untracked(true).include_ignored(false).no_refresh(true).update_index(false);
        let statuses = self
            .inner
            .statuses(Some(&mut options))
            .map_err(GitError::doing("compare the work tree with HEAD"))?;
        Ok(statuses
            .iter()
            .take(limit)
            .map(|entry| String::from_utf8_lossy(entry.path_bytes()).into_owned())
            .collect())
    }

    /// Tells whether files that git knows differ from HEAD, in the work tree or the index.
    pub fn has_changes(&self) -> Result<bool, GitError> {
        if self.is_bare() {
            return Ok(false);
        }
        let mut options = StatusOptions::new();
        options.include_untracked(false).include_ignored(false);
        options.no_refresh(true).update_index(false);
        let statuses = self.inner.statuses(Some(&mut options));
        Ok(!statuses.map_err(GitError::doing("compare the work tree with HEAD"))?.is_empty())
    }

    /// Returns the commit that HEAD is at, on a branch or detached.
    pub fn head(&self) -> Result<CommitId, GitError> {
        let head = self.inner.head().and_then(|head| head.peel_to_commit());
        let commit = head.map_err(|source| {
            if matches!(source.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) {
                return GitError::EmptyRepository { path: self.location().to_owned() };
            }
            GitError::Git { doing: "read HEAD", source }
        })?;
        Ok(CommitId::new(commit.id()))
    }

    /// Returns whether there is a file at `path` in a commit.
    ///
    /// Symbolic links are followed as long as they stay within the tree.
    pub fn has_file(&self, commit: CommitId, path: &str) -> Result<bool, GitError> {
        Ok(self.followed(commit, path)?.is_some())
    }

    /// Returns the content of the file at `path` in a commit, or nothing when there is no such file
    /// of at most `most` bytes.
    ///
    /// Symbolic links are followed as long as they stay within the tree.
    pub fn file(
        &self,
        commit: CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, GitError> {
        match self.followed(commit, path)? {
            Some(id) => content(&self.inner, id, most),
            None => Ok(None),
        }
    }

    fn followed(&self, commit: CommitId, path: &str) -> Result<Option<Oid>, GitError> {
        let tree = self.tree_of(commit)?;
        let mut wanted = PathBuf::from(path);
        for _ in 0..LINKS {
            match step(&self.inner, &tree, &wanted)? {
                Step::File(id) => return Ok(Some(id)),
                Step::Nothing => return Ok(None),
                Step::Elsewhere(path) => wanted = path,
            }
        }
        Ok(None)
    }

    /// Returns what a commit has at `path`, and the content if that is a plain file of at most
    /// `most` bytes. Links are not followed; nothing larger is read.
    pub fn plain_file(
        &self,
        commit: CommitId,
        path: &str,
        most: usize,
    ) -> Result<PlainFile, GitError> {
        let tree = self.tree_of(commit)?;
        Ok(match self.stands_at(&tree, path)? {
            StandsAt::Nothing => PlainFile::Nothing,
            StandsAt::Other { path, found } => PlainFile::Other { path, found },
            StandsAt::File(id) => match content(&self.inner, id, most)? {
                Some(content) => PlainFile::Content(content),
                None => PlainFile::TooLarge,
            },
        })
    }

    pub(crate) fn tree_of(&self, commit: CommitId) -> Result<git2::Tree<'_>, GitError> {
        self.find(commit)?.tree().map_err(GitError::doing("read the tree of a commit"))
    }

    /// Looks for a plain file at `path`, and no further than the first thing that is none and not a
    /// directory on the way.
    pub(crate) fn stands_at(
        &self,
        root: &git2::Tree<'_>,
        path: &str,
    ) -> Result<StandsAt, GitError> {
        let mut tree = root.clone();
        let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        ends.push(path.len());
        let mut begin = 0;
        for end in ends {
            let Some(entry) = tree.get_name_bytes(&path.as_bytes()[begin..end]) else {
                return Ok(StandsAt::Nothing);
            };
            let (id, found) = (entry.id(), kind(entry.filemode()));
            drop(entry);
            match (found, end == path.len()) {
                (FILE, true) => return Ok(StandsAt::File(id)),
                (DIRECTORY, false) => {
                    tree = self.inner.find_tree(id).map_err(GitError::doing("read a tree"))?;
                }
                _ => return Ok(StandsAt::Other { path: path[..end].to_owned(), found }),
            }
            begin = end + 1;
        }
        Ok(StandsAt::Nothing)
    }

    /// Returns the committer's time of a commit, in seconds since 1970.
    pub fn commit_time(&self, commit: CommitId) -> Result<i64, GitError> {
        Ok(self.find(commit)?.time().seconds())
    }

    /// Returns the first line of a commit's message.
    pub fn summary(&self, commit: CommitId) -> Result<String, GitError> {
        let commit = self.find(commit)?;
        Ok(String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned())
    }

    /// Returns the URL of a remote as git would use it, or nothing when there is no such remote.
    pub fn remote_url(&self, name: &str) -> Option<String> {
        let remote = self.inner.find_remote(name).ok()?;
        Some(String::from_utf8_lossy(remote.url_bytes()).into_owned())
    }

    pub(crate) fn find(&self, commit: CommitId) -> Result<git2::Commit<'_>, GitError> {
        self.inner
            .find_commit(commit.oid())
            .map_err(|source| missing(&commit.to_string(), "read a commit", source))
    }

    pub(crate) fn objects(&self) -> &git2::Repository {
        &self.inner
    }
}

/// Tells an unknown object from any other error of libgit2.
pub(super) fn missing(id: &str, doing: &'static str, source: git2::Error) -> GitError {
    if source.code() == ErrorCode::NotFound {
        return GitError::UnknownCommit { id: id.to_owned() };
    }
    GitError::Git { doing, source }
}

fn opening(path: PathBuf, source: git2::Error) -> GitError {
    if source.code() == ErrorCode::NotFound {
        GitError::NotARepository { path }
    } else if source.code() == ErrorCode::Owner {
        GitError::NotOwned { path }
    } else if source.message().contains("object format") {
        GitError::Format {
            path,
            format: "object names of another kind than SHA-1".into(),
            hint: "push the project to a repository that `git init --object-format=sha1` made",
        }
    } else if let Some((_, name)) = source.message().split_once("unsupported extension name ") {
        let is_refs = name.eq_ignore_ascii_case("extensions.refstorage");
        GitError::Format {
            path,
            format: format!("the setting `{name}`"),
            hint: if is_refs {
                "`git clone --ref-format=files` makes a clone that it reads"
            } else {
                "a new `git clone` makes a repository without it"
            },
        }
    } else {
        GitError::Open { path, source }
    }
}

/// What a commit has where a plain file is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainFile {
    /// Nothing; a plain file could be put there.
    Nothing,
    /// A plain file with this content.
    Content(Vec<u8>),
    /// A plain file with more bytes than are read.
    TooLarge,
    /// Something else, there or where a directory on the way should be.
    Other {
        /// Where.
        path: String,
        /// What: `symbolic link`.
        found: &'static str,
    },
}

/// What stands at a path of a tree, see [`Repository::stands_at`].
pub(crate) enum StandsAt {
    Nothing,
    File(Oid),
    Other { path: String, found: &'static str },
}

const FILE: &str = "file";
const DIRECTORY: &str = "directory";

fn kind(mode: i32) -> &'static str {
    match mode {
        0o040_000 => DIRECTORY,
        0o120_000 => "symbolic link",
        0o160_000 => "submodule",
        _ => FILE,
    }
}

/// Returns the content of a blob of at most `most` bytes.
fn content(
    repository: &git2::Repository,
    id: Oid,
    most: usize,
) -> Result<Option<Vec<u8>>, GitError> {
    let doing = || GitError::doing("read a file");
    let (size, _) = repository.odb().and_then(|odb| odb.read_header(id)).map_err(doing())?;
    if size > most {
        return Ok(None);
    }
    Ok(Some(repository.find_blob(id).map_err(doing())?.content().to_vec()))
}

/// What stands at a path of a tree, links followed.
enum Step {
    File(Oid),
    Elsewhere(PathBuf),
    Nothing,
}

/// Looks one path up, as far as its first symbolic link.
fn step(
    repository: &git2::Repository,
    tree: &git2::Tree<'_>,
    path: &Path,
) -> Result<Step, GitError> {
    let Some(path) = normal(path) else {
        return Ok(Step::Nothing);
    };
    let mut above = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        let here = above.join(component);
        let Ok(entry) = tree.get_path(&here) else {
            return Ok(Step::Nothing);
        };
        if entry.kind() == Some(ObjectType::Blob) {
            if entry.filemode() == i32::from(git2::FileMode::Link) {
                let target = content(repository, entry.id(), LONGEST_LINK)?.unwrap_or_default();
                let Ok(target) = std::str::from_utf8(&target) else {
                    return Ok(Step::Nothing);
                };
                return Ok(Step::Elsewhere(above.join(target).join(components.as_path())));
            }
            let is_last = components.as_path() == Path::new("");
            return Ok(if is_last { Step::File(entry.id()) } else { Step::Nothing });
        }
        above = here;
    }
    Ok(Step::Nothing)
}

/// Resolves `.` and `..`; nothing when the path leaves the tree.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// Returns the names that a person who typed `name` may have meant, the closest first.
fn similar(name: &str, branches: Vec<String>) -> Vec<String> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let mut close: Vec<_> = branches
        .into_iter()
        .map(|branch| (strsim::levenshtein(name, &branch), branch))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    close.sort();
    close.truncate(3);
    close.into_iter().map(|(_, branch)| branch).collect()
}
