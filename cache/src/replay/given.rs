//! What a command is given when it starts: its program, arguments, environment, directory, mask and descriptors.
//!
//! Two commands that are given the same have the same [`Given::key`]. What differs in every build and cannot matter is
//! left out: see [`Variables`].

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;

use levain_trace::calls::Descriptor;
use levain_trace::{Pid, Stopped};
use memchr::memmem;
use rustix::fs::{SeekFrom, fstat, seek, tell};
use rustix::io::pread;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::own::Own;
use super::reason::Reason;
use super::transcript::{PathBytes, Read};
use super::world::{self, Moment};
use crate::digest::Digest;

/// Programs that are known to look neither at times of files that a build made nor at variables that are not among
/// [`READ_BY_COMPILERS`]: compilers and what they start.
const COMPILERS: &[&str] = &[
    "ar",
    "as",
    "c++",
    "cc",
    "cc1",
    "cc1plus",
    "clang",
    "clang++",
    "collect2",
    "cpp",
    "g++",
    "gcc",
    "gfortran",
    "f951",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "ld.mold",
    "lld",
    "lto-wrapper",
    "lto1",
    "mold",
    "nm",
    "objcopy",
    "objdump",
    "ranlib",
    "readelf",
    "size",
    "strings",
    "strip",
];

/// Variables of which compilers, assemblers and linkers make something, by their documentation.
const READ_BY_COMPILERS: &[&str] = &[
    "COLUMNS",
    "COMPILER_PATH",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "C_INCLUDE_PATH",
    "DEPENDENCIES_OUTPUT",
    "GNUTARGET",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LDEMULATION",
    "LDVERBOSE",
    "LIBRARY_PATH",
    "LPATH",
    "MAKEFLAGS",
    "MFLAGS",
    "NLSPATH",
    "NO_COLOR",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "PATH",
    "POSIXLY_CORRECT",
    "PWD",
    "SDKROOT",
    "SOURCE_DATE_EPOCH",
    "SUNPRO_DEPENDENCIES",
    "TEMP",
    "TERM",
    "TERM_URLS",
    "TMP",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "ZERO_AR_DATE",
];
/// How others of them begin, those of the C library among them.
const READ_BY_COMPILERS_TOO: &[&str] = &[
    "BINUTILS_",
    "CCC_",
    "CLANG_",
    "COLLECT_",
    "GCC_",
    "GCONV_",
    "GLIBC_",
    "LC_",
    "LD_",
    "LLD_",
    "LLVM_",
    "LOCPATH",
    "MALLOC_",
    "MOLD_",
    "RC_DEBUG_",
    "_GNU_",
];
/// Arguments with which a compiler does what somebody else says, who may read whatever there is.
const TELL_COMPILERS: &[&str] = &[
    "-specs",
    "--specs",
    "-fplugin",
    "-load",
    "-wrapper",
    "-fpass-plugin",
    "-Xclang",
    // What these read has times in it.
    "-include-pch",
    "-fmodule",
    "-fimplicit-module",
];

/// The most that is kept of a command's name.
const LONGEST_NAME: usize = 120;

/// What a descriptor that a command is given leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// `/dev/null` and its like, which nothing depends on.
    Nothing,
    /// A file. Its contents and the place in it are part of what is given if it can be read.
    File { readable: bool, writable: bool, appends: bool, position: u64 },
    /// A pipe, socket or terminal.
    Flow,
}

/// A descriptor that a command is given.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: i32,
    /// What the kernel calls it.
    pub(crate) target: Vec<u8>,
    /// The same for all that lead to the same thing, whatever its name becomes.
    pub(crate) identity: Identity,
    /// How long the file is.
    length: u64,
    pub(crate) stream: Stream,
    /// The same open file, of which the place can be asked when the command has ended.
    held: Option<OwnedFd>,
}

/// What a descriptor leads to: device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

/// What a command is given.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) key: Digest,
    pub(crate) name: String,
    pub(crate) slots: Vec<Slot>,
    /// Whether it is a program that does not look at times of files that a build made.
    pub(crate) is_timeless: bool,
    /// Whether variables that name an own output were left out, so that what it makes must not name one.
    pub(crate) hides_own: bool,
    /// The path of make's jobserver, if it has one.
    pub(crate) jobserver: Option<PathBytes>,
    /// Why it cannot be a transcript, whatever it does.
    pub(crate) refusal: Option<Reason>,
}

