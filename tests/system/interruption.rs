//! Killed at any moment, stopped by a signal: what levain leaves behind, and how it goes on.
//!
//! Each lane kills levain ten times, after a random part of the time that a whole run takes. To
//! repeat a failure, set `LEVAIN_TEST_SEED` to the seed that the failing lane printed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::environment::{BUILDER, Environment, Repository};
use crate::shadow::{EVERYWHERE, Started, attr_path, job, parts};

const BRANCH: &str = "heads/main";
const JOBS: [&str; 3] = ["a", "b", "c"];
const ROUNDS: u64 = 10;

/// Numbers that look random and are the same for the same seed.
struct Random(fastrand::Rng);

impl Random {
    #[expect(clippy::print_stdout, reason = "shown when the test fails, to repeat it")]
    fn new(lane: u64) -> Self {
        let seed = match std::env::var("LEVAIN_TEST_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64,
        };
        println!("seed of lane {lane}: LEVAIN_TEST_SEED={seed}");
        Self(fastrand::Rng::with_seed(seed ^ (lane << 56)))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0.u64(..limit)
    }
}

/// The content of a cache, by file name.
type Content = BTreeMap<String, String>;

fn content(directory: &Path) -> Content {
    let mut content = Content::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".txt") {
            content.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    content
}

/// A repository and what the builds of each of its commits must give.
struct Lane<'a> {
    repository: Repository<'a>,
    /// By commit and job; nothing for a job whose build fails.
    right: BTreeMap<(String, &'static str), Option<Content>>,
    random: Random,
    seconds: f64,
}

impl<'a> Lane<'a> {
    fn new(environment: &'a Environment, number: u64) -> Self {
        let repository = environment.repository("project");
        repository.write("flake.nix", &parts(&JOBS, EVERYWHERE));
        repository.write("builder.sh", BUILDER);
        for job in JOBS {
            repository.write(&format!("src/{job}/main.txt"), "first\n");
        }
        let random = Random::new(number);
        let mut lane = Self { repository, right: BTreeMap::new(), random, seconds: 0.0 };
        lane.commit();
        lane
    }

    /// Commits, and notes what the jobs of this commit must give.
    fn commit(&mut self) -> String {
        let commit = self.repository.commit("edit");
        for job in JOBS {
            let source = self.repository.path.join("src").join(job);
            let fails = source.join("fail").exists();
            self.right.insert((commit.clone(), job), (!fails).then(|| content(&source)));
        }
        commit
    }

    fn edit(&mut self, round: u64, jobs: &[&str]) {
        for job in jobs {
            let file = format!("src/{job}/file{}.txt", self.random.below(3));
            self.repository.write(&file, &format!("{round} of {job}\n"));
        }
    }

    /// Measures a whole run of a commit that edits all jobs.
    fn measure(&mut self) {
        self.edit(100, &JOBS);
        self.commit();
        let started = Instant::now();
        let report = self.repository.report(&[]);
        self.seconds = started.elapsed().as_secs_f64();
        assert_eq!(report["counters"]["failed"], 0, "{report:#}");
    }

    /// Starts levain and kills it after a random part of a run's time.
    fn kill(&mut self) -> Duration {
        let delay = Duration::from_secs_f64(self.seconds).as_micros() as u64;
        let delay = Duration::from_micros(self.random.below(delay + 1));
        let environment = self.repository.environment;
        let started = Started::levain(environment, &self.repository.path, &["run"]);
        std::thread::sleep(delay);
        started.kill();
        delay
    }

    /// Requires that every entry names what a successful build of its commit gives.
    #[track_caller]
    fn check_pointers(&self, when: &str) {
        self.repository.assert_pointers_hold(BRANCH);
        for (path, entry) in self.repository.entries(BRANCH) {
            let job = JOBS.into_iter().find(|job| attr_path(job) == path).unwrap();
            let right = &self.right[&(entry.commit.clone(), job)];
            let right = right.as_ref().unwrap_or_else(|| panic!("{when}: {job} names a failure"));
            assert_eq!(content(Path::new(&entry.path)), *right, "{when}: {job} at {entry:?}");
        }
    }

