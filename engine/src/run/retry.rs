//! Whether a build from a cache that failed is done clean before that counts: a decision without any
//! input or output, and what it has to know of graphs.

use std::collections::BTreeSet;

use levain_store::{BuildStatus, DerivationPath, Store};

use crate::build::{Ending, Failure};

/// Says whether the cache may be the reason of a failure.
///
/// `is_started` says whether the builder was; `has_cache` says of a dependency whether it is built from a
/// cache, too. What a clean build does just the same has failed for good: to do it again would only
/// give a builder that fails now and then another chance.
pub(super) fn may_be_the_caches(
    ending: &Ending,
    is_started: bool,
    has_cache: &mut dyn FnMut(&DerivationPath) -> bool,
) -> bool {
    match ending {
        // That is what was to be found out.
        Ending::Failure(Failure { status: BuildStatus::NotDeterministic, .. }) => false,
        Ending::Failure(_) => is_started,
        // Whatever a builder can take along, it can do for what it found in a cache.
        Ending::Broken { .. } => true,
        Ending::DependenciesFailed(failed) => failed.iter().all(|(path, _)| has_cache(path)),
        Ending::Success | Ending::NoBuilder { .. } | Ending::Cancelled | Ending::Abandoned => false,
    }
}

/// Returns whether a derivation is `base` or one that it needs. In doubt it is not.
pub(super) fn is_needed_by(store: &Store, base: &DerivationPath, path: &DerivationPath) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![base.clone()];
    while let Some(next) = open.pop() {
        if next == *path {
            return true;
        }
        if seen.insert(next.clone())
            && let Ok(derivation) = store.read_derivation(&next)
        {
            open.extend(derivation.input_derivations.into_keys());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_clean_build_would_not_do_is_the_caches() {
        let [plain, cached]: [DerivationPath; 2] = ["plain", "cached"]
            .map(|name| format!("0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-{name}.drv").parse().unwrap());
        let failure = |status| Failure { status, message: "m".to_owned() };
        let permanent = || failure(BuildStatus::PermanentFailure);
        let dependencies = |paths: &[&DerivationPath]| {
            let failed = paths.iter().map(|path| ((*path).clone(), permanent()));
            Ending::DependenciesFailed(failed.collect())
        };
        for (ending, is_started, expected) in [
            (Ending::Failure(permanent()), true, true),
            (Ending::Failure(failure(BuildStatus::TimedOut)), true, true),
            // No slot, no machine: the cache had no part in it.
            (Ending::Failure(failure(BuildStatus::MiscFailure)), false, false),
            (Ending::Failure(failure(BuildStatus::NotDeterministic)), true, false),
            (dependencies(&[&cached]), false, true),
            (dependencies(&[&plain]), false, false),
            (dependencies(&[&cached, &plain]), false, false),
            (Ending::Broken { message: "m".to_owned() }, true, true),
            (Ending::Abandoned, true, false),
            (Ending::Cancelled, true, false),
            (Ending::Success, true, false),
            (Ending::NoBuilder { asked: "a".to_owned(), dependency: None }, false, false),
        ] {
            let found = may_be_the_caches(&ending, is_started, &mut |path| *path == cached);
            assert_eq!(found, expected, "{ending:?}, started: {is_started}");
        }
    }
}
