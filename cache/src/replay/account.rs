//! What became of each command of a build: skipped or run, and why.

use std::collections::HashMap;
use std::fmt;

use super::reason::Reason;

/// The most commands that are told of one by one.
const MOST_ROWS: usize = 100_000;

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Fate {
    /// What it did before was done in its place.
    Skipped {
        /// The cache that knew it, by its place among those given.
        source: usize,
        /// How long it took when it ran, in microseconds.
        micros: u64,
    },
    /// It ran.
    Ran {
        /// Why it was not skipped.
        why: Reason,
        /// Why it cannot be skipped the next time either, if so.
        spoilt: Option<Reason>,
        /// How long it took, in microseconds.
        micros: u64,
    },
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Row {
    /// How many commands are around it.
    pub(crate) depth: usize,
    pub(crate) name: String,
    pub(crate) fate: Fate,
}

/// What became of the commands of a build.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) rows: Vec<Row>,
    pub(crate) skipped: usize,
    pub(crate) ran: usize,
    pub(crate) saved_micros: u64,
    pub(crate) not_kept: Option<String>,
}

impl Account {
    pub(crate) fn add(&mut self, row: Row) {
        match &row.fate {
            Fate::Skipped { micros, .. } => {
                self.skipped += 1;
                self.saved_micros = self.saved_micros.saturating_add(*micros);
            }
            Fate::Ran { .. } => self.ran += 1,
        }
        if self.rows.len() < MOST_ROWS {
            self.rows.push(row);
        }
    }

    /// Notes that something could not be kept for later builds.
    pub(crate) fn not_kept(&mut self, error: &dyn fmt::Display) {
        self.not_kept.get_or_insert_with(|| error.to_string());
    }

    /// Returns it in a line.
    pub(crate) fn summary(&self) -> String {
        let seconds = self.saved_micros as f64 / 1e6;
        let mut text = format!(
            "levain-cache: {} commands skipped ({seconds:.1} s), {} run\n",
            self.skipped, self.ran
        );
        if let Some(problem) = &self.not_kept {
            text.push_str(&format!("levain-cache: not all is kept for later: {problem}\n"));
        }
        text
    }

    /// Returns a line for each command, and how often each reason stood in the way of skipping one.
    pub(crate) fn explained(&self) -> String {
        let mut text = String::new();
        let mut reasons: HashMap<String, usize> = HashMap::new();
        for Row { depth, name, fate } in &self.rows {
            let indent = "  ".repeat(*depth);
            let line = match fate {
                Fate::Skipped { source, micros } => {
                    format!("{indent}skipped  {name}  (cache {source}, {micros} us)\n")
                }
                Fate::Ran { why, spoilt, micros } => {
                    *reasons.entry(why.to_string()).or_default() += 1;
                    let spoilt = spoilt.as_ref().map(|reason| format!("; not kept: {reason}"));
                    let spoilt = spoilt.unwrap_or_default();
                    format!("{indent}ran      {name}  ({why}{spoilt}; {micros} us)\n")
                }
            };
            text.push_str(&line);
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (reason, count) in reasons.into_iter().take(20) {
            text.push_str(&format!("{count:>6} × {reason}\n"));
        }
        text
    }
}
