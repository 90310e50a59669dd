//! Shows the progress of a run on standard error.
//!
//! On a terminal: one line per running build, with its time and last log line.
//! Elsewhere: a line when something begins or ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use levain_engine::choose::Reason;
use levain_engine::event::{Event, Stage, What};
use levain_engine::report::{JobReport, JobStatus};
use levain_store::{DerivationPath, visible_line, visible_name};

use crate::terminal::{self, Terminal};

/// Progress for a terminal or a log.
pub(crate) struct Shown {
    terminal: Terminal,
    bars: Option<MultiProgress>,
    builds: RefCell<HashMap<DerivationPath, ProgressBar>>,
    stage: RefCell<Option<ProgressBar>>,
}

impl Shown {
    /// Chooses by whether standard error is a terminal.
    pub(crate) fn new(terminal: &Terminal) -> Self {
        let bars = terminal::is_watched().then(MultiProgress::new);
        Self {
            terminal: terminal.clone(),
            bars,
            builds: RefCell::default(),
            stage: RefCell::default(),
        }
    }

    fn line(&self, text: &str) {
        let write = || self.terminal.note(text);
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Shown {
    /// Shows an event, if there is anything to see of it.
    pub(crate) fn hear(&self, event: &Event) {
        match &event.what {
            What::Stage { stage } => self.stage(*stage),
            What::Notice { text } => self.line(&format!("note: {text}")),
            What::Warning { text } => self.warning(text),
            What::BuildStarted { derivation, .. } => self.build_started(derivation),
            What::BuildLine { derivation, line } => {
                if let Some(bar) = self.builds.borrow().get(derivation) {
                    bar.set_message(self.terminal.part_of_line(line));
                }
            }
            What::BuildStopped { derivation } => {
                if let Some(bar) = self.builds.borrow_mut().remove(derivation) {
                    bar.finish_and_clear();
                }
            }
            // The table at the end names the fresh ones; a thousand lines would bury the rest.
            What::JobEnded { job } if job.status != JobStatus::Fresh => {
                let name = visible_name(job.attr_path.as_str());
                self.line(&format!("{name}: {}", visible_line(&describe(job))));
            }
            What::Opened { .. }
            | What::JobsFound { .. }
            | What::JobWaits { .. }
            | What::BuildsBegin { .. }
            | What::BuildWaits { .. }
            | What::JobEnded { .. }
            | What::Ended { .. }
            | What::Failed { .. } => {}
        }
    }

    /// Shows something that went wrong.
    pub(crate) fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    fn stage(&self, stage: Stage) {
        let text = match stage {
            Stage::Fetch => "fetching".to_owned(),
            Stage::EvaluateBase => "evaluating".to_owned(),
            Stage::EvaluateShadow => "evaluating with caches".to_owned(),
            Stage::Build { jobs: 0, .. } => return,
            Stage::Build { jobs, fresh } => format!("{jobs} to build, {fresh} fresh"),
            Stage::Audit { jobs: 1 } => "auditing 1 job: building it clean".to_owned(),
            Stage::Audit { jobs } => format!("auditing {jobs} jobs: building them clean"),
            Stage::Deliver => "delivering".to_owned(),
        };
        if let Some(old) = self.stage.take() {
            old.finish_and_clear();
        }
        match &self.bars {
            None => {
                if let Stage::Build { .. } | Stage::Audit { .. } = stage {
                    self.line(&text);
                }
            }
            Some(bars) => {
                let bar = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
                bar.set_message(text);
                bar.enable_steady_tick(Duration::from_millis(100));
                self.stage.replace(Some(bar));
            }
        }
    }

    fn build_started(&self, derivation: &DerivationPath) {
        let name = derivation.name();
        match &self.bars {
            None => self.line(&format!("building {}", visible_line(name))),
            Some(bars) => {
                let bar = ProgressBar::new_spinner()
                    .with_style(style("{spinner} {elapsed:>4} {prefix}: {wide_msg}"));
                let bar = bars.add(bar);
                bar.set_prefix(self.terminal.part_of_line(name));
                bar.enable_steady_tick(Duration::from_millis(200));
                self.builds.borrow_mut().insert(derivation.clone(), bar);
            }
        }
    }
}

/// Says in a few words how a job ended, and why.
pub(crate) fn describe(job: &JobReport) -> String {
    let mut text = job.status.name().to_owned();
    if let Some(reason) = &job.skipped {
        return format!("{text} ({reason})");
    }
    if job.started_at.is_some() {
        text.push_str(&format!(" in {:.1} s", job.seconds));
    }
    let restored = job.reason != Some(Reason::NotRestored);
    if let Some(cache) = job.caches.first() {
        let commit: String = cache.commit.chars().take(12).collect();
        let from = if restored { "from" } else { "nothing restored from" };
        text.push_str(&format!(", {from} the cache of {commit} ({})", cache.origin));
    }
    if let Some(reason) = job.reason {
        if restored {
            text.push_str(&format!(", no cache: {reason}"));
        }
        if let Some(detail) = &job.reason_detail {
            text.push_str(&format!(" ({detail})"));
        }
    }
    if let Some(since) = &job.unchanged_since {
        let since: String = since.chars().take(12).collect();
        text.push_str(&format!(", unchanged since {since}"));
    }
    text
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = self.stage.take() {
            bar.finish_and_clear();
        }
        for bar in self.builds.borrow().values() {
            bar.finish_and_clear();
        }
    }
}
