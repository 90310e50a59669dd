//! Bad input: each mistake gets an exit code and a message that says what, where and what to do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use wiremock::ResponseTemplate;

use crate::environment::{BUILDER, Environment, Ran, Repository, flake};
use crate::jobs::simple;
use crate::status::{Forge, SECRET};

/// What a job of [`simple`] looks like.
const GOOD: &str = "levainJobs.good = job \"good\";";

impl Ran {
    /// Requires that nothing but an error was printed, with these words in it.
    #[track_caller]
    fn refused(self, words: &[&str]) {
        let ran = self.code(1);
        assert_eq!(ran.stdout, "", "stderr:\n{}", ran.stderr);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
        words.iter().fold(ran, |ran, word| ran.says(word));
    }
}

/// Makes a repository with one commit of a flake with these outputs.
fn project<'a>(environment: &'a Environment, outputs: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    repository.write("flake.nix", &simple(outputs));
    repository.commit("first");
    repository
}

/// Makes a project with one job that has a cache, with incremental mode on and
/// `more`, as in `; KEY = VALUE`, in its declaration.
pub(crate) fn incremental<'a>(environment: &'a Environment, more: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    let settings = format!("{{ enable = true; defaultBranch = true; }}{more}");
    repository.write("flake.nix", &flake(&["app"], &settings));
    repository.write("builder.sh", BUILDER);
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    repository
}

#[test]
fn no_git_repository() {
    let environment = Environment::new();
    let place = environment.path("home");
    let shown = place.display().to_string();
    let words = [shown.as_str(), "is not in a git repository", "hint: run levain inside a clone"];
    environment.levain(&place, &["run"]).refused(&words);
    environment.levain(&place, &["why", "x"]).refused(&words);
    environment.levain(&place, &["cache", "list"]).refused(&words);
    let away = environment.path("tmp");
    environment.levain(&away, &["-C", &shown, "run"]).refused(&words);
}

#[test]
fn no_commit() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.levain(&["run"]).refused(&["has no commits yet", "project", "hint: `git commit`"]);
}

#[test]
fn no_flake() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let commit = repository.commit("first");
    // In the work tree, but in no commit.
    repository.write("flake.nix", &simple(GOOD));
    repository.levain(&["run"]).refused(&[
        &format!("no `flake.nix` in commit {commit} of"),
        "project`",
        "hint: add and commit a `flake.nix`",
    ]);
}

#[test]
fn a_flake_that_does_not_parse() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", "{\n  outputs = { self }: {\n    levainJobs\n  };\n}\n");
    let commit = repository.commit("first");
    repository.levain(&["run"]).refused(&[&commit, "syntax error", "flake.nix:4:"]);
}

#[test]
fn lock_file_missing_or_out_of_date() {
    let environment = Environment::new();
    for name in ["one", "two"] {
        let input = environment.repository(name);
        input.write("flake.nix", "{ outputs = { self }: { }; }");
        input.commit("first");
    }
    let url = |name: &str| format!("git+file://{}", environment.path(name).display());
    let repository = environment.repository("project");
    let text = simple(GOOD).replace("{ self }", "{ self, ... }");
    let with_inputs = |inputs: &str| repository.write("flake.nix", &text.replacen('{', inputs, 1));

    with_inputs(&format!("{{ inputs.one.url = \"{}\";", url("one")));
    let commit = repository.commit("no lock file");
    let hint = "hint: run `nix flake lock`, commit `flake.lock`";
    let place = format!("the lock file of commit {commit} of");
    repository.levain(&["run"]).refused(&[&place, "project` is missing: ", "'one'", hint]);

    environment.run("nix", &repository.path, &["flake", "lock"]).ok();
    repository.commit("lock file");
    repository.levain(&["run"]).ok();

    with_inputs(&format!(
        "{{ inputs.one.url = \"{}\"; inputs.two.url = \"{}\";",
        url("one"),
        url("two")
    ));
    let commit = repository.commit("one more input");
    let place = format!("the lock file of commit {commit} of");
    repository.levain(&["run"]).refused(&[&place, "project` is out of date: ", "'two'", hint]);
    assert_eq!(repository.git(&["status", "--porcelain"]), "", "nothing is written");
}

