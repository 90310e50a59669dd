//! Shadow branches and caches as git and Nix show them, without levain's own reading of either;
//! and the projects that the tests of pointers share.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::environment::{BUILDER, Environment, Ran, Repository, flake};

/// An entry of a pointer file, as Nix reads it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    /// The cache.
    pub path: String,
    /// Its recorded NAR hash.
    pub nar_hash: String,
    /// Under which it may be used.
    pub key: String,
    /// Number of incremental builds behind it.
    pub depth: u64,
    /// The original commit that it was made from.
    pub commit: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// Trust in its maker.
    pub tier: String,
    /// The jobset that made it.
    pub jobset: String,
    /// The job that made it.
    pub job: String,
    /// Who says so.
    pub signature: String,
    /// Why the last evaluation did not use it.
    pub unused: Option<String>,
}

/// The jobs of [`parts`] and [`flake`] are of this system.
pub(crate) const SYSTEM: &str = "x86_64-linux";

/// Returns the job's attribute path.
pub(crate) fn attr_path(job: &str) -> String {
    format!("{SYSTEM}.{job}")
}

/// Like [`flake`], but each job has the directory `src/JOB` for its sources.
pub(crate) fn parts(jobs: &[&str], incremental: &str) -> String {
    flake(jobs, incremental).replace("levain.source ./src", "levain.source (./src + \"/${name}\")")
}

/// Incremental on every branch, the default branch included.
pub(crate) const EVERYWHERE: &str = "{ enable = true; defaultBranch = true; }";

/// Returns what a report says about a job.
#[track_caller]
pub(crate) fn job<'a>(report: &'a Value, job: &str) -> &'a Value {
    let path = attr_path(job);
    let jobs = report["jobs"].as_array().unwrap_or_else(|| panic!("no jobs in {report:#}"));
    let found = jobs.iter().find(|found| found["attrPath"] == path.as_str());
    found.unwrap_or_else(|| panic!("no job `{path}` in {report:#}"))
}

/// Returns the path that a job's pointer has, according to a report.
#[track_caller]
pub(crate) fn pointer(report: &Value, name: &str) -> String {
    let path = job(report, name)["pointer"]["path"].as_str();
    path.unwrap_or_else(|| panic!("no pointer of `{name}` in {report:#}")).to_owned()
}

