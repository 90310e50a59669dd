//! Whole trees: what real Nix makes of them, and what we make of them.
//!
//! Of every file, whether it parses and what its value is; of known trees also what their own tests
//! say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::answer::Answer;
use crate::fuzz::{self, Verdict, explained};
use crate::oracle;
use crate::ours::{Ours, Request, Show};
use crate::report::Report;

/// Trees for which there is an expression of its own, by a file that only they have.
const KNOWN: [(&str, &str, &str); 5] = [
    ("nixpkgs", "pkgs/top-level/all-packages.nix", include_str!("trees/nixpkgs.nix")),
    ("library", "lib/tests/misc.nix", include_str!("trees/library.nix")),
    ("haumea", "src/loadEvalTests.nix", include_str!("trees/haumea.nix")),
    ("flake-parts", "modules/perSystem.nix", include_str!("trees/flake-parts.nix")),
    ("crane", "lib/crateNameFromCargoToml.nix", include_str!("trees/crane.nix")),
];
const SHIM: &str = include_str!("trees/shim.nix");
const GIVEN: &str = include_str!("trees/given.nix");
const NO_PACKAGES: &str = include_str!("trees/no-packages/default.nix");

/// Compares a tree; libraries that need nixpkgs' own get it from `lib`.
pub(crate) fn compare(
    tree: &Path,
    lib: Option<&Path>,
    scratch: &Path,
    report: &mut Report,
) -> Result<()> {
    let name = tree
        .file_name()
        .map_or_else(|| "tree".to_owned(), |name| name.to_string_lossy().into_owned());
    every_file(tree, &name, scratch, report)?;
    fs::write(scratch.join("shim.nix"), SHIM).context("cannot write an expression")?;
    if !tree.join(KNOWN[0].1).is_file() {
        every_value(tree, lib, &name, scratch, report)?;
    }
    for (kind, mark, text) in KNOWN {
        if !tree.join(mark).is_file() {
            continue;
        }
        let file = scratch.join(format!("{kind}.nix"));
        fs::write(&file, text).context("cannot write an expression")?;
        fs::create_dir_all(scratch.join("no-packages")).context("cannot make a directory")?;
        fs::write(scratch.join("no-packages/default.nix"), NO_PACKAGES)
            .context("cannot write an expression")?;
        let question = Question { kind, file: &file, tree, lib, scratch };
        question.compare(&name, report)?;
    }
    Ok(())
}

struct Question<'a> {
    kind: &'a str,
    file: &'a Path,
    tree: &'a Path,
    lib: Option<&'a Path>,
    scratch: &'a Path,
}

impl Question<'_> {
    /// Writes the expression; `import` is how files are read.
    fn text(&self, import: &str) -> Result<String> {
        let tree = self.tree.display();
        let file = self.file.display();
        if self.kind == "nixpkgs" {
            return Ok(format!("{import} {file} {{ tree = {tree}; }}"));
        }
        let lib = match (self.kind, self.lib) {
            ("library", _) => self.tree,
            (_, Some(lib)) => lib,
            (kind, None) => bail!("`{kind}` needs nixpkgs' library: name its tree as well"),
        };
        Ok(format!(
            "{import} {file} {{ tree = {tree}; lib = {import} {}; }}",
            lib.join("lib").display()
        ))
    }

    fn compare(&self, name: &str, report: &mut Report) -> Result<()> {
        // A nixpkgs reads itself with its own `import`; what the shim adds, it does not know.
        let shim = format!("(import {})", self.scratch.join("shim.nix").display());
        let theirs = if self.kind == "nixpkgs" { self.text("import")? } else { self.text(&shim)? };
        let started = Instant::now();
        let theirs =
            oracle::instantiate(self.scratch, &["--eval", "--strict", "--json", "-E", &theirs])?;
        let nix_seconds = started.elapsed().as_secs_f64();
        let mut ours = Ours::new(Duration::from_secs(300));
        let started = Instant::now();
        let ours = ours.evaluate(&Request::text(self.text("import")?, self.scratch, Show::Json))?;
        let our_seconds = started.elapsed().as_secs_f64();
        let group = format!("{name}: {}", self.kind);
        let (Answer::Value(theirs), Answer::Value(ours)) = (&theirs, &ours) else {
            let how = format!("Nix:  {}\n      ours: {}", theirs.line(), ours.line());
            report.differs(&group, "(whole)", &how);
            return Ok(());
        };
        let theirs: Value = serde_json::from_str(theirs).context("Nix printed no JSON")?;
        let ours: Value = serde_json::from_str(ours).context("we printed no JSON")?;
        same(&group, "", &theirs, &ours, report);
        report.remark(&format!(
            "{group}: Nix {nix_seconds:.2} s, ours {our_seconds:.2} s, ratio {:.2} (whole processes)",
            our_seconds / nix_seconds
        ));
        Ok(())
    }
}

