//! What became of each command of a build: skipped or run, and why.

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
}