    /// Runs levain to its end and requires that everything is as if nothing had happened.
    #[track_caller]
    fn check_restart(&self, commit: &str, when: &str) {
        let ran = self.repository.levain(&["run", "--format", "json"]);
        let report = ran.json();
        let mut failing = 0;
        for name in JOBS {
            let right = &self.right[&(commit.to_owned(), name)];
            let found = job(&report, name);
            match right {
                None => {
                    failing += 1;
                    assert_eq!(found["status"], "failed", "{when}: {report:#}");
                }
                Some(right) => {
                    let status = found["status"].as_str().unwrap();
                    assert!(
                        ["fresh", "incremental", "clean"].contains(&status),
                        "{when}: {report:#}"
                    );
                    let entry = self.repository.entry(BRANCH, name);
                    assert_eq!(found["pointer"]["path"], entry.path.as_str(), "{when}");
                    assert_eq!(content(Path::new(&entry.path)), *right, "{when}: {name}");
                }
            }
        }
        assert_eq!(ran.code, Some(i32::from(failing > 0)), "{when}: {}", ran.stderr);
        assert_eq!(report["undelivered"].as_array().unwrap().len(), 0, "{when}: {report:#}");
        self.check_pointers(when);
        assert_eq!(self.repository.git(&["show", "refs/levain/heads/main:commit.txt"]), commit);
        let environment = self.repository.environment;
        if !leftovers(environment, &self.repository.path).is_empty() {
            // A child of the killed one may have lived a moment longer, and kept what was in use. The next levain that
            // starts when it is gone finds it.
            wait_until_nothing_runs(environment);
            self.repository.levain(&["run"]);
        }
        let left = leftovers(environment, &self.repository.path);
        assert!(left.is_empty(), "{when}: left behind: {left:#?}");
        let complaints = self.repository.git(&["fsck", "--no-dangling", "--no-progress"]);
        assert_eq!(complaints, "", "{when}");
    }
}

/// Returns locks and temporary files in the repository and among levain's own.
fn leftovers(environment: &Environment, repository: &Path) -> Vec<PathBuf> {
    let is_temporary = |name: &str| {
        let prefixes = ["tmp_", ".tmp", "tmp", "nix-build-"];
        prefixes.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with(".lock")
    };
    let mut found: Vec<PathBuf> =
        fs::read_dir(environment.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut open = vec![repository.join(".git")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if is_temporary(entry.file_name().to_str().unwrap()) {
                found.push(entry.path());
            } else if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
        }
    }
    found
}

/// Lets unfinished files look as if they were two minutes old: younger ones could still be in
/// somebody's hands, so levain leaves them alone.
fn age_unfinished_files(repository: &Path) {
    let then = SystemTime::now() - Duration::from_secs(120);
    let git = repository.join(".git");
    for directory in [git.join("objects"), git.join("levain"), git.join("levain/statuses")] {
        // What was killed early enough made none.
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("tmp_object_git2_") || name.starts_with(".tmp") {
                let file =
                    fs::OpenOptions::new().write(true).open(set_writable(&entry.path())).unwrap();
                file.set_modified(then).unwrap();
            }
        }
    }
}

/// Objects are read-only from the start.
fn set_writable(path: &Path) -> &Path {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// Waits until no process with this environment is left, for at most a minute.
#[track_caller]
pub(crate) fn wait_until_nothing_runs(environment: &Environment) {
    let root = environment.path("store").display().to_string();
    let started = Instant::now();
    loop {
        let running = processes_with(&root);
        if running.is_empty() {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "still there: {running:#?}");
        std::thread::yield_now();
    }
}

/// Waits until a process of this environment has `text` in its arguments, for at most a minute.
#[track_caller]
pub(crate) fn wait_until_runs(environment: &Environment, text: &str) {
    let root = environment.path("store").display().to_string();
    let started = Instant::now();
    while !processes_with(&root).iter().any(|line| line.contains(text)) {
        assert!(started.elapsed() < Duration::from_secs(60), "it never ran");
        std::thread::yield_now();
    }
}

/// Returns the command lines of processes whose environment or arguments name `text`.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = read("cmdline");
        if line.contains(text) || read("environ").contains(text) {
            found.push(line);
        }
    }
    found
}

