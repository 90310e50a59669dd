//! What runs besides branches and pull requests at their heads: merges with their bases, merge queues, tags, and what is
//! built at its time.

use levain_actions::git::CommitId;
use levain_actions::status::State;
use levain_evaluator::JobsetName;
use levain_server::Database;
use levain_server::approvals::NewApproval;
use levain_server::approve::{Approver, Trust, Way};
use levain_server::clock::Timestamp;
use levain_server::projects::{Merge, NewProject, ProjectSettings};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, Owner, Run};

use crate::pages::Browsing;
use crate::support::{GITHUB, databases, note, now, project};

const TRY: &str = "heads/gh-readonly-queue/main/pr-7-0123456789abcdef0123456789abcdef01234567";

fn heads(list: &[(&str, u64)]) -> Heads {
    list.iter()
        .map(|(name, number)| (name.parse().unwrap(), Head::branch(commit(*number))))
        .collect()
}

fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

/// Branches at these commits, and a pull request at commit 7 with this base.
fn with_pull(branches: &[(&str, u64)], trust: Trust, base: &str) -> Heads {
    let mut heads = heads(branches);
    let head = Head { base: Some(base.to_owned()), ..Head::new(commit(7), trust) };
    heads.insert(JobsetName::pull_request(7), head);
    heads
}

async fn claim(database: &Database) -> Option<Run> {
    database.claim_run(Owner::new("a"), now(), &[]).await.unwrap()
}

async fn end(database: &Database, run: &Run, verdict: Verdict, summary: &str) {
    let ended = Ended::new(verdict, summary);
    assert!(database.end_run(run.id, Owner::new("a"), ended).await.unwrap());
}

#[tokio::test]
async fn a_base_is_fixed_when_a_run_is_begun_and_starts_none_when_it_moves() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let pull = JobsetName::pull_request(7);
        note(&database, id, with_pull(&[("heads/main", 1)], Trust::Own, "main")).await;
        // It waits while the base moves: what counts is what is there when it begins.
        let noted = note(&database, id, with_pull(&[("heads/main", 2)], Trust::Own, "main")).await;
        assert_eq!(noted.queued.len(), 1, "only the base itself");
        let run = claim(&database).await.unwrap();
        assert_eq!((&run.jobset, run.commit), (&pull, commit(7)));
        assert_eq!((run.base.as_deref(), run.base_commit), (Some("main"), Some(commit(2))));
        // Whoever goes on with it builds the same.
        note(&database, id, with_pull(&[("heads/main", 3)], Trust::Own, "main")).await;
        database.take_lost_runs(Timestamp::from_millis(i64::MAX)).await.unwrap();
        let again = claim(&database).await.unwrap();
        assert_eq!((again.id, again.base_commit), (run.id, Some(commit(2))));
        end(&database, &again, Verdict::Succeeded, "").await;
        // Asked for, it is merged anew; and with another base, too.
        database.run_again(id, pull.clone()).await.unwrap().unwrap();
        let asked = claim(&database).await.unwrap();
        assert_eq!((asked.jobset.clone(), asked.base_commit), (pull.clone(), Some(commit(3))));
        let branches = [("heads/main", 3), ("heads/next", 4)];
        let noted = note(&database, id, with_pull(&branches, Trust::Own, "next")).await;
        assert_eq!(noted.stopped, [asked.id]);
        database.give_back_run(asked.id, Owner::new("a")).await.unwrap();
        let moved = claim(&database).await.unwrap();
        assert_eq!((moved.base.as_deref(), moved.base_commit), (Some("next"), Some(commit(4))));
        end(&database, &moved, Verdict::Succeeded, "").await;
        // A base that is gone is nobody's commit.
        database.run_again(id, pull.clone()).await.unwrap().unwrap();
        note(&database, id, with_pull(&[("heads/main", 3)], Trust::Own, "next")).await;
        let alone = claim(&database).await.unwrap();
        assert_eq!((alone.jobset, alone.base_commit), (pull, None));
    }
}

#[tokio::test]
async fn another_base_ends_approvals_and_another_commit_of_it_does_not() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let note_at = async |main: u64, base: &str| {
            let branches = [("heads/main", main), ("heads/next", 9)];
            note(&database, id, with_pull(&branches, Trust::Fork, base)).await
        };
        let next_pull = async || {
            while let Some(run) = claim(&database).await {
                if run.jobset == JobsetName::pull_request(7) {
                    return Some(run);
                }
                end(&database, &run, Verdict::Succeeded, "").await;
            }
            None
        };
        note_at(1, "main").await;
        let approver = Approver { way: Way::Command, name: "somebody".to_owned() };
        let (pull_request, commit_of_head, now) = (7, commit(7), now());
        let new = NewApproval { project: id, pull_request, commit: commit_of_head, approver, now };
        database.approve(new).await.unwrap().unwrap();
        note_at(2, "main").await;
        let run = next_pull().await.unwrap();
        assert_eq!((run.commit, run.base_commit), (commit(7), Some(commit(2))));
        end(&database, &run, Verdict::Succeeded, "").await;
        note_at(2, "next").await;
        assert_eq!(next_pull().await, None, "nobody approved to merge it there");
    }
}

