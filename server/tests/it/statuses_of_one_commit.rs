//! Statuses where several branches, pull requests and tags are at one commit: who has the word, and who gets it then.

use levain_actions::status::{State, Status};
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::projects::ProjectId;
use levain_server::reconcile::Heads;
use levain_server::runs::state::Verdict;
use levain_server::runs::{Ended, RunId};
use levain_server::statuses::Progress;
use levain_server::statuses::decide::Budget;

use crate::statuses::{claim, ended, heads, owner, send_all, summary, told_project};
use crate::support::{databases, note, now};

#[tokio::test]
async fn a_branch_that_is_green_does_not_turn_its_pull_requests_check_green() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        note(&database, id, heads(&[("heads/topic", 1)])).await;
        let first = claim(&database).await;
        assert!(database.end_run(first.id, owner(), ended(Verdict::Succeeded)).await.unwrap());
        assert_eq!(summary(&database, first.id).await.unwrap().state, State::Success);
        // The pull request is opened: what counts is its merge, and as long as that is not known, nothing is green.
        let both = [("heads/topic", 1), ("pull/7", 1)];
        let pull = note(&database, id, heads(&both)).await.queued[0];
        let shown = async || summary(&database, pull).await.map(|kept| kept.state);
        assert_eq!(shown().await, Some(State::Pending));
        assert_eq!(claim(&database).await.id, pull);
        assert!(database.end_run(pull, owner(), ended(Verdict::Failed)).await.unwrap());
        // The branch alone is still fine, whoever has it run once more.
        let again = database.run_again(id, "heads/topic".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(claim(&database).await.id, again);
        assert!(database.end_run(again, owner(), ended(Verdict::Succeeded)).await.unwrap());
        assert_eq!((shown().await, summary(&database, again).await), (Some(State::Failure), None));
        // A stranger points a pull request at the same commit, and somebody tags it.
        let mut others = heads(&[both[0], both[1], ("tags/v1", 1), ("pull/9", 1)]);
        others.get_mut("pull/9").unwrap().trust = Trust::Fork;
        for run in note(&database, id, others).await.queued {
            assert_eq!(summary(&database, run).await, None);
        }
        assert_eq!(shown().await, Some(State::Failure));
        // What is about to be merged does not overrule it either, but once it is run again, it says more.
        let queue = ("heads/gh-readonly-queue/main/pr-7-x", 1);
        let tried = note(&database, id, heads(&[both[0], both[1], queue])).await.queued[0];
        assert_eq!((shown().await, summary(&database, tried).await), (Some(State::Failure), None));
        let again = database.run_again(id, "pull/7".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(summary(&database, tried).await.unwrap().state, State::Pending);
        assert_eq!(summary(&database, again).await, None);
        // Somebody stops that: the pull request has the word again. Who opens another one does not get it.
        database.cancel_run(tried).await.unwrap();
        let same = database.run_again(id, "pull/7".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(same, again);
        assert_eq!(summary(&database, again).await.unwrap().state, State::Pending);
        let another =
            note(&database, id, heads(&[both[0], both[1], ("pull/8", 1)])).await.queued[0];
        assert_eq!(summary(&database, another).await, None);
        // Nor does whoever stops the first one get the word for the branch.
        note(&database, id, heads(&[both[0], both[1]])).await;
        database.cancel_run(again).await.unwrap();
        let alone = database.run_again(id, "heads/topic".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(summary(&database, alone).await, None);
        database.cancel_run(alone).await.unwrap();
        // Merged and closed: the branch has the word, and its newest run was stopped.
        note(&database, id, heads(&[both[0]])).await;
        assert_eq!(summary(&database, alone).await.unwrap().state, State::Cancelled);
        let last = database.run_again(id, "heads/topic".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(summary(&database, last).await.unwrap().state, State::Pending);
    }
}

/// Returns a report in which a job of each of these names ended so.
fn report(jobs: &[(&str, &str)]) -> String {
    let job = |(name, status): &(&str, &str)| serde_json::json!({ "attrPath": name, "status": status, "baseDrvPath": "/nix/store/x.drv" });
    serde_json::json!({ "jobs": jobs.iter().map(job).collect::<Vec<_>>() }).to_string()
}

/// Returns what is told of a project's only commit as a whole, and by which run.
async fn told_at_commit(database: &Database, id: ProjectId) -> Option<(RunId, State)> {
    for run in database.runs(id, 100).await.unwrap() {
        if let Some(kept) = summary(database, run.id).await {
            return Some((kept.run, kept.state));
        }
    }
    None
}

/// A head that is there, and how its run ends.
type Here = (&'static str, Option<&'static str>, Verdict);

/// Has one head be at a commit, then another: one of them fails. Then that is run again, and succeeds. Fails unless these
/// states are sent, one after the other, and the commit is not called good in between.
async fn the_most_cautious_has_the_word(heres: [Here; 2], expected: &[State]) {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        database.note_default_branch(id, Some("main".to_owned())).await.unwrap();
        let mut sent = Vec::new();
        let mut there = Heads::new();
        for (jobset, base, verdict) in heres {
            there.extend(heads(&[(jobset, 1)]));
            let head = there.get_mut(jobset).unwrap();
            (head.trust, head.base) = (Trust::Own, base.map(str::to_owned));
            note(&database, id, there.clone()).await;
            sent.extend(send_all(&database, now()).await);
            let run = claim(&database).await;
            assert!(database.end_run(run.id, owner(), ended(verdict)).await.unwrap());
            sent.extend(send_all(&database, now()).await);
        }
        let (_, state) = told_at_commit(&database, id).await.unwrap();
        assert_eq!(state, State::Failure);
        // It is mended elsewhere.
        let broken = heres.iter().find(|(_, _, verdict)| *verdict == Verdict::Failed).unwrap().0;
        database.run_again(id, broken.parse().unwrap()).await.unwrap().unwrap();
        sent.extend(send_all(&database, now()).await);
        let run = claim(&database).await;
        assert!(database.end_run(run.id, owner(), ended(Verdict::Succeeded)).await.unwrap());
        sent.extend(send_all(&database, now()).await);
        let states: Vec<State> = sent.iter().map(Status::state).collect();
        assert_eq!(states, expected);
    }
}

/// Into a branch that contains the default branch and a fix, that is.
#[tokio::test]
async fn a_pull_request_from_the_default_branch_does_not_hide_that_this_is_broken() {
    let main = ("heads/main", None, Verdict::Failed);
    let pull = ("pull/7", Some("topic"), Verdict::Succeeded);
    let expected = [State::Pending, State::Failure, State::Pending, State::Success];
    the_most_cautious_has_the_word([main, pull], &expected).await;
}

#[tokio::test]
async fn an_older_pull_request_does_not_hide_that_another_of_its_commit_is_broken() {
    let older = ("pull/7", Some("fixed"), Verdict::Succeeded);
    let newer = ("pull/8", Some("release"), Verdict::Failed);
    let expected = [
        State::Pending,
        State::Success,
        State::Pending,
        State::Failure,
        State::Pending,
        State::Success,
    ];
    the_most_cautious_has_the_word([older, newer], &expected).await;
}

#[tokio::test]
async fn a_branch_that_is_called_like_a_merge_queues_does_not_hide_that_a_merge_is_broken() {
    let pull = ("pull/7", Some("main"), Verdict::Failed);
    let trying = ("heads/trying", None, Verdict::Succeeded);
    let expected = [State::Pending, State::Failure, State::Pending, State::Success];
    the_most_cautious_has_the_word([pull, trying], &expected).await;
}

/// Returns two pull requests of the project's own, of one commit.
fn two_pull_requests() -> Heads {
    let mut both = heads(&[("pull/7", 1), ("pull/8", 1)]);
    both.values_mut().for_each(|head| head.trust = Trust::Own);
    both
}

#[tokio::test]
async fn a_job_is_called_good_only_if_it_is_in_everything_that_counts() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        let queued = note(&database, id, two_pull_requests()).await.queued;
        let [older, newer] = *queued else { panic!("{queued:?}") };
        assert_eq!([claim(&database).await.id, claim(&database).await.id], [older, newer]);
        let says = async |run: RunId, state: State| {
            let status = Status::new(&format!("{:040x}", 1), "levain/b", state, "").unwrap();
            let said = vec![Progress::Job { job: "b".to_owned(), status }];
            database.tell(run, owner(), said, Budget::DEFAULT, now()).await.unwrap();
        };
        let ends = async |run: RunId, verdict: Verdict, b: &str| {
            let report = Some(report(&[("a", "clean"), ("b", b)]));
            let ended = Ended { report, ..ended(verdict) };
            assert!(database.end_run(run, owner(), ended).await.unwrap());
        };
        let shown = async || {
            let kept = database.statuses_of_jobs(id, format!("{:040x}", 1)).await.unwrap();
            let [kept] = kept.as_slice() else { panic!("{kept:?}") };
            (kept.run, kept.state)
        };
        let again = async |jobset: &str| {
            let run = database.run_again(id, jobset.parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(claim(&database).await.id, run);
            run
        };
        // It fails in the one that has not the word, too.
        says(newer, State::Failure).await;
        assert_eq!(shown().await, (newer, State::Failure));
        // In the other it is fine, which nobody is told while it is not in this one.
        says(older, State::Success).await;
        ends(older, Verdict::Succeeded, "fresh").await;
        assert_eq!(shown().await, (newer, State::Failure));
        ends(newer, Verdict::Failed, "failed").await;
        assert_eq!(shown().await, (newer, State::Failure));
        // Nor is that told while the one that it failed in is under way once more.
        let (again_older, again_newer) = (again("pull/7").await, again("pull/8").await);
        says(again_older, State::Success).await;
        ends(again_older, Verdict::Succeeded, "clean").await;
        assert_eq!(shown().await, (newer, State::Failure));
        says(again_newer, State::Success).await;
        assert_eq!(shown().await, (again_newer, State::Success));
        ends(again_newer, Verdict::Succeeded, "clean").await;
        assert_eq!(shown().await, (again_newer, State::Success));
        // The one that goes on to the end last settles it, if it was not told before.
        let (again_older, again_newer) = (again("pull/7").await, again("pull/8").await);
        says(again_older, State::Failure).await;
        ends(again_older, Verdict::Failed, "failed").await;
        let again_older = again("pull/7").await;
        says(again_newer, State::Success).await;
        ends(again_newer, Verdict::Succeeded, "clean").await;
        assert_eq!(shown().await.1, State::Failure);
        ends(again_older, Verdict::Succeeded, "clean").await;
        assert_eq!(shown().await, (again_older, State::Success));
        // A closed one leaves it to the other.
        let last = again("pull/8").await;
        says(last, State::Failure).await;
        ends(last, Verdict::Failed, "failed").await;
        assert_eq!(shown().await, (last, State::Failure));
        let mut left = two_pull_requests();
        left.remove("pull/8");
        note(&database, id, left).await;
        assert_eq!(shown().await, (again_older, State::Success));
        assert_eq!(told_at_commit(&database, id).await, Some((again_older, State::Success)));
    }
}

/// Two servers end the runs of one commit at the same moment: neither takes the other's to be under way for ever.
#[tokio::test]
async fn runs_of_a_commit_that_end_at_once_leave_nothing_pending() {
    for test in databases().await {
        let databases = [test.open().await, test.open().await];
        for round in 0..20 {
            let database = &databases[0];
            let id = told_project(database, &round.to_string()).await;
            let queued = note(database, id, two_pull_requests()).await.queued;
            assert_eq!(queued.len(), 2);
            let runs = [claim(database).await.id, claim(database).await.id];
            let mut servers = tokio::task::JoinSet::new();
            for (database, run) in databases.clone().into_iter().zip(runs) {
                servers.spawn(async move {
                    database.end_run(run, owner(), ended(Verdict::Succeeded)).await.unwrap()
                });
            }
            while let Some(counts) = servers.join_next().await {
                assert!(counts.unwrap());
            }
            let told = told_at_commit(database, id).await.map(|(_, state)| state);
            assert_eq!(told, Some(State::Success), "round {round}");
        }
    }
}

#[tokio::test]
async fn whoever_becomes_the_default_branch_has_a_say() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        let mut both = two_pull_requests();
        both.remove("pull/8");
        both.extend(heads(&[("heads/next", 1)]));
        let queued = note(&database, id, both).await.queued;
        let [branch, pull] = *queued else { panic!("{queued:?}") };
        assert_eq!([claim(&database).await.id, claim(&database).await.id], [pull, branch]);
        assert!(database.end_run(pull, owner(), ended(Verdict::Succeeded)).await.unwrap());
        assert!(database.end_run(branch, owner(), ended(Verdict::Failed)).await.unwrap());
        let told = async || told_at_commit(&database, id).await.unwrap();
        assert_eq!(told().await, (pull, State::Success));
        database.note_default_branch(id, Some("next".to_owned())).await.unwrap();
        assert_eq!(told().await, (branch, State::Failure));
        database.note_default_branch(id, Some("main".to_owned())).await.unwrap();
        assert_eq!(told().await, (pull, State::Success));
    }
}

