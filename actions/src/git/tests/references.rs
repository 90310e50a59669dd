//! Tests of reading, moving and deleting refs.

use std::sync::Barrier;

use crate::git::fixture::{Fixture, commit, git, open, write};
use crate::git::{CommitId, GitError, Prune, Repository, Swap};

const NAME: &str = "refs/levain/heads/main";

#[test]
fn a_ref_moves_only_from_what_was_expected() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let second = commit(&path, &[], "second");
    let repository = open(&path);
    let lock = fixture.lock();
    let swap = |expected, new| repository.swap(&lock, NAME, expected, new, "test").unwrap();

    assert_eq!(repository.reference(NAME).unwrap(), None);
    assert_eq!(swap(Some(first), Some(second)), Swap::Lost { actual: None });
    assert_eq!(swap(None, None), Swap::Moved);
    assert_eq!(swap(None, Some(first)), Swap::Moved);
    assert_eq!(git(&path, &["rev-parse", NAME]), first.to_string());
    assert_eq!(swap(None, Some(second)), Swap::Lost { actual: Some(first) });
    assert_eq!(swap(Some(second), None), Swap::Lost { actual: Some(first) });
    assert_eq!(swap(Some(first), Some(first)), Swap::Moved);
    assert_eq!(swap(Some(first), Some(second)), Swap::Moved);
    assert_eq!(repository.reference(NAME).unwrap(), Some(second));
    assert_eq!(repository.references("refs/levain/").unwrap(), [(NAME.to_owned(), second)]);

    // The same when the ref is no file of its own.
    git(&path, &["pack-refs", "--all"]);
    assert!(!path.join(".git").join(NAME).exists());
    assert_eq!(swap(Some(first), None), Swap::Lost { actual: Some(second) });
    assert_eq!(swap(Some(second), Some(first)), Swap::Moved);
    assert_eq!(swap(Some(first), None), Swap::Moved);
    assert_eq!(repository.reference(NAME).unwrap(), None);
    assert_eq!(git(&path, &["for-each-ref", "refs/levain"]), "");
    // Deleted and made again.
    assert_eq!(swap(None, Some(second)), Swap::Moved);
    assert_eq!(git(&path, &["rev-parse", NAME]), second.to_string());
}

#[test]
fn a_ref_to_anything_can_be_listed_moved_and_deleted() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let lock = fixture.lock();
    let swap = |expected, new| repository.swap(&lock, NAME, expected, new, "test").unwrap();
    let tree = git(&path, &["rev-parse", "HEAD^{tree}"]);
    write(&path.join("blob"), "blob");
    let blob = git(&path, &["hash-object", "-w", "blob"]);
    git(&path, &["tag", "-a", "-m", "x", "of-a-tree", &tree]);
    git(&path, &["tag", "-a", "-m", "x", "of-a-commit"]);
    write(&path.join("raw"), format!("tree {tree}\n\nno author"));
    let broken = git(&path, &["hash-object", "-w", "-t", "commit", "--literally", "raw"]);
    let tags = ["of-a-tree", "of-a-commit"].map(|name| git(&path, &["rev-parse", name]));
    for object in [&blob, &tree, &broken, &tags[0], &tags[1]] {
        let id: CommitId = object.parse().unwrap();
        for new in [Some(first), None] {
            write(&path.join(".git").join(NAME), format!("{object}\n"));
            assert_eq!(repository.target(NAME).unwrap(), Some(id));
            assert_eq!(repository.targets("refs/levain/").unwrap(), [(NAME.to_owned(), id)]);
            assert_eq!(swap(None, Some(first)), Swap::Lost { actual: Some(id) });
            assert_eq!(swap(Some(id), new), Swap::Moved);
            assert_eq!(repository.target(NAME).unwrap(), new);
        }
    }
}

#[test]
fn linked_work_trees_share_their_refs() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    git(&path, &["worktree", "add", "-q", "../linked", "-b", "other"]);
    let linked = open(&fixture.path("linked"));
    let lock = fixture.lock();
    // A lock file in the way stands in the shared directory, too.
    write(&path.join(".git").join(format!("{NAME}.lock")), "");
    let swap = linked.swap(&lock, NAME, None, Some(first), "").unwrap();
    assert_eq!(swap, Swap::Moved);
    assert_eq!(open(&path).reference(NAME).unwrap(), Some(first));
    let swap = linked.swap(&lock, NAME, Some(first), None, "").unwrap();
    assert_eq!(swap, Swap::Moved);
    assert_eq!(open(&path).reference(NAME).unwrap(), None);
}

#[test]
fn names_are_checked() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let lock = fixture.lock();
    for name in [
        "",
        "main",
        "HEAD",
        "refs/",
        "refs/levain/a..b",
        "refs/levain/a b",
        "refs/levain/.a",
        "refs/levain/a.lock",
        "refs/levain/a/",
        "refs/levain//a",
        "refs/levain/a~1",
        "refs/levain/@{x}",
        "refs/levain/../../x",
        "/refs/levain/a",
        "refs/levain/a\n",
    ] {
        let error = repository.swap(&lock, name, None, Some(first), "").unwrap_err();
        assert!(
            matches!(&error, GitError::InvalidReference { name: at } if at == name),
            "{name}: {error}"
        );
        assert_eq!(repository.reference(name).unwrap_or(None), (name == "HEAD").then_some(first));
    }
    let gone: CommitId = "f".repeat(40).parse().unwrap();
    let error = repository.swap(&lock, NAME, None, Some(gone), "").unwrap_err();
    assert!(matches!(error, GitError::UnknownCommit { .. }), "{error}");
}

