//! A database as it is after a while of work: what the tests of pages look at, and `examples/pages.rs` shows.

use std::path::Path;

use levain_actions::forge::ForgeKind;
use levain_actions::forge::webhook::Sender;
use levain_server::Database;
use levain_server::approve::Trust;
use levain_server::clock::Timestamp;
use levain_server::deliveries::{DeliveryState, Kept, NewDelivery};
use levain_server::projects::{NewProject, ProjectId};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::Verdict;
use levain_server::runs::{Ended, Owner, RunId};
use serde_json::{Value, json};

/// A project in a database, to which runs can be added.
pub(crate) struct Filling<'a> {
    pub(crate) database: &'a Database,
    pub(crate) project: ProjectId,
    heads: Heads,
    commits: u64,
}

impl<'a> Filling<'a> {
    pub(crate) async fn new(database: &'a Database, name: &str, url: &str) -> Self {
        let new = NewProject::new(name, Sender::Forge(ForgeKind::Forgejo), url);
        let project = database.add_project(new).await.unwrap().id;
        database.note_default_branch(project, Some("main".to_owned())).await.unwrap();
        Self { database, project, heads: Heads::new(), commits: 0 }
    }

    /// Fills a project that is there.
    pub(crate) fn of(database: &'a Database, project: ProjectId) -> Self {
        Self { database, project, heads: Heads::new(), commits: 0 }
    }

    /// Moves a branch or pull request, which queues a run.
    pub(crate) async fn push(&mut self, jobset: &str) -> RunId {
        self.push_of(jobset, Trust::Branch).await
    }

    /// Moves a pull request of a fork, whose run waits to be approved.
    pub(crate) async fn push_of_fork(&mut self, jobset: &str) -> RunId {
        self.push_of(jobset, Trust::Fork).await
    }

    /// Moves a pull request that is to be merged into a branch.
    pub(crate) async fn push_onto(&mut self, jobset: &str, base: &str) -> RunId {
        self.push_with(jobset, Trust::Own, Some(base)).await
    }

    async fn push_of(&mut self, jobset: &str, trust: Trust) -> RunId {
        self.push_with(jobset, trust, None).await
    }

    async fn push_with(&mut self, jobset: &str, trust: Trust, base: Option<&str>) -> RunId {
        self.commits += 1;
        let commit =
            format!("{:08x}{:032x}", self.commits.wrapping_mul(2_654_435_761) as u32, self.commits);
        let base = base.map(str::to_owned);
        let head = Head { base, ..Head::new(commit.parse().unwrap(), trust) };
        self.heads.insert(jobset.parse().unwrap(), head);
        let last = self.database.last_note(self.project).await.unwrap();
        let noted = self.database.note_heads(self.project, last, self.heads.clone()).await.unwrap();
        *noted.unwrap().queued.first().unwrap()
    }

    /// Begins the next run.
    pub(crate) async fn begin(&self) -> RunId {
        let claimed =
            self.database.claim_run(Owner::new("sample"), Timestamp::now(), &[]).await.unwrap();
        claimed.unwrap().id
    }

    /// Pushes and carries out a run to an end.
    pub(crate) async fn run(
        &mut self,
        jobset: &str,
        verdict: Verdict,
        summary: &str,
        report: Option<Value>,
    ) -> RunId {
        self.push(jobset).await;
        let id = self.begin().await;
        let ended = Ended {
            report: report.map(|report| report.to_string()),
            notices: vec!["the repository has submodules, which evaluations do not see".to_owned()],
            ..Ended::new(verdict, summary)
        };
        assert!(self.database.end_run(id, Owner::new("sample"), ended).await.unwrap());
        id
    }

