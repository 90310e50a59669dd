//! Statuses as rows: written with what they tell, sent by one sender at a time, in order, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use levain_actions::status::{State, Status, SummaryPhase, SummaryText};
use levain_server::Database;
use levain_server::approvals::NewApproval;
use levain_server::approve::{APPROVAL, Approver, Trust, Way};
use levain_server::clock::Timestamp;
use levain_server::projects::{NewProject, ProjectId, PullRequests};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, Owner, Run, RunId, Told};
use levain_server::statuses::decide::{Budget, Sent};
use levain_server::statuses::wording::Telling;
use levain_server::statuses::{Claimed, KeptStatus, Progress, SENDING_LEASE, Sending};

use crate::support::{GITHUB, databases, note, now};

/// Returns heads at commits that are called by numbers.
pub(crate) fn heads(list: &[(&str, u64)]) -> Heads {
    let head = |number: u64| Head::new(format!("{number:040x}").parse().unwrap(), Trust::Branch);
    list.iter().map(|(name, number)| (name.parse().unwrap(), head(*number))).collect()
}

/// A project whose forge is told.
pub(crate) async fn told_project(database: &Database, name: &str) -> ProjectId {
    let new = NewProject {
        token_file: Some("/run/secrets/token".into()),
        ..NewProject::new(name, GITHUB, "https://git.example.org/o/r")
    };
    database.add_project(new).await.unwrap().id
}

/// Returns who carries runs out, and sends.
pub(crate) fn owner() -> Owner {
    Owner::new("a")
}

/// Takes the next run.
pub(crate) async fn claim(database: &Database) -> Run {
    database.claim_run(owner(), now(), &[]).await.unwrap().unwrap()
}

/// Returns what a run tells of itself as a whole, if it has the word.
pub(crate) async fn summary(database: &Database, run: RunId) -> Option<KeptStatus> {
    database.statuses_of_run(run).await.unwrap().into_iter().find(|kept| kept.job.is_none())
}

/// Sends everything that is due, as a forge that takes it.
pub(crate) async fn send_all(database: &Database, at: Timestamp) -> Vec<Status> {
    let mut sent = Vec::new();
    loop {
        let claimed = database.claim_statuses(owner(), at, 4).await.unwrap();
        if claimed.is_empty() {
            return sent;
        }
        for one in claimed {
            database.status_sent(&one, owner(), Sent::Shown, at).await.unwrap();
            sent.push(one.status);
        }
    }
}

/// Returns how a run of two jobs ends.
pub(crate) fn ended(verdict: Verdict) -> Ended {
    let counts = SummaryText { jobs: 2, failed: 1, done: 2, ..SummaryText::default() };
    let phase = match verdict {
        Verdict::Succeeded => SummaryPhase::Success,
        Verdict::Failed | Verdict::Conflict => SummaryPhase::Failure,
        Verdict::Errored => SummaryPhase::Error,
    };
    told(phase, verdict, counts)
}

fn told(phase: SummaryPhase, verdict: Verdict, text: SummaryText) -> Ended {
    Ended { told: Some(Box::new(Told { phase, text })), ..Ended::new(verdict, "") }
}

