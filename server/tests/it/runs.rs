//! Runs: queued once for each new head, carried out by one holder at a time, ended once.

use std::time::Duration;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::clock::Timestamp;
use levain_server::points::{Point, Points};
use levain_server::projects::ProjectId;
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::{MOST_ATTEMPTS, RunState, Verdict};
use levain_server::runs::{Details, Ended, LEASE, Owner, RunId};

use crate::support::{GITHUB, databases, note, now, project};

fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

fn head(number: u64) -> Head {
    Head::new(commit(number), Trust::Own)
}

fn heads(list: &[(&str, u64)]) -> Heads {
    list.iter().map(|(name, number)| (name.parse().unwrap(), head(*number))).collect()
}

async fn states(database: &Database, project: ProjectId) -> Vec<(String, u64, RunState)> {
    let mut runs = database.runs(project, 100).await.unwrap();
    runs.reverse();
    let number = |commit: CommitId| u64::from_str_radix(&commit.to_string()[24..], 16).unwrap();
    runs.into_iter().map(|run| (run.jobset.to_string(), number(run.commit), run.state)).collect()
}

fn row(name: &str, number: u64, state: RunState) -> (String, u64, RunState) {
    (name.to_owned(), number, state)
}

#[tokio::test]
async fn each_new_head_is_queued_once_and_supersedes_older_ones() {
    use RunState::{Queued, Running, Superseded};
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let first = heads(&[("heads/main", 1), ("pull/7", 2)]);
        let noted = note(&database, id, first.clone()).await;
        assert_eq!((noted.queued.len(), noted.stopped.len()), (2, 0));
        assert_eq!(note(&database, id, first).await, Default::default());
        let claimed = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap().unwrap();
        assert_eq!(claimed.jobset.to_string(), "pull/7", "pull requests go first");
        let noted = note(&database, id, heads(&[("heads/main", 3), ("pull/7", 4)])).await;
        assert_eq!(noted.stopped, [claimed.id]);
        assert_eq!(
            states(&database, id).await,
            [
                row("heads/main", 1, Superseded),
                row("pull/7", 2, Superseded),
                row("heads/main", 3, Queued),
                row("pull/7", 4, Queued),
            ]
        );
        // Whoever still carries it out is told, and its end does not count.
        assert!(!database.renew_run(claimed.id, Owner::new("a"), now()).await.unwrap());
        let late =
            database.end_run(claimed.id, Owner::new("a"), Ended::new(Verdict::Succeeded, ""));
        assert!(!late.await.unwrap());
        // What is gone is not built, and what comes back is.
        let next = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap().unwrap();
        let noted = note(&database, id, heads(&[("heads/main", 3)])).await;
        assert_eq!((noted.stopped, noted.gone), (vec![next.id], vec!["pull/7".parse().unwrap()]));
        note(&database, id, heads(&[("heads/main", 3), ("pull/7", 4)])).await;
        let last = states(&database, id).await;
        assert_eq!(last[3..], [row("pull/7", 4, Superseded), row("pull/7", 4, Queued)]);
        assert!(!last.iter().any(|(_, _, state)| *state == Running));
    }
}

#[tokio::test]
async fn one_run_of_a_jobset_at_a_time() {
    for test in databases().await {
        let database = test.open().await;
        let a = project(&database, "a", GITHUB).await.id;
        let b = project(&database, "b", GITHUB).await.id;
        for id in [a, b] {
            note(&database, id, heads(&[("heads/x", 1), ("heads/y", 2)])).await;
        }
        let claim = async || database.claim_run(Owner::new("a"), now(), &[]).await.unwrap();
        let mut claimed = Vec::new();
        while let Some(run) = claim().await {
            claimed.push(run);
        }
        let places: Vec<_> =
            claimed.iter().map(|run| (run.project, run.jobset.to_string())).collect();
        let expected = [(a, "heads/x"), (a, "heads/y"), (b, "heads/x"), (b, "heads/y")];
        assert_eq!(places, expected.map(|(id, jobset)| (id, jobset.to_owned())));
        // What is stopped has its holder until that lets go of it.
        note(&database, a, heads(&[("heads/x", 3), ("heads/y", 2)])).await;
        assert_eq!(claim().await, None);
        let first = &claimed[0];
        assert!(!database.give_back_run(first.id, Owner::new("a")).await.unwrap());
        let next = claim().await.unwrap();
        assert_eq!((next.project, next.jobset.to_string()), (a, "heads/x".to_owned()));
        let end =
            database.end_run(next.id, Owner::new("a"), Ended::new(Verdict::Failed, "1 failed"));
        assert!(end.await.unwrap());
        let ended = database.run(next.id).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.summary.as_deref()), (RunState::Failed, Some("1 failed")));
        let again = database.end_run(next.id, Owner::new("a"), Ended::new(Verdict::Succeeded, ""));
        assert!(!again.await.unwrap());
    }
}