/// What a command is started with, as it is in its process's memory.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// The program as it was named.
    pub(crate) named: Vec<u8>,
    /// Where that leads.
    pub(crate) program: PathBytes,
    /// Whether it is a program that was there before the build, and no script.
    pub(crate) is_tool: bool,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
}

/// What `/proc` says of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Status {
    mask: Vec<u8>,
    blocked: Vec<u8>,
    ignored: Vec<u8>,
    limits: Vec<Vec<u8>>,
    /// Whether it leads its group, its session, and whether these are one.
    leads: [bool; 3],
    has_children: bool,
}

/// What a process may do and use at most, and who it is, as far as it is not what the build may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits(Vec<Vec<u8>>);

impl Limits {
    /// Returns those of this process, which the build has as well.
    pub(crate) fn of_build() -> Self {
        Self(status("self").map(|status| status.limits).unwrap_or_default())
    }
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

impl Given {
    /// Finds out what a process is about to be given. `content` reads what a file holds.
    pub(crate) fn of(
        stopped: &Stopped,
        directory: &[u8],
        words: &Words,
        own: &Own,
        limits: &Limits,
        mut content: impl FnMut(&[u8]) -> Option<Digest>,
    ) -> Result<Self, Reason> {
        let unknown = |error: io::Error| Reason::Program(error.to_string());
        let status = status(&stopped.pid().to_string()).map_err(unknown)?;
        let variables = Variables::of(words, own, directory);
        let mut refusal = status.has_children.then_some(Reason::Children);
        let mut hash = Fields::default();
        hash.add(&words.program);
        hash.add(&words.named);
        hash.add(&status.leads.map(u8::from));
        hash.list(&words.arguments);
        hash.list(&variables.kept);
        hash.add(directory);
        for field in [&status.mask, &status.blocked, &status.ignored] {
            hash.add(field);
        }
        let is_other = |line: &&Vec<u8>| !limits.0.contains(line);
        hash.list(&status.limits.iter().filter(is_other).cloned().collect::<Vec<_>>());
        let mut slots: Vec<Slot> = Vec::new();
        for slot in descriptors(stopped.pid()).map_err(unknown)? {
            if variables.jobserver.contains(&slot.number) {
                continue;
            }
            hash.add(&slot.number.to_le_bytes());
            let is_same =
                |other: &Slot| other.identity == slot.identity && other.stream != Stream::Nothing;
            let same = slots.iter().position(is_same);
            hash.add(&same.map_or(u64::MAX, |same| same as u64).to_le_bytes());
            // Who has the same file open twice has two places in it.
            if let (Some(other), Stream::File { .. }) =
                (same.and_then(|same| slots.get(same)), &slot.stream)
                && !is_same_open_file(stopped.pid(), other.number, slot.number)
            {
                refusal = refusal.or(Some(Reason::Descriptor(slot.number)));
            }
            match &slot.stream {
                // Of several commands at a time, make gives its own to one. It matters only if it is read.
                Stream::Nothing if slot.number == 0 => hash.add(b"pipe"),
                Stream::Nothing => hash.add(&slot.target),
                Stream::Flow => {
                    let kind = kind_of_flow(&slot.target);
                    hash.add(kind);
                    // What comes through a socket stops nobody.
                    if kind == b"socket" && ![1, 2].contains(&slot.number) {
                        refusal = refusal.or(Some(Reason::Descriptor(slot.number)));
                    }
                }
                Stream::File { readable, writable, appends, position } => {
                    // What is changed in memory that is shared with a file stops nobody either.
                    if slot.held.is_none() || (*readable && *writable) {
                        refusal = refusal.or(Some(Reason::Descriptor(slot.number)));
                    }
                    // Whoever writes where others wrote before must not ask where that is: see `Recorder::seeks`.
                    let kind = [*readable, *writable, *appends, *position == 0].map(u8::from);
                    hash.add(&kind);
                    if *readable {
                        hash.add(&position.to_le_bytes());
                        let nameless = || slot.held.as_ref().and_then(|held| whole(held).ok());
                        match content(&slot.target).or_else(nameless) {
                            Some(digest) => hash.add(digest.bytes()),
                            None => refusal = refusal.or(Some(Reason::Descriptor(slot.number))),
                        }
                    }
                }
            }
            slots.push(slot);
        }
        let mentions = words.arguments.iter().chain(&variables.kept).any(|text| own.is_in(text));
        if mentions {
            let what = "an argument or a variable".to_owned();
            refusal = refusal.or(Some(Reason::NamesOwnOutput(what)));
        }
        Ok(Self {
            key: hash.finish(),
            name: name(words),
            slots,
            is_timeless: variables.is_compiler,
            hides_own: variables.hides_own,
            jobserver: variables.jobserver_path,
            refusal,
        })
    }