impl Environment {
    /// Makes a repository with the jobs of [`parts`], one source file each, not yet committed.
    pub(crate) fn project(&self, name: &str, jobs: &[&str], incremental: &str) -> Repository<'_> {
        let repository = self.repository(name);
        repository.write("flake.nix", &parts(jobs, incremental));
        repository.write("builder.sh", BUILDER);
        for job in jobs {
            repository.write(&format!("src/{job}/main.txt"), &format!("{job}\n"));
        }
        repository
    }

    /// Makes a bare copy of a repository and connects the two.
    pub(crate) fn remote_of(&self, repository: &Repository<'_>, name: &str) -> Repository<'_> {
        let path = self.path(name);
        let at = path.display().to_string();
        repository.git(&["clone", "--quiet", "--bare", ".", &at]);
        repository.git(&["remote", "add", "origin", &at]);
        repository.git(&["fetch", "--quiet", "origin"]);
        repository.git(&["remote", "set-head", "origin", "main"]);
        Repository { environment: self, path }
    }

    /// Clones a repository.
    pub(crate) fn clone_of(&self, repository: &Repository<'_>, name: &str) -> Repository<'_> {
        let path = self.path(name);
        repository.git(&["clone", "--quiet", ".", &path.display().to_string()]);
        let clone = Repository { environment: self, path };
        clone.git(&["remote", "set-url", "origin", &repository.path.display().to_string()]);
        clone
    }

    /// Returns whether the store has a path.
    pub(crate) fn is_valid(&self, path: &str) -> bool {
        let root = self.path(".");
        self.run("nix-store", &root, &["--check-validity", path]).code == Some(0)
    }

    /// Returns the NAR hash of what really lies at a path.
    #[track_caller]
    pub(crate) fn nar_hash(&self, path: &str) -> String {
        let ran = self.run("nix", &self.path("."), &["hash", "path", path]).ok();
        ran.stdout.trim().to_owned()
    }

    /// Collects garbage.
    #[track_caller]
    pub(crate) fn collect_garbage(&self) {
        let _ran = self.run("nix-store", &self.path("."), &["--gc"]).ok();
    }
}

impl Repository<'_> {
    /// Returns the pointer file of a shadow branch.
    pub(crate) fn pointer_text(&self, jobset: &str) -> Option<String> {
        let file = format!("refs/levain/{jobset}:cache.nix");
        let ran = self.environment.run("git", &self.path, &["cat-file", "blob", &file]);
        (ran.code == Some(0)).then_some(ran.stdout)
    }

    /// Returns the entries of a shadow branch, read by Nix, by attribute path.
    #[track_caller]
    pub(crate) fn entries(&self, jobset: &str) -> BTreeMap<String, Entry> {
        let Some(text) = self.pointer_text(jobset) else { return BTreeMap::new() };
        let args = ["--eval", "--strict", "--json", "--expr", text.as_str()];
        let ran = self.environment.run("nix-instantiate", &self.path, &args).ok();
        let entries: Option<BTreeMap<String, Entry>> = serde_json::from_str(&ran.stdout).unwrap();
        entries.unwrap_or_default()
    }

    /// Returns the entry of a job on a shadow branch.
    #[track_caller]
    pub(crate) fn entry(&self, jobset: &str, job: &str) -> Entry {
        let mut entries = self.entries(jobset);
        let entry = entries.remove(&attr_path(job));
        entry.unwrap_or_else(|| panic!("`{jobset}` has no entry of `{job}`, only {entries:#?}"))
    }

    /// Puts another pointer file on a shadow branch, as someone would by hand. A commit that
    /// replaces has no shadow commit before it.
    pub(crate) fn edit_pointer(&self, jobset: &str, text: &str, history: History) {
        let reference = format!("refs/levain/{jobset}");
        let original = self.git(&["cat-file", "blob", &format!("{reference}:commit.txt")]);
        self.put_file(&reference, "cache.nix", text, history, &original);
    }

    fn put_file(&self, reference: &str, name: &str, text: &str, history: History, original: &str) {
        let mut hash = self.environment.command("git", &self.path);
        hash.args(["hash-object", "-w", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = hash.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let blob = Ran::from(child.wait_with_output().unwrap()).ok().stdout.trim().to_owned();
        let index = self.environment.path("tmp/index-by-hand");
        let git = |args: &[&str]| {
            let mut command = self.environment.command("git", &self.path);
            command.env("GIT_INDEX_FILE", &index).args(args);
            Ran::from(command.output().unwrap()).ok().stdout.trim().to_owned()
        };
        git(&["read-tree", reference]);
        git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{name}")]);
        let tree = git(&["write-tree"]);
        let parent = match history {
            History::Kept => reference,
            History::Replaced => original,
        };
        let commit = git(&["commit-tree", "-p", parent, "-m", "by hand", &tree]);
        git(&["update-ref", reference, &commit]);
    }

    /// Requires that everything a shadow branch names is a success that is there and unchanged.
    #[track_caller]
    pub(crate) fn assert_pointers_hold(&self, jobset: &str) {
        for (job, entry) in self.entries(jobset) {
            assert!(self.environment.is_valid(&entry.path), "{job}: {} is gone", entry.path);
            assert_eq!(self.environment.nar_hash(&entry.path), entry.nar_hash, "{job}");
        }
    }
}

/// What an edit by hand does with the shadow commits before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// They stay.
    Kept,
    /// They are gone.
    Replaced,
}

/// A program under way.
#[must_use]
pub(crate) struct Started {
    /// The process.
    pub child: Child,
    lines: Receiver<String>,
    stdout: JoinHandle<String>,
    seen: String,
}

/// Longer than anything that is waited for takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

impl Started {
    /// Starts levain.
    pub(crate) fn levain(environment: &Environment, directory: &Path, args: &[&str]) -> Self {
        let mut command = environment.levain_command(directory, args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens any more when the test has ended.
                send.send(line).unwrap_or_default();
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, lines, stdout, seen: String::new() }
    }

    /// Reads standard error until a line has `text` in it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                self.child.kill().unwrap_or_default();
                panic!("it did not say `{text}`:\n{}", self.seen);
            };
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(text) {
                return;
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        while let Ok(line) = self.lines.recv() {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        let code = self.child.wait().unwrap().code();
        Ran { stdout: self.stdout.join().unwrap(), stderr: self.seen, code }
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