#[tokio::test]
async fn what_happens_to_a_run_is_told_with_it() {
    for test in databases().await {
        let database = test.open().await;
        database.note_pages_url(Some("https://ci.example.org".into())).await.unwrap();
        let id = told_project(&database, "a").await;
        let noted = note(&database, id, heads(&[("heads/x", 1), ("pull/7", 2)])).await;
        for run in &noted.queued {
            let kept = summary(&database, *run).await.unwrap();
            assert_eq!((kept.state, kept.sending), (State::Pending, Sending::Due));
            assert_eq!(kept.context, "levain");
            let page = format!("https://ci.example.org/runs/{}", run.number());
            assert_eq!(kept.target_url, Some(page));
        }
        let run = claim(&database).await;
        assert!(database.end_run(run.id, owner(), ended(Verdict::Failed)).await.unwrap());
        let kept = summary(&database, run.id).await.unwrap();
        assert_eq!((kept.state, kept.description.as_str()), (State::Failure, "1 of 2 jobs failed"));
        // A newer commit, a person, and a run that takes the server down with it.
        let older = claim(&database).await;
        let noted = note(&database, id, heads(&[("heads/x", 3), ("pull/7", 2)])).await;
        let kept = summary(&database, older.id).await.unwrap();
        assert_eq!(kept.state, State::Cancelled);
        assert!(kept.description.contains("has moved on, or is closed"), "{}", kept.description);
        let late = database.end_run(older.id, owner(), ended(Verdict::Succeeded));
        assert!(!late.await.unwrap());
        assert_eq!(summary(&database, older.id).await.unwrap().state, State::Cancelled);
        database.cancel_run(noted.queued[0]).await.unwrap();
        assert_eq!(summary(&database, noted.queued[0]).await.unwrap().state, State::Cancelled);
        let again = database.run_again(id, "heads/x".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(summary(&database, again).await.unwrap().state, State::Pending);
        for server in ["b", "c", "d"] {
            database.claim_run(Owner::new(server), now(), &[]).await.unwrap().unwrap();
            database.take_lost_runs(Timestamp::from_millis(i64::MAX)).await.unwrap();
        }
        let kept = summary(&database, again).await.unwrap();
        assert_eq!(kept.state, State::Error);
        assert!(kept.description.contains("never ended"), "{}", kept.description);
    }
}

#[tokio::test]
async fn what_waits_for_an_approval_says_so() {
    for test in databases().await {
        let database = test.open().await;
        let new = NewProject {
            token_file: Some("/run/secrets/token".into()),
            pull_requests: PullRequests::Approved,
            ..NewProject::new("a", GITHUB, "https://git.example.org/o/r")
        };
        let id = database.add_project(new).await.unwrap().id;
        let mut fork = heads(&[("pull/7", 1)]);
        fork.values_mut().for_each(|head| head.trust = Trust::Fork);
        let run = note(&database, id, fork).await.queued[0];
        let said = async || summary(&database, run).await.unwrap().description;
        assert_eq!(said().await, "waiting for approval");
        let approver = Approver { way: Way::Command, name: "somebody".to_owned() };
        let commit = format!("{:040x}", 1).parse().unwrap();
        let new = NewApproval { project: id, pull_request: 7, commit, approver, now: now() };
        database.approve(new).await.unwrap().unwrap();
        assert_eq!(said().await, "waiting");
        database.review_approvals(now().after(APPROVAL)).await.unwrap();
        assert_eq!(said().await, "waiting for approval");
    }
}

#[tokio::test]
async fn nothing_is_told_without_a_token_or_in_read_only_mode() {
    for test in databases().await {
        let database = test.open().await;
        let plain = crate::support::project(&database, "plain", GITHUB).await.id;
        let run = note(&database, plain, heads(&[("heads/x", 1)])).await.queued[0];
        assert_eq!(summary(&database, run).await, None);
        let silent = database.clone().without_statuses();
        let told = told_project(&database, "told").await;
        let run = note(&silent, told, heads(&[("heads/x", 1)])).await.queued[0];
        silent.cancel_run(run).await.unwrap();
        assert_eq!(summary(&database, run).await, None);
        assert_eq!(send_all(&database, now()).await, []);
    }
}

#[tokio::test]
async fn a_late_result_of_an_older_run_is_not_shown() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        // A branch and a pull request of the same commit.
        note(&database, id, heads(&[("heads/x", 1)])).await;
        let older = claim(&database).await;
        let noted = note(&database, id, heads(&[("heads/x", 1), ("pull/7", 1)])).await;
        let newer = noted.queued[0];
        database.end_run(older.id, owner(), ended(Verdict::Succeeded)).await.unwrap();
        let kept = summary(&database, newer).await.unwrap();
        assert_eq!((kept.state, kept.run), (State::Pending, newer));
        let run = claim(&database).await;
        database.end_run(run.id, owner(), ended(Verdict::Failed)).await.unwrap();
        let sent = send_all(&database, now()).await;
        let states: Vec<State> = sent.iter().map(Status::state).collect();
        assert_eq!(states, [State::Failure], "one row, and the newest of it");
    }
}

