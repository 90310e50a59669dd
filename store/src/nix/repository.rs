//! What a confined evaluation sees of a git repository: one commit, its history, and one ref.
//!
//! The repository itself has more than what was committed: work tree, settings, other branches, objects
//! that were only staged. Nix reads any file whose hash is known and lists any directory, so nothing of
//! that may be visible. The evaluation gets a repository of its own in the same place. Start at
//! [`NixProgram::show_commit`].

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::bounded::Bounded;
use super::program::NixProgram;
use crate::config::StoreConfig;
use crate::scratch::Scratch;

/// The git directory in a temporary directory.
const GIT_DIR: &str = "git";
/// How git begins the line of an object that is not there.
const MISSING: u8 = b'?';

/// A commit that is to be shown.
#[derive(Debug, Clone)]
pub struct ShownCommit<'a> {
    /// The work tree or bare repository.
    pub location: &'a Path,
    /// The full name of the ref that leads to it.
    pub reference: &'a str,
    /// The commit.
    pub revision: &'a str,
    /// Whether its history does not matter.
    pub shallow: bool,
    /// Directories whose links keep store paths from being collected, wherever they are: a Nix that
    /// collects garbage takes what it does not see for gone.
    pub links: &'a [PathBuf],
}

/// A temporary repository with one commit; removed when dropped.
#[derive(Debug)]
pub struct CommitView {
    scratch: Scratch,
    location: PathBuf,
    links: Vec<PathBuf>,
}

/// Why a commit cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The repository does not have it, or is none.
    #[error("{message}")]
    Git {
        /// What git said.
        message: String,
    },
    /// It took too long.
    #[error("git takes too long to copy the commit")]
    TooLong,
    /// The file system refuses.
    #[error("cannot make a temporary repository for the evaluation")]
    Io(#[from] io::Error),
}

impl CommitView {
    /// Returns where the evaluation sees the repository.
    pub(super) fn location(&self) -> &Path {
        &self.location
    }

    /// Returns the directories of links that are shown as well.
    pub(super) fn links(&self) -> &[PathBuf] {
        &self.links
    }

    /// Returns the git directory.
    pub(super) fn git_dir(&self) -> PathBuf {
        self.scratch.path().join(GIT_DIR)
    }
}

impl NixProgram {
    /// Makes a repository with nothing in it but a commit, its ancestors, and the files of its tree.
    ///
    /// Whoever wrote a commit has all of them: its hash depends on them. The files of ancestors are
    /// left out, since nobody reads them.
    pub fn show_commit(
        &self,
        commit: &ShownCommit<'_>,
        store: &StoreConfig,
        limit: Duration,
    ) -> Result<CommitView, ShowError> {
        let scratch = Scratch::new("commit")?;
        let (location, links) = (commit.location.to_owned(), commit.links.to_owned());
        let view = CommitView { scratch, location, links };
        write_git_dir(&view.git_dir(), commit)?;
        let ask = |arguments: &[&str]| {
            let mut git = git(&git_dir_of(commit.location), store);
            git.args(arguments).stdin(Stdio::null());
            self.git(git, limit)
        };
        // A commit, and nothing that only looks like the name of one. What is missing is said, and not
        // fetched: partial clones were completed before.
        let revision = format!("{}^{{commit}}", commit.revision);
        let list = ["rev-list", "--missing=print"];
        let end = ["--end-of-options", &revision];
        let mut names = ask(&[&list, &["--objects", "--no-walk"], &end[..]].concat())?;
        if !commit.shallow {
            names.extend(ask(&[list, end].concat())?);
        }
        let objects = ask(&["rev-parse", "--path-format=absolute", "--git-path", "objects"])?;
        self.pack(&view, store, &names, objects.strip_suffix(b"\n").unwrap_or(&objects), limit)?;
        Ok(view)
    }