    /// What the build itself is given; it is never skipped.
    pub(crate) fn of_build(pid: Pid) -> Self {
        Self {
            key: Digest::of(b""),
            name: "the build".to_owned(),
            slots: descriptors(pid).unwrap_or_default(),
            is_timeless: false,
            hides_own: false,
            jobserver: None,
            refusal: Some(Reason::Build),
        }
    }

    /// Says where a command that has ended left the files that it was given; an error if it moved about in one that it
    /// wrote to.
    pub(crate) fn positions(&self, said: &[(i32, Vec<u8>)]) -> Result<Vec<Read>, Reason> {
        let mut read = Vec::new();
        for slot in &self.slots {
            let Stream::File { readable, writable, appends, position } = slot.stream else {
                continue;
            };
            let now = slot.held.as_ref().and_then(|held| tell(held).ok());
            let Some(now) = now else { return Err(Reason::Descriptor(slot.number)) };
            // What leads to the same file is told of under the first number.
            let first = self.slot(slot.identity).map(|first| first.number);
            let said = said.iter().filter(|(number, _)| Some(*number) == first);
            let written: u64 = said.map(|(_, bytes)| bytes.len() as u64).sum();
            // Nothing is told when it cuts it, or writes to it by other means.
            let length = slot.held.as_ref().and_then(|held| fstat(held).ok());
            let length = length.and_then(|status| u64::try_from(status.st_size).ok());
            let longer = if appends { slot.length } else { position } + written;
            if writable && length != Some(slot.length.max(longer)) {
                return Err(Reason::Position(slot.number));
            }
            if readable && !writable && now != position {
                read.push(Read { descriptor: slot.number, position: now });
            } else if writable && !appends && now != position + written {
                return Err(Reason::Position(slot.number));
            }
        }
        Ok(read)
    }

    /// Moves in a file that is given as a command moved.
    pub(crate) fn move_to(&self, read: &Read) -> io::Result<()> {
        let slot = self.slots.iter().find(|slot| slot.number == read.descriptor);
        match slot.and_then(|slot| slot.held.as_ref()) {
            Some(held) => Ok(seek(held, SeekFrom::Start(read.position)).map(drop)?),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether there is nothing to read from standard input.
    pub(crate) fn has_nothing_to_read(&self) -> bool {
        let input = self.slots.iter().find(|slot| slot.number == 0);
        input.is_some_and(|slot| slot.stream == Stream::Nothing)
    }

    /// Returns the descriptor that leads to something, if the command was given one.
    pub(crate) fn slot(&self, identity: Identity) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.identity == identity)
    }

    /// Returns the files that it was given to write to.
    pub(crate) fn written(&self) -> impl Iterator<Item = &[u8]> {
        let written = self.slots.iter().filter(|slot| match slot.stream {
            Stream::File { writable, .. } => writable,
            Stream::Nothing | Stream::Flow => false,
        });
        written.map(|slot| slot.target.as_slice())
    }

    /// Returns when one of the files that a command was given and wrote to was changed last: the one that was so first.
    pub(crate) fn wrote_first(&self, said: &[(i32, Vec<u8>)]) -> Option<Moment> {
        let is_said = |slot: &&Slot| said.iter().any(|(number, _)| *number == slot.number);
        let held = self.slots.iter().filter(is_said).filter_map(|slot| slot.held.as_ref());
        let times = held.filter_map(|held| fstat(held).ok()).map(|status| {
            (status.st_mtime, u32::try_from(status.st_mtime_nsec).unwrap_or_default())
        });
        times.min()
    }
}

/// Fields of what is hashed, each with its length.
#[derive(Default)]
struct Fields(blake3::Hasher);

impl Fields {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn list(&mut self, texts: &[Vec<u8>]) {
        self.0.update(&(texts.len() as u64).to_le_bytes());
        for text in texts {
            self.add(text);
        }
    }

