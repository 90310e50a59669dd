//! Tests of what is found for a job, before anything is asked of the store.

use super::*;
use crate::testing::{Fixture, NOW, branch, entry, key, layout, made, pull_request, signing_key};

mod edits;

fn record(
    fixture: &Fixture,
    layout: &Layout,
    jobset: &Jobset,
    original: CommitId,
    entries: &[(&str, Entry)],
) {
    let entries = entries.iter().map(|(job, entry)| ((*job).into(), Ok(entry.clone()))).collect();
    fixture.record(layout, jobset, original, &entries);
}

fn by(layout: &Layout, jobset: &Jobset, seed: u8, commit: CommitId, time: u64) -> Entry {
    made(layout, jobset, "j", Entry { commit: commit.to_string(), time, ..entry(seed) })
}

fn paths(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(|it| it.entry.path.to_string()).collect()
}

fn expected(seeds: &[u8]) -> Vec<String> {
    seeds.iter().map(|seed| entry(*seed).path.to_string()).collect()
}

#[test]
fn ancestors_nearest_first_whatever_the_distance() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let (main, topic) = (branch("main", true), branch("topic", false));
    let mut commits = vec![fixture.commit(&[], "0")];
    for number in 1..30 {
        commits.push(fixture.commit(&[commits[number - 1]], &number.to_string()));
    }
    let side = fixture.commit(&[commits[3]], "side");
    let at = |seed: u8, commit: CommitId, time| by(&layout, &main, seed, commit, time);
    // In the history of main's shadow branch, and on another branch.
    record(&fixture, &layout, &main, commits[2], &[("j", at(2, commits[2], NOW))]);
    record(&fixture, &layout, &main, commits[9], &[("j", at(9, commits[9], NOW - 50))]);
    record(&fixture, &layout, &topic, side, &[("j", by(&layout, &topic, 5, side, NOW))]);
    let others = layout.read_all(&fixture.repository, "refs/levain/").unwrap();
    let found = |commit: CommitId, job: &str| {
        let own = Ok(Entries::new());
        let mut records =
            KnownEntries::new(&fixture.repository, &layout, &topic, commit, own, &others, &[]);
        paths(&records.ancestors_of(&job.into()).unwrap())
    };
    assert_eq!(found(commits[29], "j"), expected(&[9, 2]));
    assert_eq!(found(commits[5], "j"), expected(&[2]));
    assert_eq!(found(side, "j"), expected(&[5, 2]));
    assert_eq!(found(commits[1], "j"), expected(&[]));
    assert_eq!(found(commits[29], "other"), expected(&[]));
}

#[test]
fn shared_entries_of_any_job_newest_first() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let foreign = crate::testing::layout(&signing_key());
    let (main, pull) = (branch("main", true), pull_request(1, false));
    let first = fixture.commit(&[], "0");
    let old = by(&layout, &main, 1, first, NOW - 20);
    let new = by(&layout, &main, 2, first, NOW - 10);
    let other_key = made(&layout, &main, "k", Entry { key: key('b'), ..entry(3) });
    let others = by(&foreign, &pull, 4, first, NOW);
    record(&fixture, &layout, &main, first, &[("j", old), ("k", new), ("l", other_key)]);
    record(&fixture, &layout, &pull, first, &[("j", others)]);
    let found = layout.read_all(&fixture.repository, "refs/levain/").unwrap();
    let shared = shared_among(&found, &key('a'));
    assert_eq!(paths(&shared), expected(&[4, 2, 1]));
    let trusted: Vec<bool> = shared.iter().map(|it| it.vouched.is_ok()).collect();
    assert_eq!(trusted, [false, true, true]);
    assert_eq!(shared[0].shadow.as_str(), "pull/1");
    // An untrusted path is none of ours to keep.
    let named = named_paths(&found, &layout.store_dir);
    let kept = expected(&[1, 2, 3]);
    assert_eq!(named, kept.iter().map(|path| format!("/nix/store/{path}")).collect());
}

#[test]
fn the_own_entry_or_why_it_cannot_be_read() {
    let layout = layout(&signing_key());
    let main = branch("main", true);
    let good = made(&layout, &main, "j", entry(1));
    let malformed = levain_evaluator::EntryError::Missing { attribute: "path" };
    let entries: Entries = [
        ("good".into(), Ok(good)),
        ("malformed".into(), Err(Unusable::Malformed(malformed))),
        (
            "untrusted".into(),
            Err(Unusable::Untrusted { entry: Box::new(entry(2)), why: Distrust::Unsigned }),
        ),
    ]
    .into();
    let own = Ok(entries);
    let candidate = own_among(&own, &main, &"good".into()).unwrap().unwrap();
    assert_eq!((candidate.shadow.as_str(), candidate.vouched), ("heads/main", Ok(())));
    let candidate = own_among(&own, &main, &"untrusted".into()).unwrap().unwrap();
    assert_eq!(candidate.vouched, Err(Distrust::Unsigned));
    let refusal = own_among(&own, &main, &"malformed".into()).unwrap().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "rejected: cache pointer rejected: attribute `path` is missing"
    );
    assert!(own_among(&own, &main, &"none".into()).is_none());
    let broken = Err("`cache.nix` is missing".to_owned());
    let refusal = own_among(&broken, &main, &"good".into()).unwrap().unwrap_err();
    assert_eq!(refusal.to_string(), "rejected: cache pointer rejected: `cache.nix` is missing");
}

#[test]
fn what_is_dropped_where_it_was_made_is_dropped_for_all() {
    use crate::dropped::Jobsets;
    let layout = layout(&signing_key());
    let (main, topic) = (branch("main", true), branch("topic", false));
    let (pull, other) = (pull_request(7, false), pull_request(8, false));
    let by = |jobset: &Jobset| made(&layout, jobset, "j", Entry { time: 10, ..entry(1) });
    let until = |jobset: &Jobset, job: Option<&str>, time| Mark::Until {
        jobset: Jobsets::One(jobset.name()),
        job: job.map(JobName::from),
        time,
    };
    let is_dropped = |entry: &Entry, user: &Jobset, job: &str, mark: Mark| {
        is_dropped(entry, &user.name(), &job.into(), &[mark])
    };
    for user in [&main, &topic, &pull] {
        assert!(is_dropped(&by(&main), user, "j", until(&main, Some("j"), 10)));
        assert!(is_dropped(&by(&main), user, "j", until(&main, None, 10)));
        // Under another job's name.
        assert!(is_dropped(&by(&main), user, "k", until(&main, Some("j"), 10)));
        assert!(!is_dropped(&by(&main), user, "j", until(&main, Some("other"), 10)));
        // Made since.
        assert!(!is_dropped(&by(&main), user, "j", until(&main, None, 9)));
    }
    // Dropped where it is used.
    assert!(is_dropped(&by(&main), &topic, "j", until(&topic, None, 10)));
    // A pull request that lies keeps nobody from what others made.
    assert!(is_dropped(&by(&main), &pull, "j", until(&pull, None, 10)));
    for user in [&main, &topic, &other] {
        assert!(!is_dropped(&by(&main), user, "j", until(&pull, None, 10)));
    }
}
