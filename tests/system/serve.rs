//! `levain serve`: a push is delivered, built and reported; what is killed or ended is gone on with.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bad_input::incremental;
use crate::environment::{Environment, Repository};
use crate::status::{Forge, SECRET};

const SHADOW: &str = "refs/levain/heads/main";

/// How long anything may take. The next look of a server that was not told is later than that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs. Killed when it is dropped.
pub(crate) struct Server<'a> {
    environment: &'a Environment,
    child: Child,
    pub(crate) url: String,
}

impl<'a> Server<'a> {
    pub(crate) fn start(environment: &'a Environment) -> Self {
        Self::start_with(environment, &[])
    }

    /// Starts it with more arguments.
    pub(crate) fn start_with(environment: &'a Environment, arguments: &[&str]) -> Self {
        let home = environment.path("home");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(environment.path("serve.log"))
            .unwrap();
        let mut child = environment
            .levain_command(&home, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("levain listens on ");
        let url = url.unwrap_or_else(|| panic!("{line:?}: {}", logged(environment))).to_owned();
        Self { environment, child, url }
    }

    /// Ends it in order; it must do so at once.
    pub(crate) fn end(mut self) {
        let started = Instant::now();
        let id = self.child.id().to_string();
        self.environment.run("kill", &self.environment.path("home"), &["-TERM", &id]).ok();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", logged(self.environment));
        assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let url = format!("{}{path}", self.url);
        let home = self.environment.path("home");
        self.environment
            .run("curl", &home, &["--silent", "--fail", "--noproxy", "*", &url])
            .ok()
            .stdout
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn logged(environment: &Environment) -> String {
    fs::read_to_string(environment.path("serve.log")).unwrap_or_default()
}

/// Returns the runs, the newest first.
pub(crate) fn runs(environment: &Environment) -> Vec<Value> {
    let ran = environment.levain(&environment.path("home"), &["status", "--format", "json"]).ok();
    ran.json().as_array().unwrap().clone()
}

/// Waits until the newest run is of a commit and in a state; returns it.
#[track_caller]
pub(crate) fn newest(environment: &Environment, commit: &str, state: &str) -> Value {
    let started = Instant::now();
    loop {
        let runs = runs(environment);
        if let Some(run) = runs.first()
            && run["commit"] == commit
            && run["state"] == state
        {
            return run.clone();
        }
        assert!(
            started.elapsed() < PATIENCE,
            "no run of {commit} is {state}: {runs:#?}\n{}",
            logged(environment)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A project that people push to, in a repository without a forge.
pub(crate) struct Pushed<'a> {
    pub(crate) work: Repository<'a>,
    pub(crate) origin: PathBuf,
}

impl<'a> Pushed<'a> {
    pub(crate) fn new(environment: &'a Environment) -> Self {
        let work = incremental(environment, "");
        let origin = environment.path("origin.git");
        work.git(&["init", "--quiet", "--bare", &origin.display().to_string()]);
        work.git(&["remote", "add", "origin", &origin.display().to_string()]);
        Self { work, origin }
    }

    /// Adds it to the server, and the hook to it that the server's command prints.
    pub(crate) fn add(&self) {
        let environment = self.work.environment;
        let origin = self.origin.display().to_string();
        let ran = environment
            .levain(&environment.path("home"), &["project", "add", "bread", &origin])
            .ok()
            .says("added `bread`");
        let hook = self.origin.join("hooks/post-receive");
        fs::write(&hook, ran.stdout).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// Commits an edit and pushes it; returns the commit.
    pub(crate) fn push(&self, text: &str) -> String {
        self.work.write("src/b.txt", text);
        let commit = self.work.commit(text);
        self.work.git(&["push", "--quiet", "origin", "main"]);
        commit
    }
}

#[test]
fn a_push_is_built_and_the_next_one_incrementally() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let server = Server::start(&environment);
    pushed.add();
    let first = pushed.push("first\n");
    let run = newest(&environment, &first, "succeeded");
    assert_eq!((&run["project"], &run["jobset"]), (&"bread".into(), &"heads/main".into()));
    assert_eq!(run["summary"], "1 clean");
    let remote = pushed.work.git(&["ls-remote", "origin", SHADOW]);
    assert!(remote.ends_with(SHADOW), "{remote}");

    let second = pushed.push("second\n");
    let run = newest(&environment, &second, "succeeded");
    assert_eq!(run["summary"], "1 incremental", "{}", logged(&environment));
    let whole: Value =
        serde_json::from_str(&server.get(&format!("/api/v1/runs/{}", run["id"]))).unwrap();
    assert_eq!(whole["report"]["jobs"][0]["status"], "incremental", "{whole:#}");
    assert_eq!(whole["report"]["originalCommit"], second.as_str());
    assert_eq!(server.get("/healthz"), "ok\n");
    let projects = server.get("/api/v1/projects");
    assert!(projects.contains("\"name\":\"bread\""), "{projects}");

    // What levain itself pushed started nothing.
    assert_eq!(runs(&environment).len(), 2);
    let home = environment.path("home");
    let list = ["delivery", "list", "bread", "--format", "json"];
    // The first delivery may have come so late that its look found the second push as well.
    let find = |text: &str| {
        let delivered = environment.levain(&home, &list).ok().json();
        let of_text = |delivery: &&Value| {
            delivery["state"] == "acted" && delivery["outcome"].as_str().unwrap().contains(text)
        };
        delivered.as_array().unwrap().iter().find(of_text).cloned()
    };
    let delivery = find("queued run 2 of heads/main at ").unwrap();
    let number = delivery["id"].to_string();
    let shown = environment.levain(&home, &["delivery", "show", &number]).ok().json();
    assert_eq!((&shown["body"], &shown["repeats"]), (&"{}".into(), &0.into()));
    environment.levain(&home, &["delivery", "replay", &number]).ok();
    let started = Instant::now();
    while find("queued run 2").is_some() {
        assert!(started.elapsed() < PATIENCE, "{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    environment.levain(&home, &["delivery", "show", "99"]).code(1).says("no delivery 99");
    let listed = environment.levain(&environment.path("home"), &["status", "bread"]).ok().stdout;
    assert!(listed.contains("succeeded") && listed.contains("1 incremental"), "{listed}");
    environment
        .levain(&environment.path("home"), &["serve", "--listen", "127.0.0.1:0"])
        .code(1)
        .says("another `levain serve`, process ")
        .says("levain.sqlite`");
    server.end();
    // A push to a repository whose server is gone is as good as any.
    pushed.push("third\n");
}

#[test]
fn what_is_dropped_on_the_cache_page_is_built_clean_next_time() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let server = Server::start(&environment);
    pushed.add();
    let home = environment.path("home");
    newest(&environment, &pushed.push("first\n"), "succeeded");
    let run = newest(&environment, &pushed.push("second\n"), "succeeded");
    assert_eq!(run["summary"], "1 incremental", "{}", logged(&environment));
    let page: Value =
        serde_json::from_str(&server.get("/projects/bread/cache.json?jobset=heads/main")).unwrap();
    let pointer = &page["pointers"][0];
    assert!(pointer["narSize"].as_u64().unwrap() > 0, "the store has it: {page:#}");
    let job = pointer["job"]["name"]["text"].as_str().unwrap();
    let token = environment.levain(&home, &["token", "add", "t", "--scope", "write"]).ok().stdout;
    let header = format!("Authorization: Bearer {}", token.trim());
    let url = format!("{}/api/v1/projects/bread/cache/drop", server.url);
    let body = serde_json::json!({ "job": job, "jobset": "heads/main" }).to_string();
    let arguments = ["--silent", "--fail-with-body", "--noproxy", "*", "--header", &header];
    let sent = ["--header", "Content-Type: application/json", "--data", &body, &url];
    let dropped = environment.run("curl", &home, &[&arguments[..], &sent].concat()).ok().json();
    assert_eq!(dropped["forgotten"], 1);
    let run = newest(&environment, &pushed.push("third\n"), "succeeded");
    assert_eq!(run["summary"], "1 clean", "{}", logged(&environment));
    let run = newest(&environment, &pushed.push("fourth\n"), "succeeded");
    assert_eq!(run["summary"], "1 incremental", "{}", logged(&environment));
    server.end();
}

#[test]
fn a_server_that_is_killed_or_ended_is_gone_on_with() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("gate");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start(&environment);
    pushed.add();
    let commit = pushed.push("first\n");
    newest(&environment, &commit, "running");
    drop(server);
    assert_eq!(runs(&environment)[0]["state"], "running", "nobody was there to say otherwise");

    let server = Server::start(&environment);
    let run = newest(&environment, &commit, "running");
    assert_eq!(run["attempts"], 2);
    server.end();
    let run = runs(&environment).remove(0);
    assert_eq!(
        (&run["state"], &run["attempts"]),
        (&"queued".into(), &1.into()),
        "{}",
        logged(&environment)
    );

    let server = Server::start(&environment);
    newest(&environment, &commit, "running");
    fs::write(&gate, "").unwrap();
    let run = newest(&environment, &commit, "succeeded");
    assert_eq!(run["attempts"], 2);
    assert_eq!(runs(&environment).len(), 1);
    server.end();
}

#[test]
fn a_newer_push_stops_the_build_of_the_older_one() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("never");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start(&environment);
    pushed.add();
    let older = pushed.push("older\n");
    newest(&environment, &older, "running");
    // Somebody waits for it in vain.
    std::thread::sleep(Duration::from_secs(1));
    fs::remove_file(pushed.work.path.join("src/wait")).unwrap();
    let newer = pushed.push("newer\n");
    let run = newest(&environment, &newer, "succeeded");
    assert_eq!(run["attempts"], 1);
    let states: Vec<Value> =
        runs(&environment).into_iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["succeeded", "superseded"]);
    server.end();
}

/// Returns the logs of builds that a server keeps.
fn kept_logs(environment: &Environment) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![environment.path("home")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if directory.ends_with("levain/logs") {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn what_two_runs_want_is_built_once_and_stopped_when_nobody_wants_it() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("gate");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start(&environment);
    pushed.add();
    let commit = pushed.push("first\n");
    pushed.work.git(&["push", "--quiet", "origin", "main:topic"]);
    let live = |id: &Value| -> Value {
        let run: Value = serde_json::from_str(&server.get(&format!("/api/v1/runs/{id}"))).unwrap();
        run["live"]["builds"].clone()
    };
    let started = Instant::now();
    let (first, second) = loop {
        let builds: Vec<(Value, Value)> = runs(&environment)
            .into_iter()
            .filter(|run| run["state"] == "running")
            .map(|run| (run["id"].clone(), live(&run["id"])))
            .filter(|(_, builds)| builds.as_object().is_some_and(|builds| builds.len() == 1))
            .collect();
        if let [second, first] = builds.as_slice() {
            break (first.clone(), second.clone());
        }
        assert!(started.elapsed() < PATIENCE, "{builds:#?}\n{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    };
    let names =
        |builds: &Value| -> Vec<String> { builds.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&first.1), names(&second.1), "the same derivation is built for both");
    // One goes; the build goes on for the other.
    environment.levain(&environment.path("home"), &["cancel", &first.0.to_string()]).ok();
    let state = |id: &Value| {
        let all = runs(&environment);
        all.iter().find(|run| run["id"] == *id).unwrap()["state"].clone()
    };
    let started = Instant::now();
    while state(&first.0) != "cancelled" {
        assert!(started.elapsed() < PATIENCE, "{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(live(&second.0), second.1, "it is still the same build");
    fs::write(&gate, "").unwrap();
    let started = Instant::now();
    while state(&second.0) != "succeeded" {
        assert!(started.elapsed() < PATIENCE, "{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    let kept = kept_logs(&environment);
    assert_eq!(kept.len(), 1, "built once: {kept:?}");
    assert_eq!(newest(&environment, &commit, "succeeded")["summary"], "1 clean");
    server.end();
}

/// To repeat a failure, set `LEVAIN_TEST_SEED` to the seed that it printed.
#[test]
fn killed_at_any_moment_the_last_push_is_built() {
    let seed = std::env::var("LEVAIN_TEST_SEED");
    let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("LEVAIN_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let mut server = Some(Server::start(&environment));
    pushed.add();
    let mut last = String::new();
    for round in 0..8 {
        if random.bool() {
            // Nobody hears of this push.
            drop(server.take());
        }
        last = pushed.push(&format!("round {round}\n"));
        let server = server.get_or_insert_with(|| Server::start(&environment));
        std::thread::sleep(Duration::from_millis(random.u64(0..1_500)));
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        *server = Server::start(&environment);
    }
    let run = newest(&environment, &last, "succeeded");
    assert_eq!(run["jobset"], "heads/main");
    let all = runs(&environment);
    for (index, run) in all.iter().enumerate() {
        let state = run["state"].as_str().unwrap();
        // One that was begun three times before anybody looked is given up.
        let is_given_up = state == "errored" && run["attempts"] == 3;
        assert!(["succeeded", "superseded"].contains(&state) || is_given_up, "{all:#?}");
        let others = all.iter().filter(|other| other["commit"] == run["commit"]).count();
        assert_eq!(others, 1, "run {index} was queued more than once: {all:#?}");
    }
    let shadow = pushed.work.git(&["ls-remote", "origin", SHADOW]);
    pushed.work.git(&["fetch", "--quiet", "origin", SHADOW]);
    let (commit, _) = shadow.split_once('\t').unwrap();
    assert_eq!(pushed.work.git(&["show", &format!("{commit}:commit.txt")]), last);
    server.unwrap().end();
}

/// The forge's interface is real HTTP; its git is a directory.
#[test]
fn pull_requests_are_built_and_those_of_forks_when_they_are_approved() {
    let environment = Environment::new().with("no_proxy", "*");
    let work = incremental(&environment, "");
    let origin = environment.path("origin.git").display().to_string();
    work.git(&["init", "--quiet", "--bare", &origin]);
    work.git(&["remote", "add", "origin", &origin]);
    work.git(&["push", "--quiet", "origin", "main"]);
    let main = work.git(&["rev-parse", "HEAD"]);
    let mut pulls = Vec::new();
    for (number, repository) in [(1, 7), (2, 8)] {
        work.git(&["switch", "--quiet", "--detach", &main]);
        work.write("src/b.txt", &format!("of {number}\n"));
        let commit = work.commit("a change");
        // Forges list a new head before they move the ref.
        let moved = if number == 1 { &main } else { &commit };
        work.git(&["push", "--quiet", "origin", &format!("{moved}:refs/pull/{number}/head")]);
        pulls.push(serde_json::json!({
            "number": number,
            "head": { "sha": commit, "label": "t", "ref": "t", "repo_id": repository },
            "base": { "sha": main, "repo_id": 7 },
        }));
    }
    let head = |index: usize| pulls[index]["head"]["sha"].as_str().unwrap().to_owned();
    let (own, fork) = (head(0), head(1));
    let list = serde_json::Value::from(pulls);
    let forge = Forge::with(move |request| match request.method.as_str() {
        "GET" => wiremock::ResponseTemplate::new(200).set_body_json(list.clone()),
        _ => wiremock::ResponseTemplate::new(201).set_body_json(serde_json::json!({ "id": 1 })),
    });
    let home = environment.path("home");
    let url = format!("{}/octo/bread.git", forge.url());
    let settings = fs::read_to_string(home.join(".gitconfig")).unwrap();
    let settings = format!("{settings}[url \"{origin}\"]\ninsteadOf = {url}\n");
    fs::write(home.join(".gitconfig"), settings).unwrap();
    fs::write(home.join("token"), SECRET).unwrap();
    let add = |url: &str| {
        let args = ["project", "add", "bread", url, "--forge", "gitea", "--token-file", "token"];
        environment.levain(&home, &args)
    };
    add(&origin).code(1).says("--pull-requests none");
    let server = Server::start(&environment);
    add(&url).ok();
    let started = Instant::now();
    let states = || -> Vec<String> {
        let shown = |run: &Value| format!("{} {}", run["jobset"], run["state"]).replace('"', "");
        runs(&environment).iter().map(shown).collect()
    };
    let is_put_off = |run: &Value| run["jobset"] == "pull/1" && run["putOff"] == 1;
    while !runs(&environment).iter().any(is_put_off) {
        assert!(started.elapsed() < PATIENCE, "{:?}\n{}", states(), logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    work.git(&["push", "--quiet", "origin", &format!("{own}:refs/pull/1/head")]);
    let built = ["pull/2 unapproved", "pull/1 succeeded", "heads/main succeeded"];
    while states() != built {
        assert!(started.elapsed() < PATIENCE, "{:?}\n{}", states(), logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    let approve = |commit: &str| environment.levain(&home, &["approve", "bread", "2", commit]);
    approve(&own).code(1).says(&format!("the head of pull request 2 is {fork}"));
    approve(&fork[..12]).code(2);
    approve(&fork).ok();
    assert_eq!(newest(&environment, &fork, "succeeded")["jobset"], "pull/2");
    server.end();
}

/// Gitea answers so for a repository that it calls empty.
#[test]
fn a_repository_that_nobody_pushed_to_is_looked_at() {
    let environment = Environment::new().with("no_proxy", "*");
    let forge = Forge::answering(wiremock::ResponseTemplate::new(404).set_body_json(
        serde_json::json!({ "errors": null, "message": "The target couldn't be found.", "url": "" }),
    ));
    let home = environment.path("home");
    let origin = environment.path("origin.git").display().to_string();
    environment.run("git", &home, &["init", "--quiet", "--bare", &origin]).ok();
    let url = format!("{}/octo/bread.git", forge.url());
    let settings = fs::read_to_string(home.join(".gitconfig")).unwrap();
    let settings = format!("{settings}[url \"{origin}\"]\ninsteadOf = {url}\n");
    fs::write(home.join(".gitconfig"), settings).unwrap();
    fs::write(home.join("token"), SECRET).unwrap();
    let add = ["project", "add", "bread", &url, "--forge", "gitea", "--token-file", "token"];
    environment.levain(&home, &add).ok();
    let server = Server::start(&environment);
    let started = Instant::now();
    loop {
        let list = ["project", "list", "--format", "json"];
        let project = environment.levain(&home, &list).ok().json()[0].clone();
        if !project["lookedAt"].is_null() {
            assert!(project["lookFailed"].is_null(), "{project:#}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    server.end();
}

#[test]
fn a_forges_signed_delivery_ends_in_statuses_on_the_authors_commit() {
    let environment = Environment::new().with("no_proxy", "*");
    let forge = Forge::new();
    let work = incremental(&environment, &format!("; {}", forge.declared("github", "octo/bread")));
    let origin = environment.path("origin.git").display().to_string();
    work.git(&["init", "--quiet", "--bare", &origin]);
    work.git(&["remote", "add", "origin", &origin]);
    let home = environment.path("home");
    fs::write(home.join("token"), SECRET).unwrap();
    let server = Server::start(&environment);
    let ran = environment
        .levain(
            &home,
            &[
                "project",
                "add",
                "bread",
                &origin,
                "--forge",
                "github",
                "--token-file",
                "token",
                "--pull-requests",
                "none",
            ],
        )
        .ok();
    let told = |name: &str| {
        let line = ran.stdout.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", ran.stdout)).to_owned()
    };
    let (address, secret) = (told("address: "), told("secret: "));
    work.git(&["push", "--quiet", "origin", "main"]);
    let commit = work.git(&["rev-parse", "HEAD"]);
    let body = format!(r#"{{"ref": "refs/heads/main", "after": "{commit}"}}"#);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = data_encoding::HEXLOWER.encode(ring::hmac::sign(&key, body.as_bytes()).as_ref());
    let deliver = |signature: &str| {
        let line = format!("x-hub-signature-256: sha256={signature}");
        let code = environment.run(
            "curl",
            &home,
            &[
                "--silent",
                "--noproxy",
                "*",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
                "--header",
                "content-type: application/json",
                "--header",
                "x-github-event: push",
                "--header",
                "x-github-delivery: 1",
                "--header",
                &line,
                "--data",
                &body,
                &address,
            ],
        );
        code.ok().stdout
    };
    assert_eq!(deliver(&"0".repeat(64)), "401");
    assert_eq!(deliver(&tag), "202");
    newest(&environment, &commit, "succeeded");
    server.end();
    let summaries = forge.statuses("levain");
    assert_eq!(summaries.first().unwrap()[0], "pending", "{summaries:?}");
    assert_eq!(summaries.last().unwrap()[0], "success", "{summaries:?}");
    for request in forge.requests() {
        assert_eq!(request.url.path(), format!("/repos/octo/bread/statuses/{commit}"));
    }
    let log = logged(&environment);
    for secret in [SECRET, secret.as_str()] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Deliveries and listings are taken as ever, and nothing leaves the machine.
#[test]
fn in_read_only_mode_a_thousand_deliveries_write_nothing() {
    const DELIVERIES: usize = 1_000;
    let environment = Environment::new().with("no_proxy", "*");
    let list = serde_json::json!([]);
    let forge = Forge::with(move |request| match request.method.as_str() {
        "GET" => wiremock::ResponseTemplate::new(200).set_body_json(list.clone()),
        _ => wiremock::ResponseTemplate::new(201).set_body_json(serde_json::json!({ "id": 1 })),
    });
    let work = incremental(&environment, &format!("; {}", forge.declared("gitea", "octo/bread")));
    let origin = environment.path("origin.git").display().to_string();
    work.git(&["init", "--quiet", "--bare", &origin]);
    work.git(&["remote", "add", "origin", &origin]);
    let home = environment.path("home");
    let url = format!("{}/octo/bread.git", forge.url());
    let settings = fs::read_to_string(home.join(".gitconfig")).unwrap();
    let settings = format!("{settings}[url \"{origin}\"]\ninsteadOf = {url}\n");
    fs::write(home.join(".gitconfig"), settings).unwrap();
    fs::write(home.join("token"), SECRET).unwrap();
    work.git(&["push", "--quiet", "origin", "main"]);
    let commit = work.git(&["rev-parse", "HEAD"]);
    let refs = || work.git(&["ls-remote", "origin"]);
    let before = refs();
    let server = Server::start_with(&environment, &["--read-only"]);
    let args = ["project", "add", "bread", &url, "--forge", "gitea", "--token-file", "token"];
    let added = environment.levain(&home, &args).ok().stdout;
    let told = |name: &str| added.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let (address, secret) = (told("address: "), told("secret: "));
    let body = format!(r#"{{"ref": "refs/heads/main", "after": "{commit}"}}"#);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = data_encoding::HEXLOWER.encode(ring::hmac::sign(&key, body.as_bytes()).as_ref());
    let request = |number: usize| {
        format!(
            "url = \"{address}\"\nnoproxy = \"*\"\nsilent\noutput = \"/dev/null\"\n\
             write-out = \"%{{http_code}}\\n\"\nheader = \"content-type: application/json\"\n\
             header = \"x-gitea-event: push\"\nheader = \"x-gitea-delivery: {number}\"\n\
             header = \"x-gitea-signature: {tag}\"\ndata = \"{}\"\n",
            body.replace('"', "\\\"")
        )
    };
    let requests: Vec<String> = (0..DELIVERIES).map(request).collect();
    let file = environment.path("deliveries");
    fs::write(&file, requests.join("next\n")).unwrap();
    let codes = environment.run("curl", &home, &["--config", &file.display().to_string()]).ok();
    assert_eq!(codes.stdout.lines().filter(|code| *code == "202").count(), DELIVERIES);
    newest(&environment, &commit, "succeeded");
    let started = Instant::now();
    let waiting = || {
        let list = ["delivery", "list", "bread", "--format", "json"];
        environment.levain(&home, &list).ok().stdout.contains("\"waiting\"")
    };
    while waiting() {
        assert!(started.elapsed() < PATIENCE, "{}", logged(&environment));
        std::thread::sleep(Duration::from_millis(100));
    }
    server.end();
    assert_eq!(refs(), before, "nothing was pushed");
    let requests = forge.requests();
    assert!(!requests.is_empty(), "the forge was asked for pull requests");
    for request in requests {
        assert_eq!(request.method.as_str(), "GET", "{request:?}");
    }
    // Nor does the next server tell what this one did; before it ends, it tells what there is.
    Server::start(&environment).end();
    assert!(forge.requests().iter().all(|request| request.method.as_str() == "GET"));
}