#[tokio::test]
async fn many_servers_take_each_run_once() {
    for test in databases().await {
        let database = test.open().await;
        for number in 0..20 {
            let id = project(&database, &number.to_string(), GITHUB).await.id;
            note(&database, id, heads(&[("heads/x", 1)])).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for server in 0..4 {
            // Each with connections of its own, as processes have.
            let database = test.open().await;
            tasks.spawn(async move {
                let owner = Owner::new(server.to_string());
                let mut taken = Vec::new();
                let mut misses = 0;
                while misses < 5 {
                    match database.claim_run(owner.clone(), now(), &[]).await.unwrap() {
                        Some(run) => taken.push(run.id),
                        None => misses += 1,
                    }
                }
                taken
            });
        }
        let mut taken = Vec::new();
        while let Some(result) = tasks.join_next().await {
            taken.extend(result.unwrap());
        }
        taken.sort();
        let count = taken.len();
        taken.dedup();
        assert_eq!((taken.len(), count), (20, 20));
    }
}

#[tokio::test]
async fn whoever_is_not_heard_of_loses_its_run() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        note(&database, id, heads(&[("heads/x", 1)])).await;
        let mut time = now();
        let late = LEASE + Duration::from_secs(1);
        for attempt in 1..=MOST_ATTEMPTS {
            let owner = || Owner::new(attempt.to_string());
            let run = database.claim_run(owner(), time, &[]).await.unwrap().unwrap();
            assert_eq!(run.attempts, attempt);
            assert_eq!(database.take_lost_runs(time).await.unwrap(), []);
            time = time.after(LEASE);
            assert!(database.renew_run(run.id, owner(), time).await.unwrap());
            assert!(!database.renew_run(run.id, Owner::new("b"), time).await.unwrap());
            assert_eq!(database.take_lost_runs(time).await.unwrap(), []);
            time = time.after(late);
            if attempt == MOST_ATTEMPTS {
                // That ends it, so whoever has it may come back for one more lease.
                assert_eq!(database.take_lost_runs(time).await.unwrap(), []);
                assert!(database.renew_run(run.id, owner(), time).await.unwrap());
                time = time.after(late * 2);
            }
            assert_eq!(database.take_lost_runs(time).await.unwrap(), [run.id]);
            assert!(!database.renew_run(run.id, owner(), time).await.unwrap(), "it is others' now");
        }
        assert_eq!(database.claim_run(Owner::new("a"), time, &[]).await.unwrap(), None);
        let runs = database.runs(id, 9).await.unwrap();
        assert_eq!(runs[0].state, RunState::Errored);
        assert!(runs[0].summary.as_ref().unwrap().contains("never ended"));
        assert!(runs[0].ended_at.unwrap() <= now(), "the time of its end, not of its lease's");
    }
}

