//! `levain serve` builds pull requests merged with their base, and what a merge queue tries, and reports on the right commit.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::bad_input::incremental;
use crate::environment::{Environment, Repository};
use crate::serve::{PATIENCE, Server, logged, newest, runs};
use crate::status::{Forge, SECRET};

/// A repository on a forge with pull requests: the forge's interface is real HTTP, its git is a directory.
struct World<'a> {
    environment: &'a Environment,
    work: Repository<'a>,
    forge: Forge,
    url: String,
}

/// Where the forge's interface is asked to post the statuses of a commit.
fn statuses_of(commit: &str) -> String {
    format!("/api/v1/repos/octo/bread/statuses/{commit}")
}

impl<'a> World<'a> {
    /// Makes `main`, with pull requests that each write one file, and then moves `main`; `pulls` are their numbers, the
    /// repository of their commits, and the file.
    fn new(environment: &'a Environment, pulls: &[(u64, u64, &str)]) -> (Self, Vec<String>) {
        let work = incremental(environment, "");
        let origin = environment.path("origin.git").display().to_string();
        work.git(&["init", "--quiet", "--bare", &origin]);
        work.git(&["remote", "add", "origin", &origin]);
        work.git(&["push", "--quiet", "origin", "main"]);
        let (mut list, mut heads) = (Vec::new(), Vec::new());
        for (number, repository, file) in pulls {
            work.git(&["switch", "--quiet", "--detach", "main"]);
            work.write(file, &format!("of {number}\n"));
            let commit = work.commit("a change");
            work.git(&["push", "--quiet", "origin", &format!("HEAD:refs/pull/{number}/head")]);
            if *repository == 7 {
                work.git(&[
                    "push",
                    "--quiet",
                    "origin",
                    &format!("HEAD:refs/heads/topic-{number}"),
                ]);
            }
            list.push(json!({
                "number": number,
                "head": { "sha": commit, "label": "staging", "ref": "staging", "repo_id": repository },
                "base": { "sha": "0".repeat(40), "ref": "main", "repo_id": 7 },
            }));
            heads.push(commit);
        }
        work.git(&["switch", "--quiet", "main"]);
        let forge = Forge::with(move |request| match request.method.as_str() {
            "GET" if request.url.path().ends_with("/pulls") => {
                wiremock::ResponseTemplate::new(200).set_body_json(list.clone())
            }
            "GET" => wiremock::ResponseTemplate::new(200).set_body_json(json!([])),
            _ => wiremock::ResponseTemplate::new(201).set_body_json(json!({ "id": 1 })),
        });
        let home = environment.path("home");
        let url = format!("{}/octo/bread.git", forge.url());
        let settings = fs::read_to_string(home.join(".gitconfig")).unwrap();
        let settings = format!("{settings}[url \"{origin}\"]\ninsteadOf = {url}\n");
        fs::write(home.join(".gitconfig"), settings).unwrap();
        fs::write(home.join("token"), SECRET).unwrap();
        let world = Self { environment, work, forge, url };
        world.push("src/main.txt", "of main\n");
        (world, heads)
    }

    /// Moves `main`.
    fn push(&self, file: &str, text: &str) -> String {
        self.work.write(file, text);
        let commit = self.work.commit("on main");
        self.work.git(&["push", "--quiet", "origin", "main"]);
        commit
    }

    fn add(&self) {
        let home = self.environment.path("home");
        let args =
            ["project", "add", "bread", &self.url, "--forge", "gitea", "--token-file", "token"];
        self.environment.levain(&home, &args).ok();
    }

    fn levain(&self, args: &[&str]) -> crate::environment::Ran {
        self.environment.levain(&self.environment.path("home"), args)
    }