    /// Delivers something and settles it.
    pub(crate) async fn deliver(&self, key: &str, state: DeliveryState, outcome: &str) -> i64 {
        let new = NewDelivery {
            project: self.project,
            key: key.to_owned(),
            received_at: Timestamp::now(),
            event: Some("push".to_owned()),
            body: br#"{"ref": "refs/heads/main"}"#.to_vec(),
        };
        let Kept::New(id) = self.database.keep_delivery(new).await.unwrap() else {
            panic!("{key} is there")
        };
        if state != DeliveryState::Waiting {
            self.database.settle_delivery(id, state, outcome.to_owned()).await.unwrap();
        }
        id.number()
    }
}

/// Returns a job that has something of everything.
pub(crate) fn job(name: &str, status: &str) -> Value {
    let store = "/nix/store/0c0v8r3pkfl2a1x9s4yq5bn6d7jwmzhg";
    let mut job = json!({
        "attrPath": name,
        "name": name.rsplit('.').next().unwrap_or(name),
        "system": "x86_64-linux",
        "status": status,
        "baseDrvPath": format!("{store}-base.drv"),
        "builtDrvPath": format!("{store}-built.drv"),
        "outputs": { "out": format!("{store}-out"), "cache": format!("{store}-cache") },
        "caches": [],
        "key": "sha256-c0ffee",
        "seconds": 12.5,
    });
    let more = match status {
        "incremental" => json!({
            "caches": [{
                "path": format!("{store}-cache"), "narHash": "sha256-1b2m2y8asgtpgamy7phcfg==", "origin": "ancestor",
                "jobset": "heads/main", "commit": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "time": 1_780_000_000, "depth": 3,
            }],
            "cacheSets": ["restored build: 312 files, 48.1 MB; sources 5 changed of 320; 0.41 s", "persisted build: 312 files, 48.2 MB; 0.90 s"],
            "audit": "same",
            "pointer": { "path": format!("{store}-cache"), "moved": true },
        }),
        "clean" => {
            json!({ "reason": "key-changed", "reasonDetail": "the compiler changed: gcc-13.3.0 became gcc-14.2.0", "pointer": { "path": format!("{store}-cache"), "moved": true } })
        }
        "fresh" => {
            json!({ "unchangedSince": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "seconds": 0.0 })
        }
        "failed" => json!({
            "error": "builder failed with exit code 2",
            "lastLines": [
                "\u{1b}[1mtests/parser.rs\u{1b}[0m:114:9",
                "  left: Ok(Token { kind: Comma })",
                " right: Err(\"unexpected end of input\")",
                "test parser::trailing_comma ... \u{1b}[31mFAILED\u{1b}[0m",
                "test result: \u{1b}[31mFAILED\u{1b}[0m. 211 passed; 1 failed; 0 ignored",
                "\u{1b}[1;31merror\u{1b}[0m: test failed, to rerun pass `--lib`",
            ],
        }),
        "error" => {
            json!({ "error": "error: attribute 'openssl_1_0' missing\n\n       at flake.nix:41:18:" })
        }
        "skipped" => json!({ "skipped": "no machine builds aarch64-darwin" }),
        _ => json!({}),
    };
    for (key, value) in more.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// Returns a report with those jobs.
pub(crate) fn report(jobs: Vec<Value>) -> Value {
    json!({
        "version": 1,
        "repository": "https://git.example.org/bakery/bread",
        "mode": "incremental",
        "shadow": { "ref": "refs/levain/heads/main", "evaluated": "5feceb66ffc86f38d952786c6d696c79c2dbc239", "pushed": true },
        "evaluations": [{ "flake": "git+file:///var/lib/levain/mirrors/bread.git?rev=1", "pointer": null, "output": "levainJobs", "memoized": false, "seconds": 1.4 }],
        "jobs": jobs,
        "seconds": { "git": 0.8, "evaluateBase": 1.4, "evaluateShadow": 0.9, "plan": 0.2, "build": 48.0, "postBuild": 3.1, "statuses": 0.6, "total": 55.0 },
    })
}

/// Writes a log of many lines where levain keeps logs, below a directory; returns its path.
pub(crate) fn log(directory: &Path, lines: usize) -> String {
    let logs = directory.join("levain/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let path = logs.join("built.drv.log");
    let mut text = String::from("Running phase: unpackPhase\nRunning phase: buildPhase\n");
    for number in 3..lines {
        match number % 400 {
            0 => text.push_str(&format!(
                "\u{1b}[1;31merror\u{1b}[0m: cannot find `flour` in this scope, {number}\n"
            )),
            200 => {
                text.push_str(&format!("\u{1b}[33mwarning\u{1b}[0m: unused `water`, {number}\n"))
            }
            _ => text.push_str(&format!("   Compiling crumb v0.{number}.1 (<registry> & more)\n")),
        }
    }
    text.push_str("this build fails\n");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Fills a database with two projects.
pub(crate) async fn fill(database: &Database, directory: &Path) {
    let mut bread = Filling::new(database, "bread", "https://git.example.org/bakery/bread").await;
    let good = || {
        let mut jobs: Vec<Value> =
            (1..=14).map(|n| job(&format!("x86_64-linux.loaf-{n}"), "fresh")).collect();
        jobs.push(job("x86_64-linux.crust", "incremental"));
        jobs.push(job("x86_64-linux.oven", "clean"));
        jobs.push(job("aarch64-darwin.oven", "skipped"));
        jobs
    };
    for round in 0..9 {
        let verdict = if round == 4 { Verdict::Errored } else { Verdict::Succeeded };
        bread
            .run("heads/main", verdict, "14 fresh, 1 incremental, 1 clean", Some(report(good())))
            .await;
    }
    let log = log(directory, 3_000);
    let mut bad = good();
    let mut failing = job("x86_64-linux.parser", "failed");
    failing["log"] = log.clone().into();
    bad.push(failing);
    bad[14]["log"] = log.into();
    bad.push(job("x86_64-linux.legacy", "error"));
    bread
        .run(
            "pull/7",
            Verdict::Failed,
            "14 fresh, 1 incremental, 1 clean, 1 failed, 1 in error, 1 skipped",
            Some(report(bad)),
        )
        .await;
    bread.run("heads/topic/rye", Verdict::Failed, "the flake has no lock file", None).await;
    bread.deliver("k1", DeliveryState::Acted, "queued run 9 of heads/main at 9e3779b97f4a").await;
    bread.deliver("k2", DeliveryState::Ignored, "`refs/tags/v1` is no branch").await;
    bread.deliver("k3", DeliveryState::Failed, "not what that forge sends: no field `ref`").await;

    let mut flour = Filling::new(database, "flour", "/srv/git/flour.git").await;
    flour
        .run(
            "heads/main",
            Verdict::Succeeded,
            "3 clean",
            Some(report(vec![job("x86_64-linux.mill", "clean")])),
        )
        .await;
    flour
        .run(
            "heads/main",
            Verdict::Failed,
            "1 failed",
            Some(report(vec![job("x86_64-linux.mill", "failed")])),
        )
        .await;
    flour.push("heads/main").await;
    flour.begin().await;
    flour.push("heads/sieve").await;
}

/// Adds a project in which something of everything waits or went wrong.
pub(crate) async fn fill_with_trouble(database: &Database) {
    let mut rye = Filling::new(database, "rye", "https://git.example.org/bakery/rye").await;
    let good = || Some(report(vec![job("x86_64-linux.loaf", "incremental")]));
    rye.run("heads/main", Verdict::Succeeded, "1 incremental", good()).await;
    let conflict = "it conflicts with `main` in crumb/oven.nix and 2 more files";
    rye.run("pull/3", Verdict::Conflict, conflict, None).await;
    rye.run("heads/gitea-mq/main/pr-2", Verdict::Succeeded, "1 incremental", good()).await;
    rye.push_of_fork("pull/4").await;
    let failed = Some("git cannot list the branches of it: the host is not reached".to_owned());
    database.note_look(rye.project, failed).await.unwrap();
}
