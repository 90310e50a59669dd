//! Watches a build: notes what its commands see and do, and has those skipped that would do it again.

mod files;
mod skipping;
mod starting;
mod streams;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use levain_trace::calls::{Bytes, Changed, Descriptor, Place as CallPlace, Subject};
use levain_trace::{Answer, Born, Call, Ended, Pid, Stopped, Thread, Watcher};

use super::account::{Account, Fate, Row};
use super::clock::{Clock, tick};
use super::command::{CommandId, Commands, Look};
use super::doing::DoingError;
use super::ending::{Ending, Era, Made};
use super::given::{Given, Identity, Limits, flags_matter, target_of};
use super::grounds::Grounds;
use super::own::Own;
use super::pack::{Packer, Packs};
use super::paths::{PathId, Paths, Place};
use super::reason::Reason;
use super::transcript::Kind;
use super::world::{World, place};
use crate::digest::Digest;

/// Descriptors on which transfers stop every program: what it is given as a rule, and where shells put these aside.
pub(crate) const WATCHED: [i32; 8] = [0, 1, 2, 10, 11, 12, 13, 14];
/// Others, which are watched from when somebody is given one of them.
const LOWER: std::ops::RangeInclusive<i32> = 3..=9;
const UPPER: std::ops::RangeInclusive<i32> = 15..=31;

/// The longest time between two ticks of the kernel's clock, in microseconds: a command that took less made no order of
/// times that a build could rely on.
const TICK: u64 = 4000;

/// Calls that set extended attributes.
const ATTRIBUTES: &[i64] = &[
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// A process.
#[derive(Debug)]
struct Process {
    command: Option<CommandId>,
    /// The commands that end with it, the innermost last.
    leads: Vec<CommandId>,
    directory: Option<Vec<u8>>,
    /// Descriptors that are watched beside [`WATCHED`].
    watched: Vec<i32>,
    /// Files that it may still write to.
    writes: HashSet<PathId>,
    /// The call after which it is not known any more what it sees at a path, if there was one: it may have another root.
    blind: Option<i64>,
}

/// What is waited for at the return of a call.
#[derive(Debug)]
enum Pending {
    Touch(Touch),
    Execute,
    Write {
        target: Identity,
        bytes: Bytes,
    },
    Duplicate,
    /// Something that was not understood.
    Forget,
}

/// A change of paths.
#[derive(Debug, Default)]
struct Touch {
    paths: Vec<PathId>,
    /// The file that can be written to from now on.
    writes: Option<PathId>,
    /// What got another name, and which.
    moved: Vec<(PathId, PathId)>,
    /// Whether processes may be in a directory that is elsewhere then.
    moves_directories: bool,
    time: TimeOf,
}

/// What a change does to times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TimeOf {
    /// Nothing.
    #[default]
    Kept,
    /// They are as of the moment.
    Now,
    /// They are what the call says.
    Set,
}

/// A program that is about to start.
#[derive(Debug)]
struct Starting {
    given: Given,
    /// Why it is not skipped.
    ran: Reason,
    /// What the kernel reads and follows to run it: the program and its interpreters.
    read: Vec<(PathId, Look)>,
}

/// What a thread does in place of the program that is skipped.
#[derive(Debug)]
struct Instead {
    /// What is still to be written, the last first.
    left: Vec<(i32, Vec<u8>)>,
    /// How much of the first of it is being written.
    under_way: Option<usize>,
    code: u8,
}

/// Watches a build.
pub(crate) struct Recorder<'a> {
    pub(crate) packs: &'a Packs,
    pub(crate) packer: Option<&'a mut Packer>,
    paths: Paths,
    world: World,
    commands: Commands,
    clock: Clock,
    own: Own,
    era: Era,
    owner: (u32, u32),
    limits: Limits,
    grounds: Rc<Grounds>,
    processes: HashMap<Pid, Process>,
    pending: HashMap<Thread, Pending>,
    /// What was seen on the way to what was found last.
    on_the_way: Vec<(PathId, Look)>,
    /// Programs that are about to start.
    starting: HashMap<Pid, Starting>,
    instead: HashMap<Thread, Instead>,
    pub(crate) account: Account,
    /// What must end the build.
    pub(crate) broken: Option<DoingError>,
}