#[tokio::test]
async fn what_is_given_back_was_never_begun() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        note(&database, id, heads(&[("heads/x", 1)])).await;
        for _ in 0..=MOST_ATTEMPTS {
            let run = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap().unwrap();
            assert_eq!(run.attempts, 1);
            assert!(!database.give_back_run(run.id, Owner::new("b")).await.unwrap());
            assert!(database.give_back_run(run.id, Owner::new("a")).await.unwrap());
            assert!(!database.renew_run(run.id, Owner::new("a"), now()).await.unwrap());
        }
        let busy = database
            .claim_run(Owner::new("a"), now(), &[(id, "heads/x".parse().unwrap())])
            .await
            .unwrap();
        assert_eq!(busy, None, "another run of that jobset is still about to end");
        let run = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap().unwrap();
        assert!(database.cancel_run(run.id).await.unwrap());
        assert!(!database.give_back_run(run.id, Owner::new("a")).await.unwrap());
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_has_its_holder_until_that_lets_go() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let claim = async |time| database.claim_run(Owner::new("b"), time, &[]).await.unwrap();
        let time = now();
        for number in 1..=3 {
            note(&database, id, heads(&[("heads/x", number)])).await;
            let run = database.claim_run(Owner::new("a"), time, &[]).await.unwrap().unwrap();
            note(&database, id, heads(&[("heads/x", number + 10)])).await;
            assert_eq!(claim(time).await, None, "another server may still be at it");
            assert!(!database.renew_run(run.id, Owner::new("a"), time).await.unwrap());
            match number {
                1 => assert!(!database.give_back_run(run.id, Owner::new("a")).await.unwrap()),
                2 => {
                    let ended = Ended::new(Verdict::Succeeded, "");
                    assert!(!database.end_run(run.id, Owner::new("a"), ended).await.unwrap());
                }
                _ => {
                    let late = time.after(LEASE + Duration::from_secs(1));
                    assert_eq!(database.take_lost_runs(late).await.unwrap(), []);
                }
            }
            let next = claim(time).await.unwrap();
            assert_eq!(next.commit, commit(number + 10));
            let ended = Ended::new(Verdict::Succeeded, "");
            assert!(database.end_run(next.id, Owner::new("b"), ended).await.unwrap());
            let stopped = database.run(run.id).await.unwrap().unwrap();
            assert_eq!(stopped.state, RunState::Superseded);
        }
    }
}

/// A file has one writer at a time; PostgreSQL lets another server write between what is read and what is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_its_holder_renews_while_it_is_taken_for_lost_stays_its_holders() {
    let test = databases().await.remove(1);
    let holders = test.open().await;
    let id = project(&holders, "a", GITHUB).await.id;
    note(&holders, id, heads(&[("heads/x", 1), ("heads/y", 2)])).await;
    let time = now();
    let late = time.after(LEASE + Duration::from_secs(1));
    let mut claimed = Vec::new();
    for _ in 0..2 {
        claimed.push(holders.claim_run(Owner::new("a"), time, &[]).await.unwrap().unwrap().id);
    }
    // One of them is over, and its holder has not let go of it.
    assert!(holders.cancel_run(claimed[1]).await.unwrap());
    let (found, heard) = std::sync::mpsc::sync_channel(0);
    let (go_on, waits) = std::sync::mpsc::channel();
    let waits = std::sync::Mutex::new(waits);
    let points = Points::calling(move |point| {
        if point == Point::LostRunFound {
            found.send(()).unwrap();
            waits.lock().unwrap().recv().unwrap();
        }
    });
    let other = Database::open_with(&test.url, points).await.unwrap();
    let taking = tokio::spawn(async move { other.take_lost_runs(late).await.unwrap() });
    let heard = std::sync::Arc::new(std::sync::Mutex::new(heard));
    for round in 0..2 {
        let heard = std::sync::Arc::clone(&heard);
        let wait = move || heard.lock().unwrap().recv().unwrap();
        tokio::task::spawn_blocking(wait).await.unwrap();
        if round == 0 {
            // The holder was slow, and is heard of now; and it ends the other and begins that jobset anew.
            assert!(holders.renew_run(claimed[0], Owner::new("a"), late).await.unwrap());
            assert!(!holders.give_back_run(claimed[1], Owner::new("a")).await.unwrap());
        }
        go_on.send(()).unwrap();
    }
    assert_eq!(taking.await.unwrap(), []);
    let run = holders.run(claimed[0]).await.unwrap().unwrap();
    assert_eq!((run.state, run.attempts), (RunState::Running, 1));
    let ended = Ended::new(Verdict::Succeeded, "fine");
    assert!(holders.end_run(claimed[0], Owner::new("a"), ended).await.unwrap());
}

