//! Writes a file, directory or symlink as a NAR, Nix's archive of exactly what a store keeps.
//!
//! There is no reader: levain only ever sends archives. Start at [`dump`]; trees that are on no
//! disk are written by an [`Encoder`].

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::hash::{HashingWriter, NarHash};

mod encoder;

pub use encoder::{Encoder, NarHasher};

/// A file system object that could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum NarError {
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A store keeps files, directories and symlinks only.
    #[error("`{}` is neither a file, a directory nor a symlink", path.display())]
    Kind {
        /// The object.
        path: PathBuf,
    },
    /// A file became shorter or longer while it was read.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// Writes the NAR of `path` to `sink`, reading one block at a time.
pub fn dump(path: &Path, sink: &mut impl Write) -> Result<(), NarError> {
    let mut writer = Writer { sink, block: vec![0; 64 * 1024] };
    writer.text(b"nix-archive-1")?;
    writer.node(path)
}

/// Returns the hash and the size of the NAR of `path`.
pub fn hash(path: &Path) -> Result<(NarHash, u64), NarError> {
    let mut sink = HashingWriter::new(io::sink());
    dump(path, &mut sink)?;
    let (_, hash, size) = sink.finish();
    Ok((hash, size))
}

struct Writer<'a, W> {
    sink: &'a mut W,
    block: Vec<u8>,
}

impl<W: Write> Writer<'_, W> {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        self.sink.write_all(bytes).map_err(NarError::Write)
    }

    fn padding(&mut self, length: u64) -> Result<(), NarError> {
        let padding = (8 - length % 8) % 8;
        self.raw(&[0; 8][..padding as usize])
    }

    fn text(&mut self, text: &[u8]) -> Result<(), NarError> {
        self.raw(&(text.len() as u64).to_le_bytes())?;
        self.raw(text)?;
        self.padding(text.len() as u64)
    }

    fn texts(&mut self, texts: &[&[u8]]) -> Result<(), NarError> {
        texts.iter().try_for_each(|text| self.text(text))
    }

    fn node(&mut self, path: &Path) -> Result<(), NarError> {
        let read = |source| NarError::Read { path: path.to_owned(), source };
        let metadata = fs::symlink_metadata(path).map_err(read)?;
        self.texts(&[b"(", b"type"])?;
        if metadata.is_file() {
            self.text(b"regular")?;
            if metadata.permissions().mode() & 0o100 != 0 {
                self.texts(&[b"executable", b""])?;
            }
            self.text(b"contents")?;
            self.contents(path, metadata.len())?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(read)?;
            self.texts(&[b"symlink", b"target", target.as_os_str().as_bytes()])?;
        } else if metadata.is_dir() {
            self.text(b"directory")?;
            let mut names = fs::read_dir(path)
                .and_then(|entries| {
                    entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
                })
                .map_err(read)?;
            names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            for name in names {
                self.texts(&[b"entry", b"(", b"name", name.as_bytes(), b"node"])?;
                self.node(&path.join(&name))?;
                self.text(b")")?;
            }
        } else {
            return Err(NarError::Kind { path: path.to_owned() });
        }
        self.text(b")")
    }

    /// Writes a file's content. The length goes first, so exactly that much has to follow.
    fn contents(&mut self, path: &Path, length: u64) -> Result<(), NarError> {
        let read = |source| NarError::Read { path: path.to_owned(), source };
        let changed = || NarError::Changed { path: path.to_owned() };
        let mut file = File::open(path).map_err(read)?;
        self.raw(&length.to_le_bytes())?;
        let mut left = length;
        loop {
            let count = match file.read(&mut self.block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read(error)),
            };
            left = left.checked_sub(count as u64).ok_or_else(changed)?;
            self.sink.write_all(&self.block[..count]).map_err(NarError::Write)?;
        }
        if left > 0 {
            return Err(changed());
        }
        self.padding(length)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn archive(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        dump(path, &mut bytes).unwrap();
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn texts(words: &[&str]) -> Vec<u8> {
        words.iter().flat_map(|word| text(word)).collect()
    }

    #[test]
    fn writes_files_links_and_sorted_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "four").unwrap();
        fs::write(dir.path().join("B"), "12345678").unwrap();
        fs::set_permissions(dir.path().join("B"), fs::Permissions::from_mode(0o744)).unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        #[rustfmt::skip]
        let expected = texts(&[
            "nix-archive-1", "(", "type", "directory",
            "entry", "(", "name", "B", "node",
            "(", "type", "regular", "executable", "", "contents", "12345678", ")", ")",
            "entry", "(", "name", "a", "node", "(", "type", "symlink", "target", "b", ")", ")",
            "entry", "(", "name", "b", "node", "(", "type", "regular", "contents", "four", ")", ")",
            ")",
        ]);
        assert_eq!(archive(dir.path()), expected);
        let (hash, size) = hash(dir.path()).unwrap();
        assert_eq!((hash, size), (NarHash::of(&expected), expected.len() as u64));
    }

    #[test]
    fn refuses_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = dump(dir.path(), &mut io::sink()).unwrap_err();
        assert!(matches!(error, NarError::Kind { path } if path == socket));
    }
}