impl Touch {
    fn one(path: PathId, time: TimeOf) -> Self {
        Self { paths: vec![path], time, ..Self::default() }
    }
}

impl<'a> Recorder<'a> {
    /// Watches a build that is about to begin. `own` are the names of its outputs in the store.
    pub(crate) fn new(
        packs: &'a Packs,
        packer: Option<&'a mut Packer>,
        store: &[u8],
        own: Vec<Vec<u8>>,
        grounds: Grounds,
    ) -> Result<Self, aho_corasick::BuildError> {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let (grounds, began) = (Rc::new(grounds), tick());
        Ok(Self {
            packs,
            packer,
            own: Own::new(own.iter().map(Vec::as_slice))?,
            paths: Paths::new(store, own),
            world: World::new(Rc::clone(&grounds), (user, group), began),
            commands: Commands::default(),
            clock: Clock::default(),
            era: Era { began },
            owner: (user, group),
            limits: Limits::of_build(),
            grounds,
            processes: HashMap::new(),
            pending: HashMap::new(),
            on_the_way: Vec::new(),
            starting: HashMap::new(),
            instead: HashMap::new(),
            account: Account::default(),
            broken: None,
        })
    }

    fn process(&mut self, pid: Pid) -> &mut Process {
        self.processes.entry(pid).or_insert_with(|| Process {
            command: None,
            leads: Vec::new(),
            directory: None,
            watched: Vec::new(),
            writes: HashSet::new(),
            blind: None,
        })
    }

    fn command_of(&self, pid: Pid) -> Option<CommandId> {
        self.processes.get(&pid)?.command
    }

    fn spoil(&mut self, pid: Pid, reason: &Reason) {
        if let Some(id) = self.command_of(pid) {
            self.commands.spoil(id, reason);
        }
    }

    fn see(&mut self, pid: Pid, path: PathId, look: Look) {
        if let Some(id) = self.command_of(pid) {
            self.commands.see(id, path, look, &self.paths, &mut self.world);
        }
    }

    /// Notes the time of what is about to be changed.
    fn before(&mut self, pid: Pid, path: PathId) {
        if let Some(id) = self.command_of(pid) {
            let state = self.world.state(self.paths.bytes(path));
            self.commands.before(id, path, &state);
            if let Some(parent) = self.paths.parent(path) {
                let state = self.world.state(self.paths.bytes(parent));
                self.commands.around(id, parent, &state);
            }
        }
    }

    fn touch(&mut self, pid: Pid, path: PathId) {
        if let Some(id) = self.command_of(pid) {
            self.commands.touch(id, path, &self.paths, &mut self.world);
        }
    }

    /// Has everything looked for anew that is kept of the file system.
    fn forget(&mut self) {
        self.world.forget();
        self.forget_directories();
    }

    /// Has the directory of every process looked for anew.
    fn forget_directories(&mut self) {
        for process in self.processes.values_mut() {
            process.directory = None;
        }
    }

    /// Returns the directory of a process.
    fn directory(&mut self, pid: Pid) -> io::Result<Vec<u8>> {
        if let Some(directory) = &self.process(pid).directory {
            return Ok(directory.clone());
        }
        let directory = link(&format!("/proc/{pid}/cwd"))?;
        self.process(pid).directory = Some(directory.clone());
        Ok(directory)
    }

    /// Finds out which path a call is about, and notes what was seen on the way there. Nothing if there is no way.
    fn find(
        &mut self,
        stopped: &Stopped,
        place: CallPlace,
        follow: bool,
    ) -> Result<Option<PathId>, Reason> {
        let text = stopped.path(place.path).map_err(|error| Reason::Memory(error.to_string()))?;
        self.find_text(stopped.pid(), place.directory, &text, follow)
    }