#[tokio::test]
async fn heads_that_were_listed_before_others_were_noted_do_not_count() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let (slow, quick) =
            (database.last_note(id).await.unwrap(), database.last_note(id).await.unwrap());
        let newer = database.note_heads(id, quick, heads(&[("heads/x", 2)])).await.unwrap();
        assert_eq!(newer.unwrap().queued.len(), 1);
        let older = database.note_heads(id, slow, heads(&[("heads/x", 1)])).await.unwrap();
        assert_eq!(older, None);
        assert_eq!(states(&database, id).await, [row("heads/x", 2, RunState::Queued)]);
    }
}

#[tokio::test]
async fn reports_are_kept_unless_they_are_too_long() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        note(&database, id, heads(&[("heads/x", 1), ("heads/y", 2)])).await;
        for (report, kept) in [("{}".to_owned(), true), ("x".repeat(5 << 20), false)] {
            let run = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap().unwrap();
            let notices = vec!["a \"notice\"".to_owned()];
            let ended = Ended {
                report: Some(report.clone()),
                notices,
                ..Ended::new(Verdict::Succeeded, "fine")
            };
            assert!(database.end_run(run.id, Owner::new("a"), ended).await.unwrap());
            let Details { report: found, notices } =
                database.run_details(run.id).await.unwrap().unwrap();
            assert_eq!((found == Some(report), notices.len()), (kept, if kept { 1 } else { 2 }));
            assert_eq!(notices[0], "a \"notice\"");
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_goes_first_and_is_queued_once() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        note(&database, id, heads(&[("heads/x", 1), ("pull/7", 2)])).await;
        let x: JobsetName = "heads/x".parse().unwrap();
        let waiting = database.run_again(id, x.clone()).await.unwrap().unwrap();
        assert_eq!(database.runs(id, 9).await.unwrap().len(), 2, "it was under way");
        assert!(database.cancel_run(waiting).await.unwrap());
        assert!(!database.cancel_run(waiting).await.unwrap());
        let again = database.run_again(id, x).await.unwrap().unwrap();
        assert_ne!(again, waiting);
        let claimed = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap().unwrap();
        assert_eq!(claimed.id, again);
        let none = database.run_again(id, "heads/none".parse().unwrap()).await.unwrap();
        assert_eq!(none, None);
    }
}

/// A random history of one project, as its forge and levain live it.
struct History<'a> {
    database: &'a Database,
    project: ProjectId,
    random: fastrand::Rng,
    refs: Heads,
    clock: Timestamp,
    held: Vec<(RunId, Owner)>,
    commits: u64,
}

