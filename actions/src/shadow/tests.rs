//! Tests against real git in temporary directories.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{
    MOST_POINTER, Shadow, ShadowCommit, ShadowError, ShadowFiles, ShadowFilesError, history, read,
    write,
};
use crate::git::fixture::write as put;
use crate::git::fixture::{
    Fixture, commit, commit_oddities, commit_submodule, git, git_bytes, head, open,
};
use crate::git::{CommitId, GitError, Merged, Repository, Swap};

const POINTER: &[u8] = b"{ \"x86_64-linux.a\" = \"/nix/store/x\"; }\n";

fn make(repository: &Repository, previous: Option<CommitId>, original: CommitId) -> CommitId {
    make_with(repository, previous, original, &ShadowFiles::default()).unwrap()
}

fn make_with(
    repository: &Repository,
    previous: Option<CommitId>,
    original: CommitId,
    files: &ShadowFiles,
) -> Result<CommitId, ShadowError> {
    let commit = ShadowCommit {
        previous,
        original,
        built: original,
        pointer: POINTER,
        message: "levain: pointer of main\n",
    };
    write(repository, &commit, files)
}

/// Lists a tree as git does, without the given paths.
fn listing(at: &Path, id: CommitId, without: &[&str]) -> Vec<Vec<u8>> {
    git_bytes(at, &["ls-tree", "-r", "-z", &id.to_string()])
        .split(|byte| *byte == 0)
        .filter(|line| {
            let path = line.splitn(2, |byte| *byte == b'\t').nth(1).unwrap_or_default();
            !without.iter().any(|name| name.as_bytes() == path)
        })
        .map(<[u8]>::to_vec)
        .collect()
}

#[test]
fn everything_else_in_the_tree_survives() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    commit_oddities(&path);
    let original = commit_submodule(&path, "with blank/module");
    let repository = open(&path);
    for (pointer, name) in [
        ("cache.nix", "commit.txt"),
        ("deep/er/cache.nix", "new/dir/commit.txt"),
        ("with blank/c", "deep/er/and/deeper/c"),
    ] {
        let files = ShadowFiles::new(pointer, name).unwrap();
        let id = make_with(&repository, None, original, &files).unwrap();
        assert_eq!(listing(&path, id, &[pointer, name]), listing(&path, original, &[]));
        assert_eq!(git_bytes(&path, &["show", &format!("{id}:{pointer}")]), POINTER);
        assert_eq!(git(&path, &["show", &format!("{id}:{name}")]), original.to_string());
        for file in [pointer, name] {
            assert!(git(&path, &["ls-tree", &id.to_string(), file]).starts_with("100644 blob "));
        }
        git(&path, &["fsck", "--strict", "--no-dangling", &id.to_string()]);
    }
}

#[test]
fn modes_of_old_git_survive() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let blob = git2::Oid::from_str(&git(&path, &["rev-parse", "HEAD:a"])).unwrap();
    let tree = [b"100664 a\0", blob.as_bytes()].concat();
    let odb = repository.objects().odb().unwrap();
    let tree = odb.write(git2::ObjectType::Tree, &tree).unwrap();
    let original: CommitId =
        git(&path, &["commit-tree", &tree.to_string(), "-p", &first.to_string(), "-m", "old"])
            .parse()
            .unwrap();
    let id = make(&repository, None, original);
    assert_eq!(listing(&path, id, &["cache.nix", "commit.txt"]), listing(&path, original, &[]));
}

#[test]
fn the_files_of_the_original_are_replaced() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    crate::git::fixture::executable(&path.join("cache.nix"), "null");
    let original = commit(&path, &[("commit.txt", "")], "with files");
    let repository = open(&path);
    let id = make(&repository, None, original);
    assert_eq!(
        read(&repository, id, &ShadowFiles::default()).unwrap().pointer.as_deref(),
        Some(POINTER)
    );
    assert!(git(&path, &["ls-tree", &id.to_string(), "cache.nix"]).starts_with("100644 blob "));
}

