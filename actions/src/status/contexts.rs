//! Names for the statuses of a jobset's jobs, no two of which a forge takes for the same.
//!
//! Forges replace a status by a newer one of its name. Some do not tell cases apart, and all have a
//! longest name. Start at [`distinct`].

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{CONTEXT_LIMIT, one_line, shorten, shorten_context};

/// How many letters of a hash tell two jobs apart.
const LETTERS: usize = 8;

/// Returns a name for each job, given what the texts call it.
///
/// Where several would have one name, or the name of the summary, each gets the start of a hash of
/// its attribute path behind it. So a name depends on nothing but the jobs that would share it.
pub fn distinct(wanted: &BTreeMap<String, String>, summary: &str) -> BTreeMap<String, String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::from([(folded(summary), 1)]);
    for context in wanted.values() {
        *count.entry(folded(&shorten_context(context))).or_default() += 1;
    }
    let mut taken = BTreeSet::from([folded(summary)]);
    let mut names = BTreeMap::new();
    // Names that nobody else wants first: a job that is called like another's name with its hash
    // must not take that away.
    let (alone, shared): (Vec<_>, Vec<_>) = wanted
        .iter()
        .partition(|(_, context)| count.get(&folded(&shorten_context(context))) == Some(&1));
    for (job, context) in alone {
        let name = shorten_context(context);
        taken.insert(folded(&name));
        names.insert(job.clone(), name);
    }
    for (job, context) in shared {
        let hash = HEXLOWER.encode(&Sha256::digest(job.as_bytes()));
        let lengths = LETTERS..=hash.len();
        let mut tried = lengths.map(|letters| with_hash(context, &hash[..letters]));
        let name = tried.find(|name| !taken.contains(&folded(name)));
        let name = name.unwrap_or_else(|| with_hash(context, &hash));
        taken.insert(folded(&name));
        names.insert(job.clone(), name);
    }
    names
}

fn with_hash(context: &str, hash: &str) -> String {
    let room = CONTEXT_LIMIT.saturating_sub(hash.len() + 1);
    format!("{} {hash}", shorten(context, room))
}

/// Returns what names have in common that a forge might take for the same.
pub(super) fn folded(context: &str) -> String {
    one_line(context).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(jobs: &[&str]) -> Vec<String> {
        let wanted = jobs.iter().map(|job| ((*job).to_owned(), format!("levain/{job}"))).collect();
        let names = distinct(&wanted, "levain");
        assert_eq!(names.len(), jobs.len());
        let different: BTreeSet<String> = names.values().map(|name| folded(name)).collect();
        assert_eq!(different.len(), jobs.len(), "{names:?}");
        for name in names.values() {
            assert!(name.chars().count() <= CONTEXT_LIMIT, "{name}");
        }
        jobs.iter().map(|job| names[*job].clone()).collect()
    }

    #[test]
    fn names_stay_as_they_are_where_they_differ() {
        assert_eq!(names(&["x86_64-linux.App", "b"]), ["levain/x86_64-linux.App", "levain/b"]);
    }

    #[test]
    fn jobs_that_a_forge_would_confuse_get_a_hash() {
        let both = names(&["app", "App", "other"]);
        assert_eq!(both, ["levain/app a172cedc", "levain/App 0d04bfeb", "levain/other"]);
        // Blanks, control characters and length.
        names(&["a b", "a  b", "a\tb", "a\nb", "a b "]);
        let long = "x".repeat(200);
        names(&[&format!("{long}a"), &format!("{long}A"), &long]);
    }

    #[test]
    fn names_do_not_depend_on_other_jobs() {
        let few = names(&["app", "App"]);
        let many = names(&["app", "App", "aardvark", "zebra", "ZEBRA"]);
        assert_eq!(few, many[..2]);
    }

    #[test]
    fn a_job_that_is_called_like_another_one_with_its_hash_changes_nothing_for_itself() {
        let names = names(&["app", "App", "app a172cedc"]);
        assert_eq!(names[2], "levain/app a172cedc");
        assert!(names[0].starts_with("levain/app a172cedc"), "{names:?}");
    }

    #[test]
    fn the_summary_keeps_its_name() {
        let wanted = BTreeMap::from([("levain".to_owned(), "Levain".to_owned())]);
        assert!(distinct(&wanted, "levain")["levain"].starts_with("Levain "));
    }
}
