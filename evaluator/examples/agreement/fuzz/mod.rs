//! The differential fuzzer: random expressions, evaluated by real Nix and by ours.
//!
//! The same seed asks the same questions. Values are compared as text, with the contexts of their
//! strings; failures by their kind. Start at [`fuzz`].

pub(crate) mod explained;
mod generate;
mod generate_more;
mod literals;
mod mutate;
mod shrink;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::answer::{Answer, Kind};
use crate::oracle::{Repl, as_printed};
use crate::ours::{Ours, Request, Show};
use crate::random::Random;

/// What to do.
pub(crate) struct Plan {
    /// Where randomness starts.
    pub seed: u64,
    /// How many expressions.
    pub count: usize,
    /// Trees whose files are changed and tried as well.
    pub trees: Vec<PathBuf>,
    /// Where expressions that differ are kept.
    pub kept: PathBuf,
    /// After so many differences, stop.
    pub limit: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Expressions that evaluated on either side.
    pub values: usize,
    /// Expressions that failed on both.
    pub failures: usize,
    /// Of these, with errors of another kind.
    pub other_kinds: usize,
    /// Expressions with different results.
    pub differences: usize,
    /// Of the different results, those that a known change of Nix explains, by that change.
    pub explained: std::collections::BTreeMap<&'static str, usize>,
}

/// Larger files take too long to be changed thousands of times.
const LARGEST_FILE: u64 = 6_000;

/// The function that turns values into text.
pub(crate) const SHOW: &str = include_str!("show.nix");

/// Compares as many expressions as planned.
pub(crate) fn fuzz(plan: &Plan, scratch: &Path) -> Result<Findings> {
    let mut random = Random::new(plan.seed);
    let show = scratch.join("show.nix");
    fs::write(&show, SHOW).context("cannot write `show.nix`")?;
    fs::create_dir_all(&plan.kept).context("cannot make the directory for differences")?;
    let files = crate::files::sources(&plan.trees, LARGEST_FILE)?;
    let mut pair = Pair {
        scratch: scratch.to_owned(),
        repl: Repl::new(scratch, &show, Duration::from_secs(10)),
        ours: Ours::new(Duration::from_secs(10)),
        show,
        asked: 0,
    };
    let mut findings = Findings::default();
    for number in 0..plan.count {
        let text = if !files.is_empty() && random.chance(25) {
            let file = random.pick(&files);
            mutate::mutate(&mut random.clone(), &fs::read_to_string(file).unwrap_or_default())
        } else {
            generate::expression(&mut random)
        };
        random.bits();
        let (theirs, ours) = pair.ask(&text)?;
        let verdict = compare(&theirs, &ours);
        if matches!(verdict, Verdict::Different | Verdict::OtherKind)
            && let Some(change) = explained::change(&text, &theirs, &ours)
        {
            *findings.explained.entry(change).or_default() += 1;
            continue;
        }
        match verdict {
            Verdict::SameValue => findings.values += 1,
            Verdict::SameFailure => findings.failures += 1,
            Verdict::OtherKind => {
                findings.failures += 1;
                findings.other_kinds += 1;
                if findings.other_kinds <= plan.limit {
                    let text = shrink::shrink(&text, |candidate| {
                        pair.ask(candidate).is_ok_and(|(theirs, ours)| {
                            compare(&theirs, &ours) == Verdict::OtherKind && !unreliable(&theirs)
                        })
                    });
                    let (theirs, ours) = pair.ask(&text)?;
                    print(&format!(
                        "other kind of error, number {number}:\n  {text}\n  Nix:  {}\n  ours: {}",
                        theirs.line(),
                        ours.line()
                    ));
                }
            }
            Verdict::Different => {
                findings.differences += 1;
                findings.values += 1;
                let small = shrink::shrink(&text, |candidate| {
                    pair.ask(candidate).is_ok_and(|(theirs, ours)| {
                        compare(&theirs, &ours) == Verdict::Different
                            && !unreliable(&theirs)
                            && explained::change(candidate, &theirs, &ours).is_none()
                    })
                });
                let (theirs, ours) = pair.ask(&small)?;
                print(&format!(
                    "DIFFERS, number {number}:\n  {small}\n  Nix:  {}\n  ours: {}",
                    theirs.line(),
                    ours.line()
                ));
                let kept = plan.kept.join(format!("{}-{number}.nix", plan.seed));
                fs::write(&kept, &small).context("cannot keep a difference")?;
                if findings.differences >= plan.limit {
                    break;
                }
            }
            // Nix itself crashed or hung, which says nothing about us.
            Verdict::NoOracle => {}
        }
        if (number + 1) % 5000 == 0 {
            print(&format!("{} expressions: {findings:?}", number + 1));
        }
    }
    Ok(findings)
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn print(text: &str) {
    println!("{text}");
}

/// Both evaluators, asked the same.
struct Pair {
    scratch: PathBuf,
    show: PathBuf,
    repl: Repl,
    ours: Ours,
    asked: usize,
}

impl Pair {
    fn ask(&mut self, text: &str) -> Result<(Answer, Answer)> {
        self.asked += 1;
        // Nix remembers files by name, so each has its own.
        let file = self.scratch.join(format!("e{}.nix", self.asked));
        fs::write(&file, text).context("cannot write an expression")?;
        let question = format!("import {} (import {})", self.show.display(), file.display());
        let home = ("HOME".to_owned(), self.scratch.display().to_string());
        self.ours.ask(&Request {
            environment: vec![home],
            ..Request::text(question, &self.scratch, Show::Raw)
        })?;
        let ours = self.ours.answer();
        let unsure = matches!(&ours, Answer::Failure(message) if Kind::of(message) == Kind::Syntax);
        self.repl.ask(&file, unsure)?;
        let theirs = self.repl.answer();
        fs::remove_file(&file).context("cannot remove an expression")?;
        Ok((theirs, ours))
    }
}

/// What two answers to one question are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same value.
    SameValue,
    /// Both failed, for the same kind of reason.
    SameFailure,
    /// Both failed, seemingly for another reason.
    OtherKind,
    /// One has a value and the other has not, or another one.
    Different,
    /// Nix itself died or did not answer in time.
    NoOracle,
}

fn unreliable(theirs: &Answer) -> bool {
    matches!(theirs, Answer::Died(_) | Answer::Silent)
}

/// Judges two answers.
pub(crate) fn compare(theirs: &Answer, ours: &Answer) -> Verdict {
    match (theirs, ours) {
        // Nix 2.8 dies of deep recursion; an error of ours about it is the better answer.
        (Answer::Died(_) | Answer::Silent, Answer::Failure(message))
            if Kind::of(message) == Kind::Recursion =>
        {
            Verdict::SameFailure
        }
        (Answer::Died(_) | Answer::Silent, _) => Verdict::NoOracle,
        (Answer::Value(theirs), Answer::Value(ours)) => {
            let ours = ours.strip_prefix("@V@").unwrap_or(ours);
            if *theirs == as_printed(ours) { Verdict::SameValue } else { Verdict::Different }
        }
        (Answer::Failure(theirs), Answer::Failure(ours)) => {
            if Kind::of(theirs) == Kind::of(ours) {
                Verdict::SameFailure
            } else {
                Verdict::OtherKind
            }
        }
        (Answer::Value(_) | Answer::Failure(_), _) => Verdict::Different,
    }
}
