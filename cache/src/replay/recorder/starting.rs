//! Programs that are about to start.

use std::io;

use levain_trace::calls::{Address, Place as CallPlace};
use levain_trace::{Answer, Pid, Stopped};

use super::{LOWER, Pending, Recorder, Starting, ending};
use crate::replay::command::{CommandId, Look};
use crate::replay::given::{Given, Stream, Words};
use crate::replay::paths::{PathId, Place};
use crate::replay::program;
use crate::replay::reason::Reason;
use crate::replay::transcript::Kind;
use crate::replay::world::place;

impl Recorder<'_> {
    pub(super) fn execute(
        &mut self,
        stopped: &mut Stopped,
        place_of: CallPlace,
        arguments: Address,
        environment: Address,
        flags: i32,
    ) -> Result<Answer, Reason> {
        let pid = stopped.pid();
        if self.broken.is_some() {
            return Ok(ending(1));
        }
        if let Some(number) = self.process(pid).blind {
            return Err(Reason::Call(number));
        }
        let memory = |error: levain_trace::MemoryError| Reason::Memory(error.to_string());
        let named = stopped.path(place_of.path).map_err(memory)?;
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        let found = self.find_text(pid, place_of.directory, &named, follow)?;
        let Some(program) = found else { return Ok(Answer::Go) };
        self.see(pid, program, Look::PROGRAM);
        let path = self.paths.bytes(program).to_vec();
        let state = self.world.state(&path);
        if state.kind != Kind::File || state.mode & 0o111 == 0 {
            return Ok(Answer::Go);
        }
        let mut read = std::mem::take(&mut self.on_the_way);
        read.push((program, Look::PROGRAM));
        self.interpreters(pid, &path, &mut read)?;
        let words = Words {
            named,
            is_tool: self.is_tool(program),
            program: path,
            arguments: stopped.texts(arguments).map_err(memory)?,
            environment: stopped.texts(environment).map_err(memory)?,
        };
        let unknown = |error: io::Error| Reason::Program(error.to_string());
        let directory = self.directory(pid).map_err(unknown)?;
        let given = {
            let (paths, world) = (&mut self.paths, &mut self.world);
            let (own, limits) = (&self.own, &self.limits);
            Given::of(stopped, &directory, &words, own, limits, |path| {
                let id = paths.number(path);
                let state = world.state(path);
                if state.kind == Kind::File { world.content(id, path, &state).ok() } else { None }
            })?
        };
        let given_more = given.slots.iter().filter(|slot| slot.stream != Stream::Nothing);
        let numbers = given_more.map(|slot| slot.number).flat_map(|number| match number {
            // The next command is given one of the others as a rule.
            number if LOWER.contains(&number) => LOWER,
            number => number..=number,
        });
        if let Some(answer) = self.watch_more(stopped, numbers)? {
            return Ok(answer);
        }
        let ran = match self.play(stopped, &given) {
            Ok(answer) => return Ok(answer),
            Err(reason) => reason,
        };
        self.pending.insert(stopped.thread(), Pending::Execute);
        self.starting.insert(pid, Starting { given, ran, read });
        Ok(Answer::GoAndTell)
    }

    /// Notes that a program starts of which it is not known which variables it reads. Compilers around it were not compared
    /// by all of them.
    pub(super) fn starts_another(&mut self, parent: Option<CommandId>, name: &str) {
        for id in parent.map(|id| self.commands.chain(id)).unwrap_or_default() {
            if self.commands.get(id).is_none_or(|command| !command.given.is_timeless) {
                break;
            }
            self.commands.spoil_alone(id, &Reason::Program(format!("it starts `{name}`")));
        }
    }

    /// Whether a program was there before the build, and is no script.
    pub(super) fn is_tool(&self, program: PathId) -> bool {
        let path = self.paths.bytes(program);
        let is_older = match self.paths.place(program) {
            Place::Store(_) => true,
            Place::Build => !self.grounds.are_around(path),
            Place::Own | Place::Kernel => false,
        };
        is_older && program::is_binary(place(path))
    }

    /// Notes what the kernel reads to run a program: its interpreters.
    pub(super) fn interpreters(
        &mut self,
        pid: Pid,
        path: &[u8],
        read: &mut Vec<(PathId, Look)>,
    ) -> Result<(), Reason> {
        let mut at = path.to_vec();
        // As many as the kernel follows.
        for _ in 0..5 {
            let Some(interpreter) = program::interpreter(place(&at)) else { return Ok(()) };
            let Some(id) = self.find_text(pid, None, &interpreter, true)? else { return Ok(()) };
            self.see(pid, id, Look::PROGRAM);
            read.append(&mut self.on_the_way);
            read.push((id, Look::PROGRAM));
            at = self.paths.bytes(id).to_vec();
        }
        Ok(())
    }
}
