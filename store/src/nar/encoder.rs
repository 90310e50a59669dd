//! Writes a NAR from a tree that is not on a disk: the caller names each object as it goes.
//!
//! For evaluators, which copy filtered trees and git trees. Start at [`Encoder::hashing`].

use std::io::{self, Write};

use crate::hash::{HashingWriter, NarHash};

/// Writes one NAR, object by object. The caller keeps entries in ascending order of their bytes.
pub struct Encoder<W> {
    sink: W,
}

impl Encoder<NarHasher> {
    /// Returns an encoder that keeps only the hash; see [`Encoder::finish_hash`].
    pub fn hashing() -> Self {
        let mut encoder = Self { sink: NarHasher(HashingWriter::new(io::sink())) };
        // Nothing can fail: the sink takes everything.
        let magic = encoder.text(b"nix-archive-1");
        debug_assert!(magic.is_ok());
        encoder
    }

    /// Returns the hash and the size of what was written.
    pub fn finish_hash(self) -> (NarHash, u64) {
        let (_, hash, size) = self.sink.0.finish();
        (hash, size)
    }
}

/// A sink that keeps only the hash of what it is given.
pub struct NarHasher(HashingWriter<io::Sink>);

impl Write for NarHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Encoder<W> {
    /// Begins a NAR on `sink`.
    pub fn new(sink: W) -> io::Result<Self> {
        let mut encoder = Self { sink };
        encoder.text(b"nix-archive-1")?;
        Ok(encoder)
    }

    /// Returns the sink.
    pub fn into_inner(self) -> W {
        self.sink
    }

    /// Writes a regular file.
    pub fn file(&mut self, executable: bool, contents: &[u8]) -> io::Result<()> {
        self.texts(&[b"(", b"type", b"regular"])?;
        if executable {
            self.texts(&[b"executable", b""])?;
        }
        self.texts(&[b"contents", contents, b")"])
    }

    /// Writes a symlink.
    pub fn symlink(&mut self, target: &[u8]) -> io::Result<()> {
        self.texts(&[b"(", b"type", b"symlink", b"target", target, b")"])
    }

    /// Begins a directory; entries and [`end_directory`](Self::end_directory) follow.
    pub fn begin_directory(&mut self) -> io::Result<()> {
        self.texts(&[b"(", b"type", b"directory"])
    }

    /// Begins an entry; one object and [`end_entry`](Self::end_entry) follow.
    pub fn begin_entry(&mut self, name: &[u8]) -> io::Result<()> {
        self.texts(&[b"entry", b"(", b"name", name, b"node"])
    }

    /// Ends an entry.
    pub fn end_entry(&mut self) -> io::Result<()> {
        self.text(b")")
    }

    /// Ends a directory.
    pub fn end_directory(&mut self) -> io::Result<()> {
        self.text(b")")
    }

    fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.sink.write_all(&(text.len() as u64).to_le_bytes())?;
        self.sink.write_all(text)?;
        self.sink.write_all(&[0; 8][..text.len().next_multiple_of(8) - text.len()])
    }

    fn texts(&mut self, texts: &[&[u8]]) -> io::Result<()> {
        texts.iter().try_for_each(|text| self.text(text))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn tree(encoder: &mut Encoder<impl Write>) -> io::Result<()> {
        encoder.begin_directory()?;
        encoder.begin_entry(b"B")?;
        encoder.file(true, b"12345678")?;
        encoder.end_entry()?;
        encoder.begin_entry(b"a")?;
        encoder.symlink(b"b")?;
        encoder.end_entry()?;
        encoder.begin_entry(b"b")?;
        encoder.begin_directory()?;
        encoder.end_directory()?;
        encoder.end_entry()?;
        encoder.end_directory()
    }

    #[test]
    fn writes_what_dump_writes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("B"), "12345678").unwrap();
        fs::set_permissions(dir.path().join("B"), fs::Permissions::from_mode(0o744)).unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        let mut expected = Vec::new();
        crate::nar::dump(dir.path(), &mut expected).unwrap();
        let mut encoder = Encoder::new(Vec::new()).unwrap();
        tree(&mut encoder).unwrap();
        assert_eq!(encoder.into_inner(), expected);
        let mut encoder = Encoder::hashing();
        tree(&mut encoder).unwrap();
        assert_eq!(encoder.finish_hash(), (NarHash::of(&expected), expected.len() as u64));
    }
}
