//! The rules of `docs/pointer.md`, row by row, and shadow refs that others have edited.

use std::collections::BTreeMap;

use levain_evaluator::JobsetName;
use levain_evaluator::pointer::Tier;

use super::*;
use crate::jobset::Jobset;
use crate::testing::{NOW, branch, entry, key, layout, made, pull_request, signing_key};

const LIMITS: CacheLimits = CacheLimits { depth: 50, max_age: 30 * 86_400, now: NOW };

/// Entries as they would be found, and a store that has every path but `missing`.
#[derive(Default)]
struct Fake {
    own: Option<Result<Candidate, Refusal>>,
    ancestors: Vec<Candidate>,
    shared: Vec<Candidate>,
    user: Option<Jobset>,
    refuse: BTreeMap<String, Reason>,
    asked_store: usize,
}

impl Sources for Fake {
    fn own(&mut self) -> Option<Result<Candidate, Refusal>> {
        self.own.clone()
    }
    fn ancestors(&mut self) -> Vec<Candidate> {
        self.ancestors.clone()
    }
    fn shared(&mut self, key: &Key) -> Vec<Candidate> {
        self.shared.iter().filter(|candidate| candidate.entry.key == *key).cloned().collect()
    }
    fn trusts(&mut self, entry: &Entry) -> bool {
        let user = self.user.clone().unwrap_or_else(|| branch("topic", false));
        entry.maker.as_ref().is_some_and(|maker| user.trusts(&maker.jobset, entry.tier))
    }
    fn verify(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.asked_store += 1;
        match self.refuse.get(&entry.path.to_string()) {
            Some(reason) => Err(Refusal::new(*reason, "")),
            None => Ok(()),
        }
    }
    fn explain_key(&mut self, _: &Key) -> String {
        "changed: env CC".into()
    }
}

/// Returns a good candidate that another branch made, distinguished by `seed`.
fn candidate(seed: u8) -> Candidate {
    let layout = layout(&signing_key());
    let entry = made(&layout, &branch("other", false), "x.y", entry(seed));
    Candidate { entry, shadow: JobsetName::branch("other").into(), vouched: Ok(()) }
}

fn with(candidate: &Candidate, change: impl Fn(&mut Candidate)) -> Candidate {
    let mut changed = candidate.clone();
    change(&mut changed);
    changed
}

fn chosen(choice: &Choice) -> Result<(Origin, String), Reason> {
    match &choice.outcome {
        Ok((origin, candidate)) => Ok((*origin, candidate.entry.path.to_string())),
        Err(refusal) => Err(refusal.reason),
    }
}

fn path(seed: u8) -> String {
    entry(seed).path.to_string()
}

#[test]
fn the_first_origin_that_has_a_good_entry() {
    let key = key('a');
    let (own, near, far, shared) = (candidate(1), candidate(2), candidate(3), candidate(4));
    let mut sources = Fake {
        own: Some(Ok(own)),
        ancestors: vec![near, far],
        shared: vec![shared],
        ..Fake::default()
    };
    for (seed, origin) in
        [(1, Origin::Own), (2, Origin::Ancestor), (3, Origin::Ancestor), (4, Origin::Shared)]
    {
        let choice = choose(&key, LIMITS, &mut sources);
        assert_eq!(chosen(&choice), Ok((origin, path(seed))));
        assert_eq!(choice.refused.len(), usize::from(seed) - 1);
        sources.refuse.insert(path(seed), Reason::Missing);
    }
    let choice = choose(&key, LIMITS, &mut sources);
    assert_eq!(chosen(&choice), Err(Reason::Missing));
    assert_eq!(choice.refused.len(), 4);
    assert_eq!(chosen(&choose(&key, LIMITS, &mut Fake::default())), Err(Reason::FirstBuild));
}

