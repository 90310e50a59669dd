//! The model of the tables and real databases do the same, whatever is asked of them and in whatever order.

use levain_actions::git::CommitId;
use levain_actions::status::State;
use levain_evaluator::JobsetName;
use levain_server::Database;
use levain_server::clock::Timestamp;
use levain_server::deliveries::{DeliveryId, DeliveryState, Kept, NewDelivery};
use levain_server::projects::{NewProject, ProjectId};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::putting_off::WAITS;
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, Owner, RunId};

use crate::model::{self, DEFAULT_BRANCH, Millis, Model, QUEUE};
use crate::number;
use crate::support::{GITHUB, databases};

/// How many things are done in a row.
const STEPS: usize = 60;

/// Both, and by which numbers the database knows what the model counts.
struct Pair<'a> {
    database: &'a Database,
    model: Model,
    random: fastrand::Rng,
    projects: Vec<ProjectId>,
    runs: Vec<RunId>,
    deliveries: Vec<DeliveryId>,
    now: Millis,
    /// What was known before heads were listed.
    notes: Vec<(ProjectId, levain_server::runs::LastNote, u64)>,
}

impl Pair<'_> {
    fn project(&mut self) -> ProjectId {
        self.projects[self.random.usize(0..self.projects.len())]
    }

    fn jobset(&mut self) -> JobsetName {
        let names = ["heads/main", "heads/topic", QUEUE, "pull/7", "pull/8"];
        names[self.random.usize(0..names.len())].parse().unwrap()
    }

    fn owner(&mut self) -> u64 {
        self.random.u64(0..3)
    }

    fn run(&mut self) -> Option<usize> {
        (!self.runs.is_empty()).then(|| self.random.usize(0..self.runs.len()))
    }

    fn delivery(&mut self) -> Option<usize> {
        (!self.deliveries.is_empty()).then(|| self.random.usize(0..self.deliveries.len()))
    }

    fn index(&self, id: RunId) -> usize {
        self.runs.iter().position(|known| *known == id).unwrap()
    }

    fn indices(&self, ids: &[RunId]) -> Vec<usize> {
        ids.iter().map(|id| self.index(*id)).collect()
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    async fn step(&mut self) {
        self.now += self.random.i64(0..20_000);
        match self.random.u32(0..14) {
            0 | 1 => self.keep().await,
            2 => self.settle().await,
            3 => {
                if let Some(index) = self.delivery() {
                    let real = self.database.replay_delivery(self.deliveries[index]).await;
                    assert_eq!(real.unwrap(), self.model.replay(index));
                }
            }
            4 => {
                let before = self.now - self.random.i64(0..100_000);
                let time = Timestamp::from_millis(before);
                let real = self.database.forget_deliveries(time).await.unwrap();
                assert_eq!(real, self.model.forget(before));
            }
            5 | 6 => self.note().await,
            7 => {
                let (project, jobset) = (self.project(), self.jobset());
                let real = self.database.run_again(project, jobset.clone()).await.unwrap();
                let expected = self.model.run_again(project, &jobset);
                assert_eq!(real.is_some(), expected.is_some());
                if let (Some(id), Some(index)) = (real, expected) {
                    if index == self.runs.len() {
                        self.runs.push(id);
                    }
                    assert_eq!(self.index(id), index);
                }
            }
            8 => {
                if let Some(index) = self.run() {
                    let real = self.database.cancel_run(self.runs[index]).await.unwrap();
                    assert_eq!(real, self.model.cancel(index));
                }
            }
            9 | 10 => self.claim().await,
            11 => self.held().await,
            12 => {
                let real = self.database.take_lost_runs(self.time()).await.unwrap();
                let mut real = self.indices(&real);
                real.sort_unstable();
                assert_eq!(real, self.model.take_lost(self.now));
            }
            _ => {
                let project = self.project();
                let last = self.database.last_note(project).await.unwrap();
                self.notes.push((project, last, self.model.last_note(project)));
            }
        }
    }

    async fn keep(&mut self) {
        let (project, key, body) = (self.project(), self.random.u64(0..12), self.random.u64(0..2));
        let new = NewDelivery {
            project,
            key: key.to_string(),
            received_at: self.time(),
            event: None,
            body: body.to_string().into_bytes(),
        };
        let real = self.database.keep_delivery(new).await.unwrap();
        let expected = self.model.keep(project, key, body, self.now);
        let id = match real {
            Kept::New(id) | Kept::Again(id) | Kept::Conflict(id) => id,
        };
        if matches!(real, Kept::New(_)) {
            self.deliveries.push(id);
        }
        let index = self.deliveries.iter().rposition(|known| *known == id).unwrap();
        let real = match real {
            Kept::New(_) => model::Kept::New(index),
            Kept::Again(_) => model::Kept::Again(index),
            Kept::Conflict(_) => model::Kept::Conflict(index),
        };
        assert_eq!(real, expected);
    }

    async fn settle(&mut self) {
        let mut settled = Vec::new();
        for _ in 0..self.random.usize(0..4) {
            let states = [DeliveryState::Acted, DeliveryState::Ignored, DeliveryState::Failed];
            let state = states[self.random.usize(0..3)];
            // Nobody says two things of one.
            let new =
                self.delivery().filter(|index| settled.iter().all(|(other, _)| other != index));
            settled.extend(new.map(|index| (index, state)));
        }
        let real =
            settled.iter().map(|(index, state)| (self.deliveries[*index], *state, String::new()));
        let real = self.database.settle_deliveries(real.collect()).await.unwrap();
        assert_eq!(real, self.model.settle(&settled));
    }

    async fn note(&mut self) {
        let mut heads = Heads::new();
        for _ in 0..self.random.usize(0..4) {
            let base = [None, Some("main"), Some("topic")][self.random.usize(0..3)];
            let head = Head::branch(commit(self.random.u64(0..4)));
            heads.insert(self.jobset(), Head { base: base.map(str::to_owned), ..head });
        }
        // Sometimes what was known is old.
        let (project, last, known) = match self.notes.pop().filter(|_| self.random.bool()) {
            Some(note) => note,
            None => {
                let project = self.project();
                let last = self.database.last_note(project).await.unwrap();
                (project, last, self.model.last_note(project))
            }
        };
        let real = self.database.note_heads(project, last, heads.clone()).await.unwrap();
        let expected = self.model.note_heads(project, known, heads);
        assert_eq!(real.is_some(), expected.is_some());
        let (Some(real), Some(mut expected)) = (real, expected) else { return };
        self.runs.extend(&real.queued);
        let mut stopped = self.indices(&real.stopped);
        stopped.sort_unstable();
        expected.stopped.sort_unstable();
        let real = model::Noted { queued: self.indices(&real.queued), stopped, gone: real.gone };
        assert_eq!(real, expected);
    }

    async fn claim(&mut self) {
        let owner = self.owner();
        let busy = match self.random.u32(0..4) {
            0 => vec![(self.project(), self.jobset())],
            _ => Vec::new(),
        };
        let named = Owner::new(owner.to_string());
        let real = self.database.claim_run(named, self.time(), &busy).await.unwrap();
        let expected = self.model.claim(owner, self.now, &busy);
        assert_eq!(real.map(|run| self.index(run.id)), expected);
    }

    /// What whoever holds a run says about it, or somebody who does not.
    async fn held(&mut self) {
        let Some(index) = self.run() else { return };
        let (owner, id) = (self.owner(), self.runs[index]);
        let named = Owner::new(owner.to_string());
        let (real, expected) = match self.random.u32(0..4) {
            0 => (
                self.database.renew_run(id, named, self.time()).await,
                self.model.renew(index, owner, self.now),
            ),
            1 => {
                let (why, now) = ("gone".to_owned(), self.time());
                let real = self.database.put_off_run(id, named, why, &WAITS, now).await.unwrap();
                let expected = self.model.put_off(index, owner, &WAITS, self.now);
                assert_eq!(real, expected);
                return;
            }
            2 => (self.database.give_back_run(id, named).await, self.model.give_back(index, owner)),
            _ => {
                let verdicts =
                    [Verdict::Succeeded, Verdict::Failed, Verdict::Errored, Verdict::Conflict];
                let verdict = verdicts[self.random.usize(0..4)];
                (
                    self.database.end_run(id, named, Ended::new(verdict, "")).await,
                    self.model.end(index, owner, verdict),
                )
            }
        };
        assert_eq!(real.unwrap(), expected);
    }

    /// Where something counts, the forge is told what the model says, by the same run.
    async fn compare_told(&self) {
        for (project, commit) in self.model.told.keys() {
            let word = self.model.word(*project, *commit);
            if !word.counts {
                continue;
            }
            let index = usize::try_from(word.run.unwrap().number()).unwrap();
            let told = self.database.statuses_of_run(self.runs[index]).await.unwrap();
            let states: Vec<State> = told.iter().map(|kept| kept.state).collect();
            let expected = match self.model.runs[index].state {
                RunState::Unapproved | RunState::Queued | RunState::Running => State::Pending,
                RunState::Succeeded => State::Success,
                RunState::Failed | RunState::Conflict => State::Failure,
                RunState::Errored => State::Error,
                RunState::Cancelled | RunState::Superseded => State::Cancelled,
            };
            assert_eq!(states, [expected], "run {index} has the word at {commit}: {word:?}");
        }
    }

    /// Both have the same rows.
    async fn compare(&self) {
        for project in &self.projects {
            let mut real = self.database.runs(*project, 10_000).await.unwrap();
            real.reverse();
            let real = real.into_iter().map(|run| {
                let base = (run.base, run.base_commit);
                let put_off = (run.put_off, run.put_off_until.map(Timestamp::millis));
                let index = self.index(run.id);
                (index, run.jobset, run.commit, base, run.state, run.attempts, put_off)
            });
            let expected = self.model.runs.iter().enumerate();
            let expected =
                expected.filter(|(_, run)| run.project == *project).map(|(index, run)| {
                    let base = (run.base.clone(), run.base_commit);
                    let put_off = (run.put_off, run.put_off_until);
                    (index, run.jobset.clone(), run.commit, base, run.state, run.attempts, put_off)
                });
            assert_eq!(real.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        for (index, id) in self.deliveries.iter().enumerate() {
            let real = self
                .database
                .delivery(*id)
                .await
                .unwrap()
                .map(|real| (real.project, real.key, real.state, real.repeats, real.conflicts));
            let expected = self.model.deliveries[index].as_ref().map(|kept| {
                (kept.project, kept.key.to_string(), kept.state, kept.repeats, kept.conflicts)
            });
            assert_eq!(real, expected);
        }
    }
}

fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

/// `LEVAIN_AGREEMENTS` says how many sequences there are; `LEVAIN_TEST_SEED` repeats one.
#[tokio::test]
async fn real_databases_do_what_the_model_does() {
    let count = number("LEVAIN_AGREEMENTS").unwrap_or(12);
    for index in 0..count {
        let seed = number("LEVAIN_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
        for test in databases().await {
            let database = test.open().await;
            let mut projects = Vec::new();
            for name in ["a", "b"] {
                let new = NewProject {
                    token_file: Some("/nowhere/token".into()),
                    ..NewProject::new(name, GITHUB, "https://git.example.org/o/r")
                };
                let id = database.add_project(new).await.unwrap().id;
                let branch = Some(DEFAULT_BRANCH.to_owned());
                database.note_default_branch(id, branch).await.unwrap();
                projects.push(id);
            }
            let random = fastrand::Rng::with_seed(seed);
            let mut pair = Pair {
                database: &database,
                model: Model::default(),
                random,
                projects,
                runs: Vec::new(),
                deliveries: Vec::new(),
                now: 1_000_000,
                notes: Vec::new(),
            };
            println!("{index}: LEVAIN_TEST_SEED={seed} {:?}", test.url);
            for _ in 0..STEPS {
                pair.step().await;
                pair.compare_told().await;
            }
            pair.compare().await;
            database.close().await;
        }
    }
}
