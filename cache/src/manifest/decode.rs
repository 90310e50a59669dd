//! Reads a manifest from bytes that anybody may have made.
//!
//! Besides the form it checks what the rest of the program relies on: every list is in order and
//! without duplicates, every parent is a directory of the manifest, other names come after the file
//! they name, and the segments hold exactly the files.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Content, Entry, EntryKind, FORMAT, HEAD, Manifest, Segment, Source, SourceKind};
use crate::build_outputs::NamedOutput;
use crate::digest::Digest;
use crate::own_paths::{Doubt, Form, Own};
use crate::references::mention;
use crate::relative::{PathError, RelativePath};
use crate::scan::OWN;
use crate::text::{number, read_line};
use crate::time::Time;

/// Longest text of a symbolic link, as the kernel's own limit.
const LONGEST_TARGET: usize = 4095;

/// Why some bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ManifestError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not a manifest at all.
    #[error("this is no manifest of a set")]
    Foreign,
    /// A manifest of a later version of this program.
    #[error("the format is {found}, newer than {FORMAT}, which this version reads")]
    Newer {
        /// The version found.
        found: String,
    },
    /// The hash at the end does not fit, or is missing.
    #[error("the manifest was cut short or changed")]
    Damaged,
    /// Not of the form expected.
    #[error("the line cannot be read")]
    Line,
    /// A path that is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Not after the one before it, or given twice.
    #[error("{0:?} is out of order or given twice")]
    Order(RelativePath),
    /// In a directory that the manifest does not have.
    #[error("{0:?} is in something that is no directory of the set")]
    Parent(RelativePath),
    /// Where restoring itself writes.
    #[error("{0:?} is a name that levain-cache uses itself")]
    Own(RelativePath),
    /// Another name of something that is no earlier file.
    #[error("{0:?} is another name of something that is no file of the set")]
    Same(RelativePath),
    /// Permission bits that must not be set.
    #[error("{0:?} has a mode beyond 777")]
    Mode(RelativePath),
    /// The segments do not hold exactly the files.
    #[error("the archive's parts do not add up to the files")]
    Segments,
}

impl Manifest {
    /// Reads what [`Manifest::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let at = |line| move |problem| ManifestError { line, problem };
        let head = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        check_head(head).map_err(at(1))?;
        let body =
            checked_body(bytes).ok_or(ManifestError { line: 1, problem: Problem::Damaged })?;

        let mut reader = Reader::default();
        let mut count = 1;
        for line in body.split(|&byte| byte == b'\n').skip(1) {
            count += 1;
            let fields = read_line(line).ok_or_else(|| at(count)(Problem::Line))?;
            reader.line(&fields).map_err(at(count))?;
        }
        reader.finish().map_err(at(count))
    }
}

fn check_head(head: &[u8]) -> Result<(), Problem> {
    let rest = head.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix(b"\t"));
    let found = rest.ok_or(Problem::Foreign)?;
    match number::<u32>(found) {
        Some(FORMAT) => Ok(()),
        Some(other) if other > FORMAT => Err(Problem::Newer { found: other.to_string() }),
        Some(_) | None => Err(Problem::Foreign),
    }
}

/// Returns everything before the last line, if that has the right hash.
fn checked_body(bytes: &[u8]) -> Option<&[u8]> {
    let whole = bytes.strip_suffix(b"\n")?;
    let last = whole.iter().rposition(|&byte| byte == b'\n')? + 1;
    let digest = Digest::parse(whole[last..].strip_prefix(b"end\t")?)?;
    (Digest::of(&bytes[..last]) == digest).then(|| &bytes[..last - 1])
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    tool: Option<String>,
    compressor: Option<String>,
    key: Option<String>,
    source: Option<Vec<u8>>,
    into: Option<Vec<u8>>,
    origin: Vec<(String, String)>,
    roots: Vec<RelativePath>,
    newest: Option<Time>,
    segments: Vec<Segment>,
    references: Vec<Vec<u8>>,
    outputs: Vec<NamedOutput>,
    doubt: Option<Doubt>,
    entries: Vec<Entry>,
    sources: Vec<Source>,
    /// Whether an entry is a directory (true), a file (false), or something else (absent).
    kinds: HashMap<RelativePath, bool>,
    files: u64,
}

