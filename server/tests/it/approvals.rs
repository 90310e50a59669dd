//! The gate for pull requests of forks: nothing of them is built that nobody approved.

use std::collections::BTreeMap;

use levain_actions::git::CommitId;
use levain_server::Database;
use levain_server::approvals::{Approved, NewApproval};
use levain_server::approve::{APPROVAL, Approver, NotApproved, Trust, Way};
use levain_server::clock::Timestamp;
use levain_server::projects::{NewProject, ProjectId, PullRequests};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, LastNote, Owner};

use crate::support::{GITHUB, TestDatabase, databases, note, now};

pub(crate) fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

fn pull(number: u64, commit_number: u64, trust: Trust) -> Heads {
    let head = Head::new(commit(commit_number), trust);
    Heads::from([(format!("pull/{number}").parse().unwrap(), head)])
}

async fn gated(database: &Database, name: &str, choice: PullRequests) -> ProjectId {
    let new = NewProject::new(name, GITHUB, "https://example.org/o/r");
    database.add_project(NewProject { pull_requests: choice, ..new }).await.unwrap().id
}

async fn approve(
    database: &Database,
    project: ProjectId,
    pull_request: u64,
    number: u64,
    now: Timestamp,
) -> Result<Approved, NotApproved> {
    let approver = Approver { way: Way::Command, name: "somebody".to_owned() };
    let commit = commit(number);
    let new = NewApproval { project, pull_request, commit, approver, now };
    database.approve(new).await.unwrap()
}

async fn claim(database: &Database, now: Timestamp) -> Option<u64> {
    let run = database.claim_run(Owner::new("a"), now, &[]).await.unwrap()?;
    database.end_run(run.id, Owner::new("a"), Ended::new(Verdict::Succeeded, "")).await.unwrap();
    Some(u64::from_str_radix(&run.commit.to_string()[24..], 16).unwrap())
}

async fn states(database: &Database, project: ProjectId) -> Vec<RunState> {
    let mut runs = database.runs(project, 100).await.unwrap();
    runs.reverse();
    runs.into_iter().map(|run| run.state).collect()
}

