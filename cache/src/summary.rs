//! The one line that each command prints per set, for people and for levain to read back.

use std::time::Duration;

use levain_cache::{Outcome, Persisted, SetName};

/// Returns what to print after `restore`.
pub(crate) fn restored(set: &SetName, outcome: &Outcome, elapsed: Duration) -> String {
    let seconds = seconds(elapsed);
    match outcome {
        Outcome::Restored(restored) => {
            let origin = match restored.origin.as_str() {
                "" => String::new(),
                origin => format!("; from {origin}"),
            };
            format!(
                "levain-cache: restored {set}: {}, {}; sources {} unchanged, {} changed, {} new, {} gone; {seconds}{origin}\n",
                files(restored.files),
                size(restored.bytes),
                restored.unchanged,
                restored.changed,
                restored.new,
                restored.gone,
            )
        }
        Outcome::Refused(refusal) => {
            // One line to read back, whatever the cache says; a hint follows on its own.
            let text = refusal.to_string();
            let (reason, hint) = match text.rsplit_once("\nhint: ") {
                Some((reason, hint)) => (reason, format!("hint: {}\n", one_line(hint))),
                None => (text.as_str(), String::new()),
            };
            let reason = one_line(reason);
            format!("levain-cache: not restored {set}: {reason}; clean build; {seconds}\n{hint}")
        }
    }
}

/// Writes out what would start a line or do something else to a terminal.
fn one_line(text: &str) -> String {
    let plain = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(plain).collect()
}

/// Returns what to print after `persist`.
pub(crate) fn persisted(set: &SetName, persisted: &Persisted, elapsed: Duration) -> String {
    if let Some(budget) = persisted.dropped {
        return format!(
            "levain-cache: not persisted {set}: it has {} bytes, the budget is {budget}; the next build is clean; {}\n",
            persisted.bytes,
            seconds(elapsed),
        );
    }
    if let Some(doubt) = persisted.doubt.as_ref().filter(|doubt| !doubt.kept) {
        let reason = one_line(&doubt.to_string());
        let seconds = seconds(elapsed);
        return format!(
            "levain-cache: not persisted {set}: {reason}; the next build is clean; `allowOwnPaths` in the job's settings would keep it all the same; {seconds}\n",
        );
    }
    let mut text = format!(
        "levain-cache: persisted {set}: {}, {}; {} stored, {} taken over; {}; {}",
        files(persisted.files),
        size(persisted.bytes),
        size(persisted.stored),
        size(persisted.reused),
        count(persisted.sources, "source"),
        seconds(elapsed),
    );
    if persisted.late {
        text.push_str("; sources recorded only now, `restore` was not called");
    }
    if let Some(doubt) = &persisted.doubt {
        text.push_str(&format!("; {}", one_line(&doubt.to_string())));
    }
    if !persisted.pruned.files.is_empty() {
        let pruned = &persisted.pruned;
        let by = if pruned.blind {
            " by age alone, as this file system keeps no access times"
        } else {
            ""
        };
        let names = some(pruned.files.iter().map(ToString::to_string));
        text.push_str(&format!(
            "; left out {} over budget{by}, {}: {names}",
            size(pruned.bytes),
            files(pruned.files.len()),
        ));
    }
    if !persisted.clinging.is_empty() {
        let names = some(persisted.clinging.iter().map(ToString::to_string));
        text.push_str(&format!("; left out for naming the cache this build started from: {names}"));
    }
    text.push('\n');
    text
}

/// Names the first few.
fn some(names: impl ExactSizeIterator<Item = String>) -> String {
    const FEW: usize = 5;
    let more = names.len().saturating_sub(FEW);
    let mut text = names.take(FEW).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn files(number: usize) -> String {
    count(number, "file")
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.2} s", elapsed.as_secs_f64())
}