    fn find_text(
        &mut self,
        pid: Pid,
        directory: Option<Descriptor>,
        text: &[u8],
        follow: bool,
    ) -> Result<Option<PathId>, Reason> {
        let unknown = |error: io::Error| Reason::Program(error.to_string());
        let base = match directory {
            _ if text.starts_with(b"/") => Vec::new(),
            Some(number) => target_of(pid, number.0).unwrap_or_default(),
            None => self.directory(pid).map_err(unknown)?,
        };
        if text.is_empty() {
            // Of the descriptor itself, if the call's flags say so.
            return Ok(match directory {
                Some(number) => self.open_at(pid, number),
                None => Some(self.paths.number(&base)),
            });
        }
        if !text.starts_with(b"/") && !base.starts_with(b"/") {
            return Ok(None);
        }
        self.on_the_way.clear();
        let way = self.world.way(&base, text, follow, pid.number());
        for link in &way.links {
            if is_another_process(link) {
                return Err(Reason::Program("it finds a file through `/proc`".to_owned()));
            }
            let id = self.paths.number(link);
            self.see(pid, id, Look::TARGET);
            self.on_the_way.push((id, Look::TARGET));
        }
        for directory in &way.left {
            let id = self.paths.number(directory);
            self.see(pid, id, Look::KIND);
            self.on_the_way.push((id, Look::KIND));
        }
        match way.end {
            Ok(path) if is_of_another(&path, pid) => Err(Reason::Kernel(path)),
            Ok(path) if descriptor_of(pid, &path).is_some() => {
                if let Some(number) = descriptor_of(pid, &path) {
                    self.open_at(pid, number);
                }
                Ok(Some(self.paths.number(&path)))
            }
            Ok(path) => Ok(Some(self.paths.number(&path))),
            Err(path) => {
                let id = self.paths.number(&path);
                self.see(pid, id, Look::KIND);
                Ok(None)
            }
        }
    }

    /// Returns where a descriptor leads, if that has a path; notes that it was looked at.
    fn open_at(&mut self, pid: Pid, number: Descriptor) -> Option<PathId> {
        let target = target_of(pid, number.0).unwrap_or_default();
        self.looks_at_given(pid, number);
        target.starts_with(b"/").then(|| self.paths.number(&target))
    }

    fn subject(&mut self, stopped: &Stopped, subject: Subject) -> Result<Option<PathId>, Reason> {
        match subject {
            Subject::At { place, follow } => self.find(stopped, place, follow),
            Subject::Open(number) => Ok(self.open_at(stopped.pid(), number)),
        }
    }

    /// Has the return of a call waited for that changes paths, after what is there was noted.
    fn changing(&mut self, stopped: &Stopped, look: Look, touch: Touch) -> Answer {
        for id in &touch.paths {
            self.see(stopped.pid(), *id, look);
            // Whether something may be made or removed there depends on it.
            if let Some(parent) = self.paths.parent(*id) {
                self.see(stopped.pid(), parent, Look { mode: true, ..Look::KIND });
            }
            self.before(stopped.pid(), *id);
        }
        self.clock.settle();
        self.pending.insert(stopped.thread(), Pending::Touch(touch));
        Answer::GoAndTell
    }

