//! How fast the time grows with the size of what is read or evaluated.
//!
//! Each family makes texts of any size. One is evaluated at a size `n` that takes long enough to be
//! measured, then at `4 n`: the exponent is the logarithm of the ratio of both times to the base
//! four, so that 1 is in proportion to the size and 2 to its square. Processor time of this thread
//! is what counts, whatever else the machine does. With an oracle, Nix gets the same texts.
//! Start at [`measure`].

mod families;
mod language;

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use levain_evaluator::Data;
use levain_evaluator::lang::source::{Origin, Span};
use levain_evaluator::lang::{Evaluator, Options, Stack, print};
use levain_evaluator::outside::{Access, Files};
use levain_store::{Derivation, StoreDir};

use crate::oracle;

/// Nix is started anew for each text, and shorter times than these say nothing about it.
const ENOUGH_FOR_NIX: f64 = 4e6;
/// Nix takes exponential time for some texts.
const PATIENCE: Duration = Duration::from_secs(10);
/// A larger exponent is worth a mark.
const LARGE: f64 = 1.3;

/// Texts that grow.
pub(crate) struct Family {
    /// What grows.
    pub(crate) name: &'static str,
    /// What reads the texts, and what it is expected to say.
    pub(crate) reader: Reader,
    /// The largest size that makes sense; there are limits to nesting.
    pub(crate) most: usize,
    /// Makes the text of a size.
    pub(crate) text: fn(usize) -> String,
}

/// What reads a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The language: the text has a value.
    Value,
    /// The language: evaluating the text fails, and the error is shown.
    Failure,
    /// The reader of derivations.
    Derivation,
    /// The reader of plain data.
    Data,
}

/// What to measure.
pub(crate) struct Plan {
    /// Only families whose names contain one of these; all, if there are none.
    pub(crate) only: Vec<String>,
    /// Whether Nix is measured as well.
    pub(crate) nix: bool,
    /// How many milliseconds a size must take to be large enough.
    pub(crate) enough: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { only: Vec::new(), nix: false, enough: 30.0 }
    }
}

/// What was measured of one evaluator at `n` and `4 n`.
struct Growth {
    /// Nanoseconds at the larger size.
    time: f64,
    exponent: f64,
}

impl Growth {
    fn of(small: f64, large: f64) -> Self {
        Growth { time: large, exponent: (large / small).log(4.0) }
    }
}

/// Measures all families and tells each row as soon as it is known; needs the large stack.
pub(crate) fn measure(
    plan: &Plan,
    stack: Stack,
    scratch: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let chosen = |family: &&Family| {
        plan.only.is_empty() || plan.only.iter().any(|word| family.name.contains(word.as_str()))
    };
    say("| what grows | from n | ours at 4 n, ms | exponent | Nix at 4 n, ms | exponent | |");
    say("|---|---|---|---|---|---|---|");
    let idle =
        if plan.nix { nix_time(scratch, "1", Reader::Value)?.unwrap_or_default() } else { 0.0 };
    for family in families::FAMILIES.iter().chain(language::FAMILIES).filter(chosen) {
        let (size, ours) = measure_ours(family, plan.enough * 1e6, stack)?;
        let (time, exponent, grows) = match measure_nix(plan, family, size, idle, scratch)? {
            Some(nix) => (
                format!("{:.0}", nix.time / 1e6),
                format!("{:.2}", nix.exponent),
                nix.exponent > LARGE,
            ),
            None => ("–".to_owned(), String::new(), false),
        };
        let mark = match (ours.exponent > LARGE, grows) {
            (true, true) => "both grow",
            (true, false) => "grows",
            (false, true) => "Nix grows",
            (false, false) => "",
        };
        say(&format!(
            "| {} | {size} | {:.0} | {:.2} | {time} | {exponent} | {mark} |",
            family.name,
            ours.time / 1e6,
            ours.exponent
        ));
    }
    Ok(())
}

/// Finds a size that can be measured; returns it with the growth from there.
fn measure_ours(family: &Family, enough: f64, stack: Stack) -> Result<(usize, Growth)> {
    let mut size = 64.min(family.most / 4);
    let small = loop {
        let time = our_time(family, size, stack)?;
        if time >= enough || size * 2 * 4 > family.most {
            break time;
        }
        size *= 2;
    };
    // Short ones again and again: what is first is slower.
    let rounds = ((enough / small.max(1.0)) as usize).clamp(1, 200);
    let mean = |size: usize| -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..3 {
            let mut sum = 0.0;
            for _ in 0..rounds {
                sum += our_time(family, size, stack)?;
            }
            least = least.min(sum / rounds as f64);
        }
        Ok(least)
    };
    Ok((size, Growth::of(mean(size)?, mean(size * 4)?)))
}