#[tokio::test]
async fn when_a_pull_request_is_closed_its_branch_says_again_where_it_stands() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        let both = [("heads/topic", 1), ("pull/7", 1)];
        // The branch's run is the older one, and its verdict is told nowhere.
        let queued = note(&database, id, heads(&both)).await.queued;
        let [branch, pull] = *queued else { panic!("{queued:?}") };
        assert_eq!([claim(&database).await.id, claim(&database).await.id], [pull, branch]);
        let job = Status::new(&format!("{:040x}", 1), "levain/b", State::Failure, "").unwrap();
        let failed = vec![Progress::Job { job: "b".to_owned(), status: job }];
        database.tell(pull, owner(), failed, Budget::DEFAULT, now()).await.unwrap();
        assert!(database.end_run(pull, owner(), ended(Verdict::Failed)).await.unwrap());
        let report = Some(report(&[("a", "clean"), ("b", "fresh")]));
        let green = Ended { report, ..ended(Verdict::Succeeded) };
        assert!(database.end_run(branch, owner(), green).await.unwrap());
        let shown = async |run: RunId| -> Vec<(Option<String>, State, String)> {
            let kept = database.statuses_of_run(run).await.unwrap().into_iter();
            kept.map(|kept| (kept.job, kept.state, kept.description)).collect()
        };
        assert_eq!((shown(branch).await.len(), shown(pull).await.len()), (0, 2));
        send_all(&database, now()).await;
        note(&database, id, heads(&both[..1])).await;
        let expected = [
            (None, State::Success, "2 jobs: 1 unchanged, 0 incremental, 1 clean".to_owned()),
            (Some("b".to_owned()), State::Success, "unchanged".to_owned()),
        ];
        assert_eq!(shown(branch).await, expected);
        let sent = send_all(&database, now()).await;
        let sent: Vec<_> = sent.iter().map(|one| (one.context(), one.state())).collect();
        assert_eq!(sent, [("levain", State::Success), ("levain/b", State::Success)]);
        // Opened again: its merge is what counts.
        let again = note(&database, id, heads(&both)).await.queued[0];
        assert_eq!(summary(&database, again).await.unwrap().state, State::Pending);
    }
}

