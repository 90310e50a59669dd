//! Evaluations beside the server: as many processes of Nix as the server carries out runs at a time.

use std::process::{Child, Command, Stdio};

use levain_server::serving::Settings;
use levain_server::serving::thread::yield_to_others;

use crate::Failure;

/// Hours of work, in little memory.
const ENDLESS: &str = "let
    numbers = builtins.genList (n: n);
    sum = builtins.foldl' (a: b: a + b) 0;
  in sum (map (n: sum (numbers 10000)) (numbers 10000000))";

/// The processes. Killed when this is dropped.
pub(crate) struct Evaluations(Vec<Child>);

/// Starts them, from threads that yield as those of the server do that carry out runs.
pub(crate) fn start() -> Result<Evaluations, Failure> {
    let mut started = Evaluations(Vec::new());
    for _ in 0..Settings::default().workers {
        let child = std::thread::spawn(|| {
            yield_to_others();
            evaluate()
        });
        let child = child.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        started.0.push(child?);
    }
    Ok(started)
}

#[expect(clippy::disallowed_methods, reason = "it plays the engine")]
fn evaluate() -> std::io::Result<Child> {
    Command::new("nix")
        .args(["--extra-experimental-features", "nix-command", "eval"])
        .args(["--store", "dummy://", "--expr", ENDLESS])
        .stdout(Stdio::null())
        .spawn()
}

impl Evaluations {
    /// Returns how many there are; an error if one has ended.
    pub(crate) fn count(&mut self) -> Result<usize, Failure> {
        for child in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                return Err(format!("an evaluation ended: {status}").into());
            }
        }
        Ok(self.0.len())
    }
}

impl Drop for Evaluations {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
