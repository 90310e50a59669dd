//! What the unit tests of pointers share: entries, keys, and a repository with history.

use std::sync::Arc;

use levain_actions::git::{CommitId, Repository, RunLock};
use levain_evaluator::key::Key;
use levain_evaluator::pointer::{Entry, Tier};
use levain_store::StoreDir;
use tempfile::TempDir;

use crate::jobset::{Jobset, JobsetKind, Provenance};
use crate::pointers::{Entries, Layout, ShadowBranch};
use crate::signing::{Keyring, SigningKey};

/// The present of the tests, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Returns a key: 64 times the same digit.
pub(crate) fn key(digit: char) -> Key {
    digit.to_string().repeat(64).parse().unwrap()
}

/// Returns an unsigned entry whose path and NAR hash depend on `seed`.
pub(crate) fn entry(seed: u8) -> Entry {
    let digest = [seed; 20];
    Entry {
        path: levain_store::StorePath::new(digest, "cache").unwrap(),
        nar_hash: format!("sha256-{}", data_encoding::BASE64.encode(&[seed; 32])).parse().unwrap(),
        key: key('a'),
        depth: 1,
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        time: NOW - 100,
        tier: Tier::Branch,
        maker: None,
        unused: None,
    }
}

/// Makes a key.
pub(crate) fn signing_key() -> Arc<SigningKey> {
    let dir = tempfile::tempdir().unwrap();
    Arc::new(SigningKey::make(&dir.path().join("key")).unwrap())
}

/// Returns how the entries of a project are read where `own` signs.
pub(crate) fn layout(own: &Arc<SigningKey>) -> Layout {
    let files = levain_actions::shadow::ShadowFiles::default();
    let keys = Keyring::new("example.org/p".into(), Some(Arc::clone(own)), Vec::new());
    Layout::new(files, "refs/levain/".into(), StoreDir::default(), keys)
}

/// Returns a branch.
pub(crate) fn branch(name: &str, is_default: bool) -> Jobset {
    let provenance = if is_default { Provenance::DefaultBranch } else { Provenance::Branch };
    Jobset { kind: JobsetKind::Branch { name: name.into(), is_default }, provenance }
}

/// Returns a pull request.
pub(crate) fn pull_request(number: u64, from_fork: bool) -> Jobset {
    let provenance = if from_fork { Provenance::Unknown } else { Provenance::Branch };
    Jobset { kind: JobsetKind::PullRequest { number }, provenance }
}

/// Returns `entry`, as `job` of `jobset` made it.
pub(crate) fn made(layout: &Layout, jobset: &Jobset, job: &str, entry: Entry) -> Entry {
    let entry = Entry { tier: jobset.tier(), ..entry };
    layout.keys.sign(&layout.store_dir, entry, jobset.name(), job.into())
}

/// A bare repository, in which commits are made without git's program.
pub(crate) struct Fixture {
    pub(crate) repository: Repository,
    pub(crate) lock: RunLock,
    git: git2::Repository,
    _dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.git");
        let repository = Repository::mirror(&path, "https://example.org/p").unwrap();
        let lock = RunLock::acquire(&dir.path().join("lock")).unwrap();
        Self { repository, lock, git: git2::Repository::open(&path).unwrap(), _dir: dir }
    }

    /// Makes a commit with one file, whose content is `text`.
    pub(crate) fn commit(&self, parents: &[CommitId], text: &str) -> CommitId {
        let blob = self.git.blob(text.as_bytes()).unwrap();
        let mut tree = self.git.treebuilder(None).unwrap();
        tree.insert("file", blob, 0o100_644).unwrap();
        let tree = self.git.find_tree(tree.write().unwrap()).unwrap();
        let author =
            git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
        let parents: Vec<git2::Commit<'_>> = parents
            .iter()
            .map(|id| self.git.find_commit(id.to_string().parse::<git2::Oid>().unwrap()).unwrap())
            .collect();
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        let id = self.git.commit(None, &author, &author, text, &tree, &parents).unwrap();
        id.to_string().parse().unwrap()
    }

    /// Writes a file into a commit's tree, and returns the new commit with the same parents.
    pub(crate) fn with_file(&self, commit: CommitId, name: &str, text: &str) -> CommitId {
        let commit =
            self.git.find_commit(commit.to_string().parse::<git2::Oid>().unwrap()).unwrap();
        let mut tree = self.git.treebuilder(Some(&commit.tree().unwrap())).unwrap();
        tree.insert(name, self.git.blob(text.as_bytes()).unwrap(), 0o100_644).unwrap();
        let tree = self.git.find_tree(tree.write().unwrap()).unwrap();
        let parents: Vec<git2::Commit<'_>> = commit.parents().collect();
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        let (author, message) = (commit.author(), commit.message().unwrap());
        let id = self.git.commit(None, &author, &author, message, &tree, &parents).unwrap();
        id.to_string().parse().unwrap()
    }

    /// Records entries as the newest shadow commit of a jobset.
    pub(crate) fn record(
        &self,
        layout: &Layout,
        jobset: &Jobset,
        original: CommitId,
        entries: &Entries,
    ) {
        let reference = format!("refs/levain/{}", jobset.name());
        let branch = ShadowBranch {
            repository: &self.repository,
            lock: &self.lock,
            layout,
            reference: &reference,
            message: "levain: test\n",
            tip: original,
        };
        branch.write(original.into(), entries).unwrap();
    }

    /// Writes objects that are no commit that can be read: a blob, a tree, a commit without an author.
    pub(crate) fn odd_objects(&self) -> [CommitId; 3] {
        let blob = self.git.blob(b"hi").unwrap();
        let tree = self.git.treebuilder(None).unwrap().write().unwrap();
        let text = format!("tree {tree}\n\nx");
        let objects = self.git.odb().unwrap();
        let commit = objects.write(git2::ObjectType::Commit, text.as_bytes()).unwrap();
        [blob, tree, commit].map(|id| id.to_string().parse().unwrap())
    }

    /// Has a ref point at any object.
    pub(crate) fn point_anywhere(&self, reference: &str, id: CommitId) {
        let path = self.git.path().join(reference);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{id}\n")).unwrap();
    }

    /// Points a ref at a commit.
    pub(crate) fn point(&self, reference: &str, commit: CommitId) {
        let id = commit.to_string().parse::<git2::Oid>().unwrap();
        self.git.reference(reference, id, true, "test").unwrap();
    }
}