impl History<'_> {
    async fn step(&mut self) {
        match self.random.u32(0..100) {
            0..35 => self.push(),
            // A delivery, be it the first or the fifth about the same thing; others are lost.
            35..60 => self.look().await,
            60..75 => self.claim().await,
            75..85 => self.end().await,
            85..92 => {
                // Whoever held runs is killed and never heard of again.
                self.held.clear();
                self.clock = self.clock.after(LEASE + Duration::from_millis(1));
                self.database.take_lost_runs(self.clock).await.unwrap();
            }
            _ => self.clock = self.clock.after(Duration::from_secs(self.random.u64(0..20))),
        }
    }

    fn push(&mut self) {
        let names = ["heads/main", "heads/topic", "pull/1", "pull/2"];
        let name: JobsetName = names[self.random.usize(0..names.len())].parse().unwrap();
        if self.random.u32(0..5) == 0 {
            self.refs.remove(&name);
        } else {
            // Force-pushes lead back to commits that were there before.
            let back = self.commits > 0 && self.random.u32(0..4) == 0;
            let number = if back {
                self.random.u64(1..=self.commits)
            } else {
                self.commits += 1;
                self.commits
            };
            self.refs.insert(name, head(number));
        }
    }

    async fn look(&mut self) {
        note(self.database, self.project, self.refs.clone()).await;
    }

    async fn claim(&mut self) {
        let owner = Owner::new(self.random.u64(..).to_string());
        let others = self.database.claim_run(owner.clone(), self.clock, &[]).await.unwrap();
        if let Some(run) = others {
            self.held.push((run.id, owner));
        }
    }

    async fn end(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let (id, owner) = self.held.swap_remove(self.random.usize(0..self.held.len()));
        let before = self.database.run(id).await.unwrap().unwrap().state;
        let counted =
            self.database.end_run(id, owner, Ended::new(Verdict::Succeeded, "")).await.unwrap();
        let after = self.database.run(id).await.unwrap().unwrap().state;
        assert_eq!(counted, before == RunState::Running && after == RunState::Succeeded);
        assert!(counted || before == after, "{before:?} {after:?}");
    }

    /// Looks once more, as the reconciler does, and carries out what waits.
    async fn settle(&mut self) {
        self.look().await;
        self.held.clear();
        loop {
            // One lease more than others have, for those whose loss ends them.
            self.clock = self.clock.after(LEASE * 2 + Duration::from_millis(1));
            self.database.take_lost_runs(self.clock).await.unwrap();
            let owner = Owner::new("last");
            let Some(run) = self.database.claim_run(owner.clone(), self.clock, &[]).await.unwrap()
            else {
                break;
            };
            assert!(
                self.database
                    .end_run(run.id, owner, Ended::new(Verdict::Succeeded, ""))
                    .await
                    .unwrap()
            );
        }
    }
}

/// How many projects a database of the histories has at most.
const PROJECTS: usize = 200;

/// `LEVAIN_HISTORIES` says how many; `LEVAIN_TEST_SEED` repeats one.
#[tokio::test]
async fn whatever_is_lost_or_repeated_the_last_heads_are_what_was_built() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let count = number("LEVAIN_HISTORIES").unwrap_or(60);
    // A server with thousands of projects takes longer for each.
    for first in (0..count).step_by(PROJECTS) {
        live_histories(first..count.min(first + PROJECTS as u64), number("LEVAIN_TEST_SEED")).await;
    }
}

/// Lives so many histories, each of a project of its own, with each kind of database.
async fn live_histories(indexes: std::ops::Range<u64>, given: Option<u64>) {
    for test in databases().await {
        let database = test.open().await;
        for index in indexes.clone() {
            let seed = given.unwrap_or_else(|| fastrand::u64(..));
            let id = project(&database, &format!("{index}"), GITHUB).await.id;
            let random = fastrand::Rng::with_seed(seed);
            let mut history = History {
                database: &database,
                project: id,
                random,
                refs: Heads::new(),
                clock: now(),
                held: Vec::new(),
                commits: 0,
            };
            for _ in 0..25 {
                history.step().await;
                let runs = database.runs(id, 1000).await.unwrap();
                let running = runs.iter().filter(|run| run.state == RunState::Running);
                let mut jobsets = std::collections::BTreeSet::new();
                let each_once = running.into_iter().all(|run| jobsets.insert(&run.jobset));
                assert!(each_once, "LEVAIN_TEST_SEED={seed}");
            }
            history.settle().await;
            let mut runs = database.runs(id, 1000).await.unwrap();
            assert!(runs.iter().all(|run| run.state.is_end()), "LEVAIN_TEST_SEED={seed}");
            // Of each jobset the newest run alone is left: later ones take the place of earlier ones.
            runs.reverse();
            runs.retain(|run| history.refs.contains_key(&run.jobset));
            let newest: std::collections::BTreeMap<_, _> =
                runs.into_iter().map(|run| (run.jobset.clone(), run)).collect();
            for run in newest.values() {
                // One that was begun too often has ended as well.
                let is_result = matches!(run.state, RunState::Succeeded | RunState::Errored);
                assert!(is_result, "LEVAIN_TEST_SEED={seed}: {run:?}");
            }
            let built: Heads = newest
                .into_iter()
                .map(|(name, run)| (name, Head::new(run.commit, run.trust)))
                .collect();
            assert_eq!(built, history.refs, "LEVAIN_TEST_SEED={seed}");
        }
    }
}
