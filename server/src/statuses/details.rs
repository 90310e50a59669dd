//! What an App says besides a line: a text with what failed, and notes at the lines that errors name. Pure functions.
//!
//! What builds and evaluations printed is hostile: it stands in code blocks that it cannot end, and paths that lead out of
//! the repository are not named. Every text goes through its masks where it comes in: without the control characters that are
//! taken out after that, the halves of a secret are not what they were. [`Details`] are masked once more as a whole.

use levain_actions::forge::Masks;
use levain_actions::status::{Details, MOST_NOTES, Note, TEXT_LIMIT, cut};

use crate::pages::comparison::Comparison;
use crate::pages::kept_report::{Job, JobStatus, KeptReport};

/// How many jobs are shown with what went wrong.
const SHOWN: usize = 20;
/// How many names a list has.
const NAMED: usize = 50;
/// How much is shown of what one job printed, in bytes.
const EXCERPT: usize = 4_000;
/// The longest path and the longest message of a note.
const LONGEST: usize = 400;

/// The jobs of a pull request beside those of its base.
#[derive(Clone, Copy, Debug)]
pub struct AgainstBase<'a> {
    /// The base's name.
    pub base: &'a str,
    /// How they differ.
    pub found: &'a Comparison,
}

/// Returns what is said about the end of a run.
pub fn of_run(report: &KeptReport, against: Option<AgainstBase<'_>>, masks: &Masks) -> Details {
    let mut text = Text::new(masks);
    if let Some(against) = against {
        text.verdict(against);
    }
    text.counts(report);
    let bad: Vec<&Job> = report.jobs.iter().filter(|job| job.status.is_bad()).collect();
    // What the pull request is to blame for comes first.
    let is_old = |job: &Job| {
        against.is_some_and(|against| against.found.still_failing.contains(&job.attr_path))
    };
    let (old, new): (Vec<&Job>, Vec<&Job>) = bad.into_iter().partition(|job| is_old(job));
    let ordered: Vec<&Job> = new.into_iter().chain(old).collect();
    for job in ordered.iter().take(SHOWN) {
        if text.written.len() > TEXT_LIMIT {
            break;
        }
        text.failure(job);
    }
    let more = ordered.len().saturating_sub(SHOWN);
    if more > 0 {
        text.line(&format!("\n{more} more jobs failed."));
    }
    let errors = ordered.iter().filter_map(|job| job.error.as_deref());
    text.done(errors)
}

/// Returns what is said about a job that ended.
pub fn of_job(job: &Job, masks: &Masks) -> Details {
    let mut text = Text::new(masks);
    text.failure(job);
    text.done(job.error.as_deref())
}

/// Returns what is said about a run that came to no report.
pub fn of_error(error: &str, masks: &Masks) -> Details {
    let mut text = Text::new(masks);
    text.block(error);
    text.done([error])
}

/// Returns what is said about a commit that waits for an approval.
pub fn of_unapproved() -> Details {
    let text = "This commit is a fork’s. It is evaluated and built when somebody who may push to the repository \
        approves it: with the button above, on levain’s page, or by a comment `/levain approve COMMIT`.\n\n\
        Approving lets its author’s code be evaluated and built on levain’s machine, in a sandbox. A new commit needs a \
        new approval.";
    Details::masked(text, Vec::new(), &Masks::default()).asking_approval()
}

/// A text that is written, and what must not be in it.
struct Text<'a> {
    written: String,
    masks: &'a Masks,
}

impl<'a> Text<'a> {
    fn new(masks: &'a Masks) -> Self {
        Self { written: String::new(), masks }
    }