#[tokio::test]
async fn a_status_that_the_declaration_renamed_ends_as_well() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        note(&database, id, heads(&[("heads/x", 1)])).await;
        send_all(&database, now()).await;
        let run = claim(&database).await;
        let mut telling = Telling::default();
        telling.texts.summary_context = Some("ci/{{prefix}}".into());
        database.note_telling(id, telling.clone()).await.unwrap();
        assert_eq!(database.telling(id).await.unwrap(), telling);
        let text = SummaryText { jobs: 2, ..SummaryText::default() };
        let progress = vec![Progress::Summary(SummaryPhase::Running, text)];
        database.tell(run.id, owner(), progress, Budget::DEFAULT, now()).await.unwrap();
        database.end_run(run.id, owner(), ended(Verdict::Failed)).await.unwrap();
        let mut sent = send_all(&database, now()).await;
        sent.sort_by(|a, b| a.context().cmp(b.context()));
        let names: Vec<_> = sent.iter().map(|one| (one.context(), one.state())).collect();
        assert_eq!(names, [("ci/levain", State::Failure), ("levain", State::Failure)]);
        // The next run has the new name from the start.
        note(&database, id, heads(&[("heads/x", 2)])).await;
        let sent = send_all(&database, now()).await;
        assert_eq!((sent.len(), sent[0].context()), (1, "ci/levain"));
    }
}

#[tokio::test]
async fn whoever_lost_a_run_has_nothing_to_say() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        note(&database, id, heads(&[("heads/x", 1)])).await;
        let run = claim(&database).await;
        let failed = |job: &str| Progress::Job {
            job: job.to_owned(),
            status: Status::new(&format!("{:040x}", 1), job, State::Failure, "failed").unwrap(),
        };
        let tell = async |owner: &str, job: &str| {
            let owner = Owner::new(owner);
            let progress = vec![failed(job)];
            database.tell(run.id, owner, progress, Budget::DEFAULT, now()).await.unwrap();
        };
        tell("b", "levain/b").await;
        tell("a", "levain/a").await;
        let jobs: Vec<_> = database.statuses_of_run(run.id).await.unwrap();
        let jobs: Vec<_> = jobs.into_iter().filter_map(|kept| kept.job).collect();
        assert_eq!(jobs, ["levain/a"]);
    }
}

#[tokio::test]
async fn what_a_run_says_after_it_was_given_back_counts() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        note(&database, id, heads(&[("heads/x", 1)])).await;
        let job = |state| Progress::Job {
            job: "a".to_owned(),
            status: Status::new(&format!("{:040x}", 1), "levain/a", state, "").unwrap(),
        };
        for (state, shown) in [
            (State::Failure, State::Failure),
            // Back from an end only to another end.
            (State::Pending, State::Failure),
            (State::Success, State::Success),
        ] {
            let run = claim(&database).await;
            let progress = vec![job(state)];
            database.tell(run.id, owner(), progress, Budget::DEFAULT, now()).await.unwrap();
            let kept = database.statuses_of_run(run.id).await.unwrap();
            assert_eq!((kept[0].state, kept[1].state), (State::Pending, shown));
            database.give_back_run(run.id, owner()).await.unwrap();
        }
        let noted = note(&database, id, Heads::new()).await;
        assert_eq!(noted.gone.len(), 1);
        let run = database.runs(id, 1).await.unwrap().remove(0);
        assert_eq!(summary(&database, run.id).await.unwrap().state, State::Cancelled);
    }
}