#[test]
fn the_same_input_gives_the_same_commit() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "bare"]);
    let (one, two) = (open(&path), open(&fixture.path("bare")));
    let previous = make(&one, None, first);
    assert_eq!(make(&two, None, first), previous);
    let id = make(&one, Some(previous), first);
    assert_eq!(make(&two, Some(previous), first), id);
    let text = git(&path, &["cat-file", "-p", &id.to_string()]);
    let (header, message) = text.split_once("\n\n").unwrap();
    let lines: Vec<_> = header.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            format!("parent {previous}"),
            format!("parent {first}"),
            "author levain <levain@localhost> 1700000100 -0230".to_owned(),
            "committer levain <levain@localhost> 1700000100 -0230".to_owned(),
        ]
    );
    assert_eq!(message, "levain: pointer of main");
}

#[test]
fn work_tree_and_index_stay() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let original = commit_oddities(&path);
    put(&path.join("plain"), "changed");
    put(&path.join("staged"), "staged");
    git(&path, &["add", "staged"]);
    put(&path.join("cache.nix"), "mine");
    git(&path, &["status", "--porcelain"]);
    let look = || {
        (
            std::fs::read(path.join(".git/index")).unwrap(),
            git_bytes(&path, &["status", "--porcelain", "-z", "--untracked-files=all"]),
            std::fs::read(path.join(".git/HEAD")).unwrap(),
            head(&path),
        )
    };
    let before = look();
    let repository = open(&path);
    let id = make(&repository, None, original);
    let swap =
        repository.swap(&fixture.lock(), "refs/levain/main", None, Some(id), "levain").unwrap();
    assert_eq!(swap, Swap::Moved);
    assert_eq!(look(), before);
    assert_eq!(std::fs::read_to_string(path.join("cache.nix")).unwrap(), "mine");
}

#[test]
fn whatever_stands_in_the_way_is_replaced() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    put(&path.join("directory/file"), "");
    put(&path.join("directory/deep/er/file"), "");
    put(&path.join("only/child"), "");
    symlink("directory", path.join("link")).unwrap();
    symlink("/etc/passwd", path.join("outside")).unwrap();
    crate::git::fixture::executable(&path.join("program"), "");
    commit(&path, &[], "more");
    let original = commit_submodule(&path, "module");
    let repository = open(&path);
    for (name, gone) in [
        ("directory", "directory/"),
        ("directory/deep", "directory/deep/"),
        ("only/child/c", "only/child"),
        ("link", "link"),
        ("outside", "outside"),
        ("module", "module"),
        ("program", "program"),
        ("link/c", "link"),
        ("module/c", "module"),
        ("a/c", "a"),
        ("a/b/c", "a"),
        ("directory/file/c", "directory/file"),
    ] {
        for (pointer, commit) in [(name, "other"), ("other", name), (name, "link/other")] {
            let Ok(files) = ShadowFiles::new(pointer, commit) else { continue };
            let id = make_with(&repository, None, original, &files).unwrap();
            let shadow = read(&repository, id, &files).unwrap();
            assert_eq!((shadow.original, shadow.pointer.as_deref()), (original, Some(POINTER)));
            git(&path, &["fsck", "--strict", "--no-dangling", &id.to_string()]);
            let left = |id, also: &[&str]| -> Vec<Vec<u8>> {
                listing(&path, id, &[pointer, commit])
                    .into_iter()
                    .filter(|line| {
                        let name = line.splitn(2, |byte| *byte == b'\t').nth(1).unwrap_or_default();
                        let name = String::from_utf8_lossy(name);
                        !also.iter().any(|gone| match gone.strip_suffix('/') {
                            Some(_) => name.starts_with(gone),
                            None => name == **gone,
                        })
                    })
                    .collect()
            };
            let mut replaced = vec![gone];
            replaced.extend((commit == "link/other").then_some("link"));
            assert_eq!(left(id, &[]), left(original, &replaced), "{pointer}, {commit}");
        }
    }
    let gone: CommitId = "f".repeat(40).parse().unwrap();
    for (previous, original) in [(None, gone), (Some(gone), original)] {
        let error =
            make_with(&repository, previous, original, &ShadowFiles::default()).unwrap_err();
        assert!(matches!(error, ShadowError::Git(GitError::UnknownCommit { .. })), "{error}");
    }
}