#[test]
fn every_reason() {
    let good = candidate(1);
    let unsigned = with(&good, |it| it.vouched = Err(Distrust::UnknownKey { name: "else".into() }));
    let of_a_pull_request = with(&good, |it| it.entry.tier = Tier::PullRequest);
    for (bad, expected) in [
        (with(&good, |it| it.entry.key = key('b')), "key-changed: changed: env CC"),
        (with(&good, |it| it.entry.time = NOW - 30 * 86_400), "expired: recorded 30 days ago"),
        (
            with(&good, |it| it.entry.depth = 50),
            "depth-limit: 50 incremental builds since the last clean one",
        ),
        (of_a_pull_request, "untrusted: made by `heads/other`"),
        (unsigned, "untrusted: signed by `else`, whose key is not trusted here"),
    ] {
        let mut sources = Fake { own: Some(Ok(bad)), ..Fake::default() };
        let choice = choose(&key('a'), LIMITS, &mut sources);
        let refusal = choice.refusal().unwrap().to_string();
        assert!(refusal.starts_with(expected), "{refusal}");
        // The store is asked last, about nothing that is refused anyway.
        assert_eq!(sources.asked_store, 0, "{refusal}");
    }
    for reason in [Reason::Missing, Reason::Rejected] {
        let refuse = [(path(1), reason)].into();
        let mut sources = Fake { own: Some(Ok(good.clone())), refuse, ..Fake::default() };
        assert_eq!(chosen(&choose(&key('a'), LIMITS, &mut sources)), Err(reason));
    }
    let rejected = Refusal::new(Reason::Rejected, "cache pointer rejected: no file");
    let mut sources = Fake { own: Some(Err(rejected.clone())), ..Fake::default() };
    assert_eq!(choose(&key('a'), LIMITS, &mut sources).refusal(), Some(&rejected));
    sources.shared.push(good);
    let choice = choose(&key('a'), LIMITS, &mut sources);
    assert_eq!(chosen(&choice), Ok((Origin::Shared, path(1))));
}

#[test]
fn limits_at_their_edges() {
    let good = candidate(1);
    for (depth, age, limits, expected) in [
        (49, 30 * 86_400 - 1, LIMITS, Ok(())),
        (0, 0, CacheLimits { depth: 0, ..LIMITS }, Err(Reason::DepthLimit)),
        // A clock that is ahead a little, and one of another year.
        (0, 0, CacheLimits { now: NOW - 3_600, ..LIMITS }, Ok(())),
        (0, 0, CacheLimits { now: NOW - 100_000, ..LIMITS }, Err(Reason::Expired)),
        (0, 0, CacheLimits { max_age: 0, ..LIMITS }, Err(Reason::Expired)),
    ] {
        let candidate = with(&good, |it| {
            it.entry.depth = depth;
            it.entry.time = NOW - age;
        });
        let mut sources = Fake { own: Some(Ok(candidate)), ..Fake::default() };
        let found = chosen(&choose(&key('a'), limits, &mut sources)).map(|_| ());
        assert_eq!(found, expected, "{depth} {age}");
    }
}

#[test]
fn an_own_entry_at_the_depth_limit_ends_the_search() {
    let deep = with(&candidate(1), |it| it.entry.depth = 50);
    let mut sources = Fake {
        own: Some(Ok(deep.clone())),
        ancestors: vec![candidate(2)],
        shared: vec![candidate(3)],
        ..Fake::default()
    };
    assert_eq!(chosen(&choose(&key('a'), LIMITS, &mut sources)), Err(Reason::DepthLimit));
    // Another's does not.
    sources.own = None;
    sources.ancestors.insert(0, deep);
    let choice = choose(&key('a'), LIMITS, &mut sources);
    assert_eq!(chosen(&choice), Ok((Origin::Ancestor, path(2))));
}

/// One jobset of each tier.
fn jobsets() -> [Jobset; 4] {
    [branch("main", true), branch("topic", false), pull_request(1, false), pull_request(2, true)]
}

#[test]
fn each_jobset_takes_what_its_tier_allows() {
    let layout = layout(&signing_key());
    let [main, topic, pull, fork] = jobsets();
    let other_pull = pull_request(3, false);
    let makers = [&main, &topic, &branch("other", false), &pull, &other_pull, &fork];
    for (user, may_use) in [
        (&main, [true, false, false, false, false, false]),
        (&topic, [true, true, true, false, false, false]),
        (&pull, [true, true, true, true, false, false]),
        (&fork, [true, true, true, false, false, true]),
    ] {
        for (maker, may) in makers.iter().zip(may_use) {
            let entry = made(&layout, maker, "x.a", entry(1));
            // Wherever the entry stands, its maker counts.
            for (shadow, origin) in [(user.name(), Origin::Own), (main.name(), Origin::Ancestor)] {
                let shadow = shadow.into();
                let candidate = Candidate { entry: entry.clone(), shadow, vouched: Ok(()) };
                let mut sources = Fake { user: Some(user.clone()), ..Fake::default() };
                match origin {
                    Origin::Own => sources.own = Some(Ok(candidate)),
                    Origin::Ancestor | Origin::Shared => sources.ancestors.push(candidate),
                }
                let choice = choose(&key('a'), LIMITS, &mut sources);
                let expected = if may { Ok((origin, path(1))) } else { Err(Reason::Untrusted) };
                assert_eq!(chosen(&choice), expected, "{} from {}", user.name(), maker.name());
            }
        }
    }
}
