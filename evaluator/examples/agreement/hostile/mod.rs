//! Inputs made to break readers: every one must be read or refused, without a panic.
//!
//! Real texts are damaged byte by byte, tokens are thrown together, and everything that nests is
//! nested deeply. A seed and a number name an input, so that each can be made again.
//! A test of the evaluator includes this file for a short round. Start at [`feed`].

mod damage;
mod doors;
mod nested;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::random::Random;
use doors::Doors;
pub(crate) use doors::{DOORS, Door};

/// An evaluator keeps every name and source, so it is replaced after so many inputs.
const INPUTS_PER_EVALUATOR: u64 = 2_000;

/// Longer than this is worth a line.
const SLOW: Duration = Duration::from_secs(1);

/// What to feed.
pub(crate) struct Plan {
    /// Where randomness starts.
    pub seed: u64,
    /// The number of the first random input.
    pub first: u64,
    /// How deep inputs are nested.
    pub depth: usize,
    /// How many random inputs, besides those that are nested deeply.
    pub count: u64,
    /// Real texts of the language, to be damaged.
    pub texts: Vec<Vec<u8>>,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Inputs by door: how many there were, and how many were accepted.
    pub inputs: [(u64, u64); DOORS.len()],
    /// The sum of their lengths.
    pub bytes: u64,
    /// What panicked, and what else went wrong: the door, the input's number, and the message.
    pub failures: Vec<String>,
    /// The longest time that one input took, and which it was.
    pub slowest: (Duration, String),
    /// The inputs that took longer than [`SLOW`].
    pub slow: Vec<(Duration, String)>,
}

/// Feeds all inputs; needs the large stack of an evaluation. `progress` hears of every millionth.
pub(crate) fn feed(
    plan: &Plan,
    stack: levain_evaluator::lang::Stack,
    progress: &mut dyn FnMut(u64),
) -> Findings {
    let mut findings = Findings::default();
    let mut doors = Doors::new(stack);
    for (name, text) in nested::texts(plan.depth) {
        for door in DOORS {
            feed_one(&mut doors, door, &text, &|| format!("nested `{name}`"), &mut findings);
        }
    }
    for number in plan.first..plan.first + plan.count {
        if number % INPUTS_PER_EVALUATOR == 0 {
            doors = Doors::new(stack);
        }
        let mut random = Random::new(plan.seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        let door = doors::pick(&mut random);
        let text = damage::input(&mut random, door, &plan.texts);
        feed_one(&mut doors, door, &text, &|| format!("number {number}"), &mut findings);
        if (number + 1) % 1_000_000 == 0 {
            progress(number + 1);
        }
    }
    findings
}

fn feed_one(
    doors: &mut Doors,
    door: Door,
    text: &[u8],
    name: &dyn Fn() -> String,
    findings: &mut Findings,
) {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| doors.offer(door, text)));
    let time = started.elapsed();
    let (inputs, accepted) = &mut findings.inputs[door as usize];
    *inputs += 1;
    findings.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
    match outcome {
        Ok(Ok(true)) => *accepted += 1,
        Ok(Ok(false)) => {}
        Ok(Err(problem)) => findings.failures.push(format!("{door:?}, {}: {problem}", name())),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            findings.failures.push(format!("{door:?}, {}: panicked: {message}", name()));
        }
    }
    if time > SLOW {
        findings.slow.push((time, format!("{door:?}, {}, {} bytes", name(), text.len())));
    }
    if time > findings.slowest.0 {
        findings.slowest = (time, format!("{door:?}, {}, {} bytes", name(), text.len()));
    }
}
