//! What deleted branches and pull requests left is released, and nothing else.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::environment::{Environment, Repository};
use crate::shadow::EVERYWHERE;
use crate::status::Forge;

/// A remote with `main`, the branches `x` and `y`, and pull request 1, and who pushes to it.
struct World<'a> {
    environment: &'a Environment,
    author: Repository<'a>,
    remote: Repository<'a>,
}

impl<'a> World<'a> {
    fn new(environment: &'a Environment) -> Self {
        Self::with(environment, EVERYWHERE)
    }

    /// Makes a world whose project has these settings.
    fn with(environment: &'a Environment, settings: &str) -> Self {
        let author = environment.project("author", &["app"], settings);
        author.commit("first");
        let remote = environment.remote_of(&author, "remote.git");
        for reference in ["refs/heads/x", "refs/heads/y", "refs/pull/1/head"] {
            author.git(&["checkout", "--quiet", "--detach", "main"]);
            author.write("src/app/main.txt", reference);
            author.commit(reference);
            author.git(&["push", "--quiet", "origin", &format!("HEAD:{reference}")]);
        }
        author.git(&["checkout", "--quiet", "main"]);
        Self { environment, author, remote }
    }

    /// Builds in levain's mirror.
    fn build(&self, args: &[&str]) -> Value {
        let url = self.remote.path.to_str().unwrap();
        let args: Vec<&str> = [&[url], args].concat();
        let report = self.environment.report(&self.environment.path("home"), &args);
        assert_eq!(report["counters"]["failed"], 0, "{report:#}");
        assert_eq!(report["undelivered"], serde_json::json!([]), "{report:#}");
        report
    }

    fn build_all(&self) {
        for args in [["--branch", "main"], ["--branch", "x"], ["--branch", "y"]] {
            self.build(&args);
        }
        self.build(&["--pull-request", "1"]);
    }

    /// Returns levain's mirror.
    fn mirror(&self) -> Repository<'a> {
        let mirrors = self.environment.path("home/.local/state/levain/mirrors");
        let path = std::fs::read_dir(mirrors).unwrap().next().unwrap().unwrap().path();
        Repository { environment: self.environment, path }
    }
}

/// Returns the names of levain's refs, without `refs/`.
fn refs(repository: &Repository<'_>) -> Vec<String> {
    let all = repository.git(&["for-each-ref", "--format=%(refname)"]);
    let ours = all.lines().filter_map(|name| name.strip_prefix("refs/levain"));
    ours.map(|name| format!("levain{name}")).collect()
}

fn roots(repository: &Repository<'_>) -> usize {
    std::fs::read_dir(repository.path.join("levain/roots")).unwrap().count()
}

#[test]
fn a_deleted_branch_is_released_here_and_at_the_remote() {
    let environment = Environment::new();
    let world = World::new(&environment);
    world.build_all();
    let mirror = world.mirror();
    let path = mirror.entry("heads/x", "app").path;
    let before = roots(&mirror);
    let all = [
        "levain-fetched/pull/1",
        "levain-remote/origin/levain/heads/main",
        "levain-remote/origin/levain/heads/x",
        "levain-remote/origin/levain/heads/y",
        "levain/heads/main",
        "levain/heads/x",
        "levain/heads/y",
        "levain/pull/1",
    ];
    assert_eq!(refs(&mirror), all);
    assert_eq!(refs(&world.remote), ["levain/heads/main", "levain/heads/x", "levain/heads/y"]);
    // Nothing is gone.
    world.build(&["--branch", "main"]);
    assert_eq!(refs(&mirror), all);

    world.author.git(&["push", "--quiet", "origin", ":refs/heads/x"]);
    world.build(&["--branch", "main"]);
    let left: Vec<&str> = all.into_iter().filter(|name| !name.ends_with("heads/x")).collect();
    assert_eq!(refs(&mirror), left);
    assert_eq!(refs(&world.remote), ["levain/heads/main", "levain/heads/y"]);
    assert_eq!(roots(&mirror), before - 1);
    environment.collect_garbage();
    assert!(!environment.is_valid(&path));

    world.author.git(&["push", "--quiet", "origin", ":refs/pull/1/head"]);
    world.build(&["--branch", "main"]);
    let left: Vec<&str> = left.into_iter().filter(|name| !name.ends_with("pull/1")).collect();
    assert_eq!(refs(&mirror), left);
    mirror.assert_pointers_hold("heads/main");
    mirror.assert_pointers_hold("heads/y");
}

