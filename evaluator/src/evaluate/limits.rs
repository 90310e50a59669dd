//! How much an evaluation may take and say.
//!
//! The operator's ceilings and what a project wishes below them; the lengths of what a flake chooses
//! to say. Pure: what happens when time and memory are spent is the store's. Start at [`Resources`].

use std::time::Duration;

use levain_store::{NarHash, counted};

use super::{EvaluatedJob, JobError, JobErrorKind};
use crate::attr_path::AttrPath;

/// How long an evaluation may take, by default.
const TIME: Duration = Duration::from_secs(600);
/// How many bytes of memory an evaluation may have, by default.
const MEMORY: u64 = 4 << 30;
/// How many jobs there may be, by default.
const JOBS: usize = 100_000;
/// The longest attribute path, in bytes.
const MAX_ATTR_PATH: usize = 1024;
/// How much of a longer one is shown.
const SHOWN_ATTR_PATH: usize = 100;
/// The longest message and the longest description, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// How much an evaluation may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// How long everything may take that is asked about one flake.
    pub time: Duration,
    /// How many bytes of memory each process may have.
    pub memory: u64,
    /// How many jobs there may be.
    pub jobs: usize,
}

impl Default for Resources {
    fn default() -> Self {
        Self { time: TIME, memory: MEMORY, jobs: JOBS }
    }
}

/// What a project wishes; nothing for what it leaves to the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// See [`Resources::time`].
    pub time: Option<Duration>,
    /// See [`Resources::memory`].
    pub memory: Option<u64>,
    /// See [`Resources::jobs`].
    pub jobs: Option<usize>,
}

impl Resources {
    /// Returns what a project gets that wishes `wishes`: never more than this.
    #[must_use]
    pub fn lowered(self, wishes: Wishes) -> Self {
        Self {
            time: wishes.time.unwrap_or(self.time).min(self.time),
            memory: wishes.memory.unwrap_or(self.memory).min(self.memory),
            jobs: wishes.jobs.unwrap_or(self.jobs).min(self.jobs),
        }
    }
}

/// Returns a job whose attribute path and texts are no longer than they may be.
pub(super) fn bounded(job: EvaluatedJob) -> EvaluatedJob {
    let EvaluatedJob { attr_path, mut outcome } = job;
    match &mut outcome {
        Ok(job) => job.description = job.description.take().map(|text| shortened(&text)),
        Err(error) => error.message = shortened(&error.message),
    }
    let whole = attr_path.to_string();
    if whole.len() <= MAX_ATTR_PATH {
        return EvaluatedJob { attr_path, outcome };
    }
    let start = &whole[..boundary(&whole, SHOWN_ATTR_PATH)];
    // The hash keeps it apart from others that begin alike.
    let hash = NarHash::of(whole.as_bytes()).to_base16();
    let attr_path = AttrPath::new(vec![format!("{start}…{}", &hash[..16])]);
    let message = format!(
        "the attribute path has {} bytes, more than the {MAX_ATTR_PATH} that it may have\nhint: give its attributes shorter names",
        whole.len()
    );
    EvaluatedJob { attr_path, outcome: Err(JobError { kind: JobErrorKind::Limit, message }) }
}

/// Returns a text without its middle, if it is longer than it may be.
pub(super) fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let start = &text[..boundary(text, MAX_TEXT * 3 / 4)];
    let end = &text[boundary(text, text.len() - MAX_TEXT / 8)..];
    let left_out = text.len() - start.len() - end.len();
    format!("{start}\n(… {} left out …)\n{end}", counted(left_out, "byte"))
}

/// Returns the last place up to `at` that is not inside a character.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&place| text.is_char_boundary(place)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_can_only_lower_a_ceiling() {
        let ceiling = Resources { time: Duration::from_secs(10), memory: 100, jobs: 5 };
        assert_eq!(ceiling.lowered(Wishes::default()), ceiling);
        let more = Wishes { time: Some(Duration::MAX), memory: Some(u64::MAX), jobs: Some(6) };
        assert_eq!(ceiling.lowered(more), ceiling);
        let less = Wishes { time: Some(Duration::from_secs(1)), memory: Some(2), jobs: Some(3) };
        let lowered = Resources { time: Duration::from_secs(1), memory: 2, jobs: 3 };
        assert_eq!(ceiling.lowered(less), lowered);
    }

    fn failed(name: String, message: String) -> EvaluatedJob {
        let outcome = Err(JobError { kind: JobErrorKind::Evaluation, message });
        EvaluatedJob { attr_path: AttrPath::new(vec![name]), outcome }
    }

    #[test]
    fn long_attribute_paths_are_errors_of_their_own() {
        let kept = failed("a".repeat(MAX_ATTR_PATH), "no".into());
        assert_eq!(bounded(kept.clone()), kept);
        let long = |end: &str| bounded(failed("ä".repeat(5_000_000) + end, "no".into()));
        let (one, other) = (long("1"), long("2"));
        assert_ne!(one.attr_path, other.attr_path);
        assert!(one.attr_path.to_string().len() < 200);
        let error = one.outcome.unwrap_err();
        assert_eq!(error.kind, JobErrorKind::Limit);
        assert!(error.message.contains("more than the 1024"), "{}", error.message);
    }

    #[test]
    fn long_texts_keep_their_ends() {
        let text = format!("start{}end", "ß".repeat(1_000_000));
        let EvaluatedJob { outcome, .. } = bounded(failed("a".into(), text));
        let message = outcome.unwrap_err().message;
        assert!(message.starts_with("start") && message.ends_with("end"));
        assert!(message.len() < MAX_TEXT && message.contains(" bytes left out …)"));
    }
}
