//! What a set holds and what it was made from: the manifest.
//!
//! It is the only source of names, times and modes; the archive carries nothing but content.
//! [`Manifest::encode`] writes it, always the same bytes for the same manifest;
//! [`Manifest::decode`] reads it and refuses whatever [`Manifest::encode`] would not have written.

mod decode;

use crate::build_outputs::NamedOutput;
use crate::digest::Digest;
use crate::own_paths::Doubt;
use crate::references::HASH;
use crate::relative::RelativePath;
use crate::text::write_line;
use crate::time::Time;

pub use decode::{ManifestError, Problem};

/// The version of everything inside a set.
pub(crate) const FORMAT: u32 = 3;
const HEAD: &[u8] = b"levain-cache-set";

/// What a set holds and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The program that wrote the set, such as `levain-cache 0.1.0`.
    pub tool: String,
    /// What made the archive's bytes from its content: library, version and level.
    pub compressor: String,
    /// The user's own key, if any; must be equal on restore.
    pub key: Option<String>,
    /// Where the sources were, an absolute path.
    pub source: Vec<u8>,
    /// Where the outputs were, an absolute path.
    pub into: Vec<u8>,
    /// What the caller said about where this comes from, in the order of the names.
    pub origin: Vec<(String, String)>,
    /// The paths given to `persist`.
    pub roots: Vec<RelativePath>,
    /// The newest time of any file, source or output, kept or not: stands for the clock.
    pub newest: Time,
    /// The archive's parts, in order; together they hold every file's content.
    pub segments: Vec<Segment>,
    /// Base names of the store paths that the files mention, in order.
    pub references: Vec<Vec<u8>>,
    /// The outputs of the build that made the set, if anything in it names one of them.
    pub outputs: Vec<NamedOutput>,
    /// Where an output of the build that made the set is named, in the set or beside it.
    pub doubt: Option<Doubt>,
    /// The files kept, in order.
    pub entries: Vec<Entry>,
    /// The sources as they were before the tool started, in order.
    pub sources: Vec<Source>,
}

/// A part of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The hash of the names, sizes and hashes of its files; also its file name.
    pub id: Digest,
    /// How many of the manifest's files it holds, in the manifest's order.
    pub files: u64,
    /// Its size in the cache, compressed.
    pub stored: u64,
}

/// Something kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it was, below `into`.
    pub path: RelativePath,
    /// Its permission bits.
    pub mode: u32,
    /// When its content last changed.
    pub modified: Time,
    /// What it is.
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file with its content in the archive.
    File(Content),
    /// A symbolic link.
    Link {
        /// What the link says.
        target: Vec<u8>,
    },
    /// Another name of a file that comes earlier.
    Same {
        /// That file.
        of: RelativePath,
    },
}

/// A kept file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Hash of the bytes.
    pub digest: Digest,
    /// Positions in [`Manifest::references`].
    pub references: Vec<u32>,
    /// Whether it names [`Manifest::outputs`].
    pub outputs: bool,
    /// How many builds have passed without reading or writing it; counted only under a budget.
    pub unused: u32,
}

/// A source, as it was before the tool started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it was, below `source`.
    pub path: RelativePath,
    /// Its time at the end of the build.
    pub modified: Time,
    /// What it is.
    pub kind: SourceKind,
    /// Whether the tool itself changed it afterwards, so that no output can be trusted to go with this content.
    pub rewritten: bool,
}

/// What a [`Source`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory.
    Directory {
        /// Hash of the names in it.
        names: Digest,
    },
    /// A file.
    File {
        /// Whether its owner may execute it: the one permission that git and Nix keep.
        executable: bool,
        /// Bytes.
        size: u64,
        /// Hash of the bytes.
        digest: Digest,
    },
    /// A symbolic link.
    Link {
        /// What the link says.
        target: Vec<u8>,
    },
}

impl Manifest {
    /// Returns the number of files with content and how many bytes they have.
    pub fn files(&self) -> (u64, u64) {
        self.contents().fold((0, 0), |(count, bytes), (_, content)| {
            (count + 1, content.size.saturating_add(bytes))
        })
    }

