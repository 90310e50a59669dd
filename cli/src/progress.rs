//! Shows the progress of a run on standard error.
//!
//! On a terminal: one line per running build, with its time and last log line.
//! Elsewhere: a line when something begins or ends.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use levain_engine::progress::{Progress, Stage};
use levain_engine::report::{JobReport, JobStatus};

/// Progress for a terminal or a log.
pub(crate) struct Shown {
    bars: Option<MultiProgress>,
    builds: HashMap<String, (ProgressBar, String)>,
    stage: Option<ProgressBar>,
}

impl Shown {
    /// Chooses by whether standard error is a terminal.
    pub(crate) fn new() -> Self {
        let bars = io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, builds: HashMap::new(), stage: None }
    }

    fn line(&self, text: &str) {
        let write = || writeln!(io::stderr(), "{text}").unwrap_or_default();
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Progress for Shown {
    fn stage(&mut self, stage: Stage) {
        let text = match stage {
            Stage::Fetch => "fetching".to_owned(),
            Stage::EvaluateBase => "evaluating".to_owned(),
            Stage::EvaluateShadow => "evaluating with caches".to_owned(),
            Stage::Build { jobs: 0, .. } => return,
            Stage::Build { jobs, fresh } => format!("{jobs} to build, {fresh} fresh"),
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
                self.stage = Some(bar);
            }
        }
    }

    fn notice(&mut self, text: &str) {
        self.line(&format!("note: {text}"));
    }

    fn warning(&mut self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    fn build_started(&mut self, derivation: &str, name: &str) {
        match &self.bars {
            None => self.line(&format!("building {name}")),
            Some(bars) => {
                let bar = ProgressBar::new_spinner()
                    .with_style(style("{spinner} {elapsed:>4} {prefix}: {wide_msg}"));
                let bar = bars.add(bar);
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                self.builds.insert(derivation.to_owned(), (bar, name.to_owned()));
            }
        }
    }

    fn build_line(&mut self, derivation: &str, line: &str) {
        if let Some((bar, _)) = self.builds.get(derivation) {
            // Control characters would move the cursor.
            bar.set_message(line.chars().filter(|c| !c.is_control()).collect::<String>());
        }
    }

    fn build_stopped(&mut self, derivation: &str) {
        if let Some((bar, _)) = self.builds.remove(derivation) {
            bar.finish_and_clear();
        }
    }

    fn job_done(&mut self, job: &JobReport) {
        // The table at the end names the fresh ones; a thousand lines would bury the rest.
        if job.status != JobStatus::Fresh {
            self.line(&format!("{}: {}", job.attr_path, describe(job)));
        }
    }
}

/// Says in a few words how a job ended, and why.
pub(crate) fn describe(job: &JobReport) -> String {
    let mut text = job.status.name().to_owned();
    if job.started_at.is_some() {
        text.push_str(&format!(" in {:.1} s", job.seconds));
    }
    if let Some(cache) = job.caches.first() {
        let commit: String = cache.commit.chars().take(12).collect();
        text.push_str(&format!(", from the cache of {commit} ({})", cache.origin));
    }
    if let Some(reason) = job.reason {
        text.push_str(&format!(", no cache: {reason}"));
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
        for (bar, _) in self.builds.values() {
            bar.finish_and_clear();
        }
    }
}
