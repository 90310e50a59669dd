//! Which cache a job may start from, or why none.
//!
//! A pure decision: where entries come from and what the store holds is asked
//! through [`Sources`].

use std::fmt;

use levain_evaluator::key::Key;
use levain_evaluator::pointer::Entry;
use levain_store::counted;
use serde::{Deserialize, Serialize};

use crate::pointers::ShadowName;
use crate::signing::Distrust;

/// Where a chosen entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// On this jobset's own shadow branch.
    Own,
    /// Recorded for the nearest ancestor commit that has one.
    Ancestor,
    /// The newest of the project with the same key.
    Shared,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Ancestor => "ancestor",
            Self::Shared => "shared",
        })
    }
}

/// Why an entry, or any entry, is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No entry was ever recorded.
    FirstBuild,
    /// Something else than the project's own sources changed.
    KeyChanged,
    /// The entry is too old.
    Expired,
    /// The path is gone and cannot be substituted.
    Missing,
    /// The entry or the pointer file cannot be relied on.
    Rejected,
    /// So many incremental builds in a row that one must be clean.
    DepthLimit,
    /// The policy says that this jobset builds clean, or the job has no cache output.
    Disabled,
    /// Made by a jobset that this one must not rely on, or signed by nobody who is trusted.
    Untrusted,
    /// With the cache, the flake gives another derivation than the base with a cache.
    ShadowDiffers,
    /// An output that users get refers to a cache.
    CacheInOutput,
    /// The build was given one and failed, so it was built clean.
    FailedWithCache,
    /// The build was given one and restored nothing from it.
    NotRestored,
}

impl Reason {
    /// Returns the word used in outputs and pointer files.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstBuild => "first-build",
            Self::KeyChanged => "key-changed",
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::Rejected => "rejected",
            Self::DepthLimit => "depth-limit",
            Self::Disabled => "disabled",
            Self::Untrusted => "untrusted",
            Self::ShadowDiffers => "shadow-differs",
            Self::CacheInOutput => "cache-in-output",
            Self::FailedWithCache => "failed-with-cache",
            Self::NotRestored => "not-restored",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason and what it means in this case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// One line for people; empty if the reason says it all.
    pub detail: String,
}

impl Refusal {
    /// Returns `reason` with an explanation.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            return write!(f, "{}", self.reason);
        }
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// An entry that might be used, and where it was found.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The entry.
    pub entry: Entry,
    /// The shadow branch on which it stands.
    pub shadow: ShadowName,
    /// Whether someone who is trusted signed it.
    pub vouched: Result<(), Distrust>,
}

impl Candidate {
    /// Returns the jobset that made the cache.
    fn maker(&self) -> &str {
        self.entry.maker.as_ref().map_or(self.shadow.as_str(), |maker| maker.jobset.as_str())
    }
}

/// A decision, with everything that was considered on the way.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The entry to start from, or why there is none.
    pub outcome: Result<(Origin, Candidate), Refusal>,
    /// The candidates that were refused, in the order they were looked at, with the shadow branches
    /// on which they stand; nothing for an own entry that cannot be read.
    pub refused: Vec<(Origin, Option<ShadowName>, Refusal)>,
}

impl Choice {
    /// Returns a choice of no cache.
    pub fn none(refusal: Refusal) -> Self {
        Self { outcome: Err(refusal), refused: Vec::new() }
    }

    /// Returns the chosen entry.
    pub fn entry(&self) -> Option<&Entry> {
        self.outcome.as_ref().ok().map(|(_, candidate)| &candidate.entry)
    }

    /// Returns the refusal, if no cache was chosen.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.outcome.as_ref().err()
    }
}

