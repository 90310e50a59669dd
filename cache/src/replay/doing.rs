//! Does what a command did, in its place.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, FileTimes, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::clock::Clock;
use super::paths::parent;
use super::transcript::{Done, Time};
use super::world::{Moment, place};

/// What could not be done. Half of what a command did may be there then, so the build must not go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}` as a command did before: {source}")]
pub(crate) struct DoingError {
    action: &'static str,
    path: String,
    #[source]
    source: io::Error,
}

/// Leaves what a command left. `contents` are those of its files, in order.
pub(crate) fn leave(
    done: &[Done],
    mut contents: impl Iterator<Item = Vec<u8>>,
    clock: &mut Clock,
) -> Result<(), DoingError> {
    let mut times = Times::before(done);
    let mut closed = Vec::new();
    for one in done {
        let path = place(one.path());
        let failed =
            |action| move |source| DoingError { action, path: path.display().to_string(), source };
        match one {
            Done::Remove { .. } => remove(one.path()).map_err(failed("remove"))?,
            Done::Directory { mode, .. } => {
                match fs::symlink_metadata(path) {
                    Ok(metadata) if metadata.is_dir() => {}
                    _ => {
                        remove(one.path()).map_err(failed("remove"))?;
                        DirBuilder::new().mode(0o700).create(path).map_err(failed("make"))?;
                    }
                }
                // Until everything in it is there, it must be open.
                let open = Permissions::from_mode(u32::from(*mode) | 0o700);
                fs::set_permissions(path, open).map_err(failed("set the mode of"))?;
                if mode & 0o700 != 0o700 {
                    closed.push((path, *mode));
                }
            }
            Done::File { mode, time, .. } => {
                remove(one.path()).map_err(failed("remove"))?;
                let bytes = contents.next().unwrap_or_default();
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed("make"))?;
                file.write_all(&bytes).map_err(failed("write"))?;
                let mode = Permissions::from_mode(u32::from(*mode));
                file.set_permissions(mode).map_err(failed("set the mode of"))?;
                let time = times.of(one.path(), time, clock).map_err(failed("find a time for"))?;
                let time = FileTimes::new().set_modified(moment(time));
                file.set_times(time).map_err(failed("set the time of"))?;
            }
            Done::Link { target, .. } => {
                remove(one.path()).map_err(failed("remove"))?;
                symlink(place(target), path).map_err(failed("make"))?;
                let time = clock.next();
                times.given.insert(one.path(), time);
                set_time(path, time).map_err(failed("set the time of"))?;
            }
            Done::Time { time, .. } => {
                let time = times.of(one.path(), time, clock).map_err(failed("find a time for"))?;
                times.late.push((one.path(), time));
            }
        }
    }
    times.set_late().map_err(|(path, source)| DoingError {
        action: "set the time of",
        path: place(path).display().to_string(),
        source,
    })?;
    for (path, mode) in closed.into_iter().rev() {
        let failed = |source| DoingError {
            action: "set the mode of",
            path: path.display().to_string(),
            source,
        };
        fs::set_permissions(path, Permissions::from_mode(u32::from(mode))).map_err(failed)?;
    }
    Ok(())
}

/// Times of what is left, and of what is there.
struct Times<'a> {
    /// Those of files that others are to be like, from before anything is done.
    likes: HashMap<&'a [u8], Moment>,
    /// Those of directories in which something is done: putting files in place changes them.
    directories: HashMap<&'a [u8], Moment>,
    given: HashMap<&'a [u8], Moment>,
    late: Vec<(&'a [u8], Moment)>,
}

impl<'a> Times<'a> {
    fn before(done: &'a [Done]) -> Self {
        let mut times = Self {
            likes: HashMap::new(),
            directories: HashMap::new(),
            given: HashMap::new(),
            late: Vec::new(),
        };
        for one in done {
            match one {
                Done::File { time: Time::Like(path), .. }
                | Done::Time { time: Time::Like(path), .. } => {
                    if let Some(time) = time_of(path) {
                        times.likes.insert(path, time);
                    }
                }
                Done::File { .. }
                | Done::Time { .. }
                | Done::Remove { .. }
                | Done::Directory { .. }
                | Done::Link { .. } => {}
            }
            if !matches!(one, Done::Time { .. })
                && let Some(parent) = parent(one.path())
                && !times.directories.contains_key(parent)
                && let Some(time) = time_of(parent)
            {
                times.directories.insert(parent, time);
            }
        }
        times
    }

    /// Returns the time that something is to have.
    fn of(&mut self, path: &'a [u8], time: &Time, clock: &mut Clock) -> io::Result<Moment> {
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let time = match time {
            Time::Then => clock.next(),
            Time::At(seconds, nanos) => (*seconds, *nanos),
            Time::Like(other) => *self.likes.get(other.as_slice()).ok_or_else(unknown)?,
            Time::With(other) => *self.given.get(other.as_slice()).ok_or_else(unknown)?,
        };
        self.given.insert(path, time);
        Ok(time)
    }

    /// Sets those of directories and links.
    fn set_late(self) -> Result<(), (&'a [u8], io::Error)> {
        let late: HashMap<&[u8], Moment> = self.late.into_iter().collect();
        for (path, time) in &late {
            set_time(place(path), *time).map_err(|error| (*path, error))?;
        }
        for (path, time) in self.directories {
            if late.contains_key(path) {
                continue;
            }
            match set_time(place(path), time) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((path, error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn time_of(path: &[u8]) -> Option<Moment> {
    let metadata = fs::symlink_metadata(place(path)).ok()?;
    Some((metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default()))
}

fn remove(path: &[u8]) -> io::Result<()> {
    let path = place(path);
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn set_time(path: &Path, (seconds, nanos): Moment) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn moment((seconds, nanos): Moment) -> SystemTime {
    let nanos = Duration::from_nanos(nanos.into());
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds) + nanos,
        Err(_) => UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()) + nanos,
    }
}
