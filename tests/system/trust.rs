//! Branches and pull requests side by side: whose caches each may use, and what a pull request
//! cannot change.

use serde_json::Value;

use crate::environment::{Environment, Repository};
use crate::shadow::{EVERYWHERE, job, parts, pointer};

/// The default branch records, everything else builds incrementally.
const RECORD: &str = "{ enable = true; }";

/// A remote with branches and pull requests, and a clone to push from.
struct Forge<'a> {
    environment: &'a Environment,
    author: Repository<'a>,
    remote: Repository<'a>,
}

impl<'a> Forge<'a> {
    fn new(environment: &'a Environment, incremental: &str) -> Self {
        let author = environment.project("author", &["app"], incremental);
        author.commit("first");
        let remote = environment.remote_of(&author, "remote.git");
        Self { environment, author, remote }
    }

    /// Commits an edit on top of `from` and pushes it to a ref of the remote.
    fn push(&self, from: &str, text: &str, reference: &str) -> String {
        self.author.git(&["checkout", "--quiet", "--detach", from]);
        self.author.write("src/app/main.txt", text);
        let commit = self.author.commit(text.trim());
        self.author.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:{reference}")]);
        commit
    }

    /// Builds a branch or pull request in levain's mirror.
    #[track_caller]
    fn build(&self, args: &[&str]) -> Value {
        let url = self.remote.path.to_str().unwrap();
        let args: Vec<&str> = std::iter::once(url).chain(args.iter().copied()).collect();
        let report = self.environment.report(&self.environment.path("home"), &args);
        assert!(report["counters"]["failed"] == 0, "{report:#}");
        report
    }

    /// Returns levain's mirror.
    fn mirror(&self) -> Repository<'a> {
        let mirrors = self.environment.path("home/.local/state/levain/mirrors");
        let mut found = std::fs::read_dir(mirrors).unwrap();
        let path = found.next().unwrap().unwrap().path();
        Repository { environment: self.environment, path }
    }
}

fn started_from(report: &Value) -> String {
    let app = job(report, "app");
    match app["caches"][0]["path"].as_str() {
        Some(_) => {
            let cache = &app["caches"][0];
            let text = |name: &str| cache[name].as_str().unwrap().to_owned();
            format!("{} {}", text("origin"), text("jobset"))
        }
        None => {
            format!("{} {}", app["status"].as_str().unwrap(), app["reason"].as_str().unwrap_or("-"))
        }
    }
}

#[test]
fn branches_and_a_pull_request_side_by_side() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    let main = forge.build(&["--branch", "main"]);
    assert_eq!(started_from(&main), "clean disabled");
    let base = pointer(&main, "app");
    let places: [(&str, &[&str]); 3] = [
        ("refs/heads/x", &["--branch", "x"]),
        ("refs/heads/y", &["--branch", "y"]),
        ("refs/pull/1/head", &["--pull-request", "1"]),
    ];
    for (reference, args) in places {
        forge.push("main", &format!("{reference}\n"), reference);
        let report = forge.build(args);
        assert_eq!(started_from(&report), "ancestor heads/main", "{reference}: {report:#}");
        assert_eq!(job(&report, "app")["caches"][0]["path"], base.as_str());
    }
    let mirror = forge.mirror();
    let own = ["heads/x", "heads/y", "pull/1"].map(|jobset| mirror.entry(jobset, "app"));
    assert_ne!(own[0].path, own[1].path);
    assert_ne!(own[1].path, own[2].path);
    assert_eq!([&own[0].tier, &own[1].tier, &own[2].tier], ["branch", "branch", "fork"]);
    for ((reference, args), own) in places.into_iter().zip(&own) {
        let before = forge.remote.git(&["rev-parse", reference]);
        forge.author.git(&["fetch", "--quiet", "origin", reference]);
        forge.push(&before, &format!("{reference} again\n"), reference);
        let report = forge.build(args);
        let jobset = report["jobset"].as_str().unwrap();
        assert_eq!(started_from(&report), format!("own {jobset}"), "{report:#}");
        assert_eq!(job(&report, "app")["caches"][0]["path"], own.path.as_str());
    }
    assert_eq!(mirror.entry("heads/main", "app").path, base);
}

#[test]
fn an_unrelated_branch_shares_by_key() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    let main = forge.build(&["--branch", "main"]);
    forge.author.git(&["checkout", "--quiet", "--orphan", "island"]);
    forge.author.write("src/app/main.txt", "island\n");
    forge.author.write("ELSEWHERE", "only here\n");
    forge.author.commit("no common history");
    forge.author.git(&["push", "--quiet", "origin", "island"]);
    let report = forge.build(&["--branch", "island"]);
    assert_eq!(started_from(&report), "shared heads/main", "{report:#}");
    assert_eq!(job(&report, "app")["caches"][0]["path"], pointer(&main, "app"));
}

#[test]
fn a_new_branch_starts_from_its_nearest_ancestor() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    let mut built = Vec::new();
    for number in 0..3 {
        let commit = forge.push("main", &format!("{number}\n"), "refs/heads/main");
        forge.author.git(&["update-ref", "refs/heads/main", &commit]);
        built.push((commit, pointer(&forge.build(&["--branch", "main"]), "app")));
    }
    let (second, cache) = &built[1];
    forge.push(second, "topic\n", "refs/heads/topic");
    let report = forge.build(&["--branch", "topic"]);
    assert_eq!(started_from(&report), "ancestor heads/main", "{report:#}");
    assert_eq!(job(&report, "app")["caches"][0]["commit"], second.as_str());
    assert_eq!(job(&report, "app")["caches"][0]["path"], cache.as_str());
}