    /// Copies objects, with the view as git's own repository: nothing is written where they come from.
    fn pack(
        &self,
        view: &CommitView,
        store: &StoreConfig,
        names: &[u8],
        objects: &[u8],
        limit: Duration,
    ) -> Result<(), ShowError> {
        let mut list = tempfile::tempfile_in(view.scratch.path())?;
        list.write_all(&present(names))?;
        list.rewind()?;
        // By relative names: killed with us, git must not make the directory again that somebody else has
        // just removed.
        let mut git = git(Path::new(GIT_DIR), store);
        git.current_dir(view.scratch.path());
        git.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(objects));
        // Looking for new deltas would take longer than writing the objects as they are.
        git.args([
            "-c",
            // Nobody reads it after a crash.
            "core.fsync=none",
            "pack-objects",
            "-q",
            "--missing=allow-any",
            "--window=0",
            "--delta-base-offset",
        ]);
        git.arg(Path::new(GIT_DIR).join("objects/pack/pack")).stdin(list);
        self.git(git, limit).map(drop)
    }

    fn git(&self, command: Command, limit: Duration) -> Result<Vec<u8>, ShowError> {
        match self.stop.run(command, limit)? {
            Bounded::Ended(output) if output.status.success() => Ok(output.stdout),
            Bounded::Ended(output) => {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(ShowError::Git { message })
            }
            Bounded::Stopped => Err(io::Error::from(io::ErrorKind::Interrupted).into()),
            Bounded::TimedOut => Err(ShowError::TooLong),
        }
    }
}

/// Returns a git that reads a repository as it is: nothing of the user's settings changes what a commit
/// has, and nothing is fetched.
fn git(git_dir: &Path, store: &StoreConfig) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this module starts git for Nix")]
    let mut command = Command::new("git");
    // Named like this, it may belong to somebody else: levain has opened it before.
    command.arg("--git-dir").arg(git_dir).env_clear().envs(&store.environment);
    command.env("LC_ALL", "C").env("HOME", "/").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_GRAFT_FILE", "/dev/null");
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn git_dir_of(location: &Path) -> PathBuf {
    let below = location.join(".git");
    if below.exists() { below } else { location.to_owned() }
}

/// Returns a path as an item of a list, whatever is in it.
fn quoted(path: &[u8]) -> OsString {
    let mut text = vec![b'"'];
    for byte in path {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    OsString::from_vec(text)
}

/// Returns the lines of a list of objects whose objects are there, without the names of their files.
fn present(list: &[u8]) -> Vec<u8> {
    let lines = list.split(|byte| *byte == b'\n').filter(|line| line.first() != Some(&MISSING));
    let names = lines.filter_map(|line| line.split(|byte| *byte == b' ').next());
    names.filter(|name| !name.is_empty()).flat_map(|name| [name, b"\n"].concat()).collect()
}

/// Writes everything of a repository but its objects.
fn write_git_dir(git_dir: &Path, commit: &ShownCommit<'_>) -> io::Result<()> {
    let ShownCommit { reference, revision, .. } = commit;
    let is_word = |text: &str| !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !reference.starts_with("refs/") || !is_word(reference) || !is_word(revision) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the ref or commit has no such name",
        ));
    }
    fs::create_dir_all(git_dir.join("objects/pack"))?;
    fs::create_dir_all(git_dir.join("objects/info"))?;
    fs::create_dir_all(git_dir.join("refs/heads"))?;
    fs::write(git_dir.join("HEAD"), format!("ref: {reference}\n"))?;
    fs::write(git_dir.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = false\n")?;
    fs::write(git_dir.join("packed-refs"), format!("{revision} {reference}\n"))?;
    // Where they are to be shown in it, there has to be something already.
    let inside = commit.location.join(".git");
    for links in commit.links.iter().filter_map(|links| links.strip_prefix(&inside).ok()) {
        fs::create_dir_all(git_dir.join(links))?;
    }
    if commit.shallow {
        fs::write(git_dir.join("shallow"), format!("{revision}\n"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_that_are_there_are_packed() {
        let list = b"0a1b\n2c3d dir/a file\n?4e5f\n\n6a7b \n";
        assert_eq!(present(list), b"0a1b\n2c3d\n6a7b\n");
    }

    #[test]
    fn names_that_would_become_other_lines_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let git_dir = place.path().join("git");
        let links = ["/x/.git/levain/roots".into(), "/y/levain/roots".into()];
        let commit = |reference| ShownCommit {
            location: Path::new("/x"),
            reference,
            revision: "0123",
            shallow: true,
            links: &links,
        };
        for reference in ["refs/a\nb", "HEAD", "refs/a b", "../refs/x"] {
            assert!(write_git_dir(&git_dir, &commit(reference)).is_err(), "{reference}");
        }
        write_git_dir(&git_dir, &commit("refs/heads/main")).unwrap();
        let read = |name: &str| fs::read_to_string(git_dir.join(name)).unwrap();
        assert_eq!(read("HEAD"), "ref: refs/heads/main\n");
        assert_eq!(read("packed-refs"), "0123 refs/heads/main\n");
        assert_eq!(read("shallow"), "0123\n");
        assert!(git_dir.join("levain/roots").is_dir());
    }
}