#[tokio::test]
async fn each_status_is_sent_by_one_server() {
    for test in databases().await {
        let database = test.open().await;
        for number in 0..20 {
            let id = told_project(&database, &number.to_string()).await;
            note(&database, id, heads(&[("heads/x", 1), ("heads/y", 2)])).await;
        }
        let mut servers = tokio::task::JoinSet::new();
        for server in 0..4 {
            // Each with connections of its own, as processes have.
            let database = test.open().await;
            servers.spawn(async move {
                let owner = Owner::new(server.to_string());
                let mut taken = Vec::new();
                let mut misses = 0;
                while misses < 5 {
                    let claimed = database.claim_statuses(owner.clone(), now(), 3).await.unwrap();
                    misses += usize::from(claimed.is_empty());
                    for one in claimed {
                        taken.push(one.id);
                        database
                            .status_sent(&one, owner.clone(), Sent::Shown, now())
                            .await
                            .unwrap();
                    }
                }
                taken
            });
        }
        let mut taken = Vec::new();
        while let Some(result) = servers.join_next().await {
            taken.extend(result.unwrap());
        }
        let count = taken.len();
        taken.sort();
        taken.dedup();
        assert_eq!((taken.len(), count), (40, 40));
    }
}

/// A failing run of many jobs tells its summary and its first failures.
#[tokio::test]
async fn twenty_pull_requests_of_two_hundred_jobs_take_less_than_400_requests_an_hour() {
    const STEP: u64 = 18;
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        let pulls: Vec<String> = (1..=20).map(|number| format!("pull/{number}")).collect();
        let list: Vec<(&str, u64)> =
            pulls.iter().zip(1..).map(|(name, number)| (name.as_str(), number)).collect();
        note(&database, id, heads(&list)).await;
        let mut clock = now();
        let mut sent: BTreeMap<String, u32> = BTreeMap::new();
        let mut count = |statuses: Vec<Status>| {
            for status in statuses {
                *sent.entry(status.commit().to_owned()).or_default() += 1;
            }
        };
        while let Some(run) = database.claim_run(owner(), clock, &[]).await.unwrap() {
            let mut text = SummaryText { jobs: 200, ..SummaryText::default() };
            for step in 0..(180 / STEP) {
                let mut progress = Vec::new();
                for job in (200 * step * STEP / 180)..(200 * (step + 1) * STEP / 180) {
                    text.done += 1;
                    let (state, what) = match job % 7 {
                        0 => (State::Failure, "build failed"),
                        _ => (State::Success, "built"),
                    };
                    text.failed += usize::from(state == State::Failure);
                    let name = format!("levain/job{job}");
                    let status = Status::new(&run.commit.to_string(), &name, state, what).unwrap();
                    progress.push(Progress::Job { job: name, status });
                }
                progress.push(Progress::Summary(SummaryPhase::Running, text.clone()));
                database.tell(run.id, owner(), progress, Budget::DEFAULT, clock).await.unwrap();
                count(send_all(&database, clock).await);
                clock = clock.after(Duration::from_secs(STEP));
            }
            let ended = told(SummaryPhase::Failure, Verdict::Failed, text);
            assert!(database.end_run(run.id, owner(), ended).await.unwrap());
            count(send_all(&database, clock).await);
            let kept = database.statuses_of_run(run.id).await.unwrap();
            assert_eq!(kept.len(), 6);
            assert!(kept.iter().all(|one| one.sending == Sending::Shown), "{kept:?}");
            assert_eq!(kept[0].description, "29 of 200 jobs failed");
        }
        let elapsed =
            Duration::from_millis(u64::try_from(clock.millis() - now().millis()).unwrap());
        assert!(elapsed <= Duration::from_secs(3600), "{elapsed:?}");
        assert_eq!(sent.len(), 20);
        assert!(sent.values().all(|count| *count <= 10), "{sent:?}");
        let total: u32 = sent.values().sum();
        assert!(total <= 200, "{total}");
    }
}