#[test]
fn a_pointer_is_a_plain_file_of_a_pointers_size() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let files = ShadowFiles::default();
    let hex = format!("{first}\n");
    symlink("elsewhere", path.join("cache.nix")).unwrap();
    let link = commit(&path, &[("elsewhere", "null"), ("commit.txt", &hex)], "a link");
    assert_eq!(read(&repository, link, &files).unwrap().pointer, None);
    std::fs::remove_file(path.join("cache.nix")).unwrap();
    let large = commit(&path, &[("cache.nix", &" ".repeat(MOST_POINTER + 1))], "too large");
    assert_eq!(read(&repository, large, &files).unwrap().pointer, None);
    std::fs::remove_file(path.join("commit.txt")).unwrap();
    symlink("named", path.join("commit.txt")).unwrap();
    let linked = commit(&path, &[("named", &hex)], "a linked name");
    let error = read(&repository, linked, &files).unwrap_err();
    assert!(matches!(error, ShadowError::NotAShadow { .. }), "{error}");
}

#[test]
fn history_goes_back_over_force_pushes_and_other_roots() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let files = ShadowFiles::default();
    let one = make(&repository, None, first);
    let second = commit(&path, &[], "second");
    let two = make(&repository, Some(one), second);
    // The same original again, with another pointer or not: a new step all the same.
    let three = make(&repository, Some(two), second);
    git(&path, &["reset", "-q", "--hard", &first.to_string()]);
    let forced = commit(&path, &[("b", "2")], "forced");
    let four = make(&repository, Some(three), forced);
    git(&path, &["checkout", "-q", "--orphan", "island"]);
    git(&path, &["rm", "-rfq", "."]);
    let island = commit(&path, &[("c", "3")], "island");
    let five = make(&repository, Some(four), island);

    let steps: Vec<_> = history(&repository, five, &files)
        .map(|shadow| {
            let shadow = shadow.unwrap();
            assert_eq!(shadow.pointer.as_deref(), Some(POINTER));
            (shadow.id, shadow.original, shadow.previous)
        })
        .collect();
    assert_eq!(
        steps,
        [
            (five, island, Some(four)),
            (four, forced, Some(three)),
            (three, second, Some(two)),
            (two, second, Some(one)),
            (one, first, None),
        ]
    );
    // The tree is the island's alone.
    assert_eq!(
        git(&path, &["ls-tree", "--name-only", &five.to_string()]),
        "c\ncache.nix\ncommit.txt"
    );
    // Deleted and made again: no history.
    let anew = make(&repository, None, island);
    assert_eq!(history(&repository, anew, &files).count(), 1);
    assert_eq!(history(&repository, island, &files).count(), 0);
}

#[test]
fn nothing_is_guessed() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let files = ShadowFiles::default();
    let hex = first.to_string();
    let malformed = [
        "",
        "\n",
        &hex,
        &format!("{hex}\n\n"),
        &format!(" {hex}\n"),
        &format!("{hex}\r\n"),
        &format!("{}\n", &hex[..39]),
        "HEAD\n",
    ];
    let mut ids = vec![first];
    ids.extend(malformed.map(|text| commit(&path, &[("commit.txt", text)], "malformed")));
    for id in ids {
        let error = read(&repository, id, &files).unwrap_err();
        assert!(matches!(&error, ShadowError::NotAShadow { id: at, .. } if *at == id), "{error}");
        assert!(history(&repository, id, &files).next().is_none());
    }
    // A pointer that somebody deleted is told as such; what a missing pointer means is not decided here.
    let id = commit(&path, &[("commit.txt", &format!("{hex}\n"))], "by hand");
    let parent: CommitId = git(&path, &["rev-parse", "HEAD^"]).parse().unwrap();
    assert_eq!(
        read(&repository, id, &files).unwrap(),
        Shadow { id, original: first, built: first, pointer: None, previous: Some(parent) }
    );
    // An error is not an end.
    let gone: CommitId = "f".repeat(40).parse().unwrap();
    let mut steps = history(&repository, gone, &files);
    assert!(matches!(steps.next(), Some(Err(ShadowError::Git(GitError::UnknownCommit { .. })))));
    assert!(steps.next().is_none());
}