#[test]
fn a_dirty_tree_builds_the_commit_and_says_so() {
    let environment = Environment::new();
    let repository = project(&environment, GOOD);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    repository.write("flake.nix", "not a flake at all");
    repository.write("untracked", "");
    let note = format!(
        "note: the work tree has uncommitted changes (`flake.nix`, `untracked`); commit {} is built without them",
        &commit[..12]
    );
    let ran = repository.levain(&["run", "--format", "json"]).ok().says(&note);
    let report = ran.json();
    assert_eq!(report["originalCommit"], commit.as_str());
    assert_eq!(report["counters"]["clean"], 1);
    assert!(report["notices"][0].as_str().is_some_and(|notice| note.ends_with(notice)));
}

#[test]
fn unknown_branch_commit_and_pull_request() {
    let environment = Environment::new();
    let repository = project(&environment, GOOD);
    repository.git(&["branch", "feature/rye"]);
    repository
        .levain(&["run", "--branch", "feature/ry"])
        .refused(&["there is no branch `feature/ry`", "hint: did you mean `feature/rye`?"]);
    repository
        .levain(&["run", "--branch", "something-else"])
        .refused(&["there is no branch `something-else`", "hint: `git branch` lists them"]);
    let nowhere = "1".repeat(40);
    repository
        .levain(&["run", "--rev", &nowhere])
        .refused(&[&format!("there is no commit `{nowhere}`"), "hint: `git fetch` it first"]);
    repository.levain(&["run", "--pull-request", "7"]).refused(&[
        "pull request 7 cannot be fetched: the repository has no remote",
        "hint: run `levain run URL --pull-request 7`",
    ]);
    repository.git(&["switch", "--quiet", "--orphan", "other"]);
    let other = repository.commit("no relation");
    repository.levain(&["run", "--branch", "main", "--rev", &other]).refused(&[
        &format!("commit {other} is not part of branch `main`"),
        "hint: name the branch or pull request that contains it",
    ]);
    repository.git(&["checkout", "--quiet", "--detach", "main"]);
    repository.commit("on no branch");
    repository.levain(&["run"]).refused(&[
        "is on no branch (detached HEAD at",
        "hint: name the jobset with `--branch` or `--pull-request`",
    ]);
    repository.git(&["remote", "add", "origin", "."]);
    repository.levain(&["run", "--pull-request", "7"]).refused(&[
        "the remote has no pull request 7: tried refs/pull/7/head, refs/merge-requests/7/head",
        "hint: look up the number on the forge",
    ]);
}

#[test]
fn unknown_job() {
    let environment = Environment::new();
    let jobs = "levainJobs.x86_64-linux = { server = job \"server\"; client = job \"client\"; \
                broken = throw \"flour is out\"; };";
    let repository = project(&environment, jobs);
    repository.levain(&["why", "x86_64-linux.sever"]).refused(&[
        "the jobset has no job `x86_64-linux.sever`",
        "hint: did you mean `x86_64-linux.server`, `x86_64-linux.client`?",
    ]);
    repository
        .levain(&["why", "x86_64-linux.broken"])
        .refused(&["job `x86_64-linux.broken` cannot be evaluated: ", "flour is out"]);
}

#[test]
fn levain_jobs_is_no_attribute_set() {
    let environment = Environment::new();
    let repository = project(&environment, GOOD);
    for (value, found) in [
        ("[ (job \"a\") ]", "a list"),
        ("job \"a\"", "a derivation"),
        ("\"a\"", "a string"),
        ("null", "null"),
        ("x: x", "a function"),
    ] {
        repository.write("flake.nix", &simple(&format!("levainJobs = {value};")));
        repository.commit(found);
        repository.levain(&["run"]).refused(&[
            &format!("flake output `levainJobs`: expected an attribute set, found {found}"),
            "hint: write `levainJobs = { NAME = derivation; };`",
        ]);
    }
}

