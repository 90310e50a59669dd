//! Checkouts as people and CI systems make them, each with the real git: `levain run` works in it
//! completely, or says by name what it does not do. And what counts as a fork's in them.

use serde_json::Value;

use crate::environment::{Environment, Ran, Repository};
use crate::shadow::{EVERYWHERE, job};

/// A remote whose default branch has a declaration and whose branch `topic` is one commit ahead,
/// with a pull request 7 and its merge.
pub(crate) struct Remote<'a> {
    environment: &'a Environment,
    author: Repository<'a>,
    pub(crate) url: String,
    default: &'static str,
}

/// What is expected of a run in a checkout.
struct Expected {
    jobset: &'static str,
    tier: &'static str,
}

impl<'a> Remote<'a> {
    pub(crate) fn new(environment: &'a Environment, default: &'static str) -> Self {
        let author = environment.project("author", &["app"], EVERYWHERE);
        author.commit("first");
        author.git(&["branch", "--quiet", "-M", default]);
        // A commit that shallow clones lack.
        author.commit("second");
        let path = environment.path("remote.git");
        let url = format!("file://{}", path.display());
        author.git(&["clone", "--quiet", "--bare", ".", path.to_str().unwrap()]);
        author.git(&["remote", "add", "origin", &url]);
        let remote = Self { environment, author, url, default };
        remote.bare(&["config", "uploadpack.allowFilter", "true"]);
        remote.bare(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        remote.push("topic\n", "refs/heads/topic");
        remote.push("theirs\n", "refs/pull/7/head");
        // As forges make it: the default branch, and the pull request merged into it.
        let tree = remote.bare(&["rev-parse", "refs/pull/7/head^{tree}"]);
        let merge = remote.bare(&[
            "commit-tree",
            &tree,
            "-p",
            default,
            "-p",
            "refs/pull/7/head",
            "-m",
            "Merge",
        ]);
        remote.bare(&["update-ref", "refs/pull/7/merge", &merge]);
        remote
    }

    pub(crate) fn bare(&self, args: &[&str]) -> String {
        let ran = self.environment.run("git", &self.environment.path("remote.git"), args).ok();
        ran.stdout.trim().to_owned()
    }

    /// Pushes an edit of the default branch to a ref, and leaves no other trace of it.
    pub(crate) fn push(&self, text: &str, reference: &str) {
        self.author.git(&["checkout", "--quiet", "--detach", self.default]);
        self.author.write("src/app/main.txt", text);
        self.author.commit(text.trim());
        self.author.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:{reference}")]);
        self.author.git(&["checkout", "--quiet", self.default]);
    }

    /// Runs a script in an empty directory; `$URL` is the remote. Returns the repository `c`.
    pub(crate) fn checkout(&self, name: &str, script: &str) -> Repository<'a> {
        let path = self.environment.path(name);
        std::fs::create_dir(&path).unwrap();
        let script = format!("set -eu; URL={}; {script}", self.url);
        let ran = self.environment.run("/bin/sh", &path, &["-c", &script]);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
        Repository { environment: self.environment, path: path.join("c") }
    }
}

fn report(checkout: &Repository<'_>, args: &[&str], variables: &[(&str, &str)]) -> (Value, Ran) {
    let args: Vec<&str> = ["run", "--format", "json"].iter().chain(args).copied().collect();
    let mut command = checkout.environment.levain_command(&checkout.path, &args);
    command.envs(variables.iter().copied());
    let ran: Ran = command.output().unwrap().into();
    let ran = ran.ok();
    (ran.json(), ran)
}