    /// Returns the files with content, in order.
    pub fn contents(&self) -> impl Iterator<Item = (&Entry, &Content)> {
        self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File(content) => Some((entry, content)),
            EntryKind::Directory | EntryKind::Link { .. } | EntryKind::Same { .. } => None,
        })
    }

    /// Returns the origin as one line, `name=value` with blanks between.
    pub fn origin_line(&self) -> String {
        let pairs: Vec<String> = self
            .origin
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_debug(), value.escape_debug()))
            .collect();
        pairs.join(" ")
    }

    /// Returns the manifest's text.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 * (self.entries.len() + self.sources.len()) + 1024);
        write_line(&mut out, &[HEAD, FORMAT.to_string().as_bytes()]);
        write_line(&mut out, &[b"tool", self.tool.as_bytes()]);
        write_line(&mut out, &[b"compressor", self.compressor.as_bytes()]);
        if let Some(key) = &self.key {
            write_line(&mut out, &[b"key", key.as_bytes()]);
        }
        write_line(&mut out, &[b"source", &self.source]);
        write_line(&mut out, &[b"into", &self.into]);
        for (name, value) in &self.origin {
            write_line(&mut out, &[b"origin", name.as_bytes(), value.as_bytes()]);
        }
        for root in &self.roots {
            write_line(&mut out, &[b"root", root.bytes()]);
        }
        write_line(&mut out, &[b"newest", time(self.newest).as_bytes()]);
        for segment in &self.segments {
            let [files, stored] = [segment.files, segment.stored].map(|number| number.to_string());
            let id = segment.id.to_string();
            write_line(&mut out, &[b"segment", id.as_bytes(), files.as_bytes(), stored.as_bytes()]);
        }
        for reference in &self.references {
            write_line(&mut out, &[b"reference", reference]);
        }
        for NamedOutput { name, base } in &self.outputs {
            // Backwards, so that Nix does not take it for a reference.
            let (hash, rest) = base.split_at(HASH.min(base.len()));
            let hash: Vec<u8> = hash.iter().rev().copied().collect();
            write_line(&mut out, &[b"output", name.as_bytes(), &hash, rest]);
        }
        if let Some(Doubt { path, own, kept }) = &self.doubt {
            let kept: &[u8] = if *kept { b"kept" } else { b"dropped" };
            let fields: [&[u8]; 5] =
                [b"doubt", kept, own.form.word().as_bytes(), own.output.as_bytes(), path.bytes()];
            write_line(&mut out, &fields);
        }
        for entry in &self.entries {
            entry.encode(&mut out);
        }
        for source in &self.sources {
            source.encode(&mut out);
        }
        let digest = Digest::of(&out);
        write_line(&mut out, &[b"end", digest.to_string().as_bytes()]);
        out
    }
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        let mode = format!("{:o}", self.mode);
        let modified = time(self.modified);
        let (mode, modified, path) = (mode.as_bytes(), modified.as_bytes(), self.path.bytes());
        match &self.kind {
            EntryKind::Directory => write_line(out, &[b"directory", mode, modified, path]),
            EntryKind::File(content) => {
                let digest = content.digest.to_string();
                let [size, unused] =
                    [content.size, u64::from(content.unused)].map(|number| number.to_string());
                let numbers: Vec<String> =
                    content.references.iter().map(ToString::to_string).collect();
                let outputs: &[u8] = if content.outputs { b"outputs" } else { b"" };
                let fields: [&[u8]; 9] = [
                    b"file",
                    mode,
                    modified,
                    path,
                    size.as_bytes(),
                    digest.as_bytes(),
                    unused.as_bytes(),
                    &numbers.join(",").into_bytes(),
                    outputs,
                ];
                write_line(out, &fields);
            }
            EntryKind::Link { target } => {
                write_line(out, &[b"link", mode, modified, path, target]);
            }
            EntryKind::Same { of } => {
                write_line(out, &[b"same", mode, modified, path, of.bytes()]);
            }
        }
    }
}

impl Source {
    /// Says whether this is a file or link, and no directory.
    pub fn has_content(&self) -> bool {
        match self.kind {
            SourceKind::Directory { .. } => false,
            SourceKind::File { .. } | SourceKind::Link { .. } => true,
        }
    }

    /// Appends the line that [`decode::source`] reads.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let modified = time(self.modified);
        let state: &[u8] = if self.rewritten { b"rewritten" } else { b"kept" };
        let (modified, path) = (modified.as_bytes(), self.path.bytes());
        match &self.kind {
            SourceKind::Directory { names } => {
                let names = names.to_string();
                let fields: [&[u8]; 5] =
                    [b"source-directory", state, modified, path, names.as_bytes()];
                write_line(out, &fields);
            }
            SourceKind::File { executable, size, digest } => {
                let kind: &[u8] = if *executable { b"source-program" } else { b"source-file" };
                let (size, digest) = (size.to_string(), digest.to_string());
                let fields: [&[u8]; 6] =
                    [kind, state, modified, path, size.as_bytes(), digest.as_bytes()];
                write_line(out, &fields);
            }
            SourceKind::Link { target } => {
                write_line(out, &[b"source-link", state, modified, path, target]);
            }
        }
    }

    /// Reads the fields of a line that [`Source::encode`] wrote; none if it is no source's.
    pub(crate) fn decode(fields: &[std::borrow::Cow<'_, [u8]>]) -> Result<Option<Source>, Problem> {
        decode::source(fields)
    }
}

fn time(time: Time) -> String {
    time.nanos().to_string()
}
