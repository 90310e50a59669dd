//! Releases what deleted branches and pull requests left: shadow refs here and at the remote,
//! tracking refs, and fetched heads. Caches that no pointer names then are released with the roots.
//!
//! Gone is what the remote, asked by name, does not have. Many forges keep the refs of closed pull requests for ever:
//! what such a pull request left also goes when the forge says that it is over, or when all its entries are too old to
//! be used by anyone. At the remote only what this levain wrote is deleted, by compare-and-swap.

use std::collections::{BTreeMap, BTreeSet};

use levain_actions::forge::{ForgeKind, pull_request_refs};
use levain_actions::git::{CommitId, PushOutcome, PushUpdate, RunLock};
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;

use super::{GONE, Shadowing, ShadowingError};
use crate::declaration::Incremental;
use crate::pointers::{FoundBranch, Layout};

/// How many jobsets are looked at in one run; the next one goes on after them.
const AT_ONCE: usize = 32;

/// Where heads of pull requests and other fetched refs are kept.
const FETCHED: &str = "refs/levain-fetched/";

/// Where, below these, the merges of pull requests with their bases are kept.
const MERGES: &str = "merge/";

/// Returns the ref that keeps the merge of a pull request with its base.
pub(crate) fn merge_ref(number: u64) -> String {
    format!("{FETCHED}{MERGES}{number}")
}

/// Returns the refs at the remote, one of which is there as long as the jobset is.
fn refs(jobset: &JobsetName, kind: Option<ForgeKind>) -> Vec<String> {
    match jobset.named() {
        Named::Branch(name) => vec![format!("refs/heads/{name}")],
        Named::PullRequest(number) => pull_request_refs(kind, number),
        Named::Tag(name) => vec![format!("refs/tags/{name}")],
    }
}

/// Returns the jobset that a fetched ref, or the merge of a pull request, belongs to; `rest` is its name below [`FETCHED`].
fn jobset_of(rest: &str) -> Option<JobsetName> {
    match rest.strip_prefix(MERGES) {
        Some(number) => format!("pull/{number}").parse().ok(),
        None => rest.strip_prefix("refs/").unwrap_or(rest).parse().ok(),
    }
}

/// Returns those whose turn it is: at most [`AT_ONCE`], beginning after `last`, round and round.
fn whose_turn(jobsets: &BTreeSet<JobsetName>, last: Option<&JobsetName>) -> Vec<JobsetName> {
    let after = jobsets.iter().filter(|jobset| Some(*jobset) > last);
    let before = jobsets.iter().filter(|jobset| Some(*jobset) <= last);
    after.chain(before).take(AT_ONCE).cloned().collect()
}

/// Returns whether this levain wrote what a tracking ref shows: all entries are ones it believes,
/// and it signed one of them, or the same commit is its own shadow branch here.
fn is_ours(layout: &Layout, tracked: &FoundBranch, local: Option<CommitId>) -> bool {
    let Ok(entries) = &tracked.entries else { return false };
    let signed = |entry: &_| layout.keys.is_own(&layout.store_dir, entry);
    tracked.shadow.is_some()
        && entries.values().all(Result::is_ok)
        && (entries.values().flatten().any(signed) || local == Some(tracked.head))
}

/// Returns whether nobody may use any of the entries any more, for their age.
fn has_expired(found: &FoundBranch, incremental: &Incremental, now: u64) -> bool {
    let Ok(entries) = &found.entries else { return false };
    let max_age = u64::from(incremental.max_age_days) * 86_400;
    !entries.is_empty()
        && entries.values().all(|entry| {
            entry.as_ref().is_ok_and(|entry| now.saturating_sub(entry.time) >= max_age)
        })
}

/// What there is of one jobset.
#[derive(Default)]
struct Remains {
    /// Refs here but for the tracking ref, with what they point at.
    local: Vec<(String, CommitId)>,
    shadow: Option<FoundBranch>,
    tracked: Option<FoundBranch>,
}