/// Kills levain after each of ten commits that `edit` makes, and checks before and after a restart.
#[expect(clippy::print_stdout, reason = "shown when the test fails, to repeat it")]
fn lane(number: u64, prepare: impl Fn(&mut Lane<'_>), edit: impl Fn(&mut Lane<'_>, u64)) {
    let environment = Environment::new();
    let mut lane = Lane::new(&environment, number);
    prepare(&mut lane);
    for round in 0..ROUNDS {
        edit(&mut lane, round);
        let commit = lane.commit();
        let delay = lane.kill();
        age_unfinished_files(&lane.repository.path);
        let when = format!("round {round}, killed after {delay:?} of {:.3} s", lane.seconds);
        println!("{when}");
        lane.check_pointers(&when);
        lane.check_restart(&commit, &format!("restart after {when}"));
        wait_until_nothing_runs(&environment);
    }
}

fn measured(lane: &mut Lane<'_>) {
    lane.measure();
}

#[test]
fn killed_while_all_jobs_are_built() {
    lane(1, measured, |lane, round| lane.edit(round, &JOBS));
}

#[test]
fn killed_while_one_job_fails() {
    lane(2, measured, |lane, round| {
        lane.edit(round, &["a", "b"]);
        let fail = lane.repository.path.join("src/b/fail");
        match round % 2 {
            0 => fs::write(fail, "").unwrap(),
            _ => fs::remove_file(fail).unwrap(),
        }
    });
}

#[test]
fn killed_while_everything_is_new() {
    lane(3, measured, |lane, round| {
        lane.edit(round, &JOBS);
        // Neither a shadow branch nor anything remembered: as if levain had never been here.
        lane.repository.git(&["update-ref", "-d", "refs/levain/heads/main"]);
        fs::remove_dir_all(lane.repository.path.join(".git/levain")).unwrap();
    });
}

#[test]
fn killed_while_there_is_little_to_do() {
    lane(4, measured, |lane, round| match round % 3 {
        0 => lane.edit(round, &["c"]),
        1 => lane.repository.write("README", &format!("{round}\n")),
        // Back to what was built before: fresh, with an older cache.
        _ => {
            let file = lane.repository.path.join("src/c");
            fs::remove_dir_all(&file).unwrap();
            lane.repository.write("src/c/main.txt", "first\n");
        }
    });
}

#[test]
fn killed_while_a_remote_is_pushed_to() {
    lane(
        5,
        |lane| {
            let environment = lane.repository.environment;
            let _remote = environment.remote_of(&lane.repository, "remote.git");
            lane.measure();
        },
        |lane, round| {
            lane.edit(round, &JOBS);
        },
    );
}

/// Sends a signal while one job is done and another is being built.
fn stopped_by(signal: &str) {
    let environment = Environment::new();
    let repository = environment.project("project", &["quick", "slow", "never"], EVERYWHERE);
    let gate = environment.path("gate");
    repository.write("src/slow/wait", gate.to_str().unwrap());
    repository.write("src/never/wait", gate.to_str().unwrap());
    let commit = repository.commit("first");
    let args = ["run", "--max-jobs", "3", "--format", "json"];
    let mut started = Started::levain(&environment, &repository.path, &args);
    started.wait_for("x86_64-linux.quick: clean");
    // Of those that wait, both are under way by then or will be: Nix starts three at a time.
    let pid = started.child.id().to_string();
    let kill = format!("kill -{signal} {pid}");
    let _sent = environment.run("sh", &repository.path, &["-c", &kill]).ok();
    let ran = started.end().code(130);
    let report = ran.json();
    assert_eq!(report["counters"]["cancelled"], 2, "{report:#}");
    assert_eq!(job(&report, "quick")["status"], "clean");
    assert_eq!(job(&report, "slow")["status"], "cancelled");
    wait_until_nothing_runs(&environment);
    let entries = repository.entries(BRANCH);
    assert_eq!(entries.into_keys().collect::<Vec<_>>(), ["x86_64-linux.quick"]);
    repository.assert_pointers_hold(BRANCH);
    let left = leftovers(&environment, &repository.path);
    assert!(left.is_empty(), "left behind: {left:#?}");

    fs::write(&gate, "").unwrap();
    let report = repository.report(&[]);
    assert_eq!(job(&report, "quick")["status"], "fresh", "{report:#}");
    assert_eq!(job(&report, "quick")["unchangedSince"], commit.as_str());
    assert_eq!(report["counters"]["clean"], 2, "{report:#}");
    assert_eq!(repository.entries(BRANCH).len(), 3);
    repository.assert_pointers_hold(BRANCH);
}

