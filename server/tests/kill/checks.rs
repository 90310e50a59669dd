//! What must hold in the database after each kill, and what once everything is done.

use std::collections::BTreeMap;

use levain_actions::git::CommitId;
use levain_server::runs::state::MOST_ATTEMPTS;
use sqlx::{AnyConnection, Executor, Row};

use crate::built::Machine;
use crate::origin::{Origin, is_good};
use crate::sent::Ledger;
use crate::world::names;

/// What else is looked at once a server was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// What is still to be done is told.
    Eventually,
    /// Everything is done, so everything is looked at.
    Now,
}

/// What was found before.
#[derive(Default)]
pub(crate) struct Checked {
    /// The runs that ended, and how: that stays.
    ended: BTreeMap<i64, (CommitId, String)>,
}

struct Run {
    id: i64,
    project: usize,
    jobset: String,
    commit: CommitId,
    state: String,
    attempts: u32,
}

impl Run {
    fn is_under_way(&self) -> bool {
        ["queued", "running"].contains(&self.state.as_str())
    }
}

async fn runs(connection: &mut AnyConnection) -> Vec<Run> {
    let names = names(connection).await;
    let text = "SELECT id, project, jobset, commit_id, state, attempts FROM runs ORDER BY id";
    let rows = connection.fetch_all(text).await.unwrap();
    let run = |row: &sqlx::any::AnyRow| Run {
        id: row.get(0),
        project: names[&row.get(1)],
        jobset: row.get(2),
        commit: row.get::<String, _>(3).parse().unwrap(),
        state: row.get(4),
        attempts: u32::try_from(row.get::<i64, _>(5)).unwrap(),
    };
    rows.iter().map(run).collect()
}

impl Checked {
    /// Fails if anything is wrong; returns what is left to do, if that is asked for.
    pub(crate) async fn check(
        &mut self,
        connection: &mut AnyConnection,
        origins: &[Origin],
        machine: &Machine,
        ledger: &Ledger,
        settled: Option<Settled>,
    ) -> Option<String> {
        nothing_is_lost(connection, ledger, settled == Some(Settled::Now)).await;
        let runs = runs(connection).await;
        self.ends_stay(&runs);
        each_where_one_is_enough(&runs, origins);
        for run in &runs {
            is_told_rightly(run);
        }
        let succeeded = runs.iter().filter(|run| run.state == "succeeded").map(|run| run.commit);
        machine.check(connection, &succeeded.collect::<Vec<_>>()).await;
        settled?;
        let waiting = connection
            .fetch_all("SELECT id FROM deliveries WHERE state = 'waiting'")
            .await
            .unwrap()
            .len();
        if waiting > 0 {
            return Some(format!("{waiting} deliveries wait"));
        }
        if let Some(run) = runs.iter().find(|run| run.is_under_way()) {
            return Some(format!("run {} is {}", run.id, run.state));
        }
        for (index, origin) in origins.iter().enumerate() {
            for (jobset, head) in origin.heads() {
                let commit = head.commit;
                let newest =
                    runs.iter().rfind(|run| run.project == index && run.jobset == jobset.as_str());
                let newest = newest.filter(|run| run.commit == commit);
                // Superseded and cancelled are no results.
                let has_result = newest.is_some_and(|run| {
                    ["succeeded", "failed", "errored"].contains(&run.state.as_str())
                });
                if !has_result {
                    return Some(format!("{jobset} of project {index} has no result of {commit}"));
                }
            }
        }
        let listed = heads(connection).await;
        let there: BTreeMap<_, _> = origins.iter().enumerate().flat_map(of_origin).collect();
        (listed != there).then(|| format!("{listed:?} is noted, {there:?} is there"))
    }

    fn ends_stay(&mut self, runs: &[Run]) {
        let mut now = BTreeMap::new();
        for run in runs.iter().filter(|run| !run.is_under_way()) {
            now.insert(run.id, (run.commit, run.state.clone()));
        }
        for (id, end) in &self.ended {
            assert_eq!(now.get(id), Some(end), "run {id} had ended");
        }
        self.ended = now;
    }
}

type Place = (usize, String);

fn of_origin((index, origin): (usize, &Origin)) -> Vec<(Place, CommitId)> {
    let heads = origin.heads().into_iter();
    heads.map(|(jobset, head)| ((index, jobset.to_string()), head.commit)).collect()
}

async fn heads(connection: &mut AnyConnection) -> BTreeMap<Place, CommitId> {
    let names = names(connection).await;
    let rows = connection.fetch_all("SELECT project, jobset, commit_id FROM heads").await.unwrap();
    let head = |row: &sqlx::any::AnyRow| {
        let commit: String = row.get(2);
        ((names[&row.get(0)], row.get(1)), commit.parse().unwrap())
    };
    rows.iter().map(head).collect()
}

/// Whatever was acknowledged is there, under the number that was told.
async fn nothing_is_lost(connection: &mut AnyConnection, ledger: &Ledger, with_bodies: bool) {
    let names = names(connection).await;
    let body = if with_bodies { "body" } else { "substr(body, 1, 0)" };
    let text = format!(
        "SELECT id, project, key, {body} FROM deliveries
         JOIN delivery_bodies ON delivery_bodies.delivery = deliveries.id"
    );
    let rows = connection.fetch_all(sqlx::AssertSqlSafe(text)).await.unwrap();
    let mut there = BTreeMap::new();
    for row in rows {
        let place: (usize, String) = (names[&row.get(1)], row.get(2));
        there.insert(place, (row.get::<i64, _>(0), row.get::<Vec<u8>, _>(3)));
    }
    for (place, accepted) in ledger {
        let Some((id, body)) = there.get(place) else {
            panic!("delivery {} of {place:?} was acknowledged, and is lost", accepted.id);
        };
        assert_eq!(*id, accepted.id, "{place:?}");
        if let Some(accepted) = accepted.body.as_ref().filter(|_| with_bodies) {
            assert_eq!(body, accepted, "{place:?}");
        }
    }
}

/// The runs of a jobset are some of the commits that it had, in that order, each once for each time that it had it.
fn each_where_one_is_enough(runs: &[Run], origins: &[Origin]) {
    for (index, origin) in origins.iter().enumerate() {
        for (jobset, history) in &origin.history {
            let mut had = history.iter().flatten();
            let of_jobset =
                runs.iter().filter(|run| run.project == index && run.jobset == jobset.as_str());
            for run in of_jobset {
                assert!(
                    had.any(|commit| *commit == run.commit),
                    "run {} of {jobset} of project {index} is one too many: {history:?}",
                    run.id
                );
            }
        }
    }
    let mut running: Vec<(usize, &str)> = runs
        .iter()
        .filter(|run| run.state == "running")
        .map(|run| (run.project, run.jobset.as_str()))
        .collect();
    running.sort_unstable();
    let count = running.len();
    running.dedup();
    assert_eq!(running.len(), count, "two runs of a jobset are under way");
}

/// A verdict is that of the commit, and nothing is given up that was not begun often enough.
fn is_told_rightly(run: &Run) {
    let is_right = match run.state.as_str() {
        "succeeded" => is_good(run.commit),
        "failed" => !is_good(run.commit),
        "errored" => run.attempts == MOST_ATTEMPTS,
        _ => true,
    };
    assert!(is_right, "run {} of {} is {}", run.id, run.commit, run.state);
}