#[test]
fn a_ref_inside_another_is_a_conflict_loose_or_packed() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let lock = fixture.lock();
    let make = |name: &str| repository.swap(&lock, name, None, Some(first), "");
    assert_eq!(make("refs/levain/heads/a").unwrap(), Swap::Moved);
    assert_eq!(make("refs/levain/heads/c/d").unwrap(), Swap::Moved);
    for _ in 0..2 {
        for (name, existing) in [
            ("refs/levain/heads/a/b", "refs/levain/heads/a"),
            ("refs/levain/heads/c", "refs/levain/heads/c/d"),
        ] {
            let error = make(name).unwrap_err();
            assert!(
                matches!(&error, GitError::ReferenceConflict { name: at, existing: in_the_way } if at == name && in_the_way == existing),
                "{error}"
            );
        }
        git(&path, &["pack-refs", "--all"]);
    }
    assert_eq!(make("refs/levain/heads/ab").unwrap(), Swap::Moved);
    // Once the one in the way is gone, there is room, empty directories or not.
    let delete = |name: &str| repository.swap(&lock, name, Some(first), None, "").unwrap();
    assert_eq!(delete("refs/levain/heads/c/d"), Swap::Moved);
    assert_eq!(make("refs/levain/heads/c").unwrap(), Swap::Moved);
    assert_eq!(delete("refs/levain/heads/a"), Swap::Moved);
    assert_eq!(make("refs/levain/heads/a/b").unwrap(), Swap::Moved);
}

#[test]
fn a_lock_file_left_by_a_killed_levain_is_removed() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let lock = fixture.lock();
    write(&path.join(".git").join(format!("{NAME}.lock")), "");
    let swap = repository.swap(&lock, NAME, None, Some(first), "").unwrap();
    assert_eq!(swap, Swap::Moved);
    git(&path, &["pack-refs", "--all"]);
    write(&path.join(".git/packed-refs.lock"), "");
    let swap = repository.swap(&lock, NAME, Some(first), None, "").unwrap();
    assert_eq!(swap, Swap::Moved);
    assert_eq!(repository.reference(NAME).unwrap(), None);
    assert!(!path.join(".git/packed-refs.lock").exists());
    assert!(!path.join(".git").join(format!("{NAME}.lock")).exists());
}

#[test]
fn lock_files_that_a_killed_fetch_left_are_removed_where_levain_alone_fetches() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let branch = git(&path, &["symbolic-ref", "--short", "HEAD"]);
    let url = path.display().to_string();
    let mirror = Repository::mirror(&fixture.path("mirror.git"), &url).unwrap();
    let all = ["+refs/heads/*:refs/heads/*".to_owned()];
    mirror.fetch("origin", &all, Prune::Yes).unwrap();
    commit(&path, &[], "second");
    let left = format!("refs/heads/{branch}.lock");
    for name in [left.as_str(), "packed-refs.lock", "HEAD.lock", "refs/levain-fetched/pull/7.lock"]
    {
        write(&mirror.git_dir().join(name), "");
    }
    mirror.fetch("origin", &all, Prune::Yes).unwrap_err();
    let lock = fixture.lock();
    mirror.remove_stale_locks(&lock).unwrap();
    mirror.fetch("origin", &all, Prune::Yes).unwrap();
    let fetched = mirror.reference(&format!("refs/heads/{branch}")).unwrap();
    assert_ne!(fetched, Some(first));

    // Elsewhere, others lock what is theirs.
    let repository = open(&path);
    let (ours, theirs) = (".git/refs/levain-fetched/pull/7.lock", ".git/refs/heads/x.lock");
    write(&path.join(ours), "");
    write(&path.join(theirs), "");
    repository.remove_stale_locks(&lock).unwrap();
    assert!(!path.join(ours).exists() && path.join(theirs).exists());
}

#[test]
fn no_move_is_lost_among_many_at_once() {
    const THREADS: usize = 4;
    const MOVES: usize = 10;
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let lock = fixture.lock();
    let start = Barrier::new(THREADS);
    // Each puts commits of its own on top of whatever is there; a commit that another overwrote would be missing in the end.
    let add = |repository: &Repository, thread: usize, number: usize| loop {
        let current = repository.reference(NAME).unwrap();
        let parent = repository.find(current.unwrap_or(first)).unwrap();
        let author = parent.author();
        let id = repository
            .inner
            .commit(
                None,
                &author,
                &author,
                &format!("{thread} {number}"),
                &parent.tree().unwrap(),
                &[&parent],
            )
            .unwrap();
        match repository.swap(&lock, NAME, current, Some(CommitId::new(id)), "").unwrap() {
            Swap::Moved => return,
            Swap::Lost { actual } => assert_ne!(actual, current),
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (path, start, add) = (&path, &start, &add);
            scope.spawn(move || {
                let repository = open(path);
                start.wait();
                for number in 0..MOVES {
                    add(&repository, thread, number);
                }
            });
        }
    });
    let count = git(&path, &["rev-list", "--count", NAME]);
    assert_eq!(count, (THREADS * MOVES + 1).to_string());
}