impl Reader {
    fn line(&mut self, fields: &[Cow<'_, [u8]>]) -> Result<(), Problem> {
        let fields: Vec<&[u8]> = fields.iter().map(AsRef::as_ref).collect();
        match fields.as_slice() {
            [b"tool", tool] => once(&mut self.tool, text(tool)?),
            [b"compressor", compressor] => once(&mut self.compressor, text(compressor)?),
            [b"key", key] => once(&mut self.key, text(key)?),
            [b"source", path] => once(&mut self.source, path.to_vec()),
            [b"into", path] => once(&mut self.into, path.to_vec()),
            [b"origin", name, value] => {
                self.origin.push((text(name)?, text(value)?));
                Ok(())
            }
            [b"root", path] => {
                self.roots.push(RelativePath::parse_or_root(path)?);
                Ok(())
            }
            [b"newest", nanos] => once(&mut self.newest, time(nanos)?),
            [b"segment", id, files, stored] => {
                let id = Digest::parse(id).ok_or(Problem::Line)?;
                let files = number(files).filter(|&files: &u64| files > 0).ok_or(Problem::Line)?;
                let stored = number(stored).ok_or(Problem::Line)?;
                self.segments.push(Segment { id, files, stored });
                Ok(())
            }
            [b"reference", reference] => {
                self.references.push(reference.to_vec());
                Ok(())
            }
            [b"output", name, hash, rest] => {
                let hash = hash.iter().rev().copied();
                let base: Vec<u8> = hash.chain(rest.iter().copied()).collect();
                if mention(&base).is_none_or(|whole| whole.len() != base.len()) {
                    return Err(Problem::Line);
                }
                self.outputs.push(NamedOutput { name: text(name)?, base });
                Ok(())
            }
            [b"doubt", kept, form, output, path] => {
                let kept = match *kept {
                    b"kept" => true,
                    b"dropped" => false,
                    _ => return Err(Problem::Line),
                };
                let form = Form::parse(form).ok_or(Problem::Line)?;
                let own = Own { output: text(output)?, form };
                let path = RelativePath::parse(path)?;
                once(&mut self.doubt, Doubt { path, own, kept })
            }
            [b"directory", mode, modified, path] => {
                self.entry(mode, modified, path, EntryKind::Directory)
            }
            [b"file", mode, modified, path, size, digest, unused, references, outputs] => {
                let references = self.positions(references)?;
                let size = number(size).ok_or(Problem::Line)?;
                let digest = Digest::parse(digest).ok_or(Problem::Line)?;
                let unused = number(unused).ok_or(Problem::Line)?;
                let outputs = match *outputs {
                    b"outputs" => true,
                    b"" => false,
                    _ => return Err(Problem::Line),
                };
                let content = Content { size, digest, references, outputs, unused };
                self.entry(mode, modified, path, EntryKind::File(content))
            }
            [b"link", mode, modified, path, target] => {
                let target = target_of(target)?;
                self.entry(mode, modified, path, EntryKind::Link { target })
            }
            [b"same", mode, modified, path, of] => {
                let of = RelativePath::parse(of)?;
                if self.kinds.get(&of) != Some(&false) {
                    return Err(Problem::Same(of));
                }
                self.entry(mode, modified, path, EntryKind::Same { of })
            }
            fields => {
                let fields: Vec<Cow<'_, [u8]>> =
                    fields.iter().map(|field| Cow::Borrowed(*field)).collect();
                let source = source(&fields)?.ok_or(Problem::Line)?;
                if self.sources.last().is_some_and(|last| last.path >= source.path) {
                    return Err(Problem::Order(source.path));
                }
                self.sources.push(source);
                Ok(())
            }
        }
    }

    fn positions(&self, field: &[u8]) -> Result<Vec<u32>, Problem> {
        if field.is_empty() {
            return Ok(Vec::new());
        }
        let known = |position: &u32| {
            usize::try_from(*position).is_ok_and(|position| position < self.references.len())
        };
        field
            .split(|&byte| byte == b',')
            .map(|part| number(part).filter(known).ok_or(Problem::Line))
            .collect()
    }

    fn entry(
        &mut self,
        mode: &[u8],
        modified: &[u8],
        path: &[u8],
        kind: EntryKind,
    ) -> Result<(), Problem> {
        let path = RelativePath::parse(path)?;
        if self.entries.last().is_some_and(|last| last.path >= path) {
            return Err(Problem::Order(path));
        }
        let parent = path.parent().filter(|parent| !parent.is_root());
        if parent.is_some_and(|parent| self.kinds.get(&parent) != Some(&true)) {
            return Err(Problem::Parent(path));
        }
        if path.name().starts_with(OWN) {
            return Err(Problem::Own(path));
        }
        let mode = str::from_utf8(mode).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = mode.ok_or(Problem::Line)?;
        if mode > 0o777 {
            return Err(Problem::Mode(path));
        }
        match &kind {
            EntryKind::Directory => {
                self.kinds.insert(path.clone(), true);
            }
            EntryKind::File(_) => {
                self.kinds.insert(path.clone(), false);
                self.files += 1;
            }
            EntryKind::Link { .. } | EntryKind::Same { .. } => {}
        }
        self.entries.push(Entry { path, mode, modified: time(modified)?, kind });
        Ok(())
    }

    fn finish(self) -> Result<Manifest, Problem> {
        let held = self.segments.iter().try_fold(0, |sum: u64, part| sum.checked_add(part.files));
        if held != Some(self.files) {
            return Err(Problem::Segments);
        }
        Ok(Manifest {
            tool: self.tool.ok_or(Problem::Line)?,
            compressor: self.compressor.ok_or(Problem::Line)?,
            key: self.key,
            source: self.source.ok_or(Problem::Line)?,
            into: self.into.ok_or(Problem::Line)?,
            origin: self.origin,
            roots: self.roots,
            newest: self.newest.ok_or(Problem::Line)?,
            segments: self.segments,
            references: self.references,
            outputs: self.outputs,
            doubt: self.doubt,
            entries: self.entries,
            sources: self.sources,
        })
    }
}

/// Reads a source's fields; none if they are something else's.
pub(super) fn source(fields: &[Cow<'_, [u8]>]) -> Result<Option<Source>, Problem> {
    let fields: Vec<&[u8]> = fields.iter().map(AsRef::as_ref).collect();
    let (state, modified, path, kind) = match fields.as_slice() {
        [b"source-directory", state, modified, path, names] => {
            let names = Digest::parse(names).ok_or(Problem::Line)?;
            (state, modified, path, SourceKind::Directory { names })
        }
        [kind @ (b"source-file" | b"source-program"), state, modified, path, size, digest] => {
            let executable = *kind == b"source-program";
            let size = number(size).ok_or(Problem::Line)?;
            let digest = Digest::parse(digest).ok_or(Problem::Line)?;
            (state, modified, path, SourceKind::File { executable, size, digest })
        }
        [b"source-link", state, modified, path, target] => {
            (state, modified, path, SourceKind::Link { target: target_of(target)? })
        }
        _ => return Ok(None),
    };
    let rewritten = match *state {
        b"rewritten" => true,
        b"kept" => false,
        _ => return Err(Problem::Line),
    };
    let path = RelativePath::parse_or_root(path)?;
    Ok(Some(Source { path, modified: time(modified)?, kind, rewritten }))
}

fn target_of(target: &[u8]) -> Result<Vec<u8>, Problem> {
    if target.is_empty() || target.contains(&0) || target.len() > LONGEST_TARGET {
        return Err(Problem::Line);
    }
    Ok(target.to_vec())
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::Line),
    }
}

fn text(field: &[u8]) -> Result<String, Problem> {
    str::from_utf8(field).ok().map(str::to_owned).ok_or(Problem::Line)
}

fn time(field: &[u8]) -> Result<Time, Problem> {
    number(field).map(Time::from_nanos).ok_or(Problem::Line)
}