#[test]
fn a_merge_is_shadowed_under_the_name_of_its_head() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    git(&path, &["switch", "-q", "-c", "base"]);
    let base = commit(&path, &[("b", "base")], "base");
    git(&path, &["switch", "-q", "-c", "topic", &first.to_string()]);
    // As a shadow commit would have it; the author may write anything.
    let claimed = format!("{first}\n");
    let original = commit(&path, &[("c", "topic"), ("commit.txt", &claimed)], "topic");
    let Merged::Commit(built) = repository.merge(base, original).unwrap() else { panic!() };
    let files = ShadowFiles::default();
    let message = "levain: pointer\n";
    let of =
        |previous, built| ShadowCommit { previous, original, built, pointer: POINTER, message };
    let one = write(&repository, &of(None, built), &files).unwrap();
    let two = write(&repository, &of(Some(one), built), &files).unwrap();
    let again = write(&repository, &of(Some(two), original), &files).unwrap();
    for (id, built, previous) in
        [(one, built, None), (two, built, Some(one)), (again, original, Some(two))]
    {
        let pointer = Some(POINTER.to_vec());
        let found = read(&repository, id, &files).unwrap();
        assert_eq!(found, Shadow { id, original, built, pointer, previous });
        assert_eq!(
            listing(&path, id, &["cache.nix", "commit.txt"]),
            listing(&path, built, &["commit.txt"])
        );
        assert_eq!(git(&path, &["show", &format!("{id}:commit.txt")]), original.to_string());
        assert_eq!(
            repository.commit_time(id).unwrap(),
            repository.commit_time(built).unwrap(),
            "a flake sees the same time in both"
        );
    }
    let found: Vec<CommitId> =
        history(&repository, again, &files).map(|shadow| shadow.unwrap().id).collect();
    assert_eq!(found, [again, two, one], "what an author committed is not part of it");
}

#[test]
fn what_somebody_puts_on_a_shadow_commit_by_hand_is_told_from_a_merge() {
    let fixture = Fixture::new();
    let (path, original) = fixture.small("r");
    let repository = open(&path);
    let one = make(&repository, None, original);
    let two = make(&repository, Some(one), original);
    let by_hand: CommitId =
        git(&path, &["commit-tree", "-p", &two.to_string(), "-m", "x", &format!("{two}^{{tree}}")])
            .parse()
            .unwrap();
    let found = read(&repository, by_hand, &ShadowFiles::default()).unwrap();
    assert_eq!((found.built, found.previous), (original, Some(two)));
}

#[test]
fn names_of_the_files_are_checked() {
    assert_eq!(ShadowFiles::new("cache.nix", "commit.txt").unwrap(), ShadowFiles::default());
    assert!(ShadowFiles::new("ci/cache.nix", "ci/commit.txt").is_ok());
    assert!(ShadowFiles::new("ci/a", "ci/ab").is_ok());
    for wrong in [
        "", "/a", "a/", "a//b", "..", "a/../b", ".", "./a", ".git", ".git/x", "a/.GIT/b", "a\nb",
        "a\0b", "a\\b",
    ] {
        for files in [ShadowFiles::new(wrong, "fine"), ShadowFiles::new("fine", wrong)] {
            assert!(
                matches!(files, Err(ShadowFilesError::Path { ref path, .. }) if path == wrong),
                "{wrong}"
            );
        }
    }
    for (pointer, commit) in [("a", "a"), ("a", "a/b"), ("a/b", "a")] {
        assert!(matches!(ShadowFiles::new(pointer, commit), Err(ShadowFilesError::Clash { .. })));
    }
}