#[test]
fn errors_of_the_whole_evaluation() {
    let environment = Environment::new();
    let repository = project(&environment, GOOD);
    for (value, words) in [
        ("let x = x; in x", "infinite recursion encountered"),
        ("abort \"the oven is cold\"", "the oven is cold"),
        ("throw \"the oven is cold\"", "the oven is cold"),
        ("import (job \"x\")", "allow-import-from-derivation"),
        ("builtins.getEnv \"HOME\" + nothing", "undefined variable 'nothing'"),
    ] {
        repository.write("flake.nix", &simple(&format!("levainJobs =\n  {value};")));
        let commit = repository.commit(words);
        repository.levain(&["run"]).refused(&[&commit, "project`: ", words, "\nhint: "]);
    }
}

#[test]
fn a_job_that_is_none_among_good_ones() {
    let environment = Environment::new();
    let repository = project(&environment, GOOD);
    for (value, words) in [
        ("7", "expected a derivation, found an integer\nhint: jobs are derivations"),
        ("let x = x; in x", "infinite recursion encountered"),
        ("abort \"the oven is cold\"", "the oven is cold"),
        (
            "import (job \"x\")",
            "hint: set `evaluation.allowImportFromDerivation = true` in `levainProject`",
        ),
    ] {
        let jobs = format!("levainJobs = {{ bad = {value}; good = job \"good\"; }};");
        repository.write("flake.nix", &simple(&jobs));
        repository.commit(words);
        let ran = repository.levain(&["run"]).code(1);
        assert!(ran.stdout.contains("--- bad: error\n"), "{}", ran.stdout);
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
        assert!(ran.stdout.contains("0 failed, 1 in error"), "{}", ran.stdout);
        assert!(!ran.stderr.contains("error: "), "{}", ran.stderr);
    }
}

#[test]
fn import_from_derivation_that_fails() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let text = |builder: &str| {
        simple(&format!(
            "levainProject.evaluation.allowImportFromDerivation = true;
             levainJobs = {{
               good = job \"good\";
               imported = job (import (derivation {{
                 name = \"name.nix\"; system = \"x86_64-linux\"; builder = \"/bin/sh\";
                 args = [ \"-c\" ''{builder}'' ];
               }}));
             }};"
        ))
    };
    repository.write("flake.nix", &text("echo '\"name\"' > $out; exit 0"));
    repository.commit("first");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["clean"], 2, "{report:#}");
    assert_eq!(report["jobs"][1]["name"], "name");

    repository.write("flake.nix", &text("echo no yeast; exit 1"));
    repository.commit("second");
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["status"], "fresh", "{report:#}");
    assert_eq!(report["jobs"][1]["status"], "error");
    let error = report["jobs"][1]["error"].as_str().unwrap();
    assert!(error.contains("name.nix.drv") && error.contains("no yeast"), "{error}");
}

/// A directory with only these programs, to be the whole `PATH`.
fn programs(environment: &Environment, names: &[&str]) -> PathBuf {
    let found = |name: &str| {
        let ran =
            environment.run("sh", &environment.path("tmp"), &["-c", "command -v \"$0\"", name]);
        ran.ok().stdout.trim_end().to_owned()
    };
    let directory = environment.path("bin");
    fs::create_dir_all(&directory).unwrap();
    for name in names {
        symlink(found(name), directory.join(name)).unwrap();
    }
    directory
}

#[test]
fn nix_is_missing_or_too_old() {
    let environment = Environment::new();
    let repository = project(&environment, GOOD);
    let bin = programs(&environment, &["git", "sh"]);
    let run = || -> Ran {
        let mut command = environment.levain_command(&repository.path, &["run"]);
        command.env("PATH", &bin).output().unwrap().into()
    };
    run().refused(&["`nix` was not found on PATH", "hint: install Nix 2.8 or newer"]);

    let fake = bin.join("nix");
    let pretend = |version: &str| {
        fs::write(
            &fake,
            format!(
                "#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' && exit 0\n\
                 echo 'error: unrecognised flag' >&2; exit 1\n"
            ),
        )
        .unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    };
    pretend("nix (Nix) 2.3.16");
    run().refused(&["nix 2.3 is too old", "hint: install Nix 2.8 or newer"]);
    pretend("a shell script");
    run().refused(&["nix --version` says `a shell script`, which is no version of Nix"]);
    fs::remove_file(&fake).unwrap();

    programs(&environment, &["nix"]);
    run().refused(&["`nix-daemon` was not found on PATH", "hint: install Nix 2.8 or newer"]);
}

