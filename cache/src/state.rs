//! What `restore` tells `persist` of the same build: the sources before the tool started, and which
//! files it put back.
//!
//! One file per set, in the build's own directory. It never leaves the build.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::manifest::Source;
use crate::relative::RelativePath;
use crate::scan::{ScanError, Stamp};
use crate::set_name::SetName;
use crate::text::{number, read_line, write_line};
use crate::time::Time;

const HEAD: &[u8] = b"levain-cache-state";
const FORMAT: &[u8] = b"2";

/// What `restore` tells `persist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The sources' directory.
    pub source: PathBuf,
    /// The outputs' directory.
    pub into: PathBuf,
    /// The cache that the build was given, restored or not.
    pub given: Option<PathBuf>,
    /// The cache that the set was restored from; none if it was not.
    pub restored: Option<PathBuf>,
    /// The hash of what stands beside the sources, where that counts.
    pub beside: Option<String>,
    /// The sources, in order, as the tool finds them.
    pub sources: Vec<(Source, Stamp)>,
    /// The files put back, below `into`.
    pub files: HashMap<RelativePath, Stamp>,
}

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Not written by this program, or not wholly.
    #[error("`{}` is damaged at line {line}\nhint: keep the tool from writing there, or name another place with `--state`", .path.display())]
    Damaged {
        /// The state's file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
}

/// Returns where the states of a build are: as asked, or in Nix's build directory, or in the sources'.
pub fn directory(asked: Option<&Path>, build_top: Option<&Path>, source: &Path) -> PathBuf {
    match asked {
        Some(asked) => asked.to_path_buf(),
        None => build_top.unwrap_or(source).join(".levain-cache"),
    }
}

impl State {
    /// Writes the state, whole or not at all.
    pub fn write(&self, directory: &Path, set: &SetName) -> Result<(), ScanError> {
        std::fs::create_dir_all(directory).map_err(ScanError::on("create", directory))?;
        let place = directory.join(set.as_str());
        let partial = directory.join(format!("{set}.partial"));
        std::fs::write(&partial, self.encode()).map_err(ScanError::on("write", &partial))?;
        std::fs::rename(&partial, &place).map_err(ScanError::on("write", &place))
    }

    /// Reads the state of a set; none if `restore` was not called for it.
    pub fn read(directory: &Path, set: &str) -> Result<Option<State>, StateError> {
        let path = directory.join(set);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ScanError::on("read", &path)(error).into()),
        };
        match State::decode(&bytes) {
            Ok(state) => Ok(Some(state)),
            Err(line) => Err(StateError::Damaged { path, line }),
        }
    }

    /// Reads the states of all other sets that were restored in this build.
    pub fn others(directory: &Path, set: &SetName) -> Result<Vec<State>, StateError> {
        let mut others = Vec::new();
        let names = match std::fs::read_dir(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(others),
            Err(error) => return Err(ScanError::on("list", directory)(error).into()),
        };
        for name in names {
            let name = name.map_err(ScanError::on("list", directory))?.file_name();
            let Some(other) = name.to_str().filter(|other| other.parse::<SetName>().is_ok()) else {
                continue;
            };
            if other == set.as_str() || other.ends_with(".partial") {
                continue;
            }
            others.extend(State::read(directory, other)?.filter(|state| state.restored.is_some()));
        }
        Ok(others)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_line(&mut out, &[HEAD, FORMAT]);
        write_line(&mut out, &[b"source", self.source.as_os_str().as_bytes()]);
        write_line(&mut out, &[b"into", self.into.as_os_str().as_bytes()]);
        if let Some(from) = &self.given {
            write_line(&mut out, &[b"given", from.as_os_str().as_bytes()]);
        }
        if let Some(from) = &self.restored {
            write_line(&mut out, &[b"restored", from.as_os_str().as_bytes()]);
        }
        if let Some(beside) = &self.beside {
            write_line(&mut out, &[b"beside", beside.as_bytes()]);
        }
        for (source, stamp) in &self.sources {
            source.encode(&mut out);
            write_stamp(&mut out, b"stamp", stamp, b"");
        }
        for (path, stamp) in &self.files {
            write_stamp(&mut out, b"put", stamp, path.bytes());
        }
        write_line(&mut out, &[b"end"]);
        out
    }

    /// Reads what [`State::encode`] wrote, or says which line is wrong.
    fn decode(bytes: &[u8]) -> Result<State, usize> {
        let mut lines = bytes.split(|&byte| byte == b'\n').enumerate();
        let first = lines.next().and_then(|(_, line)| read_line(line)).ok_or(1_usize)?;
        if first.len() != 2 || first[0].as_ref() != HEAD || first[1].as_ref() != FORMAT {
            return Err(1);
        }
        let (mut source, mut into, mut given, mut restored) = (None, None, None, None);
        let mut beside = None;
        let (mut sources, mut files) = (Vec::new(), HashMap::new());
        let mut pending: Option<Source> = None;
        for (at, line) in lines {
            let wrong = at + 1;
            let fields = read_line(line).ok_or(wrong)?;
            let plain: Vec<&[u8]> = fields.iter().map(AsRef::as_ref).collect();
            match plain.as_slice() {
                [b"source", path] => source = Some(path_of(path)),
                [b"into", path] => into = Some(path_of(path)),
                [b"given", path] => given = Some(path_of(path)),
                [b"restored", path] => restored = Some(path_of(path)),
                [b"beside", text] => beside = Some(text_of(text).ok_or(wrong)?),
                [b"stamp", inode, size, modified, changed, _] => {
                    let stamp = stamp([inode, size, modified, changed]).ok_or(wrong)?;
                    sources.push((pending.take().ok_or(wrong)?, stamp));
                }
                [b"put", inode, size, modified, changed, path] => {
                    let path = RelativePath::parse(path).ok().ok_or(wrong)?;
                    let stamp = stamp([inode, size, modified, changed]).ok_or(wrong)?;
                    files.insert(path, stamp);
                }
                [b"end"] => {
                    return Ok(State {
                        source: source.ok_or(wrong)?,
                        into: into.ok_or(wrong)?,
                        given,
                        restored,
                        beside,
                        sources,
                        files,
                    });
                }
                _ => pending = Some(Source::decode(&fields).ok().flatten().ok_or(wrong)?),
            }
        }
        Err(bytes.split(|&byte| byte == b'\n').count())
    }
}

fn write_stamp(out: &mut Vec<u8>, word: &[u8], stamp: &Stamp, path: &[u8]) {
    let (inode, size) = (stamp.inode.to_string(), stamp.size.to_string());
    let [modified, changed] = [stamp.modified, stamp.changed].map(|time| time.nanos().to_string());
    let numbers = [&inode, &size, &modified, &changed].map(|text| text.as_bytes());
    write_line(out, &[&[word], &numbers[..], &[path]].concat());
}

fn stamp([inode, size, modified, changed]: [&[u8]; 4]) -> Option<Stamp> {
    let [modified, changed] = [number(modified)?, number(changed)?].map(Time::from_nanos);
    Some(Stamp { inode: number(inode)?, size: number(size)?, modified, changed })
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
