//! What a pull request may claim, in its flake and in its tree, and what that changes for others:
//! nothing.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::environment::{Environment, Repository};
use crate::shadow::{job, parts};

const POLICY: &str = "{ enable = true; }";

/// A project with a remote, whose author builds it with levain.
struct Project<'a> {
    author: Repository<'a>,
    flake: String,
}

impl<'a> Project<'a> {
    fn new(environment: &'a Environment) -> Self {
        let author = environment.project("author", &["app"], POLICY);
        author.commit("first");
        let _remote = environment.remote_of(&author, "remote.git");
        Self { author, flake: parts(&["app"], POLICY) }
    }

    /// Makes the work tree a commit of a fork's pull request, on top of `main`.
    fn pull_request(&self, number: u32) -> String {
        let commit = self.author.commit("from a fork");
        let reference = format!("HEAD:refs/pull/{number}/head");
        self.author.git(&["push", "--quiet", "--force", "origin", &reference]);
        self.author.git(&["checkout", "--quiet", "--force", "main"]);
        commit
    }

    /// Starts to work on a pull request.
    fn fork(&self) {
        self.author.git(&["checkout", "--quiet", "--detach", "main"]);
    }

    /// Returns the flake with `claim` applied to the derivation of each job.
    fn claiming(&self, claim: &str) -> String {
        let claiming = self
            .flake
            .replace("value = derivation {", &format!("value = ({claim}) (derivation {{"))
            .replace("args = [ ./builder.sh ];\n        };", "args = [ ./builder.sh ]; });");
        assert_eq!(claiming.matches(") (derivation {").count(), 1);
        assert!(claiming.contains("; });"));
        claiming
    }

    /// Commits an edit on the present branch.
    fn edit(&self, text: &str) {
        self.author.write("src/app/main.txt", text);
        self.author.commit(text.trim());
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Value {
        let report = self.author.report(args);
        assert!(report["jobs"].is_array(), "{report:#}");
        report
    }
}

/// Returns the text of a job's output.
#[track_caller]
fn output(report: &Value) -> String {
    let path = job(report, "app")["outputs"]["out"].as_str();
    fs::read_to_string(path.unwrap_or_else(|| panic!("{report:#}"))).unwrap()
}

#[test]
fn outputs_of_ones_own_choice() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    assert_eq!(project.run(&[])["counters"]["failed"], 0);
    project.fork();
    project.author.write("evil/main.txt", "evil\n");
    let claim = "d: { inherit (d) type drvPath; name = \"other\"; system = \"x86_64-linux\";
        outputs = [ \"out\" \"cache\" ]; out.outPath = \"${./evil}\"; cache.outPath = \"${./evil}\"; }";
    project.author.write("flake.nix", &project.claiming(claim));
    project.author.write("src/app/main.txt", "next\n");
    project.pull_request(7);
    let report = project.run(&["--pull-request", "7"]);
    assert_eq!(job(&report, "app")["name"], "app");
    assert_eq!(output(&report), "next\n");
    // The same sources arrive on the default branch, and are the base of another.
    project.edit("next\n");
    assert_eq!(output(&project.run(&[])), "next\n");
    project.author.git(&["checkout", "--quiet", "-b", "topic"]);
    project.edit("topic\n");
    let report = project.run(&[]);
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
    assert_eq!(output(&report), "topic\n");
    let cache = job(&report, "app")["caches"][0]["path"].as_str().unwrap();
    assert_eq!(fs::read_to_string(format!("{cache}/main.txt")).unwrap(), "next\n");
}

#[test]
fn outputs_that_are_left_out() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    for claim in [
        "d: d // { outputs = [ ]; }",
        "d: { inherit (d) type drvPath; outputs = [ ]; }",
        "d: d // { outputs = [ \"out\" ]; out = ./flake.nix; outPath = ./flake.nix; }",
    ] {
        project.author.write("src/app/fail", "");
        project.author.write("flake.nix", &project.claiming(claim));
        project.author.commit("claims");
        let report = project.run(&[]);
        assert_eq!(job(&report, "app")["status"], "failed", "{claim}: {report:#}");
    }
}

