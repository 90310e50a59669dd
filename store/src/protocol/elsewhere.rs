//! What became of a build on a remote builder: by words, because Nix gives no status for it.
//!
//! Nix here only says that its build hook failed, whatever happened there. The hook's own message tells a
//! builder that failed from a machine that was lost: the one is the derivation's fault, the other is not.

use std::collections::BTreeSet;

use super::build::{BuildResult, BuildStatus};
use super::reason::{is_about_machines, reason};
use crate::store_path::{DerivationPath, StoreDir};

/// What is heard of builds elsewhere during one request.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// What was begun on a remote builder.
    begun: BTreeSet<DerivationPath>,
    /// Which of it failed there, and why.
    failed: Vec<(DerivationPath, String)>,
    /// The last error that is about no build.
    last_error: Option<String>,
}

impl Elsewhere {
    /// Notes that a remote builder has begun.
    pub(super) fn begins(&mut self, derivation: &DerivationPath) {
        self.begun.insert(derivation.clone());
    }

    /// Reads one of Nix's messages.
    pub(super) fn says(&mut self, dir: &StoreDir, message: &str) {
        let Some(message) = message.trim().strip_prefix("error: ") else { return };
        match failure_there(dir, message) {
            Some(failure) => self.failed.push(failure),
            None => self.last_error = Some(reason(message)),
        }
    }

    /// Corrects Nix's answer about a derivation that a remote builder had begun.
    pub(super) fn correct(&self, result: BuildResult) -> BuildResult {
        if result.status != BuildStatus::MiscFailure || !self.begun.contains(&result.derivation) {
            return result;
        }
        if let Some((_, why)) = self.failed.iter().find(|(path, _)| *path == result.derivation) {
            return BuildResult { status: status_of(why), error: why.clone(), ..result };
        }
        let error = match &self.last_error {
            Some(said) => format!("the remote builder did not finish it: {said}"),
            None => "the remote builder did not finish it".to_owned(),
        };
        BuildResult { status: BuildStatus::BuilderLost, error, ..result }
    }
}

/// Reads `build of 'DERIVATION' on 'MACHINE' failed: WHY`.
fn failure_there(dir: &StoreDir, message: &str) -> Option<(DerivationPath, String)> {
    let (derivation, rest) = message.strip_prefix("build of '")?.split_once("' on '")?;
    let (_machine, why) = rest.split_once("' failed: ")?;
    Some((dir.parse_derivation(derivation).ok()?, reason(why)))
}

/// Returns the status that a remote builder's reason had there.
fn status_of(why: &str) -> BuildStatus {
    let says = |texts: &[&str]| texts.iter().any(|text| why.contains(text));
    if is_about_machines(why) {
        BuildStatus::InputRejected
    } else if says(&["failed to produce output path", "is not allowed to refer to"]) {
        BuildStatus::OutputRejected
    } else if why.starts_with("builder failed") {
        BuildStatus::PermanentFailure
    } else if says(&["timed out after"]) {
        BuildStatus::TimedOut
    } else if says(&["hash mismatch"]) {
        BuildStatus::HashMismatch
    } else if says(&["may not be deterministic"]) {
        BuildStatus::NotDeterministic
    } else if says(&["of its dependencies failed", "dependencies couldn't be built"]) {
        BuildStatus::DependencyFailed
    } else {
        BuildStatus::MiscFailure
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DERIVATION: &str = "/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-far.drv";

    fn corrected(begun: bool, messages: &[&str]) -> (BuildStatus, String) {
        let dir = StoreDir::default();
        let derivation = dir.parse_derivation(DERIVATION).unwrap();
        let mut elsewhere = Elsewhere::default();
        if begun {
            elsewhere.begins(&derivation);
        }
        for message in messages {
            elsewhere.says(&dir, message);
        }
        let result = elsewhere.correct(BuildResult {
            derivation,
            status: BuildStatus::MiscFailure,
            error: "builder failed with exit code 1".to_owned(),
            outputs: BTreeMap::new(),
        });
        (result.status, result.error)
    }

    #[test]
    fn a_builder_that_failed_is_told_from_a_machine_that_was_lost() {
        let failed = format!(
            "error: build of '{DERIVATION}' on 'ssh-ng://root@b' failed: builder for '{DERIVATION}' failed with exit code 7;\n       last 1 log lines:\n       > error: line\n       For full logs, run 'nix log {DERIVATION}'.\n"
        );
        let permanent = BuildStatus::PermanentFailure;
        let seven = "builder failed with exit code 7";
        assert_eq!(corrected(true, &[&failed]), (permanent, seven.to_owned()));
        assert_eq!(corrected(true, &[&failed, "error: later"]), (permanent, seven.to_owned()));
        let other = failed.replace("0c0i5", "1c0i5");
        assert_eq!(corrected(true, &[&other]).0, BuildStatus::BuilderLost);
        assert_eq!(
            corrected(true, &["copying 1 paths...", "error: unexpected end-of-file"]),
            (
                BuildStatus::BuilderLost,
                "the remote builder did not finish it: unexpected end-of-file".to_owned()
            )
        );
        assert_eq!(corrected(true, &[]).1, "the remote builder did not finish it");
        // What was built here, Nix has classified itself.
        let misc = BuildStatus::MiscFailure;
        assert_eq!(
            corrected(false, &[&failed]),
            (misc, "builder failed with exit code 1".to_owned())
        );
    }

    #[test]
    fn reasons_from_elsewhere_have_the_status_that_they_had_there() {
        for (why, expected) in [
            ("builder failed due to signal 9 (Killed)", BuildStatus::PermanentFailure),
            (
                "builder failed to produce output path for output 'out' at '/nix/store/y'",
                BuildStatus::OutputRejected,
            ),
            ("timed out after 3 seconds", BuildStatus::TimedOut),
            ("hash mismatch in fixed-output derivation: a, b", BuildStatus::HashMismatch),
            (
                "a 'riscv64-none' with features {} is required to build '/nix/store/x', but I am a 'b'",
                BuildStatus::InputRejected,
            ),
            ("writing to file: No space left on device", BuildStatus::MiscFailure),
        ] {
            assert_eq!(status_of(why), expected, "{why}");
        }
    }
}
