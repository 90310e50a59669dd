//! Real repositories: what is pushed to them, and what they list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use levain_actions::git::CommitId;
use levain_evaluator::JobsetName;
use levain_server::approve::Trust;
use levain_server::reconcile::{Head, Heads};

/// How many commits there are to push.
const COMMITS: usize = 60;

/// Returns whether a commit is one whose jobs succeed.
pub(crate) fn is_good(commit: CommitId) -> bool {
    digit(commit) < 10
}

/// Returns how long it takes to carry out a run of a commit.
pub(crate) fn duration(commit: CommitId) -> Duration {
    Duration::from_millis(u64::from(digit(commit)) * 6)
}

fn digit(commit: CommitId) -> u32 {
    commit.to_string().chars().last().and_then(|last| last.to_digit(16)).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test plays the people who push")]
fn git(directory: &Path, arguments: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "gc.auto=0", "-c", "receive.autogc=false", "-c", "maintenance.auto=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Lists the branches and pull requests of a repository.
pub(crate) fn heads(url: &str) -> Result<Heads, String> {
    let output = git(Path::new("/"), &["ls-remote", "--", url], "");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(lines
        .filter_map(|(commit, name)| Some((jobset(name)?, head(commit.parse().ok()?))))
        .collect())
}

fn head(commit: CommitId) -> Head {
    Head::new(commit, Trust::Own)
}

fn jobset(reference: &str) -> Option<JobsetName> {
    let name = reference.strip_prefix("refs/")?;
    name.strip_suffix("/head").unwrap_or(name).parse().ok()
}

/// A repository that others push to, and one that they push from.
pub(crate) struct Origin {
    pub(crate) bare: PathBuf,
    work: PathBuf,
    commits: Vec<CommitId>,
    /// Where its refs are.
    pub(crate) refs: BTreeMap<String, CommitId>,
    /// Where each ref has been: one after the other, nothing while there was none.
    pub(crate) history: BTreeMap<JobsetName, Vec<Option<CommitId>>>,
}

impl Origin {
    /// The refs that come, move and go.
    const REFS: [&str; 4] =
        ["refs/heads/main", "refs/heads/topic", "refs/pull/7/head", "refs/pull/8/head"];

    pub(crate) fn new(directory: &Path, name: &str, seed: u64) -> Self {
        let (bare, work) = (directory.join(format!("{name}.git")), directory.join(name));
        for (path, kind) in [(&bare, "--bare"), (&work, "--quiet")] {
            std::fs::create_dir(path).unwrap();
            done(&git(path, &["init", "--quiet", "--initial-branch=main", kind], ""));
        }
        // Branches go here, the default one as well.
        done(&git(&bare, &["config", "receive.denyDeleteCurrent", "ignore"], ""));
        let mut import = String::new();
        for number in 0..COMMITS {
            let message = format!("{seed} {name} {number}");
            let length = message.len();
            import.push_str(&format!(
                "commit refs/heads/all\nmark :{}\ncommitter a <a@b.c> {number} +0000\ndata {length}\n{message}\n",
                number + 1
            ));
        }
        let marks = directory.join(format!("{name}.marks"));
        let export = format!("--export-marks={}", marks.display());
        done(&git(&work, &["fast-import", "--quiet", &export], &import));
        let marks = std::fs::read_to_string(marks).unwrap();
        let commits = marks.lines().map(|line| line.split_once(' ').unwrap().1.parse().unwrap());
        let commits = commits.collect();
        Self { bare, work, commits, refs: BTreeMap::new(), history: BTreeMap::new() }
    }

    /// Pushes to some refs, with force: new commits, old ones, and none; returns the refs that it pushed to.
    pub(crate) fn push(&mut self, random: &mut fastrand::Rng) -> Vec<String> {
        let mut updates: BTreeMap<&str, Option<CommitId>> = BTreeMap::new();
        for _ in 0..random.usize(1..=3) {
            let name = Self::REFS[random.usize(0..Self::REFS.len())];
            let is_gone = self.refs.contains_key(name) && random.u32(0..5) == 0;
            let commit = self.commits[random.usize(0..self.commits.len())];
            updates.insert(name, (!is_gone).then_some(commit));
        }
        let target = self.bare.display().to_string();
        let specs: Vec<String> = updates
            .iter()
            .map(|(name, commit)| match commit {
                Some(commit) => format!("{commit}:{name}"),
                None => format!(":{name}"),
            })
            .collect();
        let mut arguments = vec!["push", "--quiet", "--force", "--", &target];
        arguments.extend(specs.iter().map(String::as_str));
        // Noted before: a listing may see a part of it at once.
        for (name, commit) in &updates {
            let history = self.history.entry(jobset(name).unwrap()).or_default();
            if history.last().copied().flatten() != *commit {
                history.push(*commit);
            }
            match commit {
                Some(commit) => self.refs.insert((*name).to_owned(), *commit),
                None => self.refs.remove(*name),
            };
        }
        done(&git(&self.work, &arguments, ""));
        updates.into_keys().map(str::to_owned).collect()
    }

    /// Returns what a listing of it has.
    pub(crate) fn heads(&self) -> Heads {
        self.refs.iter().map(|(name, commit)| (jobset(name).unwrap(), head(*commit))).collect()
    }
}