impl Shadowing<'_> {
    /// Releases what belongs to jobsets that are gone. `last` is the jobset that was looked at last, `at_work` are those that others work on;
    /// returns the one that it is now.
    pub(crate) fn release_gone(
        &self,
        lock: &RunLock,
        last: Option<&JobsetName>,
        at_work: &BTreeSet<JobsetName>,
        is_over: &dyn Fn(u64) -> bool,
        now: u64,
    ) -> Result<Option<JobsetName>, ShadowingError> {
        let mut remains = self.remains()?;
        // What this run and others are about, and what everything starts from, is not gone.
        let default = self.project.branches.default.as_deref().map(JobsetName::branch);
        for kept in default.iter().chain([&self.head.jobset.name()]).chain(at_work) {
            remains.remove(kept);
        }
        let jobsets: BTreeSet<JobsetName> = remains.keys().cloned().collect();
        let turn = whose_turn(&jobsets, last);
        let Some(next) = turn.last().cloned() else { return Ok(None) };
        let gone = self.gone(&turn, &remains, is_over, now)?;
        let mut updates = Vec::new();
        for jobset in &gone {
            let Some(remains) = remains.get(jobset) else { continue };
            for (name, id) in &remains.local {
                let swap = self.repository().swap(lock, name, Some(*id), None, GONE)?;
                tracing::info!(?swap, name, "released: `{jobset}` is gone");
            }
            let shadow = remains.shadow.as_ref().map(|found| found.head);
            if let Some(tracked) = &remains.tracked
                && is_ours(self.layout(), tracked, shadow)
            {
                let name = format!("{}{jobset}", self.layout().prefix);
                updates
                    .push((tracked, PushUpdate { name, new: None, expected: Some(tracked.head) }));
            }
        }
        self.delete_there(lock, updates)?;
        Ok(Some(next))
    }

    fn delete_there(
        &self,
        lock: &RunLock,
        updates: Vec<(&FoundBranch, PushUpdate)>,
    ) -> Result<(), ShadowingError> {
        let remote = self.project.remote.as_ref().filter(|_| self.exchanges());
        let (Some(remote), false) = (remote, updates.is_empty()) else { return Ok(()) };
        let (tracked, updates): (Vec<_>, Vec<_>) = updates.into_iter().unzip();
        let outcomes = self.repository().push(&remote.name, &updates)?;
        for (tracked, (name, outcome)) in tracked.into_iter().zip(outcomes) {
            tracing::info!(?outcome, name, "released at the remote");
            // Otherwise somebody else was faster, or may not be deleted: the next fetch tells.
            if matches!(outcome, PushOutcome::Moved | PushOutcome::UpToDate) {
                let (name, head) = (&tracked.reference, Some(tracked.head));
                let swap = self.repository().swap(lock, name, head, None, GONE)?;
                tracing::debug!(?swap, name, "forgot the tracking ref");
            }
        }
        Ok(())
    }

    /// Returns all that there is, by jobset.
    fn remains(&self) -> Result<BTreeMap<JobsetName, Remains>, ShadowingError> {
        let mut all: BTreeMap<JobsetName, Remains> = BTreeMap::new();
        for (name, id) in self.repository().targets(FETCHED)? {
            let rest = name.strip_prefix(FETCHED).unwrap_or_default();
            if let Some(jobset) = jobset_of(rest) {
                all.entry(jobset).or_default().local.push((name, id));
            }
        }
        // Another template of their names does not tell whose they are.
        let layout = self.layout();
        let expected = format!("{}{{{{jobset}}}}", layout.prefix);
        if self.project.declaration.shadow.reference != expected {
            return Ok(all);
        }
        for found in layout.read_all(self.repository(), &layout.prefix)? {
            let Some(jobset) = found.name.jobset() else { continue };
            let remains = all.entry(jobset).or_default();
            remains.local.push((found.reference.clone(), found.head));
            remains.shadow = Some(found);
        }
        let Some(remote) = &self.project.remote else { return Ok(all) };
        for found in layout.read_all(self.repository(), &self.tracking_prefix(remote))? {
            let Some(jobset) = found.name.jobset() else { continue };
            all.entry(jobset).or_default().tracked = Some(found);
        }
        Ok(all)
    }

    /// Returns those of `turn` that are gone.
    fn gone(
        &self,
        turn: &[JobsetName],
        remains: &BTreeMap<JobsetName, Remains>,
        is_over: &dyn Fn(u64) -> bool,
        now: u64,
    ) -> Result<Vec<JobsetName>, ShadowingError> {
        let kind = self.project.forge_kind();
        let mut gone = Vec::new();
        let mut asked = Vec::new();
        for jobset in turn {
            match jobset.named() {
                Named::Branch(name) => {
                    let here = format!("refs/heads/{name}");
                    match (self.repository().target(&here)?, &self.project.remote) {
                        (Some(_), _) => {}
                        (None, Some(_)) => asked.push(jobset),
                        (None, None) => gone.push(jobset.clone()),
                    }
                }
                Named::Tag(_) => {
                    if self.project.remote.is_some() {
                        asked.push(jobset);
                    }
                }
                Named::PullRequest(_) => {
                    let incremental = &self.project.declaration.incremental;
                    let found = remains.get(jobset).into_iter();
                    let mut found =
                        found.flat_map(|it| it.shadow.iter().chain(&it.tracked)).peekable();
                    let expired = found.peek().is_some()
                        && found.all(|found| has_expired(found, incremental, now));
                    if expired {
                        gone.push(jobset.clone());
                    } else if self.project.remote.is_some() {
                        asked.push(jobset);
                    }
                }
            }
        }
        let (Some(remote), false) = (&self.project.remote, asked.is_empty()) else {
            return Ok(gone);
        };
        let default = self.project.branches.default.as_ref();
        let mut names: Vec<String> = asked.iter().flat_map(|jobset| refs(jobset, kind)).collect();
        names.push("HEAD".into());
        names.extend(default.map(|name| format!("refs/heads/{name}")));
        let there = self.repository().which_has(&remote.name, &names)?;
        // A repository without even a default branch may be the wrong one, or not be made yet.
        let is_the_one = there.contains("HEAD")
            || default.is_some_and(|name| there.contains(&format!("refs/heads/{name}")));
        if is_the_one {
            let absent =
                |jobset: &&&JobsetName| refs(jobset, kind).iter().all(|name| !there.contains(name));
            // Only the forge knows whether a pull request is over whose head is still there.
            let is_closed = |jobset: &&&JobsetName| match jobset.named() {
                Named::PullRequest(number) => is_over(number),
                Named::Branch(_) | Named::Tag(_) => false,
            };
            let is_gone = |jobset: &&&JobsetName| absent(jobset) || is_closed(jobset);
            gone.extend(asked.iter().filter(is_gone).map(|jobset| (*jobset).clone()));
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pointers::{ShadowName, Unusable};
    use crate::signing::Distrust;
    use crate::testing::{Fixture, NOW, branch, entry, layout, made, signing_key};

    #[test]
    fn everyone_has_a_turn() {
        let jobsets: BTreeSet<JobsetName> = (0..70).map(JobsetName::pull_request).collect();
        let mut seen = BTreeSet::new();
        let mut last = None;
        for _ in 0..3 {
            let turn = whose_turn(&jobsets, last.as_ref());
            assert_eq!(turn.len(), AT_ONCE);
            last = turn.last().cloned();
            seen.extend(turn);
        }
        assert_eq!(seen, jobsets);
        let few: BTreeSet<JobsetName> = (0..3).map(JobsetName::pull_request).collect();
        assert_eq!(whose_turn(&few, Some(&JobsetName::pull_request(1))).len(), 3);
        assert_eq!(whose_turn(&BTreeSet::new(), None), []);
    }

    #[test]
    fn merges_belong_to_their_pull_requests() {
        let of = |name: &str| jobset_of(name.strip_prefix(FETCHED).unwrap());
        assert_eq!(of(&merge_ref(7)), Some(JobsetName::pull_request(7)));
        assert_eq!(of("refs/levain-fetched/pull/7"), Some(JobsetName::pull_request(7)));
        assert_eq!(of("refs/levain-fetched/heads/merge/7"), Some(JobsetName::branch("merge/7")));
        for name in ["merge/07", "merge/x", "merge/7/y", "checked-out", "no-default-branch"] {
            assert_eq!(jobset_of(name), None, "{name}");
        }
    }

    #[test]
    fn only_what_we_wrote_is_ours() {
        let fixture = Fixture::new();
        let (ours, theirs) = (signing_key(), signing_key());
        let layout = layout(&ours);
        let head = fixture.commit(&[], "head");
        let other = fixture.commit(&[], "other");
        let topic = branch("topic", false);
        let signed = made(&layout, &topic, "j", entry(1));
        let foreign = made(&crate::testing::layout(&theirs), &topic, "j", entry(2));
        let distrusted =
            || Unusable::Untrusted { entry: Box::new(foreign.clone()), why: Distrust::Unsigned };
        let found = |entries: Vec<(&str, Result<_, Unusable>)>| FoundBranch {
            reference: "refs/levain-remote/origin/levain/heads/topic".into(),
            name: topic.name().into(),
            head,
            shadow: Some(levain_actions::shadow::Shadow {
                id: head,
                original: other,
                built: other,
                pointer: None,
                previous: None,
            }),
            entries: Ok(entries.into_iter().map(|(job, it)| (job.into(), it)).collect()),
        };
        let mine = found(vec![("a", Ok(signed.clone()))]);
        assert!(is_ours(&layout, &mine, None));
        let mixed = found(vec![("a", Ok(signed.clone())), ("b", Err(distrusted()))]);
        assert!(!is_ours(&layout, &mixed, Some(head)));
        assert!(!is_ours(&layout, &found(vec![("b", Err(distrusted()))]), None));
        // One that names no cache is ours only if it is here, too.
        let empty = found(Vec::new());
        assert!(is_ours(&layout, &empty, Some(head)));
        assert!(!is_ours(&layout, &empty, Some(other)) && !is_ours(&layout, &empty, None));
        let broken = FoundBranch { entries: Err("broken".into()), ..found(Vec::new()) };
        assert!(!is_ours(&layout, &broken, Some(head)));
        let no_shadow = FoundBranch { shadow: None, ..found(vec![("a", Ok(signed))]) };
        assert!(!is_ours(&layout, &no_shadow, None));
    }

    #[test]
    fn all_entries_must_be_too_old() {
        let fixture = Fixture::new();
        let layout = layout(&signing_key());
        let head = fixture.commit(&[], "head");
        let incremental = Incremental { max_age_days: 30, ..Incremental::default() };
        let old = |seconds: u64| {
            let it = levain_evaluator::Entry { time: NOW - 30 * 86_400 + seconds, ..entry(1) };
            made(&layout, &branch("topic", false), "j", it)
        };
        let found = |ages: &[u64]| FoundBranch {
            reference: String::new(),
            name: ShadowName::default(),
            head,
            shadow: None,
            entries: Ok(ages
                .iter()
                .map(|age| (age.to_string().as_str().into(), Ok(old(*age))))
                .collect()),
        };
        assert!(has_expired(&found(&[0]), &incremental, NOW));
        assert!(!has_expired(&found(&[1]), &incremental, NOW));
        assert!(!has_expired(&found(&[0, 1]), &incremental, NOW));
        assert!(!has_expired(&found(&[]), &incremental, NOW));
        let broken = FoundBranch { entries: Err("broken".into()), ..found(&[0]) };
        assert!(!has_expired(&broken, &incremental, NOW));
    }
}
