//! Points in time as the file system keeps them: nanoseconds since 1970.
//!
//! No wall clock is read here: "now" comes from the file system that will hold the outputs, because
//! the kernel stamps files from a coarser clock than the one programs read.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filetime::FileTime;

const NANOS: i64 = 1_000_000_000;

/// A point in time, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The start of 1970.
    pub const ZERO: Time = Time(0);
    /// The time that Nix gives to everything in the store.
    pub const STORE: Time = Time(NANOS);

    /// Returns the time that many nanoseconds after 1970.
    pub const fn from_nanos(nanos: i64) -> Time {
        Time(nanos)
    }

    /// Returns the nanoseconds since 1970.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Returns when a file's content last changed.
    pub fn modified(metadata: &Metadata) -> Time {
        Time::from_parts(metadata.mtime(), metadata.mtime_nsec())
    }

    /// Returns when a file's content, mode, name or times last changed; nobody can set that.
    pub fn changed(metadata: &Metadata) -> Time {
        Time::from_parts(metadata.ctime(), metadata.ctime_nsec())
    }

    /// Returns when a file was last read, as far as the file system keeps that.
    pub fn accessed(metadata: &Metadata) -> Time {
        Time::from_parts(metadata.atime(), metadata.atime_nsec())
    }

    fn from_parts(seconds: i64, nanos: i64) -> Time {
        Time(seconds.saturating_mul(NANOS).saturating_add(nanos))
    }

    /// Returns the time that much later, or earlier for a negative number of nanoseconds.
    #[must_use]
    pub const fn shifted(self, nanos: i64) -> Time {
        Time(self.0.saturating_add(nanos))
    }

    fn to_system(self) -> SystemTime {
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        if self.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }

    fn to_file(self) -> FileTime {
        let nanos = u32::try_from(self.0.rem_euclid(NANOS)).unwrap_or(0);
        FileTime::from_unix_time(self.0.div_euclid(NANOS), nanos)
    }
}

/// Sets both times of an open file.
pub(crate) fn set_open(file: &File, accessed: Time, modified: Time) -> io::Result<()> {
    let times =
        FileTimes::new().set_accessed(accessed.to_system()).set_modified(modified.to_system());
    file.set_times(times)
}

/// Sets both times of whatever stands at the path; a symbolic link is not followed.
pub(crate) fn set(path: &Path, accessed: Time, modified: Time) -> io::Result<()> {
    filetime::set_symlink_file_times(path, accessed.to_file(), modified.to_file())
}

/// Sets when whatever stands at the path last changed, and leaves its access time.
pub(crate) fn set_modified(path: &Path, modified: Time) -> io::Result<()> {
    let accessed = Time::accessed(&path.symlink_metadata()?);
    set(path, accessed, modified)
}

/// Returns the time which the file system of this directory gives to a file written now.
pub(crate) fn now(directory: &Path) -> io::Result<Time> {
    let probe = directory.join(".levain-cache-clock");
    // A probe that a killed process left has an old time and must not answer.
    match std::fs::remove_file(&probe) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let time = Time::modified(&File::create_new(&probe)?.metadata()?);
    std::fs::remove_file(&probe)?;
    Ok(time)
}

/// Says whether reading a file in this directory leaves a trace in its access time.
pub(crate) fn keeps_access_times(directory: &Path) -> io::Result<bool> {
    let probe = directory.join(".levain-cache-access");
    std::fs::write(&probe, b"x")?;
    set(&probe, Time::ZERO, Time::STORE)?;
    let content = std::fs::read(&probe)?;
    let kept = Time::accessed(&probe.symlink_metadata()?) != Time::ZERO && !content.is_empty();
    std::fs::remove_file(&probe)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        for nanos in [0, 1, NANOS, 1_700_000_000 * NANOS + 123_456_789] {
            std::fs::write(&path, b"x").unwrap();
            set(&path, Time::ZERO, Time::from_nanos(nanos)).unwrap();
            assert_eq!(Time::modified(&path.symlink_metadata().unwrap()).nanos(), nanos);
            set_open(&File::open(&path).unwrap(), Time::ZERO, Time(nanos + 5)).unwrap();
            assert_eq!(Time::modified(&path.symlink_metadata().unwrap()).nanos(), nanos + 5);
        }
    }

    #[test]
    fn a_link_gets_its_own_time() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("l");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        set_modified(&link, Time(7 * NANOS)).unwrap();
        assert_eq!(Time::modified(&link.symlink_metadata().unwrap()), Time(7 * NANOS));
    }
}