    /// Waits until all runs are these, the newest of each jobset first by name.
    #[track_caller]
    fn until(&self, expected: &[(&str, &str)]) {
        let started = Instant::now();
        loop {
            let mut found: Vec<(String, String)> = Vec::new();
            for run in runs(self.environment) {
                let text = |key: &str| run[key].as_str().unwrap().to_owned();
                if found.iter().all(|(jobset, _)| *jobset != text("jobset")) {
                    found.push((text("jobset"), text("state")));
                }
            }
            found.sort();
            if found.iter().map(|(a, b)| (a.as_str(), b.as_str())).eq(expected.iter().copied()) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{found:?}\n{}", logged(self.environment));
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// Returns the newest run of a jobset, with its report.
    fn run(&self, server: &Server<'_>, jobset: &str) -> Value {
        let run = runs(self.environment).into_iter().find(|run| run["jobset"] == jobset).unwrap();
        serde_json::from_str(&server.get(&format!("/api/v1/runs/{}", run["id"]))).unwrap()
    }

    /// Returns the states and descriptions of the summary that were posted on a commit.
    fn told(&self, commit: &str) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for request in self.forge.requests() {
            if request.url.path() != statuses_of(commit) || request.method.as_str() != "POST" {
                continue;
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            if body["context"] == "levain" {
                let text = |key: &str| body[key].as_str().unwrap().to_owned();
                told.push((text("state"), text("description")));
            }
        }
        told
    }

    /// Waits until the forge was told this about a commit last.
    #[track_caller]
    fn until_told(&self, commit: &str, state: &str) -> String {
        let started = Instant::now();
        loop {
            match self.told(commit).pop() {
                Some((last, description)) if last == state => return description,
                last => {
                    let log = || logged(self.environment);
                    assert!(started.elapsed() < PATIENCE, "{last:?}\n{}", log());
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

#[test]
fn a_pull_request_is_built_as_its_merge_and_reported_on_its_head() {
    let environment = Environment::new().with("no_proxy", "*");
    let pulls = [(1, 7, "src/b.txt"), (2, 7, "src/main.txt"), (3, 8, "src/c.txt")];
    let (world, heads) = World::new(&environment, &pulls);
    let main = world.work.git(&["rev-parse", "main"]);
    let server = Server::start(&environment);
    world.add();
    let mut expected = vec![
        ("heads/main", "succeeded"),
        ("heads/topic-1", "succeeded"),
        ("heads/topic-2", "succeeded"),
        ("pull/1", "succeeded"),
        ("pull/2", "conflict"),
        ("pull/3", "unapproved"),
    ];
    world.until(&expected);
    world.until_told(&heads[0], "success");
    let said = world.until_told(&heads[1], "failure");
    assert_eq!(said, "it conflicts with `main` in src/main.txt");
    let run = world.run(&server, "pull/2");
    assert_eq!(
        (run["summary"].as_str(), run["commit"].as_str()),
        (Some(said.as_str()), Some(heads[1].as_str()))
    );

    let first = world.run(&server, "pull/1");
    let merge = first["report"]["merge"].clone();
    assert_eq!((&merge["base"], &merge["baseCommit"]), (&json!("main"), &json!(main)));
    assert_eq!((&first["base"], &first["baseCommit"]), (&json!("main"), &json!(main)));
    assert_eq!(
        (&first["commit"], &first["report"]["originalCommit"]),
        (&json!(heads[0]), &json!(heads[0]))
    );
    let built = merge["commit"].as_str().unwrap();
    // Evaluated is the merge; named is the author's commit. Others get both with the shadow branch.
    let evaluated = first["report"]["evaluations"][0]["flake"].as_str().unwrap();
    assert!(evaluated.contains(&format!("rev={built}")), "{evaluated}");
    world.work.git(&["fetch", "--quiet", "origin", "refs/levain/pull/1"]);
    let shadow = first["report"]["shadow"]["after"].as_str().unwrap();
    assert_eq!(world.work.git(&["show", &format!("{shadow}:commit.txt")]), heads[0]);
    let files = world.work.git(&["ls-tree", "--name-only", &format!("{shadow}:src")]);
    assert_eq!(files, "a.txt\nb.txt\nmain.txt");
    assert_eq!(
        world.work.git(&["rev-parse", &format!("{built}^1"), &format!("{built}^2")]),
        format!("{main}\n{}", heads[0])
    );
    assert!(world.work.git(&["rev-list", shadow]).contains(built));
    let output = first["report"]["jobs"][0]["outputs"]["out"].as_str().unwrap();
    let output = fs::read_to_string(output).unwrap();
    assert_eq!(output, "a\nof 1\nof main\n");

    // A fork's merge waits for the approval of its head, and stays here.
    world.levain(&["approve", "bread", "3", &heads[2]]).ok();
    expected[5].1 = "succeeded";
    world.until(&expected);
    let fork = world.run(&server, "pull/3");
    assert_eq!(
        (&fork["trust"], &fork["report"]["shadow"]["pushed"]),
        (&json!("fork"), &json!(false))
    );
    assert_ne!(fork["report"]["merge"]["commit"], json!(heads[2]));
    assert_eq!(world.work.git(&["ls-remote", "origin", "refs/levain/pull/3"]), "");
    world.until_told(&heads[2], "success");

    // That the base moves starts nothing but its own run.
    let count = runs(&environment).len();
    server.end();
    let moved = world.push("src/main.txt", "of 2\n");
    let server = Server::start(&environment);
    newest(&environment, &moved, "succeeded");
    assert_eq!(runs(&environment).len(), count + 1);
    // Asked for, it is merged with what the base is now: the conflict is gone.
    let conflict = world.run(&server, "pull/2")["id"].to_string();
    world.levain(&["rerun", &conflict]).ok();
    expected[4].1 = "succeeded";
    world.until(&expected);
    let again = world.run(&server, "pull/2");
    assert_eq!(again["baseCommit"], json!(moved));
    world.until_told(&heads[1], "success");

    // By choice, the heads alone are built.
    world.levain(&["project", "set", "bread", "--merge", "head"]).ok();
    server.end();
    let server = Server::start(&environment);
    newest_of(&world, "pull/1", |run| run["base"].is_null() && run["state"] == "succeeded");
    let head = world.run(&server, "pull/1");
    assert!(head["report"]["merge"].is_null(), "{head:#}");
    server.end();
    // Nobody else was told anything.
    let told: Vec<String> = world
        .forge
        .requests()
        .iter()
        .filter(|it| it.method.as_str() == "POST")
        .map(|it| it.url.path().to_owned())
        .collect();
    let known: Vec<String> =
        heads.iter().chain([&main, &moved]).map(|commit| statuses_of(commit)).collect();
    assert!(told.iter().all(|path| known.contains(path)), "{told:?}");
}

/// Waits until the newest run of a jobset is as it should be.
#[track_caller]
fn newest_of(world: &World<'_>, jobset: &str, is_so: impl Fn(&Value) -> bool) {
    let started = Instant::now();
    loop {
        let all = runs(world.environment);
        let newest = all.iter().find(|run| run["jobset"] == jobset).unwrap();
        if is_so(newest) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{newest:#}\n{}", logged(world.environment));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn what_a_merge_queue_tries_is_reported_on_its_own_commit_and_leaves_nothing() {
    let environment = Environment::new().with("no_proxy", "*");
    let (world, heads) = World::new(&environment, &[(1, 8, "src/b.txt")]);
    let queue = "gh-readonly-queue/main/pr-1-x";
    world.work.git(&["switch", "--quiet", "--detach", "main"]);
    world.work.git(&["merge", "--quiet", "--no-edit", &heads[0]]);
    let tried = world.work.git(&["rev-parse", "HEAD"]);
    world.work.git(&["push", "--quiet", "origin", &format!("HEAD:refs/heads/{queue}")]);
    world.work.git(&["switch", "--quiet", "main"]);
    let server = Server::start(&environment);
    world.add();
    let name = format!("heads/{queue}");
    let mut expected =
        vec![(name.as_str(), "succeeded"), ("heads/main", "succeeded"), ("pull/1", "unapproved")];
    world.until(&expected);
    world.until_told(&tried, "success");
    // That it was tried makes the fork's commit nobody's but the fork's.
    world.levain(&["approve", "bread", "1", &heads[0]]).ok();
    expected[2].1 = "succeeded";
    world.until(&expected);
    assert_eq!(world.run(&server, "pull/1")["report"]["shadow"]["pushed"], false);
    let page: Value = serde_json::from_str(&server.get("/projects/bread.json")).unwrap();
    assert_eq!(page["mergeQueue"][0]["name"]["text"], queue);
    assert_eq!(page["branches"], json!([]));
    server.end();
    world.work.git(&["push", "--quiet", "origin", &format!(":refs/heads/{queue}")]);
    let moved = world.push("src/a.txt", "another\n");
    let server = Server::start(&environment);
    newest(&environment, &moved, "succeeded");
    let page: Value = serde_json::from_str(&server.get("/projects/bread.json")).unwrap();
    assert_eq!(page["mergeQueue"], json!([]));
    assert_eq!(world.work.git(&["ls-remote", "origin", &format!("refs/levain/heads/{queue}")]), "");
    server.end();
}

#[test]
fn a_tag_starts_from_the_default_branch_and_moves_nothing_of_it() {
    let environment = Environment::new().with("no_proxy", "*");
    let (world, _) = World::new(&environment, &[]);
    let main = world.work.git(&["rev-parse", "main"]);
    world.work.git(&["tag", "v0"]);
    world.work.git(&["push", "--quiet", "origin", "v0"]);
    world.add();
    world.levain(&["project", "set", "bread", "--tags", "v*"]).ok();
    let server = Server::start(&environment);
    newest(&environment, &main, "succeeded");
    server.end();
    let shadow = || world.work.git(&["ls-remote", "origin", "refs/levain/heads/main"]);
    let before = shadow();
    assert_ne!(before, "");
    // A release that is on no branch, with a message; and a tag that nobody wants built.
    world.work.git(&["switch", "--quiet", "--detach", "main"]);
    world.work.write("src/release.txt", "1.0\n");
    let release = world.work.commit("release");
    world.work.git(&["tag", "--annotate", "--message", "the first", "v1"]);
    world.work.git(&["tag", "w1"]);
    world.work.git(&["push", "--quiet", "origin", "v1", "w1"]);
    let server = Server::start(&environment);
    world.until(&[("heads/main", "succeeded"), ("tags/v1", "succeeded")]);
    let run = world.run(&server, "tags/v1");
    assert_eq!(run["commit"], json!(release));
    let job = &run["report"]["jobs"][0];
    assert_eq!(
        (&job["status"], &job["caches"][0]["origin"]),
        (&json!("incremental"), &json!("ancestor")),
        "{run:#}"
    );
    world.until_told(&release, "success");
    assert_eq!(shadow(), before);
    assert_eq!(world.work.git(&["ls-remote", "origin", "refs/levain/tags/*"]), "", "a fork's");
    server.end();
}

#[test]
fn what_a_merge_left_names_its_head_and_goes_with_it() {
    let environment = Environment::new().with("no_proxy", "*");
    // The author commits a file where the shadow branch names the author's commit.
    let (world, heads) = World::new(&environment, &[(4, 8, "commit.txt")]);
    let server = Server::start(&environment);
    world.add();
    world.until(&[("heads/main", "succeeded"), ("pull/4", "unapproved")]);
    world.levain(&["approve", "bread", "4", &heads[0]]).ok();
    world.until(&[("heads/main", "succeeded"), ("pull/4", "succeeded")]);
    let merge = world.run(&server, "pull/4")["report"]["merge"]["commit"].clone();
    server.end();
    let mirrors = environment.path("home/.local/state/levain/mirrors");
    let path = fs::read_dir(mirrors).unwrap().next().unwrap().unwrap().path();
    let mirror = Repository { environment: &environment, path };
    assert_eq!(mirror.git(&["show", "refs/levain/pull/4:commit.txt"]), heads[0]);
    let kept = || {
        mirror.git(&[
            "for-each-ref",
            "--format=%(objectname) %(refname)",
            "refs/levain-fetched/merge",
        ])
    };
    assert_eq!(kept(), format!("{} refs/levain-fetched/merge/4", merge.as_str().unwrap()));
    world.work.git(&["push", "--quiet", "origin", ":refs/pull/4/head"]);
    let moved = world.push("src/a.txt", "another\n");
    let server = Server::start(&environment);
    newest(&environment, &moved, "succeeded");
    server.end();
    assert_eq!(kept(), "");
    assert_eq!(mirror.git(&["for-each-ref", "refs/levain/pull"]), "");
}