#[tokio::test]
async fn a_job_that_failed_is_put_right_by_the_next_run() {
    for test in databases().await {
        let database = test.open().await;
        let id = told_project(&database, "a").await;
        note(&database, id, heads(&[("heads/x", 1)])).await;
        let job = |name: usize, state: State| Progress::Job {
            job: name.to_string(),
            status: Status::new(&format!("{:040x}", 1), &format!("levain/{name}"), state, "")
                .unwrap(),
        };
        let run = claim(&database).await;
        let tell = async |run: RunId, jobs: Vec<Progress>| {
            database.tell(run, owner(), jobs, Budget::DEFAULT, now()).await.unwrap();
        };
        tell(run.id, (0..8).map(|name| job(name, State::Failure)).collect()).await;
        database.end_run(run.id, owner(), ended(Verdict::Failed)).await.unwrap();
        let shown = |sent: Vec<Status>| -> BTreeSet<(String, &'static str)> {
            sent.iter().map(|one| (one.context().to_owned(), one.state().name())).collect()
        };
        let first = shown(send_all(&database, now()).await);
        assert_eq!(first.len(), 6);
        assert!(first.contains(&("levain/4".to_owned(), "failure")));
        database.run_again(id, "heads/x".parse().unwrap()).await.unwrap().unwrap();
        let run = claim(&database).await;
        // Two are well, and one that was well is not: there is no room for it before they are put right.
        tell(run.id, vec![job(9, State::Failure)]).await;
        tell(run.id, (0..2).map(|name| job(name, State::Success)).collect()).await;
        tell(run.id, (2..5).map(|name| job(name, State::Failure)).collect()).await;
        database.end_run(run.id, owner(), ended(Verdict::Failed)).await.unwrap();
        let second = shown(send_all(&database, now()).await);
        let row = |name: &str, state: State| (name.to_owned(), state.name());
        // Without links of its own, what fails as it did is shown already.
        let expected = [
            row("levain", State::Failure),
            row("levain/0", State::Success),
            row("levain/1", State::Success),
        ];
        assert!(expected.iter().all(|one| second.contains(one)), "{second:?}");
        assert!(second.len() <= 6, "{second:?}");
    }
}

/// What a forge shows, and every request that changed it.
#[derive(Default)]
struct Forge {
    posts: Vec<Status>,
}

impl Forge {
    fn shows(&self, status: &Status) -> bool {
        let same_name =
            |one: &&Status| one.commit() == status.commit() && one.context() == status.context();
        self.posts.iter().rev().find(same_name) == Some(status)
    }

    /// Takes a status as the server's messenger gives it; returns whether it had to be posted.
    fn take(&mut self, claimed: &Claimed) {
        if !(claimed.in_doubt && self.shows(&claimed.status)) {
            self.posts.push(claimed.status.clone());
        }
    }
}

