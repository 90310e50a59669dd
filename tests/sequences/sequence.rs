//! Goes through a sequence: edit, commit, build with levain, build clean, compare.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::compare;
use crate::edit::Edit;
use crate::environment::Environment;
use crate::project::{Project, Tree};
use crate::random::Random;
use crate::toolchains::Toolchain;

/// A project and its past.
pub(crate) struct Sequence<'a> {
    toolchain: &'a Toolchain,
    environment: Environment,
    repository: PathBuf,
    seed: u64,
    random: Random,
    commits: Vec<Project>,
    history: Vec<String>,
    counts: BTreeMap<String, usize>,
    incremental_seconds: Vec<f64>,
    clean_seconds: Vec<f64>,
    differences: usize,
}

/// What a step did: with the files of a cache, without and why, or nothing at all.
enum Built {
    Incremental,
    Clean(String),
    Fresh,
    Failed,
}

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      levain.lib = import ./lib;
    in {
      levainProject = levain.lib.mkProject {
        incremental = { enable = true; defaultBranch = true; audit.every = 0; };
      };
      levainJobs.x86_64-linux.app = levain.lib.incremental {
        cache = ./cache.nix;
        job = "x86_64-linux.app";
        tool = "@tool@";
        settings = @settings@;
      } (derivation {
        name = "app";
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ ./build.sh ];
        src = levain.lib.source ./src;
        dependency = builtins.path { name = "dependency"; path = ./dependency; };
        compiler = @compiler@;
        recipe = "@recipe@";
        nonce = "@nonce@";
      } // { levain.ignoreEnv = [ "nonce" ]; });
    };
}
"#;

/// Returns the settings of a job: its toolchain's, or for all of them those of `LEVAIN_TEST_SETTINGS`.
fn settings(toolchain: &Toolchain) -> String {
    std::env::var("LEVAIN_TEST_SETTINGS").unwrap_or_else(|_| toolchain.settings.to_owned())
}

impl<'a> Sequence<'a> {
    /// Starts a project, and builds its first commit.
    pub(crate) fn new(toolchain: &'a Toolchain, seed: u64) -> Self {
        let environment = Environment::new();
        let repository = environment.repository("project").path;
        // Beside the repository: in it, every commit would copy the program into the store.
        let tool = environment.path("tool/bin");
        fs::create_dir_all(&tool).unwrap();
        fs::copy(levain_cache(), tool.join("levain-cache")).unwrap();
        Self {
            toolchain,
            environment,
            repository,
            seed,
            random: Random::new(seed),
            commits: Vec::new(),
            history: Vec::new(),
            counts: BTreeMap::new(),
            incremental_seconds: Vec::new(),
            clean_seconds: Vec::new(),
            differences: 0,
        }
    }

    /// Takes random steps; every kind of edit comes before any comes again.
    pub(crate) fn random(&mut self, steps: usize) -> Result<(), String> {
        let mut left = Vec::new();
        for _ in 0..steps {
            if left.is_empty() {
                left = Edit::ALL.to_vec();
                self.random.shuffle(&mut left);
            }
            let edit = left.pop().unwrap();
            self.step(edit)?;
        }
        Ok(())
    }

    /// Takes one step: an edit, two builds, a comparison. Fails with the difference.
    pub(crate) fn step(&mut self, edit: Edit) -> Result<(), String> {
        if self.commits.is_empty() {
            self.build(Project::new(), "first commit".into())?;
        }
        let (project, done) = edit.apply(&self.commits, &mut self.random);
        self.build(project, done)
    }

    fn build(&mut self, project: Project, done: String) -> Result<(), String> {
        self.commit(&project, &done);
        self.history.push(done);
        let started = Instant::now();
        let report = self.environment.report(&self.repository, &[]);
        let seconds = started.elapsed().as_secs_f64();
        let built = self.compare(&project, &report);
        self.commits.push(project);
        match built {
            Ok(built) => {
                let word = match built {
                    Built::Incremental => {
                        self.incremental_seconds.push(seconds);
                        "incremental".to_owned()
                    }
                    Built::Clean(reason) => format!("clean: {reason}"),
                    Built::Fresh => "unchanged".into(),
                    Built::Failed => "failed as it must".into(),
                };
                self.history.last_mut().unwrap().push_str(&format!(" ({word})"));
                *self.counts.entry(word).or_default() += 1;
                Ok(())
            }
            Err(difference) => {
                self.differences += 1;
                let step = self.commits.len() - 1;
                Err(format!("{}, step {step}: {difference}", self.toolchain.name))
            }
        }
    }

    /// Writes a commit.
    fn commit(&self, project: &Project, message: &str) {
        for name in ["src", "dependency", "compiler"] {
            let place = self.repository.join(name);
            if place.exists() {
                fs::remove_dir_all(place).unwrap();
            }
        }
        let mut tree = Tree::default();
        (self.toolchain.write)(project, &mut tree);
        let compiler = match project.toolchain {
            0 => format!("\"{}\"", self.toolchain.compiler()),
            // Another path for the same content would do, but people change the content.
            number => {
                let text = (self.toolchain.wrapper)(&self.toolchain.compiler(), number);
                let text = self.toolchain.with_programs(&text);
                tree.program("compiler/compiler", format!("#!/bin/sh\n{text}\n"));
                "./compiler/compiler".into()
            }
        };
        let flake = FLAKE
            .replace("@settings@", &settings(self.toolchain))
            .replace("@tool@", self.environment.path("tool").to_str().unwrap())
            .replace("@compiler@", &compiler)
            .replace("@recipe@", &project.recipe.to_string())
            .replace("@nonce@", &project.nonce.to_string());
        tree.file("flake.nix", flake);
        let build = self.toolchain.with_programs(self.toolchain.build);
        tree.file("build.sh", format!("{BEGIN}{build}{END}"));
        tree.write(&self.repository);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    }

