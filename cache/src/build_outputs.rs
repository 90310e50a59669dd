//! The build's own outputs: a file that names one names this build's once it is restored.
//!
//! Every derivation has output paths of its own. What was compiled with its prefix would go on naming
//! the output of the build that compiled it, which need not exist any more, and no tool with times
//! could notice. All paths of one output have the same length, so the new hash takes the old one's
//! place in the file, as Nix itself does with paths that name themselves.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::references::{HASH, Needle, mention};
use crate::refusal::Refusal;
use crate::time::{self, Time};

/// Bytes looked at together.
const WINDOW: usize = 1 << 18;

/// An output of the build that calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOutput {
    /// Its name, such as `out`.
    pub name: String,
    /// Where it is, or will be.
    pub path: PathBuf,
}

/// An output of the build that made a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedOutput {
    /// Its name, such as `out`.
    pub name: String,
    /// Its path in the store, without the store's directory.
    pub base: Vec<u8>,
}

impl BuildOutput {
    /// Returns what a set keeps of it; none if it is not in the store.
    pub(crate) fn named(&self, store: &Path) -> Option<NamedOutput> {
        let base = self.path.strip_prefix(store).ok()?.as_os_str().as_bytes();
        let whole = mention(base).is_some_and(|base_alone| base_alone.len() == base.len());
        whole.then(|| NamedOutput { name: self.name.clone(), base: base.to_vec() })
    }
}

/// Which hashes take the place of which.
#[derive(Debug)]
pub(crate) struct Renames(Vec<(Needle, Vec<u8>)>);

impl Renames {
    /// Finds for each output of then the one of now.
    pub(crate) fn new(
        then: &[NamedOutput],
        now: &[BuildOutput],
        store: &Path,
    ) -> Result<Renames, Refusal> {
        let mut renames = Vec::new();
        for old in then {
            let new =
                now.iter().filter(|new| new.name == old.name).find_map(|new| new.named(store));
            let new = new.filter(|new| new.base.get(HASH..) == old.base.get(HASH..));
            let (Some(new), Some((hash, name))) = (new, old.base.split_at_checked(HASH)) else {
                let recorded = String::from_utf8_lossy(&old.base).escape_debug().to_string();
                return Err(Refusal::Output { name: old.name.clone(), recorded });
            };
            if new.base != old.base {
                debug_assert_eq!(new.base.len(), hash.len() + name.len());
                renames.push((Needle::new(hash), new.base[..HASH].to_vec()));
            }
        }
        Ok(Renames(renames))
    }

    /// Says whether everything stays as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes the names in a text.
    pub(crate) fn text(&self, bytes: &mut [u8]) {
        for (old, new) in &self.0 {
            let mut from = 0;
            while let Some(at) = old.find(bytes, from) {
                from = at + new.len();
                bytes[at..from].copy_from_slice(new);
            }
        }
    }

    /// Changes the names in a file that nothing but this program knows yet.
    pub(crate) fn file(&self, place: &Path, mode: u32, modified: Time) -> Result<(), Refusal> {
        let error = |action| Refusal::on(action, place);
        // It may be closed to writing.
        std::fs::set_permissions(place, Permissions::from_mode(0o600))
            .map_err(error("set the mode of"))?;
        let file = OpenOptions::new().read(true).write(true).open(place).map_err(error("open"))?;
        self.rewrite(&file).map_err(error("change the outputs' names in"))?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(error("set the mode of"))?;
        time::set_open(&file, Time::ZERO, modified).map_err(error("set the time of"))
    }

    fn rewrite(&self, file: &File) -> io::Result<()> {
        let mut buffer = vec![0; WINDOW];
        let mut offset = 0;
        loop {
            let mut held = 0;
            while held < buffer.len() {
                let read = file.read_at(&mut buffer[held..], offset + held as u64)?;
                if read == 0 {
                    break;
                }
                held += read;
            }
            for (old, new) in &self.0 {
                let mut from = 0;
                while let Some(at) = old.find(&buffer[..held], from) {
                    from = at + new.len();
                    file.write_all_at(new, offset + at as u64)?;
                }
            }
            if held < buffer.len() {
                return Ok(());
            }
            // A hash may lie across two windows; one that was whole is not found again.
            offset += (held - (HASH - 1)) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, path: &str) -> BuildOutput {
        BuildOutput { name: name.to_owned(), path: path.into() }
    }

    fn renames(then: &str, now: &str) -> Result<Renames, Refusal> {
        let store = Path::new("/nix/store");
        let then = output("out", then).named(store).into_iter().collect::<Vec<_>>();
        assert_eq!(then.len(), 1);
        Renames::new(&then, &[output("dev", now), output("out", now)], store)
    }

    #[test]
    fn a_file_names_the_new_output_wherever_the_name_lies() {
        let (old, new) = ("a".repeat(HASH), "b".repeat(HASH));
        let path = |hash: &str| format!("/nix/store/{hash}-app-1");
        let renames = renames(&path(&old), &path(&new)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("f");
        for shift in [0, 1, 17, 31, 32, 40, 60] {
            let mut text = vec![b'.'; WINDOW - 40 + shift];
            text.extend_from_slice(format!("{} {}", path(&old), path(&old)).as_bytes());
            text.resize(2 * WINDOW - 20 + shift, b'.');
            text.extend_from_slice(path(&old).as_bytes());
            std::fs::write(&place, &text).unwrap();
            std::fs::set_permissions(&place, Permissions::from_mode(0o444)).unwrap();
            renames.file(&place, 0o444, Time::STORE).unwrap();
            let expected = String::from_utf8(text).unwrap().replace(&old, &new);
            assert!(std::fs::read_to_string(&place).unwrap() == expected, "{shift}");
            let metadata = place.metadata().unwrap();
            assert_eq!(Time::modified(&metadata), Time::STORE);
            assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
        }
        let mut link = path(&old).into_bytes();
        renames.text(&mut link);
        assert_eq!(link, path(&new).into_bytes());
    }

    #[test]
    fn another_name_does_not_fit() {
        let path = |letter: &str, name: &str| format!("/nix/store/{}-{name}", letter.repeat(HASH));
        assert!(renames(&path("a", "app-1"), &path("a", "app-1")).unwrap().is_empty());
        assert!(!renames(&path("a", "app-1"), &path("b", "app-1")).unwrap().is_empty());
        for now in [path("b", "app-2"), path("b", "app-1/x"), "/elsewhere".to_owned()] {
            let refusal = renames(&path("a", "app-1"), &now).unwrap_err();
            assert!(refusal.to_string().contains("the output `out`"), "{refusal}");
        }
    }
}