#[test]
fn a_closed_pull_request_is_released_though_its_head_is_still_there() {
    let environment = Environment::new();
    let said = Arc::new(Mutex::new(ResponseTemplate::new(404)));
    let answer = Arc::clone(&said);
    let forge = Forge::with(move |request| match request.method.as_str() {
        "GET" => answer.lock().unwrap().clone(),
        _ => ResponseTemplate::new(201).set_body_json(json!({ "id": 1 })),
    });
    let settings = format!("{EVERYWHERE}; {}", forge.declared("gitea", "octo/bread"));
    let world = World::with(&environment, &settings);
    world.build_all();
    let mirror = world.mirror();
    let ours = ["levain-fetched/pull/1", "levain/pull/1"].map(str::to_owned);
    let url = world.remote.path.to_str().unwrap();
    let state = |state: &str| ResponseTemplate::new(200).set_body_json(json!({ "state": state }));
    for (answer, is_there) in
        [(ResponseTemplate::new(404), true), (state("open"), true), (state("closed"), false)]
    {
        *said.lock().unwrap() = answer;
        world.author.levain_with_token(&["run", url, "--branch", "main"]).ok();
        let refs = refs(&mirror);
        assert!(ours.iter().all(|name| refs.contains(name) == is_there), "{refs:?}");
    }
    let asked = forge.requests().into_iter().filter(|request| request.method.as_str() == "GET");
    let asked: Vec<String> = asked.map(|request| request.url.path().to_owned()).collect();
    assert_eq!(asked, ["/api/v1/repos/octo/bread/pulls/1"; 3]);
    mirror.assert_pointers_hold("heads/main");
}

#[test]
fn what_another_levain_wrote_stays_at_the_remote() {
    let environment = Environment::new();
    let world = World::new(&environment);
    world.build(&["--branch", "x"]);
    let clone = environment.clone_of(&world.remote, "clone");
    world.author.git(&["push", "--quiet", "origin", ":refs/heads/x"]);
    let report = clone.report(&[]);
    assert_eq!(report["counters"]["clean"], 1, "{report:#}");
    assert!(world.remote.reference("refs/levain/heads/x").is_some());
    // Whoever wrote it, however, releases it, unless it was changed meanwhile.
    let written = world.remote.git(&["rev-parse", "refs/levain/heads/x"]);
    world.remote.git(&["update-ref", "refs/levain/heads/x", "refs/heads/y"]);
    world.build(&["--branch", "main"]);
    assert!(world.remote.reference("refs/levain/heads/x").is_some());
    world.remote.git(&["update-ref", "refs/levain/heads/x", &written]);
    world.author.write("src/app/main.txt", "so that shadow branches are fetched\n");
    world.author.commit("edit");
    world.author.git(&["push", "--quiet", "origin", "main"]);
    world.build(&["--branch", "main"]);
    assert_eq!(world.remote.reference("refs/levain/heads/x"), None);
}

#[test]
fn a_checkout_with_one_key_for_all_releases_what_another_wrote() {
    let environment = Environment::new().with_one_signing_key();
    let world = World::new(&environment);
    world.build(&["--branch", "x"]);
    world.author.git(&["push", "--quiet", "origin", ":refs/heads/x"]);
    let clone = environment.clone_of(&world.remote, "clone");
    clone.report(&[]);
    assert_eq!(world.remote.reference("refs/levain/heads/x"), None);
    assert!(world.remote.reference("refs/levain/heads/main").is_some());
}

#[test]
fn nothing_is_released_on_a_guess() {
    let environment = Environment::new();
    let world = World::new(&environment);
    let author = &world.author;
    author.report(&[]);
    author.git(&["checkout", "--quiet", "-b", "only-here"]);
    author.write("src/app/main.txt", "only here\n");
    author.commit("never pushed");
    author.report(&[]);
    author.git(&["checkout", "--quiet", "main"]);
    // The remote does not have it, but it is here.
    author.report(&[]);
    assert!(author.reference("refs/levain/heads/only-here").is_some());
    author.git(&["branch", "--quiet", "-D", "only-here"]);
    // Read-only, or without an answer, or one of a repository that has nothing.
    author.report(&["--read-only"]);
    let elsewhere = environment.path("elsewhere.git");
    std::fs::rename(&world.remote.path, &elsewhere).unwrap();
    author.report(&[]);
    author.git(&["init", "--quiet", "--bare", world.remote.path.to_str().unwrap()]);
    author.report(&["--no-push"]);
    std::fs::remove_dir_all(&world.remote.path).unwrap();
    assert!(author.reference("refs/levain/heads/only-here").is_some());
    std::fs::rename(&elsewhere, &world.remote.path).unwrap();
    author.report(&[]);
    assert_eq!(author.reference("refs/levain/heads/only-here"), None);
    assert_eq!(world.remote.reference("refs/levain/heads/only-here"), None);
    assert!(world.remote.reference("refs/levain/heads/main").is_some());
}

#[test]
fn without_a_remote_the_branches_here_count() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    repository.report(&[]);
    repository.git(&["checkout", "--quiet", "-b", "topic"]);
    repository.write("src/app/main.txt", "topic\n");
    repository.commit("topic");
    repository.report(&[]);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.report(&[]);
    assert!(repository.reference("refs/levain/heads/topic").is_some());
    repository.git(&["branch", "--quiet", "-D", "topic"]);
    repository.report(&[]);
    assert_eq!(refs(&repository), ["levain/heads/main"]);
}
