//! Commands that are skipped: a transcript is looked for, compared and done in their place.

use std::collections::HashSet;
use std::rc::Rc;

use levain_trace::{Answer, Pid, Stopped};

use super::{Instead, Recorder, TICK, ending, link};
use crate::replay::account::{Fate, Row};
use crate::replay::command::Look;
use crate::replay::compare::holds;
use crate::replay::doing::leave;
use crate::replay::given::{Given, target_of};
use crate::replay::pack::Found;
use crate::replay::reason::Reason;
use crate::replay::transcript::{Done, Kind, Time, Transcript};

impl Recorder<'_> {
    /// Looks for a transcript that holds, and does what it says.
    pub(super) fn play(&mut self, stopped: &Stopped, given: &Given) -> Result<Answer, Reason> {
        if let Some(refusal) = &given.refusal {
            return Err(refusal.clone());
        }
        let mut last = Reason::NotKnown;
        for Found { transcript, source } in self.packs.transcripts(&given.key) {
            if let Some(path) = self.is_being_written(&transcript) {
                last = Reason::Meanwhile(path);
                continue;
            }
            let (commands, paths, world) = (&self.commands, &mut self.paths, &mut self.world);
            if transcript.reads_nothing && !given.has_nothing_to_read() {
                last = Reason::Stream(0);
                continue;
            }
            let (era, grounds) = (self.era, &self.grounds);
            if let Err(reason) = holds(&transcript, era, grounds, commands, paths, world) {
                last = reason;
                continue;
            }
            if let Some(path) = self.held(stopped.pid(), given, &transcript) {
                last = Reason::Held(path);
                continue;
            }
            match self.contents(&transcript) {
                Ok(contents) => {
                    return Ok(self.skip(stopped, given, &transcript, source, contents));
                }
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    /// Returns a file of which a transcript knows the contents and which somebody may be writing just now.
    pub(super) fn is_being_written(&mut self, transcript: &Transcript) -> Option<Vec<u8>> {
        if !self.world.has_writers() {
            return None;
        }
        for seen in transcript.seen.iter().filter(|seen| seen.content.is_some()) {
            let id = self.paths.number(&seen.path);
            if !self.writers(id, None).is_empty() {
                return Some(seen.path.clone());
            }
        }
        None
    }

    /// Returns something that would be another file afterwards while somebody has it open or is in it, or that is looked
    /// at although it is also given to be written to.
    pub(super) fn held(&self, pid: Pid, given: &Given, transcript: &Transcript) -> Option<Vec<u8>> {
        let named = |path: &[u8]| {
            let found = transcript.seen.binary_search_by(|seen| seen.path.as_slice().cmp(path));
            let seen = found.ok().and_then(|at| transcript.seen.get(at));
            seen.is_some_and(|seen| seen.content.is_some())
                || transcript.done.iter().any(|done| done.path() == path)
        };
        if let Some(path) = given.written().find(|path| named(path)) {
            return Some(path.to_vec());
        }
        let is_replaced = |done: &&Done| match done {
            Done::Remove { .. } | Done::File { .. } | Done::Link { .. } => {
                self.world.state(done.path()).kind != Kind::Absent
            }
            Done::Directory { .. } | Done::Time { .. } => false,
        };
        let replaced: HashSet<&[u8]> =
            transcript.done.iter().filter(is_replaced).map(|done| done.path().as_slice()).collect();
        if replaced.is_empty() {
            return None;
        }
        let others = self.processes.keys().filter(|other| **other != pid);
        others.flat_map(|other| in_use(*other)).find(|path| replaced.contains(path.as_slice()))
    }

    pub(super) fn contents(&self, transcript: &Transcript) -> Result<Vec<Vec<u8>>, Reason> {
        let digests = transcript.done.iter().filter_map(|done| match done {
            Done::File { content, .. } => Some(content),
            Done::Remove { .. }
            | Done::Directory { .. }
            | Done::Link { .. }
            | Done::Time { .. } => None,
        });
        let content =
            |digest| self.packs.content(digest).map_err(|error| Reason::Content(error.to_string()));
        digests.map(content).collect()
    }

    pub(super) fn skip(
        &mut self,
        stopped: &Stopped,
        given: &Given,
        transcript: &Rc<Transcript>,
        source: usize,
        contents: Vec<Vec<u8>>,
    ) -> Answer {
        let pid = stopped.pid();
        if transcript.reads_nothing {
            for id in self.command_of(pid).map(|id| self.commands.chain(id)).unwrap_or_default() {
                if let Some(command) = self.commands.get_mut(id) {
                    command.reads_nothing |= command.given.has_nothing_to_read();
                }
            }
        }
        for read in &transcript.read {
            if given.move_to(read).is_err() {
                self.spoil(pid, &Reason::Descriptor(read.descriptor));
            }
        }
        for seen in &transcript.seen {
            let id = self.paths.number(&seen.path);
            let look = Look {
                mode: seen.mode.is_some(),
                size: seen.size.is_some(),
                when: seen.when.is_some(),
                content: seen.content.is_some(),
                names: seen.names.is_some(),
                target: seen.target.is_some(),
            };
            self.see(pid, id, look);
        }
        for done in &transcript.done {
            let id = self.paths.number(done.path());
            self.before(pid, id);
        }
        if transcript.micros >= TICK {
            self.clock.pass();
        }
        if let Err(error) = leave(&transcript.done, contents.into_iter(), &mut self.clock) {
            self.broken = self.broken.take().or(Some(error));
            return ending(1);
        }
        if transcript.micros >= TICK {
            // Who has a file open already and writes to it next is not seen doing so.
            self.clock.settle();
        }
        for done in &transcript.done {
            let id = self.paths.number(done.path());
            match done {
                // Only what is in it was changed, unless it is done as well.
                Done::Time { .. } => {
                    if let Some(own) = self.command_of(pid) {
                        self.commands.aged(own, id);
                    }
                }
                Done::Remove { .. }
                | Done::Directory { .. }
                | Done::File { .. }
                | Done::Link { .. } => self.touch(pid, id),
            }
            let is_set = match done {
                Done::File { time, .. } | Done::Time { time, .. } => *time != Time::Then,
                Done::Remove { .. } | Done::Directory { .. } | Done::Link { .. } => false,
            };
            self.commands.set_time(id, is_set);
        }
        self.forget_directories();
        for said in &transcript.said {
            if let Some(slot) = given.slots.iter().find(|slot| slot.number == said.descriptor) {
                self.said(pid, slot.identity, &said.bytes);
            }
        }
        self.keep(given, transcript);
        let depth = self.command_of(pid).map_or(0, |id| self.commands.chain(id).len());
        let fate = Fate::Skipped { source, micros: transcript.micros };
        self.account.add(Row { depth, name: given.name.clone(), fate });
        let mut left: Vec<(i32, Vec<u8>)> =
            transcript.said.iter().map(|said| (said.descriptor, said.bytes.clone())).collect();
        left.reverse();
        let instead = Instead { left, under_way: None, code: transcript.code };
        self.instead.insert(stopped.thread(), instead);
        self.go_on_instead(stopped)
    }

    /// Keeps a transcript that was of use, with what it names.
    pub(super) fn keep(&mut self, given: &Given, transcript: &Transcript) {
        let Some(packer) = self.packer.as_deref_mut() else { return };
        let result = (|| {
            for done in &transcript.done {
                if let Done::File { content, .. } = done
                    && !packer.has_content(content)
                {
                    packer.take_content(content, self.packs)?;
                }
            }
            packer.add_transcript(given.key, transcript)
        })();
        if let Err(error) = result {
            self.account.not_kept(&error);
        }
    }

    /// Writes what a skipped program wrote, part by part, and ends as it ended.
    pub(super) fn go_on_instead(&mut self, stopped: &Stopped) -> Answer {
        let Some(instead) = self.instead.get_mut(&stopped.thread()) else { return Answer::Go };
        if let (Some(length), Some(result)) = (instead.under_way.take(), stopped.detour()) {
            let written = usize::try_from(result).unwrap_or_default().min(length);
            let again = [libc::EAGAIN, libc::EINTR].iter().any(|code| result == -i64::from(*code));
            if result == -i64::from(libc::EAGAIN) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            match instead.left.last_mut() {
                Some((_, bytes)) if written > 0 => drop(bytes.drain(..written)),
                Some(_) if again => {}
                // Nobody reads it any more, as when the program itself had written it.
                Some(_) | None => drop(instead.left.pop()),
            }
        }
        while instead.left.last().is_some_and(|(_, bytes)| bytes.is_empty()) {
            instead.left.pop();
        }
        let Some((number, bytes)) = instead.left.last() else {
            let code = instead.code;
            self.instead.remove(&stopped.thread());
            return ending(code.into());
        };
        const PART: usize = 4096;
        let part = bytes.get(..bytes.len().min(PART)).unwrap_or_default();
        let place = stopped.free_stack().ok();
        let written = place.and_then(|place| stopped.write(place, part).ok().map(|()| place));
        let Some(place) = written else {
            // Its stack is too small; it is gone in any case.
            self.instead.remove(&stopped.thread());
            return ending(1);
        };
        instead.under_way = Some(part.len());
        let number = u64::from(number.unsigned_abs());
        let arguments = [number, place.0, part.len() as u64, 0, 0, 0];
        Answer::First { number: libc::SYS_write, arguments }
    }
}

/// Returns what a process has open or in its memory, and where it is.
fn in_use(pid: Pid) -> Vec<Vec<u8>> {
    let mut paths: Vec<Vec<u8>> = link(&format!("/proc/{pid}/cwd")).into_iter().collect();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    paths.extend(numbers.filter_map(|number| target_of(pid, number)));
    let maps = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mapped = maps.split(|byte| *byte == b'\n').filter_map(|line| {
        line.iter().position(|byte| *byte == b'/').and_then(|start| line.get(start..))
    });
    paths.extend(mapped.map(<[u8]>::to_vec));
    paths
}
