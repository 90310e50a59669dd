//! Calls about descriptors, sockets and signals: what a command is given, and what it says.

use levain_trace::calls::{Address, Bytes, Descriptor, Way};
use levain_trace::{Answer, DescriptorSet, Pid, Stopped};

use super::{LOWER, Pending, Recorder, UPPER, WATCHED};
use crate::replay::command::Look;
use crate::replay::ending::MOST_SAID;
use crate::replay::given::{Identity, Stream, identity_of};
use crate::replay::reason::Reason;
use crate::replay::transcript::Kind;

impl Recorder<'_> {
    pub(super) fn connect(
        &mut self,
        stopped: &Stopped,
        address: Address,
        length: u64,
    ) -> Result<Answer, Reason> {
        let length = usize::try_from(length).unwrap_or_default().min(128);
        let bytes =
            stopped.bytes(address, length).map_err(|error| Reason::Memory(error.to_string()))?;
        let family = bytes.get(..2).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes);
        let path = bytes.get(2..).unwrap_or_default();
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        if family.map(i32::from) != Some(libc::AF_UNIX) || path.is_empty() {
            return Err(Reason::Socket);
        }
        match self.find_text(stopped.pid(), None, path, true)? {
            Some(id) => {
                self.see(stopped.pid(), id, Look::KIND);
                match self.world.state(self.paths.bytes(id)).kind {
                    Kind::Absent => Ok(Answer::Go),
                    Kind::File | Kind::Directory | Kind::Link | Kind::Other => Err(Reason::Socket),
                }
            }
            None => Ok(Answer::Go),
        }
    }

    pub(super) fn signal(&mut self, pid: Pid, process: i32) {
        let target = self
            .processes
            .iter()
            .find(|(other, _)| other.number() == process)
            .and_then(|(_, process)| process.command);
        let around = target.map(|target| self.commands.chain(target)).unwrap_or_default();
        let Some(own) = self.command_of(pid) else { return };
        for id in self.commands.chain(own) {
            if around.contains(&id) {
                break;
            }
            self.commands.spoil_alone(id, &Reason::Signal);
        }
    }

    /// Notes that somebody asks what a descriptor leads to. A pipe as standard input and nothing are the same as long as nobody
    /// looks: of several commands at a time, make gives its own input to one.
    pub(super) fn looks_at_given(&mut self, pid: Pid, number: Descriptor) {
        let Some(id) = self.command_of(pid) else { return };
        let Some(target) = identity_of(pid, number.0) else { return };
        for id in self.commands.chain(id) {
            let Some(command) = self.commands.get_mut(id) else { break };
            let slot = command.given.slot(target);
            let Some(slot) = slot.filter(|slot| slot.number == 0) else { break };
            match slot.stream {
                Stream::Nothing => command.reads_nothing = true,
                Stream::Flow => self.commands.spoil_alone(id, &Reason::Stream(0)),
                // It is told by its path.
                Stream::File { .. } => {}
            }
        }
    }

    /// Notes that somebody asks where it is in an open file, or moves there. In one that a command was given to write to, that
    /// depends on what others wrote, unless nobody had.
    pub(super) fn seeks(&mut self, pid: Pid, number: Descriptor) {
        let Some(id) = self.command_of(pid) else { return };
        let Some(target) = identity_of(pid, number.0) else { return };
        for id in self.commands.chain(id) {
            let slot = self.commands.get(id).and_then(|command| command.given.slot(target));
            let Some(slot) = slot else { break };
            if let Stream::File { writable: true, position: 1.., .. } = slot.stream {
                let reason = Reason::Position(slot.number);
                self.commands.spoil_alone(id, &reason);
            }
        }
    }

    /// Whether a descriptor is one that a command was given that is under way.
    pub(super) fn is_outside(&self, pid: Pid, number: Descriptor) -> bool {
        let Some(id) = self.command_of(pid) else { return false };
        let Some(target) = identity_of(pid, number.0) else { return false };
        self.commands
            .chain(id)
            .first()
            .and_then(|id| self.commands.get(*id))
            .is_some_and(|command| command.given.slot(target).is_some())
    }

    pub(super) fn transfer(
        &mut self,
        stopped: &Stopped,
        number: Descriptor,
        way: Way,
        bytes: Bytes,
    ) -> Answer {
        let pid = stopped.pid();
        let Some(id) = self.command_of(pid) else { return Answer::Go };
        let Some(target) = identity_of(pid, number.0) else { return Answer::Go };
        let is_given =
            self.commands.get(id).is_some_and(|command| command.given.slot(target).is_some());
        if !is_given {
            return Answer::Go;
        }
        match way {
            Way::Out => {
                self.pending.insert(stopped.thread(), Pending::Write { target, bytes });
                Answer::GoAndTell
            }
            Way::In => {
                for id in self.commands.chain(id) {
                    let slot = self.commands.get(id).and_then(|one| one.given.slot(target));
                    let Some((number, stream)) =
                        slot.map(|slot| (slot.number, slot.stream.clone()))
                    else {
                        break;
                    };
                    match stream {
                        // Its contents are part of what was given.
                        Stream::File { .. } => {}
                        Stream::Nothing => {
                            if let Some(command) = self.commands.get_mut(id) {
                                command.reads_nothing |= number == 0;
                            }
                        }
                        Stream::Flow => self.commands.spoil_alone(id, &Reason::Stream(number)),
                    }
                }
                Answer::Go
            }
        }
    }

    pub(super) fn said(&mut self, pid: Pid, target: Identity, bytes: &[u8]) {
        let Some(id) = self.command_of(pid) else { return };
        for id in self.commands.chain(id) {
            let Some(command) = self.commands.get_mut(id) else { break };
            let Some(slot) = command.given.slot(target) else { break };
            let (number, is_nothing) = (slot.number, slot.stream == Stream::Nothing);
            if is_nothing || command.spoilt.is_some() {
                continue;
            }
            command.said.push((number, bytes.to_vec()));
            let total: usize = command.said.iter().map(|(_, bytes)| bytes.len()).sum();
            if total > MOST_SAID {
                self.commands.spoil_alone(id, &Reason::Long);
            }
        }
    }

    /// A descriptor gets another number. If it is one that was given, transfers on the new number must be seen.
    pub(super) fn duplicate(
        &mut self,
        stopped: &Stopped,
        number: Descriptor,
    ) -> Result<Answer, Reason> {
        if !self.is_outside(stopped.pid(), number) {
            return Ok(Answer::Go);
        }
        // Which number it will get is known only afterwards.
        if let Some(answer) = self.watch_more(stopped, LOWER.chain(UPPER))? {
            return Ok(answer);
        }
        self.pending.insert(stopped.thread(), Pending::Duplicate);
        Ok(Answer::GoAndTell)
    }

    /// Has the process add a filter for descriptors that are not watched yet.
    pub(super) fn watch_more(
        &mut self,
        stopped: &Stopped,
        numbers: impl Iterator<Item = i32>,
    ) -> Result<Option<Answer>, Reason> {
        let process = self.process(stopped.pid());
        let is_new = |number: &i32| !WATCHED.contains(number) && !process.watched.contains(number);
        let numbers: Vec<i32> = numbers.filter(is_new).take(DescriptorSet::MOST).collect();
        if numbers.is_empty() {
            return Ok(None);
        }
        let set = DescriptorSet::new(numbers.iter().copied().map(Descriptor));
        let unable = || Reason::Program("no filter can be added".to_owned());
        let filter = levain_trace::filter_for_more(&set).ok_or_else(unable)?;
        let memory = |error: levain_trace::MemoryError| Reason::Memory(error.to_string());
        let free = stopped.free_stack().map_err(|error| Reason::Memory(error.to_string()))?;
        let count = u16::try_from(filter.len() / 8).unwrap_or_default();
        let program = Address(free.0 - 16);
        let mut header = [0; 16];
        header[..2].copy_from_slice(&count.to_ne_bytes());
        header[8..].copy_from_slice(&free.0.to_ne_bytes());
        stopped.write(free, &filter).map_err(memory)?;
        stopped.write(program, &header).map_err(memory)?;
        let process = self.process(stopped.pid());
        process.watched.extend(numbers);
        // `SECCOMP_SET_MODE_FILTER`.
        let arguments = [1, 0, program.0, 0, 0, 0];
        Ok(Some(Answer::First { number: libc::SYS_seccomp, arguments }))
    }
}