    fn finish(&self) -> Digest {
        Digest::from_hasher(&self.0)
    }
}

/// The environment, without what cannot matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Variables {
    kept: Vec<Vec<u8>>,
    is_compiler: bool,
    hides_own: bool,
    jobserver: Vec<i32>,
    jobserver_path: Option<PathBytes>,
}

impl Variables {
    fn of(words: &Words, own: &Own, directory: &[u8]) -> Self {
        let is_compiler = words.is_tool
            && is_compiler(&words.named)
            && is_compiler(&words.program)
            && !words.arguments.iter().any(|argument| is_told(argument, directory))
            && !looks_at_times(words);
        let mut found = Self { is_compiler, ..Self::default() };
        for variable in &words.environment {
            let at = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
            let (name, value) = variable.split_at(at);
            if [b"MAKEFLAGS".as_slice(), b"MFLAGS", b"CARGO_MAKEFLAGS"].contains(&name) {
                let (value, server) = without_jobserver(value);
                found.jobserver.extend(server.numbers);
                found.jobserver_path = found.jobserver_path.or(server.path);
                found.kept.push([name, &value].concat());
                continue;
            }
            if is_compiler && !is_read_by_compilers(name) {
                found.hides_own |= own.is_in(value);
                continue;
            }
            found.kept.push(variable.clone());
        }
        found
    }
}

/// Whether a tool for archives and objects is told to look at times of files: `ar u`, `strip -p`.
fn looks_at_times(words: &Words) -> bool {
    let is = |name: &[u8]| words.program.ends_with(name) || words.named.ends_with(name);
    let mut arguments = words.arguments.iter().skip(1);
    if is(b"ar") {
        // Its letters are the first argument, with or without a dash; options of a word come before.
        return arguments.any(|word| !word.contains(&b'.') && word.contains(&b'u'));
    }
    (is(b"strip") || is(b"objcopy"))
        && arguments.any(|word| {
            word.starts_with(b"--p") || word.starts_with(b"-p") || word.starts_with(b"@")
        })
}

/// Whether an argument tells a compiler to do what somebody else says. In a file of arguments, wherever it is written.
fn is_told(argument: &[u8], directory: &[u8]) -> bool {
    let Some(file) = argument.strip_prefix(b"@") else {
        return TELL_COMPILERS.iter().any(|start| argument.starts_with(start.as_bytes()));
    };
    let path = world::place(directory).join(world::place(file));
    let text = fs::read(path).unwrap_or_default();
    // Of another file of arguments in it, nothing is known.
    let is_in = |word: &str| memmem::find(&text, word.as_bytes()).is_some();
    text.contains(&b'@') || TELL_COMPILERS.iter().any(|start| is_in(start))
}

fn is_read_by_compilers(name: &[u8]) -> bool {
    READ_BY_COMPILERS.iter().any(|known| known.as_bytes() == name)
        || READ_BY_COMPILERS_TOO.iter().any(|start| name.starts_with(start.as_bytes()))
}

fn is_compiler(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // Of another target, or of a version: `x86_64-unknown-linux-gnu-gcc`, `clang-18`.
    let name = name.strip_prefix(b".").unwrap_or(name);
    let is = |name: &[u8]| COMPILERS.iter().any(|known| known.as_bytes() == name);
    let last = name.rsplit(|byte| *byte == b'-').next().unwrap_or_default();
    let without_version = match last.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        true => name.get(..name.len().saturating_sub(last.len() + 1)).unwrap_or_default(),
        false => name,
    };
    let last = without_version.rsplit(|byte| *byte == b'-').next().unwrap_or_default();
    is(name) || is(without_version) || is(last)
}

/// Where make's jobserver is: a pipe's descriptors, or a pipe with a name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Jobserver {
    numbers: Vec<i32>,
    path: Option<PathBytes>,
}

