//! Whether a build that was given a cache restored anything from it.
//!
//! Only the build's own log can say so, and a log is written by the job itself. So what it says only
//! words the result: "incremental" or "clean". Trust, depth, pointers and audits go by the
//! derivation, which has the cache among its inputs or not.

use std::collections::BTreeSet;

use levain_store::{Derivation, DerivationPath, Store};

use crate::build::Traces;

/// What `levain-cache` says when a set was not asked for.
const NOT_GIVEN: &str = "no cache was given";

/// The program whose lines tell.
const TOOL: &[u8] = b"/bin/levain-cache";

/// What a build made of the caches among its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It restored something, or its builder decides by itself and says nothing.
    Restored,
    /// It restored nothing, and why.
    Nothing(String),
}

/// What the lines of one build say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// Something was restored.
    Restored,
    /// Nothing was, for this reason, which comes first.
    Refused(String),
    /// The cache among its inputs is another's.
    NotGiven,
    /// No line is about restoring.
    Silent,
}

/// Reads the lines of `levain-cache` in a log, without the program's name.
fn said(lines: &[String]) -> Said {
    if lines.iter().any(|line| line.starts_with("restored ")) {
        return Said::Restored;
    }
    let refusals = lines.iter().filter_map(|line| line.strip_prefix("not restored "));
    let reasons: Vec<&str> = refusals.map(reason).collect();
    match reasons.iter().find(|reason| **reason != NOT_GIVEN) {
        Some(reason) => Said::Refused((*reason).to_owned()),
        None if reasons.is_empty() => Said::Silent,
        None => Said::NotGiven,
    }
}

/// Cuts the set's name off, and how long it took.
fn reason(line: &str) -> &str {
    let reason = line.split_once(": ").map_or(line, |(_, reason)| reason);
    reason.rsplit_once("; clean build").map_or(reason, |(reason, _)| reason)
}

/// Tells what a build with caches among its inputs made of them.
pub(crate) fn of_build(store: &Store, derivation: &DerivationPath, traces: &Traces) -> Use {
    let lines = |path: &DerivationPath| traces.get(path).map(|trace| said(&trace.cache_lines));
    let parsed = store.read_derivation(derivation).ok();
    let silent = || match &parsed {
        Some(parsed) if uses_tool(parsed) => Said::NotGiven,
        Some(_) | None => Said::Silent,
    };
    match lines(derivation).filter(|said| *said != Said::Silent).unwrap_or_else(silent) {
        Said::Restored | Said::Silent => Use::Restored,
        Said::Refused(reason) => Use::Nothing(reason),
        Said::NotGiven => {
            let below = below(store, derivation, traces);
            match below.iter().filter_map(lines).find(|said| *said == Said::Restored) {
                Some(_) => Use::Restored,
                None => Use::Nothing("the build did not restore it".to_owned()),
            }
        }
    }
}

/// Returns the derivations below one that were started, too: a cache may be theirs.
fn below(store: &Store, top: &DerivationPath, traces: &Traces) -> BTreeSet<DerivationPath> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![top.clone()];
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if path != *top && traces.get(&path).is_some() {
            found.insert(path.clone());
        }
        if let Ok(parsed) = store.read_derivation(&path) {
            open.extend(parsed.input_derivations.into_keys());
        }
    }
    found
}

/// Says whether a builder calls `levain-cache`, which always says what became of a set.
fn uses_tool(derivation: &Derivation) -> bool {
    let texts = [&derivation.builder].into_iter().chain(&derivation.args);
    let mut texts = texts.chain(derivation.env.values());
    texts.any(|text| text.windows(TOOL.len()).any(|window| window == TOOL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn the_lines_of_a_build_tell_what_was_restored() {
        let restored = "restored build: 3 files, 0.1 MB; sources 1 unchanged; 0.01 s; from job=app";
        let refused =
            "not restored build: the definition file `a: b` is changed; clean build; 0.00 s";
        let not_given = "not restored more: no cache was given; clean build; 0.00 s";
        let persisted = "persisted build: 3 files, 0.1 MB; restored nothing";
        for (given, expected) in [
            (&[][..], Said::Silent),
            (&[persisted], Said::Silent),
            (&[restored], Said::Restored),
            (&[refused, restored, persisted], Said::Restored),
            (
                &[refused, persisted],
                Said::Refused("the definition file `a: b` is changed".to_owned()),
            ),
            (&[not_given], Said::NotGiven),
            (
                &[not_given, refused],
                Said::Refused("the definition file `a: b` is changed".to_owned()),
            ),
            (&["not restored"], Said::Silent),
            (&["not restored x"], Said::Refused("x".to_owned())),
        ] {
            assert_eq!(said(&lines(given)), expected, "{given:?}");
        }
    }
}