    /// Returns the text, with notes at what these errors name.
    fn done<'e>(self, errors: impl IntoIterator<Item = &'e str>) -> Details {
        Details::masked(&self.written, notes(errors, self.masks), self.masks)
    }

    fn line(&mut self, line: &str) {
        self.written.push_str(line);
        self.written.push('\n');
    }

    /// Says what the pull request changes about the jobs of its base.
    fn verdict(&mut self, AgainstBase { base, found }: AgainstBase<'_>) {
        let of_base = self.code(base);
        self.line(&format!("### Compared with {of_base}"));
        let lists = [
            ("newly failing", &found.newly_failing),
            ("still failing", &found.still_failing),
            ("newly fixed", &found.newly_fixed),
            ("added", &found.added),
            ("removed", &found.removed),
            ("stopped", &found.undecided),
        ];
        let mut is_same = true;
        for (what, names) in lists {
            if names.is_empty() {
                continue;
            }
            is_same = false;
            let shown: Vec<String> = names.iter().take(NAMED).map(|name| self.code(name)).collect();
            let more = names.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.line(&format!("- **{} {what}**: {}{more}", names.len(), shown.join(", ")));
        }
        if is_same {
            self.line("No job fares otherwise.");
        }
        self.written.push('\n');
    }

    fn counts(&mut self, report: &KeptReport) {
        let counts = JobStatus::ALL.into_iter().filter_map(|status| {
            let count = report.jobs.iter().filter(|job| job.status == status).count();
            (count > 0).then(|| format!("{count} {}", status.name()))
        });
        let counts: Vec<String> = counts.collect();
        match counts.is_empty() {
            true => self.line("No jobs."),
            false => self.line(&format!("{}.", counts.join(", "))),
        }
    }

    fn failure(&mut self, job: &Job) {
        let name = self.code(&job.attr_path);
        self.line(&format!("\n#### {name}"));
        if let Some(error) = &job.error {
            self.block(error);
        }
        for dependency in job.failed_dependencies.iter().take(3) {
            let name = self.code(&dependency.name);
            self.line(&format!("The dependency {name} failed."));
        }
        if !job.last_lines.is_empty() {
            self.block(&job.last_lines.join("\n"));
        }
    }

    /// Shows text from outside as it is: no markup, no links, no names that anybody is told of.
    fn block(&mut self, content: &str) {
        // The end says more than the beginning, but for an error's first line.
        let content = plain(content, self.masks);
        let content = match content.len() > EXCERPT {
            true => format!("{}\n…", cut(&content, EXCERPT)),
            false => content,
        };
        let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        self.written.push_str(&format!("{fence}text\n{}\n{fence}\n", content.trim_end()));
    }

    /// Returns a name as it is, on one line.
    fn code(&self, name: &str) -> String {
        let name = plain(name, self.masks);
        let name: String = name.chars().filter(|c| *c != '\n').take(LONGEST).collect();
        let longest = name.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest + 1);
        match longest {
            0 => format!("{fence}{name}{fence}"),
            _ => format!("{fence} {name} {fence}"),
        }
    }
}

/// Takes out secrets, and then what a reader does not see.
fn plain(text: &str, masks: &Masks) -> String {
    let is_seen = |c: &char| *c == '\n' || *c == '\t' || !c.is_control();
    masks.apply(text).chars().filter(is_seen).collect()
}

/// Returns notes at the first place in the repository that each error names.
fn notes<'a>(errors: impl IntoIterator<Item = &'a str>, masks: &Masks) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for error in errors {
        let Some((path, number)) = place(error) else { continue };
        let first = error.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let message = cut(&plain(first.trim(), masks), LONGEST).to_owned();
        let note = Note { path, line: number, message };
        // All jobs of a broken file name the same line.
        if !notes.contains(&note) {
            notes.push(note);
        }
        if notes.len() >= MOST_NOTES {
            break;
        }
    }
    notes
}

/// Finds the first place of the repository that an error names, such as `flake.nix:3:5`.
fn place(error: &str) -> Option<(String, u32)> {
    let words = error.split(|c: char| c.is_whitespace() || "'\"«»".contains(c));
    let mut before = "";
    for word in words {
        if before == "at"
            && let Some(found) = path_and_line(word.trim_end_matches([':', ',', '.']))
        {
            return Some(found);
        }
        if !word.is_empty() {
            before = word;
        }
    }
    None
}

/// Reads `PATH:LINE:COLUMN`; nothing if the path leads out of the repository.
fn path_and_line(word: &str) -> Option<(String, u32)> {
    let (rest, column) = word.rsplit_once(':')?;
    let (path, number) = rest.rsplit_once(':')?;
    column.parse::<u32>().ok()?;
    let number = number.parse::<u32>().ok().filter(|number| (1..=1_000_000).contains(number))?;
    let is_inside = !path.is_empty()
        && path.len() <= LONGEST
        && !path.contains([':', '\\'])
        && !path.contains(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_inside.then(|| (path.to_owned(), number))
}

#[cfg(test)]
mod tests;