    fn decide(&mut self, stopped: &mut Stopped, call: &Call) -> Result<Answer, Reason> {
        let pid = stopped.pid();
        match *call {
            Call::Open { place, flags: Some(flags) } => self.open(stopped, place, flags),
            // Programs that find it missing use the other.
            Call::Open { flags: None, .. } => Ok(Answer::Instead(-i64::from(libc::ENOSYS))),
            Call::Look { subject } => {
                if let Some(id) = self.subject(stopped, subject)? {
                    self.see(pid, id, Look::STAT);
                }
                Ok(Answer::Go)
            }
            Call::ReadLink { place } => {
                if let Some(id) = self.find(stopped, place, false)? {
                    self.see(pid, id, Look::TARGET);
                }
                Ok(Answer::Go)
            }
            Call::List { descriptor } => {
                if let Some(id) = self.subject(stopped, Subject::Open(descriptor))? {
                    self.see(pid, id, Look::NAMES);
                }
                Ok(Answer::Go)
            }
            Call::Enter { subject } => {
                if let Some(id) = self.subject(stopped, subject)? {
                    self.see(pid, id, Look::KIND);
                }
                // Processes may share theirs.
                self.forget_directories();
                Ok(Answer::Go)
            }
            Call::Make { place, made } => self.make(stopped, place, made),
            Call::Remove { place } => {
                let Some(id) = self.find(stopped, place, false)? else { return Ok(Answer::Go) };
                self.see(pid, id, Look::NAMES);
                let kind = self.world.state(self.paths.bytes(id)).kind;
                let moves_directories = kind == Kind::Directory;
                let touch = Touch { moves_directories, ..Touch::one(id, TimeOf::Now) };
                Ok(self.changing(stopped, Look::KIND, touch))
            }
            Call::Rename { from, to, flags } => self.rename(stopped, from, to, flags),
            Call::Change { subject, changed } => {
                if let Subject::Open(number) = subject
                    && self.is_outside(pid, number)
                {
                    self.spoil(pid, &Reason::Descriptor(number.0));
                }
                let Some(id) = self.subject(stopped, subject)? else { return Ok(Answer::Go) };
                if matches!(self.paths.place(id), Place::Kernel) {
                    return Ok(Answer::Go);
                }
                let state = self.world.state(self.paths.bytes(id));
                if state.kind == Kind::File && state.names > 1 {
                    let reason = Reason::Made(self.paths.bytes(id).to_vec());
                    self.spoil(pid, &reason);
                }
                let time = match changed {
                    Changed::Mode | Changed::Owner => TimeOf::Kept,
                    Changed::Times => TimeOf::Set,
                    Changed::Length => TimeOf::Now,
                };
                Ok(self.changing(stopped, Look::WHOLE, Touch::one(id, time)))
            }
            Call::Execute { place, arguments, environment, flags } => {
                self.execute(stopped, place, arguments, environment, flags)
            }
            Call::Duplicate { descriptor } => self.duplicate(stopped, descriptor),
            Call::Pipe { .. } | Call::SocketPair { .. } | Call::SetMask | Call::Random { .. } => {
                Ok(Answer::Go)
            }
            Call::Socket { family } => match family {
                libc::AF_UNIX => Ok(Answer::Go),
                _ => Err(Reason::Socket),
            },
            Call::Connect { address, length, .. } => self.connect(stopped, address, length),
            Call::Transfer { descriptor, way, bytes } => {
                Ok(self.transfer(stopped, descriptor, way, bytes))
            }
            Call::Move { from, to } => {
                // Programs that cannot do this read and write.
                let is_outside = [from, to].iter().any(|one| self.is_outside(pid, *one));
                match is_outside {
                    true => Ok(Answer::Instead(-i64::from(libc::EINVAL))),
                    false => Ok(Answer::Go),
                }
            }
            Call::Signal { process } => {
                self.signal(pid, process);
                Ok(Answer::Go)
            }
            Call::Alter { process } => {
                let is_own = process == 0
                    || process == pid.number()
                    || std::fs::exists(format!("/proc/{pid}/task/{process}")).is_ok_and(|is| is);
                if !is_own {
                    self.signal(pid, process);
                }
                Ok(Answer::Go)
            }
            Call::Share { descriptor } => match self.is_outside(pid, descriptor) {
                true => Err(Reason::Shared(descriptor.0)),
                false => Ok(Answer::Go),
            },
            Call::SetFlags { descriptor, flags } => {
                match self.is_outside(pid, descriptor) && flags_matter(pid, descriptor.0, flags) {
                    true => Err(Reason::Shared(descriptor.0)),
                    false => Ok(Answer::Go),
                }
            }
            Call::Seek { descriptor } => {
                self.looks_at_given(pid, descriptor);
                self.seeks(pid, descriptor);
                Ok(Answer::Go)
            }
            // Nobody compares these, and inside Nix they are refused as well.
            Call::Unknown { number } if ATTRIBUTES.contains(&number) => {
                Ok(Answer::Instead(-i64::from(libc::EOPNOTSUPP)))
            }
            Call::Unknown { number } => {
                self.process(pid).blind = Some(number);
                Err(Reason::Call(number))
            }
        }
    }

