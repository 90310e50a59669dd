//! The right to write to a repository: one lock of the process, lent to all its runs.
//!
//! Runs of one repository may be at work at the same time, each on a jobset of its own. What they share
//! is guarded here: conversations with the remote, the links that keep store paths alive, and what is
//! read to be written again. Start at [`Holds::writer`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use levain_actions::git::RunLock;
use levain_evaluator::JobsetName;
use levain_store::{Connection, StoreDir, StorePath};

use crate::cancel::Cancel;
use crate::roots::{self, RootError};
use crate::state::StateError;

/// How often a run that waits for another looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// The repositories that this process may write to now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<HashMap<PathBuf, Arc<Hold>>>>);

/// What the runs of one repository share.
#[derive(Debug)]
struct Hold {
    lock: RunLock,
    remote: Mutex<()>,
    records: Mutex<()>,
    links: Mutex<Links>,
    /// What each run works on.
    jobsets: Mutex<BTreeMap<u64, JobsetName>>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Links {
    last: u64,
    /// What each run linked that nothing else may name yet.
    new: BTreeMap<u64, BTreeSet<String>>,
}

/// The right to write, lent to one run. The lock is given up when the last run of the process gives it
/// back.
#[derive(Debug)]
pub(crate) struct Lent {
    // Dropped before what gives up the lock if nobody has it any more.
    hold: Arc<Hold>,
    leave: Leave,
}

#[derive(Debug)]
struct Leave {
    holds: Holds,
    path: PathBuf,
    number: u64,
}

/// Panics leave nothing half done that is guarded here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holds {
    /// Lends the right to write to the repository whose lock is the file `path`. Takes the lock if this process does not
    /// have it; an error if another process does.
    pub(crate) fn lend(&self, path: &Path) -> Result<(Lent, IsNew), StateError> {
        let mut held = lock(&self.0);
        let (hold, is_new) = match held.get(path) {
            Some(hold) => (Arc::clone(hold), IsNew::No),
            None => {
                let hold = Arc::new(Hold {
                    lock: RunLock::acquire(path)?,
                    remote: Mutex::default(),
                    records: Mutex::default(),
                    links: Mutex::default(),
                    jobsets: Mutex::default(),
                    left: Condvar::new(),
                });
                held.insert(path.to_owned(), Arc::clone(&hold));
                (hold, IsNew::Yes)
            }
        };
        let number = {
            let mut links = lock(&hold.links);
            links.last += 1;
            links.last
        };
        let leave = Leave { holds: self.clone(), path: path.to_owned(), number };
        Ok((Lent { hold, leave }, is_new))
    }
}

/// Whether the process did not have the lock before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsNew {
    Yes,
    No,
}

impl Lent {
    /// Returns the proof that no other levain writes.
    pub(crate) fn run_lock(&self) -> &RunLock {
        &self.hold.lock
    }

