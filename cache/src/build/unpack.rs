//! Copies a source tree out of the store, to where a build may change it.
//!
//! Times stay as the store gives them: `restore` sets what has to be set.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use filetime::FileTime;

/// Why the sources could not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// An archive, say.
    #[error(
        "`{}` is not a directory\nhint: give the sources as a directory, or unpack them in the build's own program and leave out `--unpack`", .0.display()
    )]
    NotADirectory(PathBuf),
    /// Something stands where the sources belong.
    #[error(
        "`{}` exists already\nhint: name another place with `--directory`, the same in every build", .0.display()
    )]
    Exists(PathBuf),
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// Returns a conversion for an action on a path.
    pub(crate) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Copies a tree to a place where nothing is yet; everything there can be changed.
pub(crate) fn unpack(source: &Path, tree: &Path) -> Result<(), UnpackError> {
    let found = source.metadata().map_err(UnpackError::on("look at", source))?;
    if !found.is_dir() {
        return Err(UnpackError::NotADirectory(source.to_path_buf()));
    }
    if tree.symlink_metadata().is_ok() {
        return Err(UnpackError::Exists(tree.to_path_buf()));
    }
    directory(source, tree)
}

fn directory(from: &Path, to: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(to).map_err(UnpackError::on("create", to))?;
    for entry in fs::read_dir(from).map_err(UnpackError::on("list", from))? {
        let entry = entry.map_err(UnpackError::on("list", from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(UnpackError::on("look at", &from))?;
        if kind.is_dir() {
            directory(&from, &to)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&from).map_err(UnpackError::on("read", &from))?;
            std::os::unix::fs::symlink(target, &to).map_err(UnpackError::on("create", &to))?;
            keep_times(&from, &to)?;
        } else {
            fs::copy(&from, &to).map_err(UnpackError::on("copy", &from))?;
            let found = from.metadata().map_err(UnpackError::on("look at", &from))?;
            let mode = fs::Permissions::from_mode(found.permissions().mode() | 0o200);
            fs::set_permissions(&to, mode).map_err(UnpackError::on("make writable", &to))?;
            keep_times(&from, &to)?;
        }
    }
    // Last, since every file made in it changes its time.
    keep_times(from, to)
}

fn keep_times(from: &Path, to: &Path) -> Result<(), UnpackError> {
    let found = from.symlink_metadata().map_err(UnpackError::on("look at", from))?;
    let time = FileTime::from_last_modification_time(&found);
    filetime::set_symlink_file_times(to, time, time).map_err(UnpackError::on("set times of", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_with_times_and_can_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/tool"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", from.join("link")).unwrap();
        let one = FileTime::from_unix_time(1, 0);
        for (name, mode) in [("bin/tool", 0o555), ("bin", 0o555)] {
            fs::set_permissions(from.join(name), fs::Permissions::from_mode(mode)).unwrap();
            filetime::set_file_mtime(from.join(name), one).unwrap();
        }
        unpack(&from, &to).unwrap();

        let at = |name: &str| to.join(name).symlink_metadata().unwrap();
        for name in ["bin/tool", "bin"] {
            assert_eq!(FileTime::from_last_modification_time(&at(name)), one, "{name}");
        }
        assert_eq!(at("bin/tool").permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        fs::write(to.join("bin/new"), "").unwrap();

        let error = unpack(&from, &to).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        let error = unpack(&from.join("bin/tool"), &dir.path().join("x")).unwrap_err();
        assert!(error.to_string().contains("is not a directory"), "{error}");
    }
}