#[tokio::test]
async fn a_conflict_is_an_end_of_its_own_and_told_on_the_head() {
    for test in databases().await {
        let database = test.open().await;
        let new = NewProject {
            token_file: Some("/run/secrets/token".into()),
            ..NewProject::new("a", GITHUB, "https://git.example.org/o/r")
        };
        let id = database.add_project(new).await.unwrap().id;
        note(&database, id, with_pull(&[("heads/main", 1)], Trust::Own, "main")).await;
        let run = claim(&database).await.unwrap();
        let why = "it conflicts with `main` in a.txt and 3 more";
        end(&database, &run, Verdict::Conflict, why).await;
        let ended = database.run(run.id).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.summary.as_deref()), (RunState::Conflict, Some(why)));
        let told = database.statuses_of_run(run.id).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].state, told[0].description.as_str()), (State::Failure, why));
        let browsing = Browsing::new(&database).await;
        let page = browsing.twin("/projects/a/pull/7.json").await;
        assert_eq!(page["mayMerge"]["answer"], "no", "{page:#}");
        assert_eq!(page["mayMerge"]["because"], "it conflicts with its base");
        let page = browsing.page(&format!("/runs/{}", run.id.number())).await;
        assert!(page.contains("conflict") && page.contains("a.txt and 3 more"), "{page}");
        assert!(page.contains("merged with"), "{page}");
        // It can be asked for again.
        let again = database.run_again(id, JobsetName::pull_request(7)).await.unwrap().unwrap();
        assert_ne!(again, run.id);
    }
}

