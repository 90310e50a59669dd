//! Builds states of a tree twice, at the same place: as it is, and with commands skipped.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::snapshot::Snapshot;
use super::sources::{self, Sources};

/// After so many seconds a build is ended.
const LONGEST: &str = "20";

/// How `timeout` ends if it had to end the build.
const KILLED: i32 = 137;
/// More than this no tree prints that ends by itself.
const MOST_PRINTED: u64 = 4 << 20;

/// Where trees are built.
pub(crate) struct Site {
    /// The programs that were compiled for the test.
    pub(crate) programs: PathBuf,
    /// A directory of this tree's own.
    pub(crate) place: PathBuf,
    /// Whether the system's programs count as objects of the store, which never change.
    pub(crate) has_store: bool,
    /// A variable for builds that read what nobody is told of.
    pub(crate) liar: Option<String>,
}

/// What was found out about a state of a tree.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) skipped: usize,
    pub(crate) difference: Option<String>,
    /// What became of the commands.
    pub(crate) explained: String,
}

impl Site {
    fn top(&self) -> PathBuf {
        self.place.join("build")
    }

    /// Builds all states in order, each with what the one before recorded. Stops at the first difference.
    pub(crate) fn live(&self, states: &[Sources]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for number in 0..2 {
            remove(&self.place.join(format!("pack{number}")));
        }
        for (index, state) in states.iter().enumerate() {
            let outcome = self.state(index, state);
            let ends = outcome.difference.is_some();
            outcomes.push(outcome);
            if ends {
                break;
            }
        }
        outcomes
    }

    /// Builds one state with what the one before recorded.
    pub(crate) fn state(&self, index: usize, state: &Sources) -> Outcome {
        let pack = |index: usize| self.place.join(format!("pack{}", index % 2));
        let explain = self.place.join("explained");
        let clean = self.clean(state);
        if clean.code == Some(KILLED) {
            // What has no end has no result.
            return Outcome {
                explained: "the clean build does not end".to_owned(),
                ..Outcome::default()
            };
        }
        let (from, to) = (pack(index + 1), pack(index));
        remove(&to);
        let mut words = vec![env!("CARGO_BIN_EXE_levain-cache").into(), "replay".into()];
        if index > 0 {
            words.extend(["--from".into(), from]);
        }
        words.extend(["--to".into(), to, "--explain".into(), explain.clone(), "--".into()]);
        let mut replayed = self.build(state, &words);
        let at = replayed.output.find("levain-cache: ").unwrap_or(replayed.output.len());
        let summary = replayed.output.split_off(at);
        let count = summary
            .split_once(" commands skipped")
            .and_then(|(before, _)| before.rsplit(' ').next().and_then(|word| word.parse().ok()));
        let explained = fs::read_to_string(explain).unwrap_or_default();
        let mut outcome = Outcome { explained, ..Outcome::default() };
        match count {
            Some(count) => outcome.skipped = count,
            None => {
                outcome.difference = Some(format!("no summary: {summary:?} {}", replayed.errors));
                return outcome;
            }
        }
        if let Some(difference) = clean.difference(&replayed) {
            // A build that does not agree with itself proves nothing.
            let again = self.clean(state);
            if clean.difference(&again).is_none() {
                outcome.difference = Some(difference);
            }
        }
        let disorder = clean.disorder(&replayed);
        if outcome.difference.is_none() && !disorder.is_empty() {
            // On a busy machine there are longer pauses where a build has none.
            let again: Vec<Snapshot> = (0..3).map(|_| self.clean(state)).collect();
            let real = disorder.iter().find(|pair| again.iter().all(|clean| clean.is_older(pair)));
            if let Some((older, newer)) = real {
                outcome.difference = Some(format!("`{older}` is not older than `{newer}`"));
            }
        }
        outcome
    }

    fn clean(&self, state: &Sources) -> Snapshot {
        self.build(state, &[])
    }

    fn build(&self, state: &Sources, before: &[PathBuf]) -> Snapshot {
        let top = self.top();
        remove(&top);
        sources::place(state, &self.programs, &top);
        let tool = self.programs.join("tool0");
        #[expect(clippy::disallowed_methods, reason = "the program itself is tested")]
        let mut command = Command::new("/usr/bin/timeout");
        command
            .args(["-s", "KILL", LONGEST])
            .arg(&tool)
            // Descriptors that a test runner leaves open are given to every command.
            .arg("alone")
            .args(before)
            .args(["sh", "build.sh"])
            .current_dir(&top)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TOOL", &tool)
            .env("R", &top)
            .stdin(Stdio::null());
        if let Some(liar) = &self.liar {
            command.env("LIAR", liar);
        }
        if self.has_store {
            command.env("NIX_STORE", "/usr");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = std::thread::spawn(move || text(errors));
        let output = text(output);
        let errors = errors.join().unwrap();
        let status = child.wait().unwrap();
        Snapshot::of(&top, status.code(), output, errors)
    }
}

/// Reads what a build prints, but not without end.
fn text(from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.take(MOST_PRINTED).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Compiles the programs that trees are made of.
pub(crate) fn compile(to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/tool.c");
    for variant in 0..3 {
        #[expect(clippy::disallowed_methods, reason = "the compiler is the test's own")]
        let status = Command::new("cc")
            .args(["-O1", "-pthread", &format!("-DVARIANT={variant}"), "-o"])
            .arg(to.join(format!("tool{variant}")))
            .arg(&source)
            .status()
            .unwrap();
        assert!(status.success(), "`cc` cannot compile {}", source.display());
    }
}

/// Removes whatever is at a place, closed directories as well.
pub(crate) fn remove(place: &Path) {
    let Ok(metadata) = fs::symlink_metadata(place) else { return };
    if !metadata.is_dir() {
        return fs::remove_file(place).unwrap();
    }
    fs::set_permissions(place, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(place).unwrap() {
        remove(&entry.unwrap().path());
    }
    fs::remove_dir(place).unwrap();
}