    /// Keeps a transcript that was made, with the contents that it names; returns why not if those are not what they were.
    fn pack(&mut self, given: &Given, made: &Made) -> io::Result<Option<Reason>> {
        let Some(packer) = self.packer.as_deref_mut() else { return Ok(None) };
        for (digest, id) in &made.contents {
            if packer.has_content(digest) {
                continue;
            }
            let path = self.paths.bytes(*id);
            let bytes = std::fs::read(place(path))?;
            if Digest::of(&bytes) != *digest {
                return Ok(Some(Reason::Meanwhile(path.to_vec())));
            }
            packer.add_content(digest, &bytes).map_err(io::Error::other)?;
        }
        packer.add_transcript(given.key, &made.transcript).map_err(io::Error::other)?;
        Ok(None)
    }

    fn finish(&mut self, id: CommandId, how: Ended) {
        let outlived = self.processes.values().filter_map(|process| process.command);
        let outlived: Vec<CommandId> = outlived.collect();
        let is_alive = outlived.into_iter().any(|other| self.commands.chain(other).contains(&id));
        if is_alive {
            self.commands.spoil(id, &Reason::Outlived);
        }
        let depth = self.commands.chain(id).len().saturating_sub(1);
        let Some(command) = self.commands.end(id) else { return };
        for process in self.processes.values_mut().filter(|one| one.command == Some(id)) {
            process.command = command.parent;
        }
        let code = match how {
            Ended::Exited(code) => Ok(code),
            Ended::Killed { signal } => Err(Reason::Killed(signal)),
        };
        let made = code.and_then(|code| {
            let read = command.given.positions(&command.said)?;
            let mut ending = Ending {
                grounds: &self.grounds,
                paths: &self.paths,
                world: &mut self.world,
                commands: &self.commands,
                own: &self.own,
                era: self.era,
                owner: self.owner,
            };
            ending.transcript(&command, code, read)
        });
        let micros = u64::try_from(command.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let spoilt = match made {
            Ok(made) => {
                let kept = self.pack(&command.given, &made);
                kept.unwrap_or_else(|error| {
                    self.account.not_kept(&error);
                    None
                })
            }
            Err(reason) => Some(reason),
        };
        let (name, why) = (command.given.name.clone(), command.ran);
        self.account.add(Row { depth, name, fate: Fate::Ran { why, spoilt, micros } });
    }
}

impl Watcher for Recorder<'_> {
    fn born(&mut self, parent: Pid, child: Pid, how: Born) {
        match how {
            Born::Thread => return,
            Born::Process | Born::Borrower => {}
        }
        let of = self.process(parent);
        let process = Process {
            command: of.command,
            leads: Vec::new(),
            directory: None,
            watched: of.watched.clone(),
            writes: of.writes.clone(),
            blind: of.blind,
        };
        for id in &process.writes {
            self.world.opened(*id);
        }
        self.processes.insert(child, process);
    }

    fn entering(&mut self, stopped: &mut Stopped, call: &Call) -> Answer {
        if self.instead.contains_key(&stopped.thread()) {
            return self.go_on_instead(stopped);
        }
        match self.decide(stopped, call) {
            Ok(answer) => answer,
            Err(reason) => {
                self.spoil(stopped.pid(), &reason);
                // What it does then is not known, so nothing is that was.
                self.forget();
                self.pending.insert(stopped.thread(), Pending::Forget);
                Answer::GoAndTell
            }
        }
    }

