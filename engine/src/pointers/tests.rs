//! Tests of pointer files and of moving them.

use levain_actions::shadow::Shadow;
use levain_evaluator::pointer::Tier;

use super::*;
use crate::signing::Distrust;
use crate::testing::{Fixture, NOW, branch, entry, layout, made, signing_key};

const REFERENCE: &str = "refs/levain/heads/main";

/// Returns an entry that `main` made from `commit`.
fn of(layout: &Layout, seed: u8, commit: CommitId, time: u64) -> Entry {
    let new = Entry { commit: commit.to_string(), time, ..entry(seed) };
    made(layout, &branch("main", true), "j", new)
}

fn untrusted(entry: &Entry) -> Result<Entry, Unusable> {
    Err(Unusable::Untrusted { entry: Box::new(entry.clone()), why: Distrust::Unsigned })
}

#[test]
fn the_newer_commit_wins_not_the_clock() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let root = fixture.commit(&[], "root");
    let old = fixture.commit(&[root], "old");
    let new = fixture.commit(&[old], "new");
    let forced = fixture.commit(&[root], "forced");
    let other = fixture.commit(&[root], "other");
    let unknown: CommitId = "f".repeat(40).parse().unwrap();
    let at = |commit, time| of(&layout, 1, commit, time);
    for (tip, before, after, expected) in [
        (new, at(old, NOW), at(new, NOW - 9), true),
        (new, at(new, NOW - 9), at(old, NOW), false),
        (new, at(new, NOW), at(new, NOW), true),
        (new, at(new, NOW), at(new, NOW - 1), false),
        // Force-pushed: what the tip still contains.
        (forced, at(new, NOW), at(forced, NOW - 9), true),
        (forced, at(forced, NOW - 9), at(new, NOW), false),
        (root, at(other, NOW - 9), at(forced, NOW), true),
        (root, at(other, NOW), at(forced, NOW - 9), false),
        (new, at(unknown, NOW), at(old, NOW - 9), true),
        (new, at(old, NOW - 9), at(unknown, NOW), false),
    ] {
        let found = supersedes(&fixture.repository, tip, &before, &after).unwrap();
        assert_eq!(found, expected, "{before:?} {after:?}");
    }
}

#[test]
fn merging_takes_what_is_newer_or_alone() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let old = fixture.commit(&[], "old");
    let new = fixture.commit(&[old], "new");
    let (older, newer) = (of(&layout, 1, old, NOW), of(&layout, 2, new, NOW));
    let malformed = || Err(Unusable::Malformed(EntryError::Missing { attribute: "path" }));
    let planted = of(&layout, 3, new, u64::MAX);
    let entries = |it: Option<Result<Entry, Unusable>>| -> Entries {
        it.into_iter().map(|entry| ("j".into(), entry)).collect()
    };
    let seed = |it: &Entries| match it.get("j") {
        None => "nothing",
        Some(Ok(entry)) if entry.path == older.path => "older",
        Some(Ok(_)) => "newer",
        Some(Err(Unusable::Untrusted { .. })) => "untrusted",
        Some(Err(Unusable::Malformed(_))) => "malformed",
    };
    for (ours, theirs, expected) in [
        (None, None, "nothing"),
        (Some(Ok(older.clone())), Some(Ok(newer.clone())), "newer"),
        (Some(Ok(newer.clone())), Some(Ok(older.clone())), "newer"),
        (None, Some(Ok(older.clone())), "older"),
        (Some(Ok(older.clone())), None, "older"),
        (Some(malformed()), Some(Ok(older.clone())), "older"),
        (None, Some(malformed()), "nothing"),
        (Some(untrusted(&planted)), Some(Ok(older.clone())), "older"),
        // Whatever it says, it takes no other's place.
        (Some(Ok(older.clone())), Some(untrusted(&planted)), "older"),
        (None, Some(untrusted(&planted)), "untrusted"),
    ] {
        let mut merged = entries(ours.clone());
        merge(&fixture.repository, new, &mut merged, &entries(theirs.clone())).unwrap();
        assert_eq!(seed(&merged), expected, "{ours:?} and {theirs:?}");
    }
}