/// Compares two documents attribute by attribute, so that each difference is named.
fn same(group: &str, path: &str, theirs: &Value, ours: &Value, report: &mut Report) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) if path.matches('.').count() < 2 => {
            for (name, value) in theirs {
                let below = format!("{path}.{name}");
                same(group, &below, value, ours.get(name).unwrap_or(&Value::Null), report);
            }
            for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
                report.differs(group, &format!("{path}.{name}"), "only ours has it");
            }
        }
        _ if theirs == ours => report.agrees(group),
        _ => {
            let short = |value: &Value| value.to_string().chars().take(300).collect::<String>();
            report.differs(
                group,
                path,
                &format!("Nix:  {}\n      ours: {}", short(theirs), short(ours)),
            );
        }
    }
}

/// Asks of each file whether it parses.
fn every_file(tree: &Path, name: &str, scratch: &Path, report: &mut Report) -> Result<()> {
    let files = crate::files::sources(&[tree.to_owned()], u64::MAX)?;
    let theirs = parsed_by_nix(&files, scratch)?;
    let mut ours = Ours::new(Duration::from_secs(30));
    let group = format!("{name}: files");
    for (file, theirs) in files.iter().zip(theirs) {
        // A path may start at the home directory, which Nix looks up while it parses.
        let home = ("HOME".to_owned(), scratch.display().to_string());
        let answer = ours
            .evaluate(&Request { environment: vec![home], ..Request::file(file, Show::Parse) })?;
        match (theirs, &answer) {
            (true, Answer::Value(_)) | (false, Answer::Failure(_)) => report.agrees(&group),
            (theirs, answer) => {
                let nix = if theirs { "parses" } else { "does not parse" };
                let answer: String = answer.line().chars().take(300).collect();
                report.differs(
                    &group,
                    &file.display().to_string(),
                    &format!("Nix {nix}, ours: {answer}"),
                );
            }
        }
    }
    Ok(())
}

/// Asks for the value of each file; functions are given what modules usually take.
fn every_value(
    tree: &Path,
    lib: Option<&Path>,
    name: &str,
    scratch: &Path,
    report: &mut Report,
) -> Result<()> {
    let show = scratch.join("show.nix");
    fs::write(&show, fuzz::SHOW).context("cannot write `show.nix`")?;
    let given = scratch.join("given.nix");
    fs::write(&given, GIVEN).context("cannot write an expression")?;
    let lib = lib.map_or_else(|| "{ }".to_owned(), |lib| format!("load {}/lib", lib.display()));
    let question = |load: &str, file: &Path| {
        let (given, file) = (given.display(), file.display());
        format!("let load = {load}; in import {given} {{ lib = {lib}; value = load {file}; }}")
    };
    let shim = format!("import {}", scratch.join("shim.nix").display());
    let mut theirs = oracle::Repl::new(scratch, &show, Duration::from_secs(20));
    let mut ours = Ours::new(Duration::from_secs(20));
    let group = format!("{name}: values");
    let asked = scratch.join("asked");
    fs::create_dir_all(&asked).context("cannot make a directory")?;
    for (number, file) in crate::files::sources(&[tree.to_owned()], u64::MAX)?.iter().enumerate() {
        // Nix remembers files by name, so each question has its own.
        let place = asked.join(format!("{number}.nix"));
        fs::write(&place, question(&shim, file)).context("cannot write an expression")?;
        let text = format!("import {} ({})", show.display(), question("import", file));
        let home = ("HOME".to_owned(), scratch.display().to_string());
        ours.ask(&Request { environment: vec![home], ..Request::text(text, scratch, Show::Raw) })?;
        theirs.ask(&place, true)?;
        let (theirs, ours) = (theirs.answer(), ours.answer());
        let case = file.display().to_string();
        let how = || {
            let short = |answer: &Answer| answer.line().chars().take(300).collect::<String>();
            format!("Nix:  {}\n      ours: {}", short(&theirs), short(&ours))
        };
        let source = fs::read(file).unwrap_or_default();
        let change = explained::change(&String::from_utf8_lossy(&source), &theirs, &ours);
        match (fuzz::compare(&theirs, &ours), change) {
            (Verdict::SameValue | Verdict::SameFailure, _) => report.agrees(&group),
            (Verdict::NoOracle, _) => report.left_out(&group, &case, &how()),
            (Verdict::OtherKind | Verdict::Different, Some(change)) => {
                report.left_out(&group, &case, change);
            }
            (Verdict::OtherKind, None) => {
                report.agrees(&group);
                report.note(&group, &case, &how());
            }
            (Verdict::Different, None) => report.differs(&group, &case, &how()),
        }
    }
    Ok(())
}

/// Returns of each file whether Nix parses it, with a few processes for many files.
fn parsed_by_nix(files: &[PathBuf], scratch: &Path) -> Result<Vec<bool>> {
    let mut parsed = Vec::new();
    while parsed.len() < files.len() {
        let rest = &files[parsed.len()..files.len().min(parsed.len() + 500)];
        let output = oracle::program("nix-instantiate", scratch)
            .arg("--parse")
            .args(rest)
            .output()
            .context("cannot start `nix-instantiate`")?;
        // Each file is printed on a line of its own, up to the first that does not parse.
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        parsed.extend(std::iter::repeat_n(true, lines.min(rest.len())));
        if !output.status.success() && lines < rest.len() {
            parsed.push(false);
        } else if lines == 0 {
            bail!("`nix-instantiate --parse` printed nothing");
        }
    }
    Ok(parsed)
}
