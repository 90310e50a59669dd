//! Calls about files: what is opened, made, moved.

use std::io;

use levain_trace::calls::{Made as MadeCall, Place as CallPlace};
use levain_trace::{Answer, Pid, Stopped};

use super::{Recorder, TimeOf, Touch, descriptor_of};
use crate::replay::command::{CommandId, Look};
use crate::replay::given::target_of;
use crate::replay::paths::{PathId, Place};
use crate::replay::reason::Reason;
use crate::replay::transcript::Kind;

impl Recorder<'_> {
    pub(super) fn open(
        &mut self,
        stopped: &Stopped,
        place: CallPlace,
        flags: i32,
    ) -> Result<Answer, Reason> {
        let pid = stopped.pid();
        let has = |flag: i32| flags & flag == flag;
        let is_new = has(libc::O_CREAT | libc::O_EXCL);
        let follow = !has(libc::O_NOFOLLOW) && !is_new;
        let Some(id) = self.find(stopped, place, follow)? else { return Ok(Answer::Go) };
        match self.paths.place(id) {
            // A pipe that is open already, under another number: `/dev/stderr`.
            Place::Kernel => {
                let path = self.paths.bytes(id);
                let tells = flags & libc::O_ACCMODE != libc::O_RDONLY && !path.starts_with(b"/dev");
                let is_file = || match self.world.state(path).kind {
                    Kind::Absent => has(libc::O_CREAT),
                    Kind::File => path.starts_with(b"/dev"),
                    Kind::Directory | Kind::Link | Kind::Other => false,
                };
                if tells || is_file() {
                    return Err(Reason::Kernel(path.to_vec()));
                }
                return match descriptor_of(pid, self.paths.bytes(id)) {
                    Some(number) => self.duplicate(stopped, number),
                    None => Ok(Answer::Go),
                };
            }
            Place::Build | Place::Own | Place::Store(_) => {}
        }
        if has(libc::O_PATH) {
            self.see(pid, id, Look::STAT);
            return Ok(Answer::Go);
        }
        if self.is_jobserver(pid, id) {
            return Ok(Answer::Go);
        }
        if self.world.state(self.paths.bytes(id)).kind == Kind::Other {
            self.see(pid, id, Look::KIND);
            self.meets(pid, id);
            return Ok(Answer::Go);
        }
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        if !writes && flags & (libc::O_CREAT | libc::O_TRUNC) == 0 {
            self.see(pid, id, Look::READ);
            self.is_written_by_others(pid, id);
            return Ok(Answer::Go);
        }
        if has(libc::O_TMPFILE) {
            return Err(Reason::Made(self.paths.bytes(id).to_vec()));
        }
        let state = self.world.state(self.paths.bytes(id));
        if state.kind == Kind::File && state.names > 1 {
            let reason = Reason::Made(self.paths.bytes(id).to_vec());
            self.spoil(pid, &reason);
        }
        let look = match (has(libc::O_TRUNC), state.kind) {
            (_, Kind::Other | Kind::Directory) => {
                self.see(pid, id, Look::STAT);
                return Ok(Answer::Go);
            }
            (_, _) if is_new => Look::KIND,
            (true, Kind::Absent | Kind::File | Kind::Link) => Look { mode: true, ..Look::KIND },
            (false, Kind::Absent | Kind::File | Kind::Link) => Look::READ,
        };
        if !is_new {
            self.is_written_by_others(pid, id);
        }
        let touch = Touch { writes: writes.then_some(id), ..Touch::one(id, TimeOf::Now) };
        Ok(self.changing(stopped, look, touch))
    }

    /// Whether a path is that of make's jobserver, which only decides how many commands run at a time.
    pub(super) fn is_jobserver(&self, pid: Pid, id: PathId) -> bool {
        let path = self.paths.bytes(id);
        let around = self.command_of(pid).map(|id| self.commands.chain(id)).unwrap_or_default();
        around
            .into_iter()
            .filter_map(|id| self.commands.get(id))
            .any(|command| command.given.jobserver.as_deref().is_some_and(|known| known == path))
    }

    /// Notes that something is opened through which processes meet: a pipe with a name, a socket, a device. Only whoever
    /// made it knows both ends.
    pub(super) fn meets(&mut self, pid: Pid, id: PathId) {
        let around = self.command_of(pid).map(|id| self.commands.chain(id)).unwrap_or_default();
        for one in around {
            if self.commands.get(one).is_some_and(|command| command.touched.contains_key(&id)) {
                break;
            }
            let path = self.paths.bytes(id).to_vec();
            self.commands.spoil_alone(one, &Reason::Made(path));
        }
    }

    /// Notes that a file is looked into that somebody else may be writing.
    pub(super) fn is_written_by_others(&mut self, pid: Pid, id: PathId) {
        let Some(own) = self.command_of(pid) else { return };
        for writer in self.writers(id, Some(pid)) {
            let around = self.commands.chain(writer);
            for id_of in self.commands.chain(own) {
                // Whatever is around both of them sees the end of it.
                if around.contains(&id_of) {
                    break;
                }
                let path = self.paths.bytes(id).to_vec();
                self.commands.spoil_alone(id_of, &Reason::Meanwhile(path));
            }
        }
    }

    /// Returns the commands of the processes, but for one, that may be writing to a file.
    pub(super) fn writers(&mut self, id: PathId, but: Option<Pid>) -> Vec<CommandId> {
        let path = self.paths.bytes(id);
        let mut writers = Vec::new();
        for (other, process) in &mut self.processes {
            if Some(*other) == but || !process.writes.contains(&id) {
                continue;
            }
            // Nothing is told when it closes a file.
            if may_write(*other, path) {
                writers.extend(process.command);
            } else {
                process.writes.remove(&id);
                self.world.closed(id);
            }
        }
        writers
    }

    pub(super) fn make(
        &mut self,
        stopped: &Stopped,
        place: CallPlace,
        made: MadeCall,
    ) -> Result<Answer, Reason> {
        let Some(id) = self.find(stopped, place, false)? else { return Ok(Answer::Go) };
        match made {
            MadeCall::Directory { .. } | MadeCall::Node { .. } | MadeCall::Link { .. } => {}
            MadeCall::Name { of } => {
                if let Some(of) = self.subject(stopped, of)? {
                    self.see(stopped.pid(), of, Look::WHOLE);
                    // Its other name is changed as well: it is one of several now.
                    let touch = Touch { paths: vec![id, of], ..Touch::default() };
                    return Ok(self.changing(stopped, Look::WHOLE, touch));
                }
            }
        }
        Ok(self.changing(stopped, Look::KIND, Touch::one(id, TimeOf::Now)))
    }

    pub(super) fn rename(
        &mut self,
        stopped: &Stopped,
        from: CallPlace,
        to: CallPlace,
        flags: u32,
    ) -> Result<Answer, Reason> {
        let from = self.find(stopped, from, false)?;
        let to = self.find(stopped, to, false)?;
        let (Some(from), Some(to)) = (from, to) else { return Ok(Answer::Go) };
        let exchanges = flags & libc::RENAME_EXCHANGE != 0;
        let mut all = Vec::new();
        self.below(from, &mut all)?;
        let old = self.paths.bytes(from).to_vec();
        let new = self.paths.bytes(to).to_vec();
        let moved: Vec<PathId> = all
            .iter()
            .map(|id| {
                let rest = self.paths.bytes(*id).get(old.len()..).unwrap_or_default();
                let place = [&new, rest].concat();
                self.paths.number(&place)
            })
            .collect();
        if exchanges {
            // Rare: nothing that is around it can be skipped.
            return Err(Reason::Call(i64::from(flags)));
        }
        for id in &all {
            // What is in a directory that is moved is moved with it.
            self.see(stopped.pid(), *id, Look { names: true, ..Look::WHOLE });
        }
        self.see(stopped.pid(), to, Look::NAMES);
        let pairs = all.iter().copied().zip(moved.iter().copied()).collect();
        all.extend(moved);
        all.push(to);
        let touch = Touch { paths: all, moved: pairs, moves_directories: true, ..Touch::default() };
        Ok(self.changing(stopped, Look::KIND, touch))
    }

    /// Adds a path and all that is below it.
    pub(super) fn below(&mut self, id: PathId, all: &mut Vec<PathId>) -> Result<(), Reason> {
        all.push(id);
        let path = self.paths.bytes(id).to_vec();
        if self.world.state(&path).kind != Kind::Directory {
            return Ok(());
        }
        let unreadable = |error: io::Error| Reason::Unreadable(path.clone(), error.to_string());
        for (name, _) in self.world.list(&path).map_err(unreadable)? {
            let child = self.paths.number(&[path.as_slice(), b"/", &name].concat());
            self.below(child, all)?;
        }
        Ok(())
    }
}

/// Whether a process has a file open for writing, or in its memory.
fn may_write(pid: Pid, path: &[u8]) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    if numbers.any(|number: i32| target_of(pid, number).is_some_and(|target| target == path)) {
        return true;
    }
    let maps = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.split(|byte| *byte == b'\n').any(|line| line.ends_with(path))
}