/// Takes what says where make's jobserver is out of a variable.
fn without_jobserver(value: &[u8]) -> (Vec<u8>, Jobserver) {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut found = Jobserver::default();
    for word in value.split(|byte| *byte == b' ') {
        let server = [b"--jobserver-auth=".as_slice(), b"--jobserver-fds="];
        match server.iter().find_map(|start| word.strip_prefix(*start)) {
            Some(place) => {
                found.path = place.strip_prefix(b"fifo:").map(<[u8]>::to_vec).or(found.path);
                let parts = place.split(|byte| *byte == b',');
                found.numbers.extend(
                    parts.filter_map(|part| str::from_utf8(part).ok()?.parse::<i32>().ok()),
                );
            }
            None => kept.push(word),
        }
    }
    found.numbers.retain(|number| *number >= 0);
    (kept.join(&b' '), found)
}

fn name(words: &Words) -> String {
    let texts: Vec<_> = words.arguments.iter().map(|text| String::from_utf8_lossy(text)).collect();
    let whole: String = texts.join(" ").escape_debug().collect();
    whole.chars().take(LONGEST_NAME).collect()
}

fn kind_of_flow(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| *byte == b':');
    match end {
        Some(end) if !target.starts_with(b"/") => target.get(..end).unwrap_or_default(),
        Some(_) | None => b"terminal",
    }
}

/// Lines of a process's status that say who it is, and what that lets it do.
const RIGHTS: [&[u8]; 5] = [b"Uid:", b"Gid:", b"Groups:", b"CapEff:", b"Cpus_allowed:"];

/// Reads what `/proc` says of a process.
fn status(pid: &str) -> io::Result<Status> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}"));
    let (text, stat) = (read("status")?, read("stat")?);
    let mut limits = lines(&read("limits")?);
    let rights = |line: &&[u8]| RIGHTS.iter().any(|start| line.starts_with(start));
    limits.extend(text.split(|byte| *byte == b'\n').filter(rights).map(<[u8]>::to_vec));
    // After the name, which may have anything in it.
    let end = stat.iter().rposition(|byte| *byte == b')').unwrap_or_default();
    let number = str::from_utf8(stat.get(..end).unwrap_or_default())
        .ok()
        .and_then(|text| text.split(' ').next());
    let rest = String::from_utf8_lossy(stat.get(end..).unwrap_or_default()).into_owned();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // By their numbers in proc(5), of which the one after the name is 3.
    let field = |number: usize| fields.get(number - 2).copied().unwrap_or_default();
    let (group, session) = (field(5), field(6));
    let leads = [Some(group) == number, Some(session) == number, group == session];
    let (nice, policy) = (field(19), field(41));
    limits.push(format!("nice {nice} policy {policy}").into_bytes());
    limits.push([b"oom ".as_slice(), &read("oom_score_adj").unwrap_or_default()].concat());
    // Not every kernel says so.
    let own = number.unwrap_or_default();
    let children = read(&format!("task/{own}/children")).unwrap_or_default();
    let has_children = !children.trim_ascii().is_empty();
    let mut status = Status { limits, leads, has_children, ..Status::default() };
    for line in text.split(|byte| *byte == b'\n') {
        for (start, field) in [
            (b"Umask:".as_slice(), &mut status.mask),
            (b"SigBlk:", &mut status.blocked),
            (b"SigIgn:", &mut status.ignored),
        ] {
            if let Some(value) = line.strip_prefix(start) {
                *field = value.trim_ascii().to_vec();
            }
        }
    }
    Ok(status)
}

/// Returns what a descriptor of a process leads to.
pub(crate) fn target_of(pid: Pid, number: i32) -> Option<Vec<u8>> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
    Some(link.into_os_string().into_vec())
}

/// Returns what a descriptor of a process leads to, whatever it is called.
pub(crate) fn identity_of(pid: Pid, number: i32) -> Option<Identity> {
    let metadata = fs::metadata(format!("/proc/{pid}/fd/{number}")).ok()?;
    Some(Identity(metadata.dev(), metadata.ino()))
}

/// Whether two descriptors share one open file. Where the kernel does not say so, they may not.
fn is_same_open_file(pid: Pid, a: i32, b: i32) -> bool {
    pid.is_same_open_file(Descriptor(a), Descriptor(b)).unwrap_or(false)
}