#[test]
fn an_evaluation_can_use_only_what_was_chosen() {
    let mark = |word: &str| Some(word.to_owned());
    let own: Entries = [
        ("chosen", Ok(entry(1))),
        ("fresh", Ok(entry(2))),
        ("refused", Ok(entry(3))),
        ("broken-today", Ok(Entry { unused: None, ..entry(4) })),
        ("planted", untrusted(&entry(5))),
        ("replaced", untrusted(&entry(6))),
        ("malformed", Err(Unusable::Malformed(EntryError::Missing { attribute: "path" }))),
    ]
    .map(|(job, entry)| (job.into(), entry))
    .into();
    let (other, own_again) = (entry(7), Entry { unused: mark("fresh"), ..entry(1) });
    let jobs = [
        ("chosen", Ok(&own_again)),
        ("fresh", Err("fresh")),
        ("refused", Err(Reason::KeyChanged.name())),
        ("planted", Err(Reason::Untrusted.name())),
        ("replaced", Ok(&other)),
        ("new", Ok(&other)),
        ("without", Err(Reason::FirstBuild.name())),
    ]
    .map(|(job, starts_from)| (JobName::new(job), starts_from));
    let jobs = jobs.iter().map(|(job, starts_from)| (job, *starts_from));
    let text = print(&StoreDir::default(), &pointer_for(&own, jobs));
    let Ok(Pointer::Entries(entries)) = Pointer::parse(&StoreDir::default(), text.as_bytes())
    else {
        panic!("{text}")
    };
    let found: Vec<(String, String, Option<String>)> = entries
        .into_iter()
        .map(|(job, it)| it.map(|it| (job.into(), it.path.to_string(), it.unused)).unwrap())
        .collect();
    let expected = [
        ("broken-today", 4, mark("disabled")),
        ("chosen", 1, None),
        ("fresh", 2, mark("fresh")),
        ("new", 7, None),
        ("planted", 5, mark("untrusted")),
        ("refused", 3, mark("key-changed")),
        ("replaced", 7, None),
    ]
    .map(|(job, seed, unused)| (job.to_owned(), entry(seed).path.to_string(), unused));
    assert_eq!(found, expected);
}

#[test]
fn a_pointer_file_is_read_with_distrust() {
    let (ours, theirs) = (signing_key(), signing_key());
    let layout = layout(&ours);
    let fixture = Fixture::new();
    let original = fixture.commit(&[], "first");
    let main = branch("main", true);
    let good = made(&layout, &main, "j", entry(1));
    let foreign = made(&crate::testing::layout(&theirs), &main, "j", entry(2));
    let shadow = |pointer: Option<&str>| Shadow {
        id: original,
        original,
        built: original,
        pointer: pointer.map(|text| text.as_bytes().to_vec()),
        previous: None,
    };
    let printed: Entries = [("good", good.clone()), ("foreign", foreign), ("plain", entry(3))]
        .map(|(job, entry)| (job.into(), Ok(entry)))
        .into();
    let text = print(&layout.store_dir, &printed);
    let read = layout.entries(&shadow(Some(&text))).unwrap();
    assert_eq!(read["good"].as_ref().unwrap(), &good);
    for job in ["foreign", "plain"] {
        assert!(matches!(read[job], Err(Unusable::Untrusted { .. })), "{job}");
    }
    for (text, expected) in [
        (Some("null"), Ok(0)),
        (Some("{ a = 1; }"), Ok(1)),
        (None, Err("`cache.nix` is missing")),
        (Some("import ./x"), Err("`cache.nix`: ")),
        (
            Some("\"/nix/store/0123456789abcdfghijklmnpqrsvwxyz-cache\""),
            Err("`cache.nix` names `/nix/store/"),
        ),
    ] {
        let found = layout.entries(&shadow(text));
        match (found, expected) {
            (Ok(found), Ok(count)) => assert_eq!(found.len(), count),
            (Err(why), Err(start)) => assert!(why.starts_with(start), "{why}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }
}

/// A shadow branch of `main` with one entry.
fn written(fixture: &Fixture, layout: &Layout) -> (CommitId, Entries) {
    let original = fixture.commit(&[], "first");
    let entries: Entries = [("j".into(), Ok(of(layout, 1, original, NOW)))].into();
    (original, entries)
}

fn shadow_branch<'a>(fixture: &'a Fixture, layout: &'a Layout, tip: CommitId) -> ShadowBranch<'a> {
    ShadowBranch {
        repository: &fixture.repository,
        lock: &fixture.lock,
        layout,
        reference: REFERENCE,
        message: "levain: test\n",
        tip,
    }
}

#[test]
fn a_shadow_commit_with_another_tree_is_not_taken_for_ours() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let (original, entries) = written(&fixture, &layout);
    let branch = shadow_branch(&fixture, &layout, original);
    let id = branch.write(original.into(), &entries).unwrap();
    assert_eq!(branch.write(original.into(), &entries).unwrap(), id);
    // Pointer and commit file say the same, but the sources are somebody else's.
    let forged = fixture.with_file(id, "file", "forged");
    fixture.point(REFERENCE, forged);
    let again = branch.write(original.into(), &entries).unwrap();
    assert_ne!(again, forged);
    let file = |commit| fixture.repository.plain_file(commit, "file", 99).unwrap();
    assert_eq!(file(again), file(original));
    assert_eq!(fixture.repository.reference(REFERENCE).unwrap(), Some(again));
}

#[test]
fn a_planted_entry_is_replaced_by_a_success() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let (original, entries) = written(&fixture, &layout);
    let branch = shadow_branch(&fixture, &layout, original);
    branch.write(original.into(), &entries).unwrap();
    // Of the newest commit, at the end of time.
    let planted = Entry { time: u64::MAX, tier: Tier::DefaultBranch, ..entry(9) };
    let planted = Entry { commit: original.to_string(), ..planted };
    let planted: Entries = [("j".into(), untrusted(&planted))].into();
    branch.write(original.into(), &planted).unwrap();
    let new = of(&layout, 2, original, NOW);
    let changes = [("j".into(), Change::Set(Box::new(new.clone())))].into();
    let (_, changed) = branch.apply(original.into(), &changes).unwrap();
    assert_eq!(changed, ["j"]);
    let found = layout.read(&fixture.repository, REFERENCE).unwrap().unwrap();
    assert_eq!(found.entries.unwrap()["j"].as_ref().unwrap(), &new);
}

#[test]
fn whatever_a_shadow_ref_points_at_is_rejected_and_replaced() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let (original, entries) = written(&fixture, &layout);
    let branch = shadow_branch(&fixture, &layout, original);
    let new = of(&layout, 2, original, NOW);
    let changes = [("j".into(), Change::Set(Box::new(new)))].into();
    let good = branch.write(original.into(), &entries).unwrap();
    let remote = layout.read(&fixture.repository, REFERENCE).unwrap().unwrap();
    for odd in fixture.odd_objects() {
        let place = || fixture.point_anywhere(REFERENCE, odd);
        place();
        let found = layout.read(&fixture.repository, REFERENCE).unwrap().unwrap();
        assert_eq!((found.head, found.shadow), (odd, None));
        assert!(found.entries.is_err());
        assert!(!layout.read_all(&fixture.repository, REFERENCE).unwrap().is_empty());
        branch.write(original.into(), &entries).unwrap();
        assert_eq!(fixture.repository.target(REFERENCE).unwrap(), Some(good));
        place();
        assert_eq!(branch.apply(original.into(), &changes).unwrap().1, ["j"]);
        place();
        branch.take_over(&remote).unwrap();
        assert_eq!(fixture.repository.target(REFERENCE).unwrap(), Some(good));
        // The other way round: what the remote has is left to be replaced.
        fixture.point_anywhere("refs/levain/heads/theirs", odd);
        let theirs = layout.read(&fixture.repository, "refs/levain/heads/theirs").unwrap();
        branch.take_over(&theirs.unwrap()).unwrap();
        assert_eq!(fixture.repository.target(REFERENCE).unwrap(), Some(good));
        // A shadow commit like any other, but of this object.
        let naming = fixture.with_file(good, "commit.txt", &format!("{odd}\n"));
        fixture.point("refs/levain/heads/theirs", naming);
        let theirs = layout.read(&fixture.repository, "refs/levain/heads/theirs").unwrap();
        branch.take_over(&theirs.unwrap()).unwrap();
        assert_eq!(fixture.repository.target(REFERENCE).unwrap(), Some(good));
        fixture.point(REFERENCE, naming);
        branch.apply(original.into(), &changes).unwrap();
        fixture.point_anywhere("refs/levain/heads/theirs", good);
        fixture.point(REFERENCE, good);
    }
}