/// Runs levain with a file system of 64 KiB on a directory, after a script.
#[track_caller]
fn with_little_space(repository: &Repository<'_>, directory: &str, before: &str) -> Ran {
    let levain = env!("CARGO_BIN_EXE_levain");
    let script = format!("set -e\n{before}\nexec {levain} run");
    let size = ["--dev-bind", "/", "/", "--size", "65536", "--tmpfs", directory];
    let args: Vec<&str> = size.into_iter().chain(["--", "sh", "-c", &script]).collect();
    repository.environment.run("bwrap", &repository.path, &args)
}

#[test]
fn no_disk_space() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    let hint = "hint: free some space on that disk, then start levain again; nothing is lost";
    let full = "No space left on device";
    let state = repository.path.join(".git/levain");
    let objects = repository.path.join(".git/objects");
    for directory in [&state, &environment.path("var")] {
        fs::create_dir_all(directory).unwrap();
    }

    let fill = "head -c 99999 /dev/zero > .git/levain/ballast 2>/dev/null || true";
    let place = state.display().to_string();
    with_little_space(&repository, &place, fill).refused(&[&place, full, hint]);

    // The objects are there, and no other one has room.
    fs::create_dir(environment.path("copy")).unwrap();
    let copy = environment.path("copy").display().to_string();
    let fill = format!(
        "cp -r {copy}/. {0}\nhead -c 99999 /dev/zero > {0}/ballast 2>/dev/null || true",
        objects.display()
    );
    repository.git(&["gc", "--quiet"]);
    environment.run("cp", &repository.path, &["-r", ".git/objects/.", &copy]).ok();
    with_little_space(&repository, &objects.display().to_string(), &fill).refused(&[full, hint]);

    let store_state = environment.path("var").display().to_string();
    with_little_space(&repository, &store_state, "").refused(&["database or disk is full", hint]);

    // In a build it is that job's error, and not the author's fault.
    repository.write("src/big.txt", &"x".repeat(40_000));
    repository.commit("big");
    repository.levain(&["eval", "--jobset", &locked(&repository)]).ok();
    let store = environment.path("store").display().to_string();
    environment.run("cp", &repository.path, &["-r", &store, &copy]).ok();
    let ran =
        with_little_space(&repository, &store, &format!("cp -r {copy}/store/*-source {store}"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains(full) || ran.stderr.contains(full), "{ran:?}");
    // And when there is room again, all is well.
    repository.levain(&["run"]).ok();
}

/// Returns the head as a locked jobset.
fn locked(repository: &Repository<'_>) -> String {
    let commit = repository.git(&["rev-parse", "HEAD"]);
    format!("git+file://{}?ref=refs/heads/main&rev={commit}", repository.path.display())
}

#[test]
fn unreachable_remote() {
    let environment = Environment::new();
    let nowhere = environment.path("nowhere").display().to_string();
    environment.levain(&environment.path("tmp"), &["run", &nowhere]).refused(&[
        &format!("cannot reach `{nowhere}`"),
        &format!("hint: `git ls-remote {nowhere}`"),
    ]);
    let secret = "http://baker:s3cret@127.0.0.1:9/bread.git";
    let ran = environment.levain(&environment.path("tmp"), &["run", secret]);
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    ran.refused(&["cannot reach `http://127.0.0.1:9/bread.git`"]);

    // The build of a checkout does not depend on its remote.
    let repository = incremental(&environment, "");
    repository.git(&["remote", "add", "origin", &nowhere]);
    let ran = repository.levain(&["run", "--format", "json"]).code(4);
    let ran = ran.says("warning: cannot fetch the shadow branches, going on without: cannot reach");
    let report = ran.json();
    assert_eq!(report["jobs"][0]["status"], "clean", "{report:#}");
    assert_eq!(report["jobs"][0]["pointer"]["moved"], true);
    assert_eq!(report["shadow"]["pushed"], false);
    let kinds: Vec<_> = (0..2).map(|at| report["undelivered"][at]["kind"].clone()).collect();
    assert_eq!(kinds, ["fetch", "push"]);
    for undelivered in report["undelivered"].as_array().unwrap() {
        let error = undelivered["error"].as_str().unwrap();
        assert!(error.contains(&format!("cannot reach `{nowhere}`")), "{error}");
    }
}