#[test]
fn a_pull_request_never_uses_another_ones_cache() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    let first = forge.push("main", "one\n", "refs/pull/1/head");
    let report = forge.build(&["--pull-request", "1"]);
    assert_eq!(started_from(&report), "clean first-build");
    // Even one on top of it: by ancestry and by key that cache would fit.
    forge.push(&first, "two\n", "refs/pull/2/head");
    let report = forge.build(&["--pull-request", "2"]);
    assert_eq!(started_from(&report), "clean untrusted", "{report:#}");
    assert_eq!(job(&report, "app")["reasonDetail"], "made by `pull/1`");
    assert_eq!(forge.mirror().entry("pull/2", "app").depth, 0);
}

#[test]
fn the_default_branch_relies_on_nothing_that_others_built_incrementally() {
    for (reference, args) in
        [("refs/heads/topic", ["--branch", "topic"]), ("refs/pull/1/head", ["--pull-request", "1"])]
    {
        let environment = Environment::new();
        let forge = Forge::new(&environment, EVERYWHERE);
        let base = pointer(&forge.build(&["--branch", "main"]), "app");
        let commit = forge.push("main", "merged\n", reference);
        let report = forge.build(&args);
        assert_eq!(started_from(&report), "ancestor heads/main");
        // The very same commit arrives on the default branch.
        forge.author.git(&["push", "--quiet", "origin", &format!("{commit}:refs/heads/main")]);
        let report = forge.build(&["--branch", "main"]);
        assert_eq!(started_from(&report), "own heads/main", "{report:#}");
        assert_eq!(job(&report, "app")["caches"][0]["path"], base.as_str());
        assert_eq!(forge.mirror().entry("heads/main", "app").tier, "default-branch");
        // Now it has succeeded there, which is good enough for everyone.
        let report = forge.build(&args);
        assert_eq!(job(&report, "app")["status"], "fresh");
    }
}

#[test]
fn the_default_branch_never_takes_a_branchs_or_pull_requests_cache() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, EVERYWHERE);
    let pull = forge.push("main", "pull\n", "refs/pull/1/head");
    assert_eq!(started_from(&forge.build(&["--pull-request", "1"])), "clean first-build");
    let topic = forge.push(&pull, "topic\n", "refs/heads/topic");
    assert_eq!(started_from(&forge.build(&["--branch", "topic"])), "clean untrusted");
    forge.push(&topic, "main\n", "refs/heads/main");
    let report = forge.build(&["--branch", "main"]);
    assert_eq!(started_from(&report), "clean untrusted", "{report:#}");
}

#[test]
fn only_what_is_the_projects_own_is_pushed() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    forge.push("main", "from a fork\n", "refs/pull/1/head");
    let report = forge.build(&["--pull-request", "1"]);
    assert_eq!(report["shadow"]["pushed"], false);
    assert_eq!(forge.remote.reference("refs/levain/pull/1"), None);
    assert!(forge.mirror().reference("refs/levain/pull/1").is_some());
    let commit = forge.push("main", "from a branch\n", "refs/heads/topic");
    forge.author.git(&["push", "--quiet", "origin", &format!("{commit}:refs/pull/2/head")]);
    let report = forge.build(&["--pull-request", "2"]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert!(forge.remote.reference("refs/levain/pull/2").is_some());
    assert_eq!(forge.remote.entry("pull/2", "app").tier, "pull-request");
    assert_eq!(forge.remote.reference("refs/levain/pull/1"), None);
}

#[test]
fn a_checkout_of_a_forks_head_does_not_make_it_the_projects_own() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    forge.push("main", "from a fork\n", "refs/pull/1/head");
    // As those do who try it out; the second, when they add the fork as a remote.
    forge.author.git(&["branch", "try"]);
    forge.author.git(&["update-ref", "refs/remotes/fork/try", "try"]);
    forge.author.git(&["checkout", "--quiet", "try"]);
    let report = forge.author.report(&["--pull-request", "1"]);
    assert_eq!(report["shadow"]["pushed"], false, "{report:#}");
    assert_eq!(forge.remote.reference("refs/levain/pull/1"), None);
    assert_eq!(forge.author.entry("pull/1", "app").tier, "fork");
}

#[test]
fn a_pull_request_cannot_change_the_declaration() {
    let environment = Environment::new();
    let forge = Forge::new(&environment, RECORD);
    let _main = forge.build(&["--branch", "main"]);
    forge.author.git(&["checkout", "--quiet", "--detach", "main"]);
    let flake = parts(&["app"], RECORD).replace(
        "levain.mkProject { incremental = { enable = true; }; }",
        "levain.mkProject { incremental.enable = false; shadow.ref = \"refs/heads/{{jobset}}\"; shadow.push = true; }",
    );
    assert!(flake.contains("refs/heads/{{jobset}}"));
    forge.push_flake(&flake);
    let report = forge.build(&["--pull-request", "1"]);
    assert_eq!(report["mode"], "incremental");
    assert_eq!(report["shadow"]["ref"], "refs/levain/pull/1");
    assert_eq!(forge.remote.reference("refs/heads/pull/1"), None);
    assert_eq!(started_from(&report), "ancestor heads/main", "{report:#}");
}

impl Forge<'_> {
    /// Pushes another flake as pull request 1.
    fn push_flake(&self, flake: &str) {
        self.author.write("flake.nix", flake);
        self.push("HEAD", "another flake\n", "refs/pull/1/head");
    }
}