#[test]
fn a_merge_with_a_newer_base_is_written_though_nothing_else_changed() {
    let fixture = Fixture::new();
    let layout = layout(&signing_key());
    let (original, entries) = written(&fixture, &layout);
    let base = fixture.commit(&[], "base");
    let merge = |text: &str| Shadowed { original, built: fixture.commit(&[base, original], text) };
    let (one, two) = (merge("one"), merge("two"));
    let branch = shadow_branch(&fixture, &layout, original);
    let tree = |commit| fixture.repository.plain_file(commit, "file", 99).unwrap();
    let mut written = Vec::new();
    for of in [one, two, original.into(), one] {
        let id = branch.write(of, &entries).unwrap();
        assert_eq!(branch.write(of, &entries).unwrap(), id, "it is there already");
        let found = layout.read(&fixture.repository, REFERENCE).unwrap().unwrap();
        assert_eq!(Shadowed::from(&found.shadow.unwrap()), of);
        assert_eq!(tree(id), tree(of.built));
        assert!(!written.contains(&id));
        written.push(id);
    }
    // A pointer that moves takes the tree along, whichever base an earlier run had.
    let new = of(&layout, 2, original, NOW);
    let changes = [("j".into(), Change::Set(Box::new(new)))].into();
    let (head, changed) = branch.apply(two, &changes).unwrap();
    assert_eq!((tree(head.unwrap()), changed), (tree(two.built), vec!["j".into()]));
    // But not back to an older commit.
    let newer = fixture.commit(&[original], "newer");
    let of_newer = Shadowed { original: newer, built: fixture.commit(&[base, newer], "merged") };
    branch.write(of_newer, &entries).unwrap();
    let new = of(&layout, 3, original, NOW + 1);
    let changes = [("j".into(), Change::Set(Box::new(new)))].into();
    let (head, _) = branch.apply(two, &changes).unwrap();
    assert_eq!(tree(head.unwrap()), tree(of_newer.built));
}