/// Runs levain in a checkout and compares with what is expected.
#[track_caller]
fn runs(
    checkout: &Repository<'_>,
    args: &[&str],
    variables: &[(&str, &str)],
    expected: &Expected,
) -> Value {
    let (report, ran) = report(checkout, args, variables);
    let Expected { jobset, tier } = expected;
    assert_eq!(report["jobset"], *jobset, "{}", ran.stderr);
    assert_eq!(report["mode"], "incremental", "no declaration: {}", ran.stderr);
    assert_ne!(job(&report, "app")["status"], "failed", "{report:#}");
    if !args.contains(&"--read-only") {
        assert_eq!(checkout.entry(jobset, "app").tier, *tier, "{}", ran.stderr);
        // Only what is the project's own leaves the machine.
        assert_eq!(report["shadow"]["pushed"], *tier != "fork", "{report:#}");
    }
    report
}

const TOPIC: Expected = Expected { jobset: "heads/topic", tier: "branch" };
const TRUNK: Expected = Expected { jobset: "heads/trunk", tier: "default-branch" };
const FORK: Expected = Expected { jobset: "pull/7", tier: "fork" };

#[test]
fn clones_of_every_kind() {
    let environment = Environment::new();
    // Neither `main` nor `master`.
    let remote = Remote::new(&environment, "trunk");
    for (name, script, expected) in [
        ("whole", "git clone -q $URL c", TRUNK),
        ("branch", "git clone -q -b topic $URL c", TOPIC),
        ("single", "git clone -q -b topic --single-branch $URL c", TOPIC),
        ("shallow", "git clone -q --depth 1 $URL c", TRUNK),
        ("shallow-topic", "git clone -q --depth 1 -b topic $URL c", TOPIC),
        ("no-head", "git clone -q -b topic $URL c; git -C c remote set-head origin -d", TOPIC),
        (
            "wrong-head",
            "git clone -q -b topic $URL c; git -C c symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/topic",
            TOPIC,
        ),
        ("renamed", "git clone -q -o upstream -b topic $URL c", TOPIC),
        (
            "two-remotes",
            "git clone -q -o upstream -b topic $URL c; cd c; git remote add fork /nowhere; git config checkout.defaultRemote upstream",
            TOPIC,
        ),
        ("separate", "git clone -q -b topic --separate-git-dir=g $URL c", TOPIC),
        (
            "linked",
            "git clone -q --depth 1 --no-single-branch $URL m; git -C m worktree add -q ../c topic",
            TOPIC,
        ),
        (
            "reference",
            "git clone -q --bare $URL r; git clone -q -s -b topic r c; git -C c remote set-url origin $URL",
            TOPIC,
        ),
        ("blobless", "git clone -q --filter=blob:none -b topic $URL c", TOPIC),
        ("treeless", "git clone -q --filter=tree:0 -b topic $URL c", TOPIC),
        ("blobless-bare", "git clone -q --filter=blob:none --bare $URL c", TRUNK),
        ("mirror", "git clone -q --mirror $URL c", TRUNK),
        (
            "grafted",
            "git clone -q -b topic $URL c; cd c; git rev-parse HEAD~1 > .git/info/grafts",
            TOPIC,
        ),
    ] {
        let checkout = remote.checkout(name, script);
        let report = runs(&checkout, &[], &[], &expected);
        assert_eq!(report["notices"], serde_json::json!([]), "{name}: {report:#}");
        // The next checkout starts from nothing, too.
        remote.bare(&["update-ref", "-d", "refs/levain/heads/topic"]);
        remote.bare(&["update-ref", "-d", "refs/levain/heads/trunk"]);
    }
}