/// `LEVAIN_HISTORIES` says how many; `LEVAIN_TEST_SEED` repeats one.
#[tokio::test]
async fn whenever_the_sender_dies_nothing_is_lost_or_sent_twice() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let count = number("LEVAIN_HISTORIES").unwrap_or(6);
    for test in databases().await {
        let database = test.open().await;
        database.note_pages_url(Some("https://ci.example.org".into())).await.unwrap();
        for index in 0..count {
            let seed = number("LEVAIN_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
            let mut random = fastrand::Rng::with_seed(seed);
            let id = told_project(&database, &index.to_string()).await;
            let mut clock = now();
            let mut forge = Forge::default();
            database.note_default_branch(id, Some("main".to_owned())).await.unwrap();
            let jobsets =
                ["heads/main", "heads/y", "heads/trying", "pull/1", "pull/2", "pull/3", "tags/v1"];
            let mut held: Option<RunId> = None;
            let mut counter = 0_usize;
            for _ in 0..40 {
                clock = clock.after(Duration::from_secs(random.u64(0..8)));
                match random.u32(0..12) {
                    0 | 1 => {
                        // Several jobsets of one commit, and commits that come back.
                        let mut list: Vec<(&str, u64)> = Vec::new();
                        for name in jobsets {
                            if random.bool() {
                                list.push((name, index * 10 + random.u64(0..3)));
                            }
                        }
                        let mut list = heads(&list);
                        if let Some(fork) = list.get_mut("pull/3") {
                            fork.trust = Trust::Fork;
                        }
                        if let Some(other) = list.get_mut("pull/2") {
                            other.base = random.bool().then(|| "main".to_owned());
                        }
                        note(&database, id, list).await;
                    }
                    2 => {
                        // The server ends, in order or not.
                        if let Some(run) = held.take() {
                            if random.bool() {
                                database.give_back_run(run, owner()).await.unwrap();
                            } else {
                                let late = Timestamp::from_millis(i64::MAX);
                                database.take_lost_runs(late).await.unwrap();
                            }
                        }
                    }
                    3 => {
                        let claimed = database.claim_run(owner(), clock, &[]).await.unwrap();
                        held = claimed.map(|run| run.id).or(held);
                    }
                    4 => {
                        if let Some(run) = held.take() {
                            counter += 1;
                            let counts = SummaryText { jobs: counter, ..SummaryText::default() };
                            let ended = match random.u32(0..3) {
                                0 => told(SummaryPhase::Failure, Verdict::Failed, counts),
                                _ => told(SummaryPhase::Success, Verdict::Succeeded, counts),
                            };
                            database.end_run(run, owner(), ended).await.unwrap();
                        }
                    }
                    6 => {
                        // Somebody stops a run, or wants one again.
                        let runs = database.runs(id, 10).await.unwrap();
                        if let Some(run) = random.choice(&runs) {
                            match random.bool() {
                                true => {
                                    database.cancel_run(run.id).await.unwrap();
                                }
                                false => {
                                    let jobset = run.jobset.clone();
                                    database.run_again(id, jobset).await.unwrap();
                                }
                            }
                        }
                    }
                    5 => {
                        if let Some(run) = held {
                            counter += 1;
                            let text = SummaryText { done: counter, ..SummaryText::default() };
                            let progress = vec![Progress::Summary(SummaryPhase::Running, text)];
                            let budget = Budget::DEFAULT;
                            database.tell(run, owner(), progress, budget, clock).await.unwrap();
                        }
                    }
                    _ => clock = sometimes_dying(&database, &mut forge, &mut random, clock).await,
                }
                check_words(&database, id, seed).await;
            }
            settle(&database, &mut forge, id, clock).await;
            check(&database, &forge, id, seed).await;
        }
    }
}

/// A sender at work, which may die at any point, with a forge that may do so, too.
async fn sometimes_dying(
    database: &Database,
    forge: &mut Forge,
    random: &mut fastrand::Rng,
    clock: Timestamp,
) -> Timestamp {
    let later = |may_be_shown| Sent::Later { why: "trouble".into(), wait: None, may_be_shown };
    let mut clock = clock;
    for one in database.claim_statuses(owner(), clock, 4).await.unwrap() {
        let sent = match random.u32(0..6) {
            // Killed before it was sent.
            0 => None,
            // Killed after.
            1 => {
                forge.take(&one);
                None
            }
            // The forge took it and answered with an error, or not in time.
            2 => {
                forge.take(&one);
                Some(later(true))
            }
            // It was not reached; what was in doubt is so still.
            3 => Some(later(one.in_doubt)),
            _ => {
                forge.take(&one);
                Some(Sent::Shown)
            }
        };
        match sent {
            Some(sent) => database.status_sent(&one, owner(), sent, clock).await.unwrap(),
            None => {
                clock = clock.after(SENDING_LEASE + Duration::from_secs(1));
                database.take_lost_statuses(clock).await.unwrap();
            }
        }
    }
    clock
}