    fn git(&self, args: &[&str]) {
        self.environment.run("git", &self.repository, args).ok();
    }

    /// Builds clean what levain has built, and compares.
    fn compare(&mut self, project: &Project, report: &Value) -> Result<Built, String> {
        let job = &report["jobs"][0];
        let base = job["baseDrvPath"].as_str().ok_or_else(|| format!("no job: {report:#}"))?;
        let started = Instant::now();
        let realise = ["--realise", &format!("{base}!out")];
        let clean = self.environment.run("nix-store", &self.repository, &realise);
        let seconds = started.elapsed().as_secs_f64();
        let log = || {
            let log = job["log"].as_str().map(fs::read_to_string);
            log.and_then(Result::ok).unwrap_or_else(|| format!("{job:#}"))
        };

        match (job["status"].as_str().unwrap_or_default(), project.missing) {
            ("failed", Some(_)) if clean.code != Some(0) => return Ok(Built::Failed),
            // What was committed before failed, too, and nothing has changed since.
            (_, Some(_)) => return Err(format!("built although a file is missing\n{}", log())),
            ("fresh" | "incremental" | "clean", None) => {}
            (status, None) => return Err(format!("{status}\n{}\n{}", log(), clean.stderr)),
        }
        let clean = PathBuf::from(clean.ok().stdout.trim());
        let out = PathBuf::from(job["outputs"]["out"].as_str().unwrap());
        let differences = compare::differences(&out, &clean);
        if !differences.is_empty() {
            return Err(format!("{}\n{}", differences.join("\n"), log()));
        }
        self.printed(project, &out)?;

        Ok(match job["status"].as_str().unwrap_or_default() {
            "fresh" => Built::Fresh,
            "clean" => match (job["reason"].as_str(), refused(job)) {
                (Some("not-restored"), Some(reason)) => Built::Clean(reason),
                (reason, _) => Built::Clean(reason.unwrap_or("no reason given").into()),
            },
            _ => {
                self.clean_seconds.push(seconds);
                Built::Incremental
            }
        })
    }

    /// Requires that the program printed what the project says: both builds could be wrong alike.
    fn printed(&self, project: &Project, out: &Path) -> Result<(), String> {
        let text = fs::read_to_string(out.join("printed")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut expected = project.printed();
        expected.push((self.toolchain.printed)(project));
        lines.sort();
        expected.sort();
        if lines == expected {
            Ok(())
        } else {
            Err(format!("the program printed\n  {lines:?}\nexpected\n  {expected:?}"))
        }
    }

    /// Returns what was done so far, a line for each step.
    pub(crate) fn history(&self) -> &[String] {
        &self.history
    }

    /// Returns the row of the table.
    pub(crate) fn summary(&self) -> String {
        let count = |word: &str| self.counts.get(word).copied().unwrap_or(0);
        let clean: Vec<(&str, usize)> = self
            .counts
            .iter()
            .filter_map(|(word, count)| Some((word.strip_prefix("clean: ")?, *count)))
            .collect();
        let reasons: Vec<String> =
            clean.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        format!(
            "sequence|{}|{}|{}|{}|{}|{}|{}|{}|{:.2}|{:.2}|{}",
            self.toolchain.name,
            self.seed,
            self.commits.len(),
            count("incremental"),
            clean.iter().map(|(_, count)| count).sum::<usize>(),
            count("unchanged"),
            count("failed as it must"),
            self.differences,
            mean(&self.incremental_seconds),
            mean(&self.clean_seconds),
            reasons.join(", "),
        )
    }
}

const BEGIN: &str = "export PATH=/usr/bin:/bin LC_ALL=C\nset -e\nmkdir $out\n";

// Without these, Nix might take the end of the program for a crash.
const END: &str = "\nexit 0\n";

/// Returns why `levain-cache` restored nothing although there was a cache.
fn refused(job: &Value) -> Option<String> {
    let lines = job["cacheSets"].as_array()?.iter().filter_map(Value::as_str);
    let reason = lines.filter_map(|line| line.split_once("not restored ")).map(|(_, rest)| rest);
    let reason = reason.map(|text| text.split_once(": ").map_or(text, |(_, reason)| reason));
    reason.map(|text| kind(text.split("; ").next().unwrap_or(text))).next()
}

/// Leaves out names and numbers, so that equal reasons count together.
fn kind(reason: &str) -> String {
    let words = reason.split(['`', '"']).step_by(2).flat_map(str::split_whitespace);
    let words = words.filter(|word| !word.starts_with(|letter: char| letter.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

fn mean(numbers: &[f64]) -> f64 {
    if numbers.is_empty() { 0.0 } else { numbers.iter().sum::<f64>() / numbers.len() as f64 }
}

/// Prints a line that is seen without `--nocapture`, too.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}

/// Returns the built `levain-cache`, which is another package's program.
fn levain_cache() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_levain")).parent().unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests start the real programs")]
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "levain-cache", "--bin", "levain-cache"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    profile.join("levain-cache")
}