fn our_time(family: &Family, size: usize, stack: Stack) -> Result<f64> {
    let text = (family.text)(size);
    let store = StoreDir::default();
    let files = Files::new(Access::Below(Vec::new()), store.clone(), 0)?;
    let mut evaluator = Evaluator::new(Rc::new(files), Options::default(), stack);
    let start = processor_time();
    let (right, said) = match family.reader {
        Reader::Value | Reader::Failure => {
            let value = evaluator
                .evaluate_text(Origin::File(b"/growth.nix".as_slice().into()), text.as_bytes())
                .and_then(|value| evaluator.deep_force(&value, Span::NONE))
                .and_then(|value| print::print_ambiguous(&evaluator, &value));
            let said = match &value {
                Ok(printed) => String::from_utf8_lossy(printed).into_owned(),
                Err(error) => error.render(&evaluator.sources),
            };
            (value.is_ok() == (family.reader == Reader::Value), said)
        }
        Reader::Derivation => match Derivation::parse_aterm(&store, text.as_bytes()) {
            Ok(derivation) => (derivation.to_aterm(&store) == text.as_bytes(), String::new()),
            Err(error) => (false, error.to_string()),
        },
        Reader::Data => match Data::parse(text.as_bytes()) {
            Ok(data) => {
                (Data::parse(data.print().as_bytes()).is_ok_and(|read| read == data), String::new())
            }
            Err(error) => (false, error.to_string()),
        },
    };
    drop(evaluator);
    let time = processor_time() - start;
    let said: String = said.chars().take(300).collect();
    ensure!(right, "`{}` of size {size} gave an unexpected answer: {said}", family.name);
    Ok(time)
}

/// Asks Nix, if it is to be asked and can read such a text at all.
fn measure_nix(
    plan: &Plan,
    family: &Family,
    size: usize,
    idle: f64,
    scratch: &Path,
) -> Result<Option<Growth>> {
    match family.reader {
        Reader::Value | Reader::Failure if plan.nix => {}
        Reader::Value | Reader::Failure | Reader::Derivation | Reader::Data => return Ok(None),
    }
    let mut times = [0.0; 2];
    for (time, size) in times.iter_mut().zip([size, size * 4]) {
        let text = (family.text)(size);
        let mut least = f64::INFINITY;
        for _ in 0..2 {
            match nix_time(scratch, &text, family.reader)? {
                Some(time) => least = least.min(time),
                None => return Ok(None),
            }
        }
        *time = least - idle;
    }
    Ok((times[0] > ENOUGH_FOR_NIX).then(|| Growth::of(times[0], times[1])))
}

/// Evaluates with Nix; returns the nanoseconds of its main thread, or nothing if it died, gave another kind of
/// answer, or took too long.
fn nix_time(scratch: &Path, text: &str, reader: Reader) -> Result<Option<f64>> {
    let file = scratch.join("growth.nix");
    std::fs::write(&file, text).context("cannot write the expression")?;
    let mut child = oracle::program("nix-instantiate", scratch)
        .args(["--eval", "--strict"])
        .arg(&file)
        // Collecting garbage happens on threads of its own, now or then.
        .env("GC_DONT_GC", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start `nix-instantiate`")?;
    let (ended, end) = std::sync::mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut output = Vec::new();
            // Whatever it was, the pipe is closed, and nobody may be listening any more.
            ended.send(stdout.read_to_end(&mut output).is_ok()).is_ok()
        });
    }
    if end.recv_timeout(PATIENCE).is_err() {
        child.kill().context("cannot stop `nix-instantiate`")?;
    }
    // It has closed its output; until somebody waits for it, its times can be read.
    let times = std::fs::read_to_string(format!("/proc/{}/schedstat", child.id()));
    let status = child.wait().context("cannot wait for `nix-instantiate`")?;
    let times = times.context("cannot read the times of `nix-instantiate`")?;
    let time = times.split_whitespace().next().and_then(|time| time.parse().ok());
    Ok(time.filter(|_| status.success() == (reader == Reader::Value) && status.code().is_some()))
}

/// Returns the nanoseconds that this thread has computed.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