    /// Has conversations with the remote to itself until the guard is dropped.
    pub(crate) fn remote(&self) -> MutexGuard<'_, ()> {
        lock(&self.hold.remote)
    }

    /// Has what is read to be written again to itself until the guard is dropped.
    pub(crate) fn records(&self) -> MutexGuard<'_, ()> {
        lock(&self.hold.records)
    }

    /// Links a path so that it is kept, at least until this run ends.
    pub(crate) fn link(
        &self,
        links: &Path,
        connection: &mut Connection,
        dir: &StoreDir,
        path: &StorePath,
    ) -> Result<(), RootError> {
        let mut guard = lock(&self.hold.links);
        guard.new.entry(self.leave.number).or_default().insert(dir.display(path));
        roots::add(links, connection, dir, path)
    }

    /// Notes that this run needs a path that is linked already, at least until it ends.
    pub(crate) fn needs_link(&self, target: &str) {
        lock(&self.hold.links).new.entry(self.leave.number).or_default().insert(target.to_owned());
    }

    /// Removes the links of all that is neither in `named` nor linked by a run that is at work.
    pub(crate) fn unlink<E: From<RootError>>(
        &self,
        links: &Path,
        named: impl FnOnce() -> Result<Option<BTreeSet<String>>, E>,
    ) -> Result<(), E> {
        let guard = lock(&self.hold.links);
        let Some(mut named) = named()? else { return Ok(()) };
        named.extend(guard.new.values().flatten().cloned());
        Ok(roots::sync(links, &named)?)
    }

    /// Has a jobset to itself until it is given back; waits for a run of this process that has it.
    /// Returns whether it has it: not if `cancel` is cancelled meanwhile.
    pub(crate) fn take_jobset(&self, jobset: &JobsetName, cancel: &Cancel) -> bool {
        let mut jobsets = lock(&self.hold.jobsets);
        while jobsets.values().any(|taken| taken == jobset) {
            if cancel.is_cancelled() {
                return false;
            }
            let waited = self.hold.left.wait_timeout(jobsets, LOOK);
            jobsets = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        jobsets.insert(self.leave.number, jobset.clone());
        true
    }

    /// Returns the jobsets that runs of this process work on.
    pub(crate) fn at_work(&self) -> BTreeSet<JobsetName> {
        lock(&self.hold.jobsets).values().cloned().collect()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut held = lock(&self.holds.0);
        let Some(hold) = held.get(&self.path) else { return };
        lock(&hold.links).new.remove(&self.number);
        lock(&hold.jobsets).remove(&self.number);
        hold.left.notify_all();
        // Given up while nobody else can ask for it, so that this process never asks for what it has.
        if Arc::strong_count(hold) == 1 {
            held.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_lock_is_lent_to_many_and_given_up_by_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let holds = Holds::default();
        let (first, is_new) = holds.lend(&path).unwrap();
        assert_eq!(is_new, IsNew::Yes);
        let (second, is_new) = holds.clone().lend(&path).unwrap();
        assert_eq!(is_new, IsNew::No);
        drop(first);
        assert!(Holds::default().lend(&path).is_err(), "another has no part in it");
        drop(second);
        assert_eq!(Holds::default().lend(&path).unwrap().1, IsNew::Yes);
    }

    #[test]
    fn a_jobset_is_one_runs_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let holds = Holds::default();
        let cancel = Cancel::default();
        let (main, topic) = (JobsetName::branch("main"), JobsetName::branch("topic"));
        let (first, _) = holds.lend(&path).unwrap();
        assert!(first.take_jobset(&main, &cancel));
        let (second, _) = holds.lend(&path).unwrap();
        assert!(second.take_jobset(&topic, &cancel));
        assert_eq!(second.at_work(), [main.clone(), topic.clone()].into());
        let (third, _) = holds.lend(&path).unwrap();
        let stopped = Cancel::default();
        stopped.cancel();
        assert!(!third.take_jobset(&main, &stopped));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| third.take_jobset(&main, &cancel));
            drop(first);
            assert!(waiting.join().unwrap());
        });
        drop(third);
        assert_eq!(second.at_work(), [topic].into());
    }

    #[test]
    fn what_another_run_has_just_linked_is_not_let_go_of() {
        let dir = tempfile::tempdir().unwrap();
        let links = dir.path().join("links");
        std::fs::create_dir(&links).unwrap();
        let link = |name: &str| {
            std::os::unix::fs::symlink(format!("/nix/store/{name}"), links.join(name)).unwrap();
        };
        let left = || {
            let names = std::fs::read_dir(&links).unwrap().map(|link| link.unwrap().file_name());
            let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names.join(" ")
        };
        for name in ["named", "new", "old"] {
            link(name);
        }
        let holds = Holds::default();
        let path = dir.path().join("lock");
        let (one, _) = holds.lend(&path).unwrap();
        let (other, _) = holds.lend(&path).unwrap();
        one.needs_link("/nix/store/new");
        let named = || Ok::<_, RootError>(Some(["/nix/store/named".to_owned()].into()));
        other.unlink(&links, named).unwrap();
        assert_eq!(left(), "named new");
        other.unlink(&links, || Ok::<_, RootError>(None)).unwrap();
        assert_eq!(left(), "named new", "nobody knows what is named");
        drop(one);
        other.unlink(&links, named).unwrap();
        assert_eq!(left(), "named");
    }
}