#[test]
fn checkouts_of_ci_systems() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let actions = |source: &str, target: &str| {
        format!(
            "git init -q c; cd c; git remote add origin $URL; git fetch -q --no-tags --depth=1 origin +{source}:{target}; git checkout -q --detach {target}"
        )
    };
    let pipeline = |source: &str| actions(source, "refs/pipelines/12");
    let main = Expected { jobset: "heads/main", tier: "default-branch" };
    for (name, script, variables, expected) in [
        ("gh-main", actions("refs/heads/main", "refs/remotes/origin/main"), vec![], &main),
        ("gh-topic", actions("refs/heads/topic", "refs/remotes/origin/topic"), vec![], &TOPIC),
        (
            "gh-topic-named",
            actions("refs/heads/topic", "refs/remotes/origin/topic"),
            vec![("GITHUB_REF", "refs/heads/topic")],
            &TOPIC,
        ),
        ("gh-pull", actions("refs/pull/7/merge", "refs/remotes/pull/7/merge"), vec![], &FORK),
        (
            "gh-pull-named",
            actions("refs/pull/7/merge", "refs/remotes/pull/7/merge"),
            // The fork chose the name of its branch.
            vec![("GITHUB_REF", "refs/pull/7/merge"), ("GITHUB_HEAD_REF", "main")],
            &FORK,
        ),
        ("gl-main", pipeline("refs/heads/main"), vec![("CI_COMMIT_BRANCH", "main")], &main),
        ("gl-topic", pipeline("refs/heads/topic"), vec![], &TOPIC),
        (
            "gl-merge-request",
            pipeline("refs/pull/7/head"),
            vec![("CI_MERGE_REQUEST_IID", "7"), ("CI_COMMIT_REF_NAME", "main")],
            &FORK,
        ),
        // No name raises trust: the commit is on no branch that the remote lists.
        (
            "gl-merge-request-of-own-branch",
            pipeline("refs/heads/topic"),
            vec![("CI_MERGE_REQUEST_IID", "8")],
            &Expected { jobset: "pull/8", tier: "pull-request" },
        ),
    ] {
        let checkout = remote.checkout(name, &script);
        runs(&checkout, &[], &variables, expected);
    }
    for (name, variables) in [
        ("lie", vec![("GITHUB_REF", "refs/heads/main")]),
        ("gl-lie", vec![("CI_COMMIT_BRANCH", "main")]),
        ("silence", vec![]),
    ] {
        let checkout = remote.checkout(name, &pipeline("refs/pull/7/head"));
        let mut command = environment.levain_command(&checkout.path, &["run"]);
        command.envs(variables);
        let ran: Ran = command.output().unwrap().into();
        ran.code(1).says("is on no branch").says("hint: name the jobset with `--branch`");
    }
    // A branch that moved on since it was checked out is still that branch.
    let checkout =
        remote.checkout("gh-old", &actions("refs/heads/main", "refs/remotes/origin/main"));
    remote.author.commit("third");
    remote.author.git(&["push", "--quiet", "origin", "main"]);
    let before = checkout.git(&["rev-parse", "HEAD"]);
    let report = runs(&checkout, &[], &[("GITHUB_REF", "refs/heads/main")], &main);
    assert_eq!(report["originalCommit"], before.as_str());
}

#[test]
fn a_branch_that_was_not_cloned_is_fetched_by_name() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let checkout = remote.checkout("single", "git clone -q -b topic --single-branch $URL c");
    let main = Expected { jobset: "heads/main", tier: "default-branch" };
    runs(&checkout, &["--branch", "main", "--read-only"], &[], &main);
    assert_eq!(checkout.git(&["for-each-ref", "refs/levain*"]), "");
    runs(&checkout, &["--branch", "main"], &[], &main);
    assert_eq!(checkout.reference("refs/heads/main"), None);
    let blobless = remote.checkout("blobless", "git clone -q --filter=blob:none -b topic $URL c");
    let before = blobless.git(&["count-objects", "-v"]);
    runs(&blobless, &["--pull-request", "7", "--read-only"], &[], &FORK);
    assert_eq!(blobless.git(&["count-objects", "-v"]), before);
    runs(&blobless, &["--pull-request", "7"], &[], &FORK);
}

