//! Runs a program under the tracer: `traced MODE PROGRAM ARGUMENT…`, and ends as it ends.
//!
//! MODE is `quiet` (everything happens), `tell` (every result is told), `detour` (another call is made before each),
//! or `log=FILE` (each call and event is a line of that file).

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use levain_trace::calls::Descriptor;
use levain_trace::{
    Answer, Born, Call, DescriptorSet, Ended, Pid, Program, Stopped, Watcher, trace,
};

enum Mode {
    Quiet,
    Tell,
    Detour,
    Log(File),
}

struct Looker {
    mode: Mode,
}

impl Looker {
    fn say(&mut self, line: &str) {
        if let Mode::Log(file) = &mut self.mode {
            // Whoever reads it sees that it ends.
            drop(writeln!(file, "{line}"));
        }
    }
}

impl Watcher for Looker {
    fn born(&mut self, parent: Pid, child: Pid, how: Born) {
        self.say(&format!("{parent} born {child} {how:?}"));
    }

    fn entering(&mut self, stopped: &mut Stopped, call: &Call) -> Answer {
        match &self.mode {
            Mode::Quiet => Answer::Go,
            Mode::Tell => Answer::GoAndTell,
            Mode::Detour if stopped.detour().is_none() => {
                Answer::First { number: libc::SYS_getppid, arguments: [0; 6] }
            }
            Mode::Detour => Answer::Go,
            Mode::Log(_) => {
                self.say(&format!("{} {call:?}", stopped.pid()));
                Answer::GoAndTell
            }
        }
    }

    fn returned(&mut self, stopped: &mut Stopped, call: &Call, result: i64) {
        self.say(&format!("{} {call:?} = {result}", stopped.pid()));
    }

    fn executed(&mut self, stopped: &mut Stopped) {
        self.say(&format!("{} executed", stopped.pid()));
    }

    fn ended(&mut self, pid: Pid, how: Ended) {
        self.say(&format!("{pid} ended {how:?}"));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next().ok_or("no mode")?;
    let mode = match mode.to_str().ok_or("an odd mode")? {
        "quiet" => Mode::Quiet,
        "tell" => Mode::Tell,
        "detour" => Mode::Detour,
        other => Mode::Log(File::create(other.strip_prefix("log=").ok_or("no such mode")?)?),
    };
    let path = PathBuf::from(arguments.next().ok_or("no program")?);
    let own = std::iter::once(path.clone().into_os_string());
    let program = Program::new(&path, own.chain(arguments))?
        .environment(std::env::vars_os())?
        .watch(DescriptorSet::new([0, 1, 2].map(Descriptor)));
    trace(&program, &mut Looker { mode })?.end_alike()
}