#[test]
fn a_key_of_ones_own_choice() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    project.fork();
    let claim = "d: d // { levain.key = \"mallory\"; }";
    project.author.write("flake.nix", &project.claiming(claim));
    project.author.write("src/app/main.txt", "next\n");
    project.pull_request(7);
    let report = project.run(&["--pull-request", "7"]);
    assert_eq!(job(&report, "app")["status"], "clean");
    let keyed = project.author.entry("pull/7", "app");
    project.edit("next\n");
    let report = project.run(&[]);
    // The derivation is the same, and has succeeded.
    assert_eq!(job(&report, "app")["status"], "fresh", "{report:#}");
    let own = project.author.entry("heads/main", "app");
    // It is not pushed yet, so the remote does not list it as a part of the default branch.
    assert_eq!((own.path, own.tier.as_str()), (keyed.path, "branch"));
    assert_ne!(own.key, keyed.key);
    project.author.git(&["checkout", "--quiet", "-b", "topic"]);
    project.edit("topic\n");
    let report = project.run(&[]);
    assert_eq!(job(&report, "app")["status"], "incremental", "{report:#}");
}

#[test]
fn a_derivation_that_nix_refused_is_none() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    let main = project.run(&[]);
    let real = job(&main, "app")["baseDrvPath"].as_str().unwrap();
    // Nix writes the file, computes the outputs, and refuses to register it; the file stays.
    let forged = fs::read_to_string(real).unwrap().replace("builder.sh", "evil----.sh");
    project.fork();
    let text = serde_json::to_string(&forged).unwrap().replace("${", "\\${");
    project.author.write("forged.nix", &format!("builtins.toFile \"app.drv\" {text}"));
    project
        .author
        .write("flake.nix", &project.claiming("d: d // { drvPath = import ./forged.nix; }"));
    project.pull_request(7);
    let refused = project.run(&["--pull-request", "7"]);
    let error = job(&refused, "app")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("has incorrect output"), "{error}");
    let left = error.split('\'').find(|part| part.ends_with("-app.drv"));
    let left = left.map(str::to_owned).unwrap_or_else(|| {
        // Later versions do not name it.
        let files = fs::read_dir(environment.path("store")).unwrap();
        let mut paths = files.map(|file| file.unwrap().path().display().to_string());
        paths.find(|path| path.ends_with("-app.drv") && !environment.is_valid(path)).unwrap()
    });
    assert!(fs::symlink_metadata(&left).is_ok() && !environment.is_valid(&left));
    project.fork();
    let claim = format!("d: d // {{ drvPath = \"{left}\"; }}");
    project.author.write("flake.nix", &project.claiming(&claim));
    project.pull_request(8);
    let report = project.run(&["--pull-request", "8"]);
    let error = job(&report, "app")["error"].as_str().unwrap();
    assert!(error.contains("is not in the store"), "{report:#}");
}

#[test]
fn whatever_lies_where_levains_files_belong() {
    let environment = Environment::new();
    let project = Project::new(&environment);
    assert_eq!(project.run(&[])["counters"]["failed"], 0);
    type Make = fn(&Repository<'_>);
    let makes: [(&str, Make); 5] = [
        ("a symbolic link at `cache.nix`", |author| {
            symlink("/etc/passwd", author.path.join("cache.nix")).unwrap();
        }),
        ("a directory at `cache.nix`", |author| author.write("cache.nix/x", "")),
        ("a submodule at `cache.nix`", |author| {
            author.git(&["clone", "--quiet", ".git", "cache.nix"]);
        }),
        ("a file too large for a cache pointer at `cache.nix`", |author| {
            author.write("cache.nix", &" ".repeat((16 << 20) + 1));
        }),
        ("a directory at `commit.txt`", |author| {
            author.write("cache.nix", "null\n");
            fs::remove_file(author.path.join("commit.txt")).unwrap();
            author.write("commit.txt/x", "");
        }),
    ];
    for (number, (told, make)) in (7..).zip(makes) {
        project.fork();
        fs::remove_file(project.author.path.join("cache.nix")).unwrap();
        make(&project.author);
        project.author.write("src/app/main.txt", &format!("{number}\n"));
        project.pull_request(number);
        // A submodule's directory stays behind.
        fs::remove_dir_all(project.author.path.join("cache.nix")).ok();
        project.author.git(&["checkout", "--quiet", "--force", "main"]);
        let report = project.run(&["--pull-request", &number.to_string()]);
        assert_eq!(job(&report, "app")["status"], "incremental", "{told}: {report:#}");
        assert!(report["notices"].to_string().contains(told), "{told}: {report:#}");
        let reference = format!("refs/levain/pull/{number}");
        for file in ["cache.nix", "commit.txt"] {
            let entry = project.author.git(&["ls-tree", &reference, file]);
            assert!(entry.starts_with("100644 blob"), "{told}: {entry}");
        }
    }
}
