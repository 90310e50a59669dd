//! The lock that keeps two levains apart: one at a time on one repository.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long what a killed levain was starting may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// Proof that no other levain works on the same state directory.
///
/// The kernel frees the lock when the process ends, however it ends: there are no stale locks. The file itself stays.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another levain is at work.
    #[error(
        "another levain is at work on this repository{}\nhint: wait for it to end; the lock is `{}`",
        holder(*pid, *since),
        path.display()
    )]
    Held {
        /// Its process, unless it has only just begun.
        pid: Option<u32>,
        /// When it began, in seconds since 1970.
        since: Option<i64>,
        /// The lock file.
        path: PathBuf,
    },

    /// The lock file cannot be made or locked.
    #[error("cannot lock `{}`", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl RunLock {
    /// Takes the lock at `path`, a file that is made if there is none (with its directory), without waiting.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            let (pid, since) = read_holder(&mut file);
            // What a killed levain was just starting holds its files until it becomes another program, or ends.
            if !pid.is_some_and(is_gone) || began.elapsed() > LAST_MOMENTS {
                return Err(LockError::Held { pid, since, path: path.to_owned() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{} {now}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // So that the next holder is never taken for this one. And unlocking is more than closing: a process that is just
        // being started by another thread has the file open until it becomes another program.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(%error, "cannot empty the lock file");
        }
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "cannot unlock the lock file");
        }
    }
}

/// Reads who holds the lock, as far as it is known; that it is held is certain.
fn read_holder(file: &mut File) -> (Option<u32>, Option<i64>) {
    let mut text = String::new();
    if file.rewind().and_then(|()| file.read_to_string(&mut text)).is_err() {
        text.clear();
    }
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    (pid, words.next().and_then(|word| word.parse().ok()))
}

/// Returns whether a process has ended.
fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn holder(pid: Option<u32>, since: Option<i64>) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX));
    match (pid, since) {
        (Some(pid), Some(since)) => {
            format!(" (process {pid}, for {} s)", now.saturating_sub(since).max(0))
        }
        (Some(pid), None) => format!(" (process {pid})"),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the lock past [`RunLock`], with a word about who holds it.
    fn held_by(path: &Path, pid: u32) -> File {
        let mut file = File::create(path).unwrap();
        file.lock().unwrap();
        write!(file, "{pid} 1700000000").unwrap();
        file
    }

    #[test]
    fn what_a_killed_levain_was_starting_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        // No process has such a number.
        let held = held_by(&path, 0x3fff_ffff);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| RunLock::acquire(&path));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
        let held = held_by(&path, std::process::id());
        let error = RunLock::acquire(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
    }
}