    fn returned(&mut self, stopped: &mut Stopped, _: &Call, result: i64) {
        let pid = stopped.pid();
        match self.pending.remove(&stopped.thread()) {
            Some(Pending::Touch(touch)) if result >= 0 => {
                let Touch { paths, writes, moved, moves_directories, time } = touch;
                for id in paths {
                    self.touch(pid, id);
                    match time {
                        TimeOf::Kept => {}
                        TimeOf::Now => self.commands.set_time(id, false),
                        TimeOf::Set => self.commands.set_time(id, true),
                    }
                }
                if let Some(own) = self.command_of(pid) {
                    for (from, to) in moved {
                        self.commands.moved(own, from, to);
                    }
                }
                if moves_directories {
                    self.forget_directories();
                }
                if let Some(id) = writes
                    && self.process(pid).writes.insert(id)
                {
                    self.world.opened(id);
                }
            }
            Some(Pending::Execute) => drop(self.starting.remove(&pid)),
            Some(Pending::Forget) => self.forget(),
            Some(Pending::Write { target, bytes }) => {
                let Ok(moved @ 1..) = usize::try_from(result) else { return };
                match stopped.transferred(bytes, moved) {
                    Ok(bytes) => self.said(pid, target, &bytes),
                    Err(error) => self.spoil(pid, &Reason::Memory(error.to_string())),
                }
            }
            Some(Pending::Duplicate) => {
                if let Ok(number) = i32::try_from(result)
                    && !WATCHED.contains(&number)
                    && !self.process(pid).watched.contains(&number)
                {
                    self.spoil(pid, &Reason::Descriptor(number));
                }
            }
            Some(Pending::Touch(_)) | None => {}
        }
    }

    fn executed(&mut self, stopped: &mut Stopped) {
        let pid = stopped.pid();
        self.pending.remove(&stopped.thread());
        let parent = self.command_of(pid);
        let Starting { given, ran, read } = match self.starting.remove(&pid) {
            Some(starting) => starting,
            // The build itself.
            None => Starting { given: Given::of_build(pid), ran: Reason::Build, read: Vec::new() },
        };
        if !given.is_timeless {
            self.starts_another(parent, &given.name);
        }
        let id = self.commands.begin(parent, given, ran);
        let process = self.process(pid);
        process.command = Some(id);
        process.leads.push(id);
        // It is what it runs, whoever started it.
        for (path, look) in read {
            self.see(pid, path, look);
        }
    }

    fn ended(&mut self, pid: Pid, how: Ended) {
        let Some(process) = self.processes.remove(&pid) else { return };
        for id in &process.writes {
            self.world.closed(*id);
        }
        self.starting.remove(&pid);
        for id in process.leads.into_iter().rev() {
            self.finish(id, how);
        }
    }
}

/// Returns the descriptor of a process that a path in `/proc` leads to.
fn descriptor_of(pid: Pid, path: &[u8]) -> Option<Descriptor> {
    let number = path.strip_prefix(format!("/proc/{pid}/fd/").as_bytes())?;
    Some(Descriptor(str::from_utf8(number).ok()?.parse().ok()?))
}

/// Whether a path is what the kernel says of another process.
fn is_of_another(path: &[u8], pid: Pid) -> bool {
    let name =
        path.strip_prefix(b"/proc/").and_then(|rest| rest.split(|byte| *byte == b'/').next());
    name.is_some_and(|name| {
        name.first().is_some_and(u8::is_ascii_digit) && name != pid.to_string().as_bytes()
    })
}

/// Whether a link leads elsewhere for each process: `/proc/self/fd/0`, to which `/dev/stdin` leads, for one.
fn is_another_process(link: &[u8]) -> bool {
    let rest = link.strip_prefix(b"/proc/");
    rest.is_some_and(|rest| {
        ![b"self".as_slice(), b"thread-self", b"mounts", b"net"].contains(&rest)
    })
}

/// The call by which a process ends.
fn ending(code: u64) -> Answer {
    Answer::Replace { number: libc::SYS_exit_group, arguments: [code, 0, 0, 0, 0, 0] }
}

fn link(path: &str) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(PathBuf::into_os_string(std::fs::read_link(path)?).into_vec())
}