#[test]
fn objects_that_were_not_finished_are_removed_once_nobody_can_be_writing_them() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    let unfinished = repository.path.join(".git/objects/tmp_object_git2_0123456789abcdef");
    fs::write(&unfinished, "half").unwrap();
    let _young = repository.report(&[]);
    assert!(unfinished.exists());
    age_unfinished_files(&repository.path);
    let _old = repository.report(&[]);
    assert!(!unfinished.exists());
}

#[test]
fn stopped_by_ctrl_c() {
    stopped_by("INT");
}

#[test]
fn stopped_by_sigterm() {
    stopped_by("TERM");
}

#[test]
fn stopped_by_a_closed_terminal() {
    stopped_by("HUP");
}

#[test]
fn a_daemon_that_misses_the_end_of_its_connection_is_ended_too() {
    let environment = Environment::new();
    let bin = environment.path("bin");
    fs::create_dir(&bin).unwrap();
    let real = |name: &str| {
        let find = format!("command -v {name}");
        environment.run("sh", &bin, &["-c", &find]).ok().stdout.trim().to_owned()
    };
    // Stays if it had a builder, until it is asked to go.
    let script = "#!/bin/sh
exec 3<&0
@daemon@ \"$@\" <&3 3<&- &
daemon=$!
built=no
while kill -0 $daemon 2>/dev/null; do
  read -r child </proc/$daemon/task/$daemon/children
  [ -z \"$child\" ] || { built=yes; : >@seen@; }
  sleep 0.02
done 2>/dev/null
[ $built = no ] || exec sleep 600
";
    let seen = environment.path("seen");
    let script = script.replace("@seen@", seen.to_str().unwrap());
    let script = script.replace("@daemon@", &real("nix-daemon"));
    fs::write(bin.join("nix-daemon"), script).unwrap();
    fs::set_permissions(bin.join("nix-daemon"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(real("nix"), bin.join("nix")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let environment = environment.with("PATH", &path);
    let repository = environment.project("project", &["slow"], EVERYWHERE);
    let gate = environment.path("gate");
    repository.write("src/slow/wait", gate.to_str().unwrap());
    repository.commit("first");
    let mut started = Started::levain(&environment, &repository.path, &["run"]);
    started.wait_for("building slow");
    while !seen.exists() {
        assert!(started.child.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    }
    let kill = format!("kill -TERM {}", started.child.id());
    let _sent = environment.run("sh", &repository.path, &["-c", &kill]).ok();
    let _stopped = started.end().code(130);
    wait_until_nothing_runs(&environment);
}

#[test]
fn an_evaluation_is_stopped_too() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    // Hours of work, in little memory.
    repository.write(
        "flake.nix",
        "{ outputs = _: let
             numbers = count: builtins.genList (n: n) count;
             sum = builtins.foldl' (a: b: a + b) 0;
             slow = builtins.filter (n: sum (numbers 10000) < n - n) (numbers 10000000);
           in { levainJobs.slow = toString (builtins.length slow); }; }",
    );
    repository.commit("first");
    // What it says about the work tree is the last before it evaluates.
    repository.write("untracked", "");
    let mut started = Started::levain(&environment, &repository.path, &["run"]);
    started.wait_for("the work tree has uncommitted changes");
    let kill = format!("kill -TERM {}", started.child.id());
    let _sent = environment.run("sh", &repository.path, &["-c", &kill]).ok();
    let _stopped = started.end().code(130);
    wait_until_nothing_runs(&environment);
}

#[test]
fn a_second_levain_on_the_same_repository_says_who_is_at_work() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    let gate = environment.path("gate");
    repository.write("src/app/wait", gate.to_str().unwrap());
    repository.commit("first");
    let mut first = Started::levain(&environment, &repository.path, &["run"]);
    first.wait_for("building app");
    let second = repository.levain(&["run"]).code(1);
    let _second = second
        .says("another levain is at work on this repository")
        .says(&first.child.id().to_string())
        .says("hint:");
    fs::write(&gate, "").unwrap();
    let _first = first.end().ok();
    assert_eq!(repository.report(&[])["counters"]["fresh"], 1);
}