/// What a decision is made from.
pub trait Sources {
    /// Returns this jobset's own entry, or why it cannot be read.
    fn own(&mut self) -> Option<Result<Candidate, Refusal>>;
    /// Returns entries recorded for ancestors, nearest first.
    fn ancestors(&mut self) -> Vec<Candidate>;
    /// Returns entries with this key, newest first.
    fn shared(&mut self, key: &Key) -> Vec<Candidate>;
    /// Returns whether this jobset trusts the one that made the entry.
    fn trusts(&mut self, entry: &Entry) -> bool;
    /// Checks the path: there (substituted if need be), with the recorded NAR hash.
    fn verify(&mut self, entry: &Entry) -> Result<(), Refusal>;
    /// Says which parts of the key differ, in one line.
    fn explain_key(&mut self, old: &Key) -> String;
}

/// Limits of the declaration.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Depth at which the next build is clean.
    pub depth: u32,
    /// Age in seconds from which on an entry is not used.
    pub max_age: u64,
    /// The present, in seconds since 1970.
    pub now: u64,
}

/// Chooses the cache of a job whose key is `key`.
///
/// In this order: the jobset's own entry, that of the nearest ancestor commit,
/// the newest one with the same key. The first that passes every check is it.
/// An own entry at the depth limit ends the search: the next build is clean.
pub fn choose(key: &Key, limits: CacheLimits, sources: &mut dyn Sources) -> Choice {
    let mut refused = Vec::new();
    match sources.own() {
        None => {}
        Some(Err(refusal)) => refused.push((Origin::Own, None, refusal)),
        Some(Ok(candidate)) => match check(key, limits, sources, &candidate) {
            Ok(()) => return Choice { outcome: Ok((Origin::Own, candidate)), refused },
            Err(refusal) => {
                let ends = refusal.reason == Reason::DepthLimit;
                refused.push((Origin::Own, Some(candidate.shadow), refusal.clone()));
                if ends {
                    return Choice { outcome: Err(refusal), refused };
                }
            }
        },
    }
    for origin in [Origin::Ancestor, Origin::Shared] {
        let candidates = match origin {
            Origin::Ancestor => sources.ancestors(),
            Origin::Own | Origin::Shared => sources.shared(key),
        };
        for candidate in candidates {
            match check(key, limits, sources, &candidate) {
                Ok(()) => return Choice { outcome: Ok((origin, candidate)), refused },
                Err(refusal) => refused.push((origin, Some(candidate.shadow), refusal)),
            }
        }
    }
    let outcome = refused
        .first()
        .map(|(_, _, refusal)| refusal.clone())
        .unwrap_or_else(|| Refusal::new(Reason::FirstBuild, ""));
    Choice { outcome: Err(outcome), refused }
}

/// How many seconds the clocks of two machines may differ. What is recorded later than that would not
/// expire until its date.
const CLOCKS_DIFFER: u64 = 86_400;

/// Cheap checks first; the store is asked last.
fn check(
    key: &Key,
    limits: CacheLimits,
    sources: &mut dyn Sources,
    candidate: &Candidate,
) -> Result<(), Refusal> {
    let entry = &candidate.entry;
    if let Err(distrust) = &candidate.vouched {
        return Err(Refusal::new(Reason::Untrusted, distrust.to_string()));
    }
    if !sources.trusts(entry) {
        return Err(Refusal::new(Reason::Untrusted, format!("made by `{}`", candidate.maker())));
    }
    if entry.key != *key {
        return Err(Refusal::new(Reason::KeyChanged, sources.explain_key(&entry.key)));
    }
    if entry.time.saturating_sub(limits.now) > CLOCKS_DIFFER {
        return Err(Refusal::new(Reason::Expired, "recorded in the future".to_owned()));
    }
    let age = limits.now.saturating_sub(entry.time);
    if age >= limits.max_age {
        let detail = format!("recorded {} ago", counted(age / 86_400, "day"));
        return Err(Refusal::new(Reason::Expired, detail));
    }
    if entry.depth >= limits.depth {
        let detail =
            format!("{} since the last clean one", counted(entry.depth, "incremental build"));
        return Err(Refusal::new(Reason::DepthLimit, detail));
    }
    sources.verify(entry)
}

#[cfg(test)]
mod tests;