#[test]
fn what_levain_cannot_read_is_refused_by_name() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let refused = |name: &str, script: &str, message: &str, hint: &str| {
        let checkout = remote.checkout(name, script);
        checkout.levain(&["run"]).code(1).says(message).says(hint);
    };
    refused(
        "sha256",
        "git init -q --object-format=sha256 c",
        "object names of another kind than SHA-1",
        "hint: push the project to a repository that `git init --object-format=sha1` made",
    );
    refused(
        "reftable",
        "git clone -q $URL c; git -C c config core.repositoryformatversion 1; git -C c config extensions.refStorage reftable",
        "the setting `extensions.refstorage`",
        "hint: `git clone --ref-format=files`",
    );
    refused(
        "remotes",
        "git clone -q -o a $URL c; git -C c remote add b /nowhere",
        "has 2 remotes and none is called `origin`: a, b",
        "hint: `git config checkout.defaultRemote a`",
    );
}

#[test]
fn a_declaration_that_cannot_be_read_is_missed() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let told = |name: &str, script: &str| {
        let (report, _) = report(&remote.checkout(name, script), &[], &[]);
        assert_eq!(report["mode"], "off");
        report["notices"].to_string()
    };
    let off = "no declaration: incremental mode is off";
    let gone = "git clone -q -b topic $URL c; cd c; git update-ref -d refs/remotes/origin/main; git remote set-url origin /nowhere";
    let notices = told("gone", gone);
    assert!(notices.contains(off) && notices.contains("could not be fetched"), "{notices}");
    let gone =
        "git clone -q -b topic --single-branch $URL c; git -C c remote set-url origin /nowhere";
    let notices = told("gone-single", gone);
    assert!(notices.contains(off) && notices.contains("`origin` cannot be asked"), "{notices}");
    remote.bare(&["symbolic-ref", "HEAD", "refs/heads/nothing"]);
    remote.bare(&["update-ref", "-d", "refs/heads/main"]);
    let notices = told("headless", "git clone -q -b topic $URL c");
    assert!(notices.contains("nothing tells which branch is the default branch"), "{notices}");
}

#[test]
fn no_ref_that_a_fork_fills_makes_its_commits_the_projects_own() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    remote.bare(&["clone", "--quiet", "--bare", ".", "../fork.git"]);
    let fork = environment.path("fork.git");
    environment
        .run("git", &fork, &["fetch", "-q", &remote.url, "+refs/pull/7/head:refs/heads/main"])
        .ok();
    let fetched = "git clone -q $URL c; cd c; git config --add remote.origin.fetch '+refs/pull/*/head:refs/remotes/origin/pr/*'; git fetch -q";
    let patch = Expected { jobset: "heads/patch", tier: "fork" };
    let main = Expected { jobset: "heads/main", tier: "fork" };
    for (name, script, args, expected) in [
        ("tracking", fetched.to_owned(), ["--pull-request", "7"].as_slice(), &FORK),
        ("local", format!("{fetched}; git checkout -q -b patch origin/pr/7"), &[], &patch),
        (
            "more",
            format!("{fetched}; git checkout -q -b patch origin/pr/7; git commit -q --allow-empty -m more"),
            &[],
            &patch,
        ),
        ("merged", format!("{fetched}; git merge -q origin/pr/7"), &[], &main),
        (
            "resolved",
            format!("{fetched}; echo mine > src/app/main.txt; git commit -qam mine; git checkout -q -b patch origin/pr/7; git rebase -q --apply main || true; echo both > src/app/main.txt; git commit -qam both; git rebase --skip"),
            &[],
            &patch,
        ),
        (
            "second-remote",
            "git clone -q $URL c; cd c; git remote add fork ../../fork.git; git fetch -q fork; git checkout -q -B main fork/main".into(),
            &[],
            &main,
        ),
        (
            "mirrored",
            "git clone -q --mirror $URL c; git -C c update-ref refs/heads/patch refs/pull/7/head; git -C c symbolic-ref HEAD refs/heads/patch".into(),
            &[],
            &patch,
        ),
        (
            "tagged",
            format!("{fetched}; git tag v1 origin/pr/7; git checkout -q -b patch v1"),
            &[],
            &patch,
        ),
        (
            "head",
            format!("{fetched}; git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/pr/7; git checkout -q -b patch origin/pr/7"),
            &[],
            &patch,
        ),
    ] {
        let checkout = remote.checkout(name, &script);
        let report = runs(&checkout, args, &[], expected);
        if expected.jobset != FORK.jobset {
            assert!(report["notices"].to_string().contains("counts as a fork's"), "{report:#}");
        }
        // It does start from what the project's branches made, once there is something.
        assert_eq!(remote.bare(&["for-each-ref", "refs/levain"]), "", "{name}");
    }
    // The same commit on a branch that the remote lists is the project's own, whatever its name.
    remote.bare(&["update-ref", "refs/heads/pr/7", "refs/pull/7/head"]);
    let checkout = remote.checkout("listed", "git clone -q $URL c");
    let own = Expected { jobset: "pull/7", tier: "pull-request" };
    runs(&checkout, &["--pull-request", "7"], &[], &own);
}