/// Ends all runs, and sends until nothing is due.
async fn settle(database: &Database, forge: &mut Forge, id: ProjectId, clock: Timestamp) {
    let mut clock = clock.after(SENDING_LEASE + Duration::from_secs(1));
    note(database, id, Heads::new()).await;
    database.take_lost_statuses(clock).await.unwrap();
    while let Some(at) = database.next_status_at().await.unwrap() {
        clock = clock.max(at);
        for one in database.claim_statuses(owner(), clock, 4).await.unwrap() {
            forge.take(&one);
            database.status_sent(&one, owner(), Sent::Shown, clock).await.unwrap();
        }
    }
}

/// A commit is called good only if all that counts there is: pull requests of the project's own, what a merge queue tries
/// and nobody stopped, and the default branch. And what is told there is what one of those says that is as bad as any.
async fn check_words(database: &Database, id: ProjectId, seed: u64) {
    let runs = database.runs(id, 1000).await.unwrap();
    let mut counting: BTreeMap<String, Vec<RunState>> = BTreeMap::new();
    for (jobset, head) in database.heads(id).await.unwrap() {
        let name = jobset.as_str();
        let is_own = name.starts_with("pull/") && head.trust != Trust::Fork;
        let is_queue = name == "heads/trying";
        if !(is_own || is_queue || name == "heads/main") {
            continue;
        }
        let newest = runs.iter().find(|run| run.jobset == jobset && run.commit == head.commit);
        let state = newest.unwrap().state;
        if !(is_queue && state == RunState::Cancelled) {
            counting.entry(head.commit.to_string()).or_default().push(state);
        }
    }
    let mut told: BTreeMap<String, State> = BTreeMap::new();
    for run in &runs {
        if let Some(kept) = summary(database, run.id).await {
            assert!(told.insert(kept.commit, kept.state).is_none());
        }
    }
    for (commit, states) in counting {
        let told = told.get(&commit).unwrap();
        let context = format!("LEVAIN_TEST_SEED={seed}: {told:?} for {states:?}");
        let is_over = |state: &RunState| state.is_end() && *state != RunState::Succeeded;
        let expected = match (states.iter().any(is_over), states.iter().all(|one| one.is_end())) {
            (true, _) => told.is_final() && *told != State::Success,
            (false, false) => !told.is_final(),
            (false, true) => *told == State::Success,
        };
        assert!(expected, "{context}");
    }
}

async fn check(database: &Database, forge: &Forge, id: ProjectId, seed: u64) {
    // Whoever has the word again may say again what it said, but not twice in a row.
    let mut shown: BTreeMap<(String, String), &Status> = BTreeMap::new();
    for post in &forge.posts {
        let name = (post.commit().to_owned(), post.context().to_owned());
        let before = shown.insert(name, post);
        assert_ne!(before, Some(post), "LEVAIN_TEST_SEED={seed}: twice in a row");
    }
    assert_eq!(database.statuses_not_shown(id, 100).await.unwrap(), [], "LEVAIN_TEST_SEED={seed}");
    for run in database.runs(id, 1000).await.unwrap() {
        for kept in database.statuses_of_run(run.id).await.unwrap() {
            let newest = forge.posts.iter().rev().find(|post| post.commit() == kept.commit);
            let newest = newest.unwrap();
            assert_eq!(
                (newest.state(), newest.description()),
                (kept.state, kept.description.as_str()),
                "LEVAIN_TEST_SEED={seed}"
            );
            assert!(kept.state.is_final(), "LEVAIN_TEST_SEED={seed}: {kept:?}");
        }
    }
}