#[tokio::test]
async fn a_forks_commit_waits_until_it_is_approved() {
    use RunState::{Queued, Succeeded, Superseded, Unapproved};
    for test in databases().await {
        let database = test.open().await;
        let id = gated(&database, "a", PullRequests::Approved).await;
        note(&database, id, pull(7, 1, Trust::Fork)).await;
        assert_eq!(states(&database, id).await, [Unapproved]);
        assert_eq!(claim(&database, now()).await, None);
        let none = Err(NotApproved::NoPullRequest { number: 8 });
        assert_eq!(approve(&database, id, 8, 1, now()).await, none);
        let moved = NotApproved::Moved { number: 7, head: commit(1), asked: commit(2) };
        assert_eq!(approve(&database, id, 7, 2, now()).await, Err(moved));
        assert_eq!(states(&database, id).await, [Unapproved]);
        let at = now();
        let approved = approve(&database, id, 7, 1, at).await.unwrap();
        assert_eq!((approved.runs.len(), approved.expires_at), (1, at.after(APPROVAL)));
        assert_eq!(states(&database, id).await, [Queued]);
        let kept = database.approvals(id, 7).await.unwrap();
        assert_eq!((kept[0].commit, kept[0].approver.name.as_str()), (commit(1), "somebody"));
        assert_eq!(claim(&database, now()).await, Some(1));
        // Once more without a further word, for as long as the approval counts.
        database.run_again(id, "pull/7".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(states(&database, id).await, [Succeeded, Queued]);
        assert_eq!(claim(&database, at.after(APPROVAL)).await, None, "it ended");
        assert_eq!(claim(&database, now()).await, Some(1));
        // A new head voids it, even if the old one comes back.
        note(&database, id, pull(7, 2, Trust::Fork)).await;
        note(&database, id, pull(7, 1, Trust::Fork)).await;
        assert_eq!(states(&database, id).await[2..], [Superseded, Unapproved]);
        assert_eq!(claim(&database, now()).await, None);
        // And so does closing and opening it again.
        approve(&database, id, 7, 1, now()).await.unwrap();
        note(&database, id, Heads::new()).await;
        note(&database, id, pull(7, 1, Trust::Fork)).await;
        assert_eq!(claim(&database, now()).await, None);
        database.run_again(id, "pull/7".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(claim(&database, now()).await, None, "asking again approves nothing");
        let voided = database.approvals(id, 7).await.unwrap();
        assert!(voided.iter().all(|approval| approval.voided_at.is_some()), "{voided:?}");
    }
}

#[tokio::test]
async fn an_approval_that_ends_before_the_run_begins_ends_the_wait_for_it() {
    use RunState::{Queued, Unapproved};
    for test in databases().await {
        let database = test.open().await;
        let id = gated(&database, "a", PullRequests::Approved).await;
        note(&database, id, pull(7, 1, Trust::Fork)).await;
        let at = now();
        approve(&database, id, 7, 1, at).await.unwrap();
        assert_eq!(database.review_approvals(now()).await.unwrap(), 0);
        assert_eq!(database.review_approvals(at.after(APPROVAL)).await.unwrap(), 1);
        assert_eq!(states(&database, id).await, [Unapproved]);
        // Whatever brought a run out of step with its approval, this brings it back.
        assert_eq!(database.review_approvals(now()).await.unwrap(), 1);
        assert_eq!(states(&database, id).await, [Queued]);
        database.review_approvals(at.after(APPROVAL)).await.unwrap();
        approve(&database, id, 7, 1, at.after(APPROVAL)).await.unwrap();
        assert_eq!(claim(&database, at.after(APPROVAL)).await, Some(1));
    }
}

#[tokio::test]
async fn what_needs_no_approval_has_none() {
    for test in databases().await {
        let database = test.open().await;
        for (name, choice, trust, number) in [
            ("a", PullRequests::Approved, Trust::Own, 1),
            ("b", PullRequests::All, Trust::Fork, 2),
            ("c", PullRequests::Own, Trust::Own, 3),
        ] {
            let id = gated(&database, name, choice).await;
            note(&database, id, pull(7, number, trust)).await;
            let refused = approve(&database, id, 7, number, now()).await;
            assert_eq!(refused, Err(NotApproved::NotNeeded { number: 7 }));
            assert_eq!(claim(&database, now()).await, Some(number));
        }
        // Whose a commit is was settled when it was first seen.
        let id = gated(&database, "d", PullRequests::Approved).await;
        note(&database, id, pull(7, 4, Trust::Fork)).await;
        note(&database, id, pull(7, 4, Trust::Own)).await;
        assert_eq!(claim(&database, now()).await, None);
    }
}

/// What happens to one pull request, with several servers that each know what they last saw.
struct Story {
    random: fastrand::Rng,
    servers: Vec<Database>,
    project: ProjectId,
    now: Timestamp,
    forge: Option<u64>,
    next: u64,
    listed: Vec<Option<(LastNote, Option<u64>)>>,
    head: Option<u64>,
    /// What people approved, and until when that counts: kept apart from the database.
    allowed: BTreeMap<u64, Timestamp>,
    begun: usize,
}

impl Story {
    async fn step(&mut self) {
        let index = self.random.usize(..self.servers.len());
        let server = self.servers[index].clone();
        match self.random.u32(..17) {
            0 => self.forge = None,
            1..=2 => {
                self.forge = Some(self.random.u64(1..=self.next));
                self.next += 1;
            }
            3 => self.now = self.now.after(APPROVAL / 3),
            4..=5 => {
                let last = server.last_note(self.project).await.unwrap();
                self.listed[index] = Some((last, self.forge));
            }
            6..=7 => {
                let Some((last, seen)) = self.listed[index].take() else { return };
                let heads = seen.map_or_else(Heads::new, |number| pull(7, number, Trust::Fork));
                let noted = server.note_heads(self.project, last, heads).await.unwrap();
                if noted.is_some() && seen != self.head {
                    self.head = seen;
                    self.allowed.clear();
                }
            }
            8..=9 => {
                let asked = match (self.head.or(self.forge), self.random.bool()) {
                    (Some(number), true) => number,
                    _ => self.random.u64(1..=self.next),
                };
                let approved = approve(&server, self.project, 7, asked, self.now).await;
                assert_eq!(approved.is_ok(), self.head == Some(asked), "{approved:?}");
                if let Ok(approved) = approved {
                    self.allowed.insert(asked, approved.expires_at);
                }
            }
            10 => {
                server.run_again(self.project, "pull/7".parse().unwrap()).await.unwrap();
            }
            11 => {
                server.review_approvals(self.now).await.unwrap();
            }
            _ => {
                if let Some(number) = claim(&server, self.now).await {
                    self.begun += 1;
                    let until = self.allowed.get(&number);
                    assert!(until.is_some_and(|until| self.now < *until), "{number} unapproved");
                }
            }
        }
    }
}

async fn servers(test: &TestDatabase) -> Vec<Database> {
    vec![test.open().await, test.open().await]
}

#[tokio::test]
async fn no_interleaving_builds_what_nobody_approved() {
    for test in databases().await {
        let servers = servers(&test).await;
        let mut begun = 0;
        for seed in 0..60 {
            let project = gated(&servers[0], &format!("p{seed}"), PullRequests::Approved).await;
            let mut story = Story {
                random: fastrand::Rng::with_seed(seed),
                servers: servers.clone(),
                project,
                now: now(),
                forge: Some(1),
                next: 1,
                listed: vec![None; 2],
                head: None,
                allowed: BTreeMap::new(),
                begun: 0,
            };
            for _ in 0..80 {
                story.step().await;
            }
            begun += story.begun;
            // Nothing of it is left for the next.
            note(&servers[0], project, Heads::new()).await;
        }
        assert!(begun > 60, "{begun}");
    }
}

/// Two people approve a commit while a server finds another and a third tries to begin: at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn approvals_that_race_with_a_push_approve_no_more_than_they_say() {
    for test in databases().await {
        let servers = [test.open().await, test.open().await, test.open().await];
        let mut both = [0, 0];
        for round in 0..40 {
            let id = gated(&servers[0], &format!("p{round}"), PullRequests::Approved).await;
            note(&servers[0], id, pull(7, 1, Trust::Fork)).await;
            let last = servers[1].last_note(id).await.unwrap();
            let (first, second, noted, begun) = tokio::join!(
                approve(&servers[0], id, 7, 1, now()),
                approve(&servers[2], id, 7, 1, now()),
                servers[1].note_heads(id, last, pull(7, 2, Trust::Fork)),
                claim(&servers[2], now()),
            );
            assert!(noted.unwrap().is_some());
            both[usize::from(first.is_ok() || second.is_ok())] += 1;
            assert!(begun.is_none() || begun == Some(1) && (first.is_ok() || second.is_ok()));
            // Whatever came first: the new commit waits, and the old approval is void should the old one come back.
            assert_eq!(claim(&servers[0], now()).await, None);
            note(&servers[0], id, pull(7, 1, Trust::Fork)).await;
            servers[0].review_approvals(now()).await.unwrap();
            assert_eq!(claim(&servers[0], now()).await, None);
            note(&servers[0], id, Heads::new()).await;
        }
        assert_eq!(both.iter().sum::<i32>(), 40);
    }
}