#[test]
fn a_forks_commits_in_the_local_default_branch_declare_nothing() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    remote.author.git(&["checkout", "--quiet", "--detach", "main"]);
    let flake = std::fs::read_to_string(remote.author.path.join("flake.nix")).unwrap();
    let evil = flake
        .replace("incremental = ", "shadow.ref = \"refs/heads/evil/{{jobset}}\"; incremental = ");
    remote.author.write("flake.nix", &evil);
    remote.author.commit("evil");
    remote.author.git(&["push", "--quiet", "origin", "HEAD:refs/pull/8/head"]);
    let checkout =
        remote.checkout("try", "git clone -q $URL c; cd c; git pull -q origin refs/pull/8/head");
    let (report, _) = report(&checkout, &[], &[]);
    assert_eq!(report["shadow"]["ref"], "refs/levain/heads/main", "{report:#}");
    assert!(report["notices"].to_string().contains("the declaration is read from"), "{report:#}");
}

#[test]
fn commits_of_ones_own_are_the_projects_before_they_are_pushed() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let checkout = remote.checkout(
        "developer",
        "git clone -q $URL c; cd c; git checkout -q -b feature; git commit -q --allow-empty -m one; git commit -q --amend --allow-empty -m two",
    );
    let feature = Expected { jobset: "heads/feature", tier: "branch" };
    let report = runs(&checkout, &[], &[], &feature);
    assert_eq!(report["notices"], serde_json::json!([]));
    // When the remote is silent, what is not known is a fork's.
    checkout.git(&["remote", "set-url", "origin", "/nowhere"]);
    checkout.write("src/app/main.txt", "three\n");
    checkout.commit("three");
    let report = self::report(&checkout, &[], &[]).0;
    let notices = report["notices"].to_string();
    assert!(notices.contains("`origin` cannot be asked for its branches"), "{notices}");
    assert_eq!(report["shadow"]["pushed"], false);
}

#[test]
fn flake_references_lead_to_repositories() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let home = environment.path("home");
    let path = environment.path("remote.git");
    let path = path.display();
    for (reference, jobset) in [
        (format!("git+file://{path}"), "heads/main"),
        (format!("git+file://{path}?ref=topic"), "heads/topic"),
        (format!("path:{path}?ref=refs/heads/topic"), "heads/topic"),
        (format!("{path}?ref=refs/pull/7/head"), "pull/7"),
    ] {
        let report = environment.report(&home, &[&reference, "--read-only"]);
        assert_eq!(report["jobset"], jobset, "{reference}: {report:#}");
    }
    environment
        .levain(&home, &["run", &format!("git+file://{path}?ref=topic"), "--branch", "main"])
        .code(1)
        .says("name different things");
    environment
        .levain(&home, &["run", "nixpkgs"])
        .code(1)
        .says("names of the flake registry are not looked up")
        .says("hint: `nix registry list | grep nixpkgs`");
    environment
        .levain(&home, &["run", "owner/repo?dir=x"])
        .code(1)
        .says("hint: `levain run github:owner/repo?dir=x`");
    let _used = &remote.author;
}