#[test]
fn rejected_push() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    let origin = environment.path("origin.git").display().to_string();
    repository.git(&["init", "--quiet", "--bare", &origin]);
    repository.git(&["remote", "add", "origin", &origin]);
    let hook = environment.path("origin.git/hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho 'no shadows in this house' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();

    let ran = repository.levain(&["run"]).code(4);
    for words in [
        "not delivered: push `refs/levain/heads/main`: `origin` refused the push",
        "no shadows in this house",
        "hint: allow pushes below `refs/levain/` there, or set `levainProject.shadow.push = false`",
        "0 fresh, 0 incremental, 1 clean, 0 failed",
    ] {
        assert!(ran.stdout.contains(words), "{words}\n{}", ran.stdout);
    }
    assert!(repository.reference("refs/levain/heads/main").is_some());

    // The pointer waits; as soon as it may, it goes out.
    fs::remove_file(&hook).unwrap();
    let report = repository.report(&[]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    let ours = repository.reference("refs/levain/heads/main").unwrap();
    assert!(repository.git(&["ls-remote", "origin"]).contains(&ours));
}

#[test]
fn a_forge_that_refuses_or_answers_garbage() {
    for (answer, words) in [
        (
            ResponseTemplate::new(401)
                .set_body_json(serde_json::json!({"message": "Bad credentials"})),
            ["401", "Bad credentials", "`repo:status`"],
        ),
        (
            ResponseTemplate::new(200).set_body_string("<html>please log in</html>"),
            ["answered 200 but not like a forge", "please log in", "hint: `apiUrl` must be"],
        ),
    ] {
        let environment = Environment::new();
        let forge = Forge::answering(answer);
        let repository =
            incremental(&environment, &format!("; {}", forge.declared("github", "octo/bread")));
        let ran = repository.levain_with_token(&["run"]).code(4);
        assert!(ran.stdout.contains("1 clean, 0 failed"), "{}", ran.stdout);
        let line = "not delivered: status `levain/x86_64-linux.app`: ";
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
        for word in words {
            assert!(ran.stdout.contains(word), "`{word}` in\n{}", ran.stdout);
        }
        assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET));
    }
}

/// A levain whose build goes on until [`Busy::finish`].
struct Busy {
    levain: Child,
    go_on: PathBuf,
}

impl Busy {
    /// Starts levain, and returns once its build has begun.
    fn start(repository: &Repository<'_>) -> Self {
        let go_on = repository.environment.path("go-on");
        repository.write("src/wait", &go_on.display().to_string());
        repository.commit("a build that takes its time");
        let mut command = repository.environment.levain_command(&repository.path, &["run"]);
        let mut levain = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(levain.stderr.take().unwrap()).lines();
        let begun = lines.map(Result::unwrap).any(|line| line == "building app");
        assert!(begun, "levain ended early");
        Self { levain, go_on }
    }

    /// Lets the build end.
    fn finish(self) -> Ran {
        fs::write(&self.go_on, "").unwrap();
        self.levain.wait_with_output().unwrap().into()
    }
}

#[test]
fn two_at_once() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    let first = Busy::start(&repository);
    let pid = first.levain.id();
    let words = [
        "another levain is at work on this repository",
        &format!("(process {pid}, for "),
        "hint: wait for it to end",
        ".git/levain/lock",
    ];
    repository.levain(&["run"]).refused(&words);
    repository.levain(&["cache", "drop"]).refused(&words);
    // Whoever only looks need not wait.
    repository.levain(&["why", "x86_64-linux.app"]).ok();
    repository.levain(&["cache", "list"]).ok();
    let ran = first.finish().ok();
    assert!(ran.stdout.contains("1 clean, 0 failed"), "{}", ran.stdout);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["fresh"], 1, "{report:#}");
}