#[tokio::test]
async fn what_is_built_of_pull_requests_can_be_chosen_later() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let merge = async || database.project(id).await.unwrap().unwrap().merge;
        assert_eq!(merge().await, Merge::Base);
        let last = database.last_note(id).await.unwrap();
        for choice in [Merge::Head, Merge::Base] {
            let settings = ProjectSettings { merge: Some(choice), ..ProjectSettings::default() };
            database.change_project(id, settings).await.unwrap();
            database.change_project(id, ProjectSettings::default()).await.unwrap();
            assert_eq!(merge().await, choice);
        }
        // Who listed what there is before does not know.
        assert_eq!(database.note_heads(id, last, heads(&[("heads/main", 1)])).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_a_merge_queue_tries_is_run_at_once_and_listed_apart() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        database.note_default_branch(id, Some("main".to_owned())).await.unwrap();
        let all = [("heads/main", 1), ("heads/topic", 2), (TRY, 3), ("heads/staging", 4)];
        note(&database, id, heads(&all)).await;
        let mut claimed = Vec::new();
        while let Some(run) = database.claim_run(Owner::new("a"), now(), &[]).await.unwrap() {
            claimed.push(run);
        }
        let names: Vec<&str> = claimed.iter().map(|run: &Run| run.jobset.as_str()).collect();
        // Somebody waits for these.
        assert_eq!(names, [TRY, "heads/staging", "heads/main", "heads/topic"]);
        let browsing = Browsing::new(&database).await;
        let listed = async |key: &str| -> Vec<String> {
            let page = browsing.twin("/projects/a.json").await;
            let rows = page[key].as_array().unwrap().clone();
            rows.iter().map(|row| row["name"]["text"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed("branches").await, ["topic"]);
        let queue = [TRY.strip_prefix("heads/").unwrap(), "staging"];
        assert_eq!(listed("mergeQueue").await, queue);
        let html = browsing.page("/projects/a").await;
        assert!(html.contains("Merge queue"), "{html}");
        // The forge merged it, or gave up, and deleted the branch.
        let noted = note(&database, id, heads(&[("heads/main", 1), ("heads/topic", 2)])).await;
        let gone: Vec<&str> = noted.gone.iter().map(JobsetName::as_str).collect();
        assert_eq!(gone, [TRY, "heads/staging"]);
        assert_eq!(noted.stopped.len(), 2);
        assert_eq!(listed("mergeQueue").await, [""; 0]);
        let run = database.run(claimed[0].id).await.unwrap().unwrap();
        assert_eq!(run.state, RunState::Superseded);
    }
}

#[tokio::test]
async fn tags_are_built_that_come_after_somebody_wanted_them() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let note_all = async |list: &[(&str, u64)]| -> Vec<String> {
            let queued = note(&database, id, heads(list)).await.queued;
            let mut names = Vec::new();
            for run in queued {
                names.push(database.run(run).await.unwrap().unwrap().jobset.to_string());
            }
            names
        };
        assert_eq!(note_all(&[("heads/main", 1)]).await, ["heads/main"]);
        let tags = |pattern: Option<&str>| ProjectSettings {
            tags: Some(pattern.map(str::to_owned)),
            ..ProjectSettings::default()
        };
        database.change_project(id, tags(Some("v*"))).await.unwrap();
        assert_eq!(database.project(id).await.unwrap().unwrap().tags.as_deref(), Some("v*"));
        let old = [("heads/main", 1), ("tags/v1", 1), ("tags/v2", 2)];
        assert_eq!(note_all(&old).await, [""; 0], "they were released before");
        let new = [("heads/main", 1), ("tags/v1", 1), ("tags/v2", 2), ("tags/v3", 3)];
        assert_eq!(note_all(&new).await, ["tags/v3"]);
        // One that moves is another release.
        let moved = [("heads/main", 1), ("tags/v1", 4), ("tags/v2", 2), ("tags/v3", 3)];
        assert_eq!(note_all(&moved).await, ["tags/v1"]);
        let browsing = Browsing::new(&database).await;
        let page = browsing.twin("/projects/a.json").await;
        let names: Vec<&str> = page["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["v1", "v3"]);
        let page = browsing.twin("/projects/a/tags/v1.json").await;
        assert_eq!((&page["name"], page["runs"].as_array().unwrap().len()), (&"v1".into(), 1));
        assert_eq!(browsing.get("/projects/a/tags/v9").await.status(), 404);
        // Another pattern begins anew, and none ends it.
        database.change_project(id, tags(Some("*"))).await.unwrap();
        assert_eq!(note_all(&[("heads/main", 1), ("tags/v1", 4), ("tags/w1", 5)]).await, [""; 0]);
        database.change_project(id, tags(None)).await.unwrap();
        let noted = note(&database, id, heads(&[("heads/main", 1)])).await;
        assert_eq!(noted.gone.len(), 2);
        assert_eq!(database.project(id).await.unwrap().unwrap().tags, None);
        database.change_project(id, tags(Some("*"))).await.unwrap();
        assert_eq!(note_all(&moved).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_time_that_passed_is_made_up_for_once() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        let other = project(&database, "b", GITHUB).await.id;
        let schedule = |text: Option<&str>| ProjectSettings {
            schedule: Some(text.map(|text| text.parse().unwrap())),
            ..ProjectSettings::default()
        };
        database.change_project(id, schedule(Some("6h"))).await.unwrap();
        let after = |hours: u64| now().after(std::time::Duration::from_secs(hours * 60 * 60));
        // Nobody knows the default branch yet: its time comes when somebody does.
        assert_eq!(database.queue_scheduled(after(7)).await.unwrap(), []);
        for id in [id, other] {
            database.note_default_branch(id, Some("main".to_owned())).await.unwrap();
        }
        assert_eq!(database.queue_scheduled(after(7)).await.unwrap(), []);
        note(&database, id, heads(&[("heads/main", 1), ("heads/topic", 2)])).await;
        while let Some(run) = claim(&database).await {
            assert!(!run.is_scheduled);
            end(&database, &run, Verdict::Succeeded, "").await;
        }
        assert_eq!(database.queue_scheduled(now()).await.unwrap(), [], "it is not the time");
        // A week without a server.
        let queued = database.queue_scheduled(after(7 * 24)).await.unwrap();
        assert_eq!(queued.len(), 1);
        assert_eq!(database.queue_scheduled(after(7 * 24)).await.unwrap(), []);
        // Whatever people wait for goes first.
        note(&database, id, heads(&[("heads/main", 1), ("heads/topic", 3)])).await;
        let first = claim(&database).await.unwrap();
        assert_eq!(first.jobset, JobsetName::branch("topic"));
        let run = claim(&database).await.unwrap();
        assert_eq!((run.id, run.commit, run.is_scheduled), (queued[0], commit(1), true));
        // What is under way when the time comes is that run.
        assert_eq!(database.queue_scheduled(after(8 * 24)).await.unwrap(), []);
        end(&database, &run, Verdict::Succeeded, "").await;
        assert_eq!(database.queue_scheduled(after(8 * 24)).await.unwrap(), []);
        assert_eq!(database.queue_scheduled(after(9 * 24)).await.unwrap().len(), 1);
        let run = claim(&database).await.unwrap();
        end(&database, &run, Verdict::Succeeded, "").await;
        database.change_project(id, schedule(None)).await.unwrap();
        assert_eq!(database.queue_scheduled(after(20 * 24)).await.unwrap(), []);
        // Two servers at the same moment queue one.
        database.change_project(id, schedule(Some("03:00"))).await.unwrap();
        let again = test.open().await;
        let at = after(30 * 24);
        let (one, two) = tokio::join!(database.queue_scheduled(at), again.queue_scheduled(at));
        assert_eq!(one.unwrap().len() + two.unwrap().len(), 1);
    }
}