#[tokio::test]
async fn a_pull_request_that_is_closed_leaves_nothing_pending() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        let both = [("heads/topic", 1), ("pull/7", 1)];
        let queued = note(&database, id, heads(&both)).await.queued;
        let [branch, pull] = *queued else { panic!("{queued:?}") };
        assert_eq!([claim(&database).await.id, claim(&database).await.id], [pull, branch]);
        // Closed while both are under way: the branch is waited for, and its end is told.
        note(&database, id, heads(&both[..1])).await;
        assert_eq!(summary(&database, pull).await, None);
        assert_eq!(summary(&database, branch).await.unwrap().state, State::Pending);
        assert!(!database.end_run(pull, owner(), ended(Verdict::Succeeded)).await.unwrap());
        assert!(database.end_run(branch, owner(), ended(Verdict::Failed)).await.unwrap());
        assert_eq!(summary(&database, branch).await.unwrap().state, State::Failure);
        // Opened once more, and closed together with its branch: nobody is left to say anything.
        let pull = note(&database, id, heads(&both)).await.queued[0];
        assert_eq!(summary(&database, pull).await.unwrap().state, State::Pending);
        note(&database, id, heads(&[])).await;
        assert_eq!(summary(&database, pull).await.unwrap().state, State::Cancelled);
        // A branch that moves on leaves what it told, whatever else is there.
        let two = [("heads/a", 2), ("heads/b", 2)];
        let queued = note(&database, id, heads(&two)).await.queued;
        for _ in &queued {
            let run = claim(&database).await;
            assert!(database.end_run(run.id, owner(), ended(Verdict::Succeeded)).await.unwrap());
        }
        let before = database.statuses_of_run(queued[1]).await.unwrap();
        assert_eq!(before.len(), 1);
        note(&database, id, heads(&[("heads/a", 2), ("heads/b", 3)])).await;
        assert_eq!(database.statuses_of_run(queued[1]).await.unwrap(), before);
    }
}
