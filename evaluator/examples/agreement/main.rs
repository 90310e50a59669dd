//! Compares our evaluator with real Nix: `scripts/agreement` builds and calls this.
//!
//! `agreement compare DIR…` runs what each directory is good for: Nix's own language suite if it is
//! Nix's source, derivation paths if it is a nixpkgs, the tests of known libraries, and of every
//! tree whether its files parse. `agreement fuzz` asks both evaluators about random expressions,
//! `agreement panic` feeds ours what should break it, and `agreement growth` says how the time
//! grows with the size of what is evaluated.
//! Real Nix writes to no store here and needs no root.

// A program for developers: it reads files, runs Nix and keeps time, unlike the crate it tests.
#![expect(clippy::disallowed_methods, reason = "a program, not the library")]

mod answer;
mod child;
mod files;
mod fuzz;
mod growth;
mod hostile;
mod oracle;
mod ours;
mod random;
mod report;
mod serve;
mod suite;
mod trees;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: agreement compare DIR…
       agreement fuzz [--seed N] [--count N] [--limit N] [--keep DIR] [TREE…]
       agreement panic [--seed N] [--count N] [--first N] [--depth N] [TREE…]
       agreement growth [--nix] [--time MS] [WORD…]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool> {
    match arguments.split_first() {
        Some((command, [])) if command == "serve" => serve::serve().map(|()| true),
        Some((command, trees)) if command == "compare" && !trees.is_empty() => {
            compare(&trees.iter().map(PathBuf::from).collect::<Vec<_>>())
        }
        Some((command, rest)) if command == "fuzz" => fuzz_with(rest),
        Some((command, rest)) if command == "panic" => panic_with(rest),
        Some((command, rest)) if command == "growth" => growth_with(rest),
        Some(_) | None => bail!("{USAGE}"),
    }
}

fn compare(trees: &[PathBuf]) -> Result<bool> {
    let scratch = tempfile::tempdir().context("cannot make a directory")?;
    let trees = trees
        .iter()
        .map(|tree| tree.canonicalize().with_context(|| format!("cannot find {}", tree.display())))
        .collect::<Result<Vec<_>>>()?;
    let lib = trees.iter().find(|tree| tree.join("lib/tests/misc.nix").is_file());
    let mut report = report::Report::default();
    report.remark(&format!("the oracle is Nix {}", oracle::version(scratch.path())?));
    for tree in &trees {
        let suite = tree.join("tests/functional/lang");
        if suite.is_dir() {
            suite::compare(&suite, &mut report)?;
        } else {
            trees::compare(tree, lib.map(PathBuf::as_path), scratch.path(), &mut report)?;
        }
    }
    say(&report.text());
    Ok(report.differences() == 0)
}

fn fuzz_with(arguments: &[String]) -> Result<bool> {
    let scratch = tempfile::tempdir().context("cannot make a directory")?;
    let mut plan = fuzz::Plan {
        seed: 1,
        count: 20_000,
        trees: Vec::new(),
        kept: scratch.path().join("kept"),
        limit: 20,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
        match word.as_str() {
            "--seed" => plan.seed = value()?.parse().context("`--seed` needs a number")?,
            "--count" => plan.count = value()?.parse().context("`--count` needs a number")?,
            "--limit" => plan.limit = value()?.parse().context("`--limit` needs a number")?,
            "--keep" => plan.kept = PathBuf::from(value()?),
            option if option.starts_with('-') => bail!("unknown option `{option}`\n{USAGE}"),
            tree => plan.trees.push(PathBuf::from(tree)),
        }
    }
    let findings = fuzz::fuzz(&plan, scratch.path())?;
    say(&format!(
        "seed {}: {} expressions with a value, {} differ; {} fail on both sides, {} of them with another kind of error",
        plan.seed, findings.values, findings.differences, findings.failures, findings.other_kinds
    ));
    for (change, count) in &findings.explained {
        say(&format!("{count} times explained: {change}"));
    }
    Ok(findings.differences == 0)
}

fn panic_with(arguments: &[String]) -> Result<bool> {
    let mut plan =
        hostile::Plan { seed: 1, first: 0, depth: 100_000, count: 1_000_000, texts: Vec::new() };
    let mut trees = vec![PathBuf::from("evaluator/tests/lang")];
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
        match word.as_str() {
            "--seed" => plan.seed = value()?.parse().context("`--seed` needs a number")?,
            "--count" => plan.count = value()?.parse().context("`--count` needs a number")?,
            "--depth" => plan.depth = value()?.parse().context("`--depth` needs a number")?,
            "--first" => plan.first = value()?.parse().context("`--first` needs a number")?,
            option if option.starts_with('-') => bail!("unknown option `{option}`\n{USAGE}"),
            tree => trees.push(PathBuf::from(tree)),
        }
    }
    for file in files::sources(&trees, u64::MAX)? {
        let text = std::fs::read(&file);
        plan.texts.push(text.with_context(|| format!("cannot read {}", file.display()))?);
    }
    // A panic is counted and told at the end, once.
    std::panic::set_hook(Box::new(|_| {}));
    let findings = levain_evaluator::lang::on_large_stack(|stack| {
        hostile::feed(&plan, stack, &mut |number| say(&format!("{number} inputs")))
    })
    .context("cannot start a thread")?;
    for (time, name) in &findings.slow {
        say(&format!("slow, {:.3} s: {name}", time.as_secs_f64()));
    }
    for failure in &findings.failures {
        say(failure);
    }
    for (door, (inputs, accepted)) in hostile::DOORS.iter().zip(findings.inputs) {
        say(&format!("{door:?}: {inputs} inputs, {accepted} accepted"));
    }
    let (time, name) = &findings.slowest;
    say(&format!(
        "seed {}: {} failures in {} bytes; the slowest took {:.3} s: {name}",
        plan.seed,
        findings.failures.len(),
        findings.bytes,
        time.as_secs_f64()
    ));
    Ok(findings.failures.is_empty())
}

fn growth_with(arguments: &[String]) -> Result<bool> {
    let scratch = tempfile::tempdir().context("cannot make a directory")?;
    let mut plan = growth::Plan::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--nix" => plan.nix = true,
            "--time" => {
                let time = words.next().and_then(|time| time.parse().ok());
                plan.enough = time.context("`--time` needs a number of milliseconds")?;
            }
            option if option.starts_with('-') => bail!("unknown option `{option}`\n{USAGE}"),
            word => plan.only.push(word.to_owned()),
        }
    }
    levain_evaluator::lang::on_large_stack(|stack| {
        growth::measure(&plan, stack, scratch.path(), &mut say)
    })
    .context("cannot start a thread")??;
    Ok(true)
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "this is a program for people")]
fn complain(text: &str) {
    eprintln!("{text}");
}
