//! What a run says while it is carried out, from a thread of its own.

use levain_evaluator::JobsetName;
use tokio::runtime::Handle;

use super::decide::Budget;
use super::wording::Telling;
use super::{KeptStatus, Progress};
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::pages::kept_report::KeptReport;
use crate::projects::{Project, ProjectId};
use crate::runs::{Owner, Run, RunId};

/// Tells on behalf of a run. Each call waits until what it says is kept.
///
/// What cannot be kept is logged and lost: the run's end is told with the run itself.
#[derive(Clone)]
pub struct Voice {
    database: Database,
    owner: Owner,
    project: ProjectId,
    run: RunId,
    commit: String,
    budget: Budget,
    runtime: Handle,
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Voice({})", self.run.number())
    }
}

impl Voice {
    /// Lends a run that `owner` carries out a voice.
    pub fn new(database: Database, owner: Owner, run: &Run, runtime: Handle) -> Self {
        let commit = run.commit.to_string();
        let budget = Budget::DEFAULT;
        Self { database, owner, project: run.project, run: run.id, commit, budget, runtime }
    }

    /// Says how the run fares.
    pub fn say(&self, progress: Vec<Progress>) {
        let (owner, now) = (self.owner.clone(), Timestamp::now());
        let told = self.database.tell(self.run, owner, progress, self.budget, now);
        self.kept(self.runtime.block_on(told));
    }

    /// Says what the project's declaration says about statuses.
    pub fn declare(&self, telling: &Telling) {
        let known = self.runtime.block_on(self.database.telling(self.project));
        if self.kept(known).is_none_or(|known| known != *telling) {
            let noted = self.database.note_telling(self.project, telling.clone());
            self.kept(self.runtime.block_on(noted));
        }
    }

    /// Returns the address of the run's page, if there is one that others reach.
    pub fn page(&self) -> Option<String> {
        self.kept(self.runtime.block_on(self.database.page_of_run(self.run))).flatten()
    }

    /// Returns the newest report of the branch that a pull request is compared with, and its name: its base, as far as
    /// that is known, else the default branch.
    pub fn base_report(&self, run: &Run, project: &Project) -> Option<(String, KeptReport)> {
        let name = run.base.clone().or_else(|| project.default_branch.clone())?;
        let jobset = JobsetName::branch(&name);
        let newest = self.database.newest_report(project.id, &jobset);
        let (_, report) = self.kept(self.runtime.block_on(newest)).flatten()?;
        Some((name, KeptReport::read(&report)?))
    }

    /// Returns the statuses of jobs that there are on the run's commit, whichever runs they are of.
    pub fn jobs_told(&self) -> Vec<KeptStatus> {
        let told = self.database.statuses_of_jobs(self.project, self.commit.clone());
        self.kept(self.runtime.block_on(told)).unwrap_or_default()
    }

    fn kept<T>(&self, result: Result<T, DatabaseError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(run = self.run.number(), %error, "cannot keep what a run says");
                None
            }
        }
    }
}
