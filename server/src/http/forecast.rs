//! When the runs that there are will be over, by how long earlier ones took.

use std::collections::HashMap;

use levain_evaluator::JobsetName;

use super::App;
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::pages::eta::{self, Estimate};
use crate::projects::ProjectId;
use crate::runs::state::RunState;
use crate::runs::{Run, RunId};

/// How many of a project's last runs are looked at.
const EARLIER: u32 = 100;
/// How many projects are looked at, those first whose runs come first. There are no estimates behind the others.
const MOST_PROJECTS: usize = 50;

/// How long runs will still be there.
pub(super) struct Forecast(HashMap<RunId, Estimate>);

impl Forecast {
    /// Estimates for all that is under way and all that is queued, in its turn.
    pub(super) async fn of(
        app: &App,
        running: &[Run],
        queued: &[Run],
        now: Timestamp,
    ) -> Result<Self, DatabaseError> {
        // What was put off does not wait for others, and when what it waits for comes back, nobody knows.
        let queued: Vec<&Run> = queued.iter().filter(|run| run.put_off_until.is_none()).collect();
        let mut took = HashMap::new();
        for run in running.iter().chain(queued.iter().copied()) {
            if took.len() < MOST_PROJECTS && !took.contains_key(&run.project) {
                let runs = app.database.runs(run.project, EARLIER).await?;
                took.insert(run.project, Took::by(&runs));
            }
        }
        let jobset = |run: &Run| (run.project, run.jobset.clone());
        let left = |run: &Run| {
            let elapsed = seconds(run.started_at?, now)?;
            took.get(&run.project)?.told(&run.jobset, |own, all| eta::left(own, all, elapsed))
        };
        let whole = |run: &Run| took.get(&run.project)?.told(&run.jobset, eta::whole);
        let running: Vec<_> =
            running.iter().map(|run| (run.id, (jobset(run), left(run)))).collect();
        let waiting: Vec<_> = queued.iter().map(|run| (jobset(run), whole(run))).collect();
        let under_way: Vec<_> = running.iter().map(|(_, one)| one.clone()).collect();
        let ends = eta::in_turn::<(ProjectId, JobsetName)>(&under_way, &waiting);
        let ends = queued.iter().map(|run| run.id).zip(ends);
        let all = running.into_iter().map(|(id, (_, left))| (id, left)).chain(ends);
        Ok(Self(all.filter_map(|(id, end)| Some((id, end?))).collect()))
    }

    /// Returns how long it is until a run is over, if earlier ones tell.
    pub(super) fn of_run(&self, id: RunId) -> Option<Estimate> {
        self.0.get(&id).copied()
    }
}

/// How long the runs of a project took that succeeded, in seconds.
struct Took(Vec<(JobsetName, f64)>);

impl Took {
    fn by(runs: &[Run]) -> Self {
        let succeeded = runs.iter().filter(|run| run.state == RunState::Succeeded);
        let took = succeeded
            .filter_map(|run| Some((run.jobset.clone(), seconds(run.started_at?, run.ended_at?)?)));
        Self(took.collect())
    }

    /// Has those of a jobset, and all, tell something.
    fn told(
        &self,
        jobset: &JobsetName,
        tell: impl FnOnce(&[f64], &[f64]) -> Option<Estimate>,
    ) -> Option<Estimate> {
        let own = self.0.iter().filter(|(of, _)| of == jobset).map(|(_, took)| *took);
        let all: Vec<f64> = self.0.iter().map(|(_, took)| *took).collect();
        tell(&own.collect::<Vec<_>>(), &all)
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> Option<f64> {
    let millis = u64::try_from(to.millis().saturating_sub(from.millis())).ok()?;
    Some(std::time::Duration::from_millis(millis).as_secs_f64())
}