/// Returns the descriptors that a program would be given, by their numbers.
fn descriptors(pid: Pid) -> io::Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))?;
        let field = |start: &str| info.lines().find_map(|line| line.strip_prefix(start));
        let flags = field("flags:").and_then(flags_of).unwrap_or_default();
        if flags & libc::O_CLOEXEC != 0 {
            continue;
        }
        let position = field("pos:").and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        let Some(target) = target_of(pid, number) else { continue };
        let Ok(metadata) = fs::metadata(format!("/proc/{pid}/fd/{number}")) else { continue };
        let stream = stream(&target, flags, position);
        let held = match stream {
            Stream::File { .. } => held(pid, number),
            Stream::Nothing | Stream::Flow => None,
        };
        let (identity, length) = (Identity(metadata.dev(), metadata.ino()), metadata.len());
        slots.push(Slot { number, target, identity, length, stream, held });
    }
    slots.sort_by_key(|slot| slot.number);
    Ok(slots)
}

/// Reads the flags of an open file, as the kernel writes them.
fn flags_of(text: &str) -> Option<i32> {
    i32::from_str_radix(text.trim(), 8).ok()
}

/// Whether it matters that somebody sets the flags of an open file: anything but to append where there is no end, which make
/// does to pipes.
pub(crate) fn flags_matter(pid: Pid, number: i32, flags: i32) -> bool {
    const CHANGED: i32 = libc::O_APPEND | libc::O_NONBLOCK | libc::O_ASYNC | libc::O_DIRECT;
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let now = info.lines().find_map(|line| line.strip_prefix("flags:")).and_then(flags_of);
    let Some(now) = now else { return true };
    let is_file = target_of(pid, number).is_none_or(|target| match stream(&target, now, 0) {
        Stream::File { .. } => true,
        Stream::Nothing | Stream::Flow => false,
    });
    let changed = (now ^ flags) & CHANGED;
    changed & !libc::O_APPEND != 0 || is_file && changed != 0
}

/// The most that is read of a file that has no name any more: what a shell is given between its lines.
const MOST_NAMELESS: usize = 1 << 20;

/// Returns a digest of an open file.
fn whole(file: &OwnedFd) -> io::Result<Digest> {
    let mut bytes = vec![0; MOST_NAMELESS + 1];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match pread(file, rest, length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    match length <= MOST_NAMELESS {
        true => Ok(Digest::of(bytes.get(..length).unwrap_or_default())),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

/// Returns the same open file as a descriptor of another process.
fn held(pid: Pid, number: i32) -> Option<OwnedFd> {
    let process = rustix::process::Pid::from_raw(pid.number())?;
    let process = pidfd_open(process, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()
}

fn stream(target: &[u8], flags: i32, position: u64) -> Stream {
    let nothing =
        [b"/dev/null".as_slice(), b"/dev/zero", b"/dev/full", b"/dev/random", b"/dev/urandom"];
    if nothing.contains(&target) {
        return Stream::Nothing;
    }
    let is_device = target.starts_with(b"/dev/") && !target.starts_with(b"/dev/shm/");
    if !target.starts_with(b"/") || is_device {
        return Stream::Flow;
    }
    let access = flags & libc::O_ACCMODE;
    Stream::File {
        readable: access != libc::O_WRONLY,
        writable: access != libc::O_RDONLY,
        appends: flags & libc::O_APPEND != 0,
        position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_known_by_their_names() {
        for name in [
            "gcc",
            "/x/bin/x86_64-unknown-linux-gnu-gcc",
            "clang-18",
            "gcc-12",
            "x86_64-linux-gnu-gcc-12",
            "cc1plus",
            ".ld-wrapped2/ld",
        ] {
            assert!(is_compiler(name.as_bytes()), "{name}");
        }
        for name in ["sh", "bash", "make", "python3", "gcc.sh", "my-tool", "-", ""] {
            assert!(!is_compiler(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn where_the_jobserver_is_does_not_count() {
        let (kept, server) = without_jobserver(b"= -j2 --jobserver-auth=3,4 -- X=y");
        assert_eq!((kept, server.numbers), (b"= -j2 -- X=y".to_vec(), vec![3, 4]));
        let (kept, server) = without_jobserver(b"=k --jobserver-auth=fifo:/tmp/GMfifo12");
        let path = Some(b"/tmp/GMfifo12".to_vec());
        assert_eq!((kept, server), (b"=k".to_vec(), Jobserver { numbers: vec![], path }));
        assert_eq!(without_jobserver(b"=-j --jobserver-auth=-2,-2").1, Jobserver::default());
    }
}
