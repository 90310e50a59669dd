//! A build hook that declines: it keeps Nix from looking for remote builders that there are not.
//!
//! For each request Nix starts its own hook, which loads half of Nix only to find that no builders
//! are configured. Newer versions can be told that there is no hook; older ones want a program.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::NixVersion;
use crate::scratch::Scratch;

/// What a hook says that is never to be asked again. Nix then ends it.
const DECLINE: &str = "# decline-permanently";

/// The first version (of those that were tried) in which `build-hook` may be empty.
const MAY_BE_EMPTY: NixVersion = NixVersion { major: 2, minor: 26 };

/// The value of the setting `build-hook` that switches remote builders off.
#[derive(Debug)]
pub struct DecliningHook(Option<Scratch>);

impl DecliningHook {
    /// Makes a hook for a daemon of this version that is a child of ours. `None` if programs cannot
    /// be started where temporary files are.
    pub fn new(version: NixVersion) -> Option<Self> {
        if version >= MAY_BE_EMPTY {
            return Some(Self(None));
        }
        let made = Scratch::new("hook").and_then(|dir| {
            write(&program(&dir))?;
            Ok(declines(&program(&dir))?.then_some(dir))
        });
        match made {
            Ok(dir) => dir.map(|dir| Self(Some(dir))),
            Err(error) => {
                tracing::debug!(%error, "going on with Nix's own build hook");
                None
            }
        }
    }

    /// Returns the setting's value. It holds as long as this lives.
    pub fn setting(&self) -> String {
        self.0.as_ref().map(|dir| program(dir).display().to_string()).unwrap_or_default()
    }
}

fn program(dir: &Scratch) -> std::path::PathBuf {
    dir.path().join("decline")
}

fn write(program: &Path) -> io::Result<()> {
    // It reads what Nix has to say, for Nix would rather not write to nobody.
    fs::write(
        program,
        format!("#!/bin/sh\necho '{DECLINE}' >&2\nwhile read -r line; do :; done\n"),
    )?;
    fs::set_permissions(program, Permissions::from_mode(0o700))
}

/// Tries the program.
fn declines(program: &Path) -> io::Result<bool> {
    #[expect(clippy::disallowed_methods, reason = "this module starts what Nix will start")]
    let output = Command::new(program).env_clear().stdin(Stdio::null()).output()?;
    Ok(output.status.success() && output.stderr.trim_ascii() == DECLINE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_get_a_program_that_declines() {
        let hook = DecliningHook::new(NixVersion { major: 2, minor: 8 }).unwrap();
        let path = hook.setting();
        assert!(declines(Path::new(&path)).unwrap());
        drop(hook);
        assert!(!Path::new(&path).exists());
        let hook = DecliningHook::new(NixVersion { major: 2, minor: 34 }).unwrap();
        assert_eq!(hook.setting(), "");
    }
}
