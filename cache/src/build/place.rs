//! Gives a build the same directory in every build, where Nix gives it another one each time.
//!
//! Outside a sandbox, Nix from 2.30 on builds in `…/builds/nix-PID-NUMBER`, and what a tool recorded in
//! one directory is of no use in another. So the build gets a mount namespace of its own, in which
//! its directory is at `…/builds/levain-build`, whoever else builds. Nothing outside changes. Where
//! the system does not allow that, the build goes on where it is, and restores nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

/// The directory that is the same in every build.
const FIXED: &str = "levain-build";

/// A build directory with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// The directory that Nix made for this build.
    directory: PathBuf,
    /// The one in which it makes them all.
    all: PathBuf,
}

impl Numbered {
    /// Finds such a directory above, or in, Nix's build directory.
    pub(crate) fn find(top: &Path) -> Option<Numbered> {
        let directory = top.ancestors().find(|path| {
            let name = path.file_name().unwrap_or_default().as_bytes();
            name.strip_prefix(b"nix-").is_some_and(is_two_numbers)
        })?;
        // Others build elsewhere below it, if anything; another directory may hold what this build
        // needs, and would be hidden.
        let all = directory.parent().filter(|all| all.file_name() == Some(OsStr::new("builds")))?;
        Some(Numbered { directory: directory.to_path_buf(), all: all.to_path_buf() })
    }

    /// Where the build directory will be.
    fn fixed(&self) -> PathBuf {
        self.all.join(FIXED)
    }

    /// Returns the variables that name the directory, as they are to be.
    fn variables(
        &self,
        all: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let fixed = self.fixed();
        let moved = |value: &OsStr| {
            let rest = value.as_bytes().strip_prefix(self.directory.as_os_str().as_bytes())?;
            let inside = rest.is_empty() || rest.starts_with(b"/");
            inside.then(|| OsString::from_vec([fixed.as_os_str().as_bytes(), rest].concat()))
        };
        all.filter_map(|(name, value)| Some((name, moved(&value)?))).collect()
    }

    /// Tries in another process whether [`Numbered::enter`] would succeed: half of it cannot be undone.
    #[expect(clippy::disallowed_methods, reason = "it is this very program")]
    pub(crate) fn probe(&self) -> io::Result<()> {
        let output = std::process::Command::new(std::env::current_exe()?)
            .arg("probe-place")
            .arg(&self.directory)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(said.trim().trim_start_matches("levain-cache: error: ").to_owned()))
    }

    /// Starts this program again where the build directory has the fixed name; returns only if that
    /// fails.
    #[expect(clippy::disallowed_methods, reason = "it is this very program")]
    pub(crate) fn start_again(&self) -> io::Error {
        let again = || {
            let program = std::env::current_exe()?;
            let here = std::env::current_dir()?;
            self.enter()?;
            let here = here.strip_prefix(&self.directory).map(|rest| self.fixed().join(rest));
            let here = here.unwrap_or_else(|_| self.fixed());
            Ok((program, here))
        };
        match again() {
            Ok((program, here)) => std::process::Command::new(program)
                .args(std::env::args_os().skip(1))
                .envs(self.variables(std::env::vars_os()))
                .env("PWD", &here)
                .current_dir(&here)
                .exec(),
            Err(error) => error,
        }
    }

    /// Moves this process into a namespace where the build directory is at the fixed place.
    #[cfg(target_os = "linux")]
    pub(crate) fn enter(&self) -> io::Result<()> {
        use rustix::fs::CWD;
        use rustix::mount::{
            MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change,
            move_mount, open_tree,
        };
        let failed = |what: &'static str| {
            move |error| io::Error::other(format!("cannot {what}: {}", io::Error::from(error)))
        };
        if new_namespace()? == Owner::Everyone {
            // What is mounted here must not show elsewhere.
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).map_err(failed("keep mounts to itself"))?;
        }
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, &self.directory, clone).map_err(failed("bind its directory"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("levain-cache", &self.all, "tmpfs", flags, Some(c"mode=755"))
            .map_err(failed("mount a directory"))?;
        let fixed = self.fixed();
        std::fs::create_dir(&fixed)?;
        move_mount(&tree, "", CWD, &fixed, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed("mount its directory"))?;
        std::env::set_current_dir(&fixed)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn enter(&self) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no mount namespaces"))
    }
}

/// Reads the directory that the probe was given.
pub(crate) fn probe(directory: &Path) -> io::Result<()> {
    match Numbered::find(directory) {
        Some(numbered) => numbered.enter(),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "no numbered build directory")),
    }
}

/// Whose mounts a new namespace starts with.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The system's: what is mounted in one namespace may show in others.
    Everyone,
    /// A user's, whose mounts never show elsewhere.
    User,
}

#[cfg(target_os = "linux")]
fn new_namespace() -> io::Result<Owner> {
    use rustix::io::Errno;
    use rustix::process::{getegid, geteuid};
    use rustix::thread::UnshareFlags;

    #[expect(deprecated, reason = "what makes it unsafe is a flag that is not used here")]
    let unshare = rustix::thread::unshare;
    match unshare(UnshareFlags::NEWNS) {
        Ok(()) => return Ok(Owner::Everyone),
        Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUSER)
        .map_err(|error| io::Error::other(format!("no user namespaces: {error}")))?;
    // Only then may a group be named.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    Ok(Owner::User)
}

fn is_two_numbers(name: &[u8]) -> bool {
    let mut parts = name.split(|&byte| byte == b'-');
    let mut number =
        || parts.next().is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
    number() && number() && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_directories_among_builds_are_moved() {
        for (top, directory) in [
            ("/nix/var/nix/builds/nix-108-2810057577", "nix-108-2810057577"),
            ("/nix/var/nix/builds/nix-108-2810057577/build", "nix-108-2810057577"),
        ] {
            let all = PathBuf::from("/nix/var/nix/builds");
            let expected = Numbered { directory: all.join(directory), all };
            assert_eq!(Numbered::find(Path::new(top)), Some(expected), "{top}");
        }
        for top in [
            "/build",
            "/tmp/nix-build-app-0",
            "/tmp/nix-1-2",
            "/nix/var/nix/builds/nix-1",
            "/nix/var/nix/builds/nix-1-x",
            "/nix/var/nix/builds/nix-1-2-3",
            "/nix/var/nix/builds/levain-build",
            "/",
        ] {
            assert_eq!(Numbered::find(Path::new(top)), None, "{top}");
        }
    }

    #[test]
    fn variables_follow_the_directory() {
        let numbered = Numbered::find(Path::new("/var/builds/nix-1-2/build")).unwrap();
        let all = [
            ("NIX_BUILD_TOP", "/var/builds/nix-1-2/build"),
            ("TMP", "/var/builds/nix-1-2"),
            ("other", "/var/builds/nix-1-23"),
            ("text", "x /var/builds/nix-1-2"),
        ];
        let moved = numbered.variables(all.map(|(a, b)| (a.into(), b.into())).into_iter());
        let expected: [(OsString, OsString); 2] = [
            ("NIX_BUILD_TOP".into(), "/var/builds/levain-build/build".into()),
            ("TMP".into(), "/var/builds/levain-build".into()),
        ];
        assert_eq!(moved, expected);
    }
}
