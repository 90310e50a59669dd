//! Tests of finding repositories, and of what is read from them.

use std::path::Path;

use crate::git::fixture::{Fixture, commit, commit_oddities, git, open, write};
use crate::git::{CommitId, GitError, PlainFile, Repository};

#[test]
fn commit_names_are_exact() {
    let text = "0123456789abcdef0123456789abcdef01234567";
    let id: CommitId = text.parse().unwrap();
    assert_eq!(id.to_string(), text);
    assert_eq!(id.short(), "0123456789ab");
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<CommitId>(&format!("\"{text}\"")).unwrap(), id);
    for wrong in [
        "",
        "0123",
        &text[1..],
        &format!("{text}0"),
        &text.replace('0', "g"),
        &format!("{} ", &text[1..]),
    ] {
        let error = wrong.parse::<CommitId>().unwrap_err();
        assert_eq!(error.text, wrong);
        assert!(serde_json::from_str::<CommitId>(&format!("\"{wrong}\"")).is_err());
    }
}

#[test]
fn a_repository_is_found_from_everywhere_in_it() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    write(&path.join("sub/dir/file"), "");
    for place in ["", "sub/dir", ".git"] {
        let repository = open(&path.join(place));
        assert_eq!(repository.git_dir(), path.join(".git"));
        assert_eq!(repository.location(), path);
        assert!(!repository.is_bare() && !repository.is_shallow());
    }

    git(&path, &["worktree", "add", "-q", "../linked", "-b", "other"]);
    let linked = open(&fixture.path("linked"));
    assert_eq!(linked.git_dir().canonicalize().unwrap(), path.join(".git"));
    assert_eq!(linked.location(), fixture.path("linked"));
    assert_eq!(linked.head_branch().unwrap().as_deref(), Some("other"));

    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "bare"]);
    let bare = open(&fixture.path("bare"));
    assert!(bare.is_bare());
    assert_eq!(bare.location(), fixture.path("bare"));

    commit(&path, &[], "second");
    let url = format!("file://{}", path.display());
    git(&fixture.path(""), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    assert!(open(&fixture.path("shallow")).is_shallow());
}

#[test]
fn no_repository_is_an_error_with_a_hint() {
    let fixture = Fixture::new();
    for path in [fixture.path(""), fixture.path("absent")] {
        let error = Repository::discover(&path).unwrap_err();
        assert!(matches!(&error, GitError::NotARepository { path: at } if *at == path), "{error}");
        assert!(error.to_string().contains("hint: "));
    }
    // A broken one is something else than none.
    write(&fixture.path("broken/.git/HEAD"), "ref: refs/heads/main\n");
    write(&fixture.path("broken/.git/config"), "[core\n");
    std::fs::create_dir_all(fixture.path("broken/.git/objects")).unwrap();
    std::fs::create_dir_all(fixture.path("broken/.git/refs")).unwrap();
    let error = Repository::discover(&fixture.path("broken")).unwrap_err();
    assert!(matches!(error, GitError::Open { .. }), "{error}");
}

#[test]
fn branches_and_their_absence() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let repository = open(&path);
    assert_eq!(repository.head_branch().unwrap().as_deref(), Some("main"));
    assert_eq!(repository.default_branch(Some("origin")).unwrap(), None);
    let error = repository.branch("main").unwrap_err();
    assert!(matches!(error, GitError::EmptyRepository { .. }), "{error}");

    let first = commit(&path, &[("a", "1")], "first");
    for name in ["feature/login", "feature/logout", "release"] {
        git(&path, &["branch", name]);
    }
    assert_eq!(repository.branch("main").unwrap(), first);
    assert_eq!(repository.branch("feature/login").unwrap(), first);
    let error = repository.branch("feature/logim").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no branch `feature/logim`\nhint: did you mean `feature/login` or `feature/logout`?"
    );
    let error = repository.branch("x..y").unwrap_err();
    assert!(
        matches!(&error, GitError::UnknownBranch { similar, .. } if similar.is_empty()),
        "{error}"
    );

    git(&path, &["checkout", "-q", "--detach"]);
    assert_eq!(repository.head_branch().unwrap(), None);
}

#[test]
fn the_default_branch_is_the_remotes_then_main_then_master() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let repository = open(&path);
    git(&path, &["checkout", "-q", "-b", "topic"]);
    assert_eq!(repository.default_branch(Some("origin")).unwrap().as_deref(), Some("main"));
    git(&path, &["branch", "-m", "main", "master"]);
    assert_eq!(repository.default_branch(Some("origin")).unwrap().as_deref(), Some("master"));
    git(&path, &["branch", "-D", "master"]);
    assert_eq!(repository.default_branch(Some("origin")).unwrap(), None);

    git(&fixture.path(""), &["clone", "-q", "r", "clone"]);
    let clone = open(&fixture.path("clone"));
    git(&fixture.path("clone"), &["checkout", "-q", "-b", "main"]);
    assert_eq!(clone.default_branch(Some("origin")).unwrap().as_deref(), Some("topic"));
    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "bare"]);
    assert_eq!(
        open(&fixture.path("bare")).default_branch(Some("origin")).unwrap().as_deref(),
        Some("topic")
    );
}

#[test]
fn commits_by_full_and_short_name() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    let text = first.to_string();
    for length in [7, 12, 40] {
        assert_eq!(repository.commit(&text[..length]).unwrap(), first);
    }
    git(&path, &["tag", "-a", "-m", "tag", "v1"]);
    let tag = git(&path, &["rev-parse", "v1"]);
    assert_eq!(repository.commit(&tag).unwrap(), first);

    let tree = git(&path, &["rev-parse", "HEAD^{tree}"]);
    for unknown in [tree.as_str(), "abc", "HEAD", "main", &"f".repeat(40), &"0".repeat(41), "ffff"]
    {
        let error = repository.commit(unknown).unwrap_err();
        assert!(matches!(&error, GitError::UnknownCommit { id } if id == unknown), "{error}");
    }
}

#[test]
fn a_beginning_of_two_objects_is_ambiguous() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let repository = open(&path);
    // 2,000 blobs have two that begin with the same four digits: 65,536 beginnings, 30 pairs expected.
    let mut seen = std::collections::BTreeSet::new();
    let pair = (0..2000).find_map(|number: u32| {
        let id = repository.inner.blob(&number.to_le_bytes()).unwrap().to_string();
        let short = id[..4].to_owned();
        (!seen.insert(short.clone())).then_some(short)
    });
    let short = pair.unwrap();
    let error = repository.commit(&short).unwrap_err();
    assert!(matches!(&error, GitError::AmbiguousCommit { id } if *id == short), "{error}");
}

#[test]
fn changes_are_listed_and_the_index_stays() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let repository = open(&path);
    commit(&path, &[("b", "1"), ("c", "1"), (".gitignore", "ignored\n")], "more");
    assert_eq!(repository.changes(10).unwrap(), Vec::<String>::new());

    write(&path.join("a"), "changed");
    write(&path.join("b"), "staged");
    git(&path, &["add", "b"]);
    std::fs::remove_file(path.join("c")).unwrap();
    write(&path.join("new/file"), "");
    write(&path.join("ignored"), "");
    let index = std::fs::read(path.join(".git/index")).unwrap();
    assert_eq!(repository.changes(10).unwrap(), ["a", "b", "c", "new/"]);
    assert_eq!(repository.changes(2).unwrap(), ["a", "b"]);
    assert_eq!(std::fs::read(path.join(".git/index")).unwrap(), index);

    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "bare"]);
    assert!(open(&fixture.path("bare")).changes(10).unwrap().is_empty());
}

#[test]
fn ancestry() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let second = commit(&path, &[], "second");
    git(&path, &["checkout", "-q", "-b", "topic"]);
    let topic = commit(&path, &[], "topic");
    git(&path, &["checkout", "-q", "main"]);
    let third = commit(&path, &[], "third");
    git(&path, &["merge", "-q", "--no-ff", "-m", "merge", "topic"]);
    let merge: CommitId = git(&path, &["rev-parse", "HEAD"]).parse().unwrap();
    git(&path, &["checkout", "-q", "--orphan", "island"]);
    let island = commit(&path, &[], "island");

    let repository = open(&path);
    assert!(repository.is_ancestor(first, merge).unwrap());
    assert!(repository.is_ancestor(topic, merge).unwrap());
    assert!(repository.is_ancestor(topic, topic).unwrap());
    assert!(!repository.is_ancestor(merge, first).unwrap());
    assert!(!repository.is_ancestor(third, topic).unwrap());
    assert!(!repository.is_ancestor(island, merge).unwrap());
    let gone: CommitId = "f".repeat(40).parse().unwrap();
    for error in [
        repository.is_ancestor(gone, first).unwrap_err(),
        repository.is_ancestor(first, gone).unwrap_err(),
        repository.ancestors(gone).map(|_| ()).unwrap_err(),
        repository.has_file(gone, "a").map(|_| ()).unwrap_err(),
        repository.plain_file(gone, "a", 1).map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, GitError::UnknownCommit { .. }), "{error}");
    }

    let order: Vec<_> = repository.ancestors(merge).unwrap().map(Result::unwrap).collect();
    assert_eq!(order.len(), 5);
    assert_eq!((order[0], order[3], order[4]), (merge, second, first));

    assert_eq!(repository.branches_containing(first).unwrap(), ["main", "topic"]);
    assert_eq!(repository.branches_containing(third).unwrap(), ["main"]);
    assert_eq!(repository.branches_containing(island).unwrap(), ["island"]);

    assert_eq!(repository.commit_time(first).unwrap(), 1_700_000_100);
    assert_eq!(repository.summary(merge).unwrap(), "merge");
}

#[test]
fn ancestry_ends_where_a_shallow_clone_was_cut_off() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let second = commit(&path, &[], "second");
    let third = commit(&path, &[], "third");
    let url = format!("file://{}", path.display());
    git(&fixture.path(""), &["clone", "-q", "--depth", "2", &url, "shallow"]);
    let shallow = open(&fixture.path("shallow"));
    let order: Vec<_> = shallow.ancestors(third).unwrap().map(Result::unwrap).collect();
    assert_eq!(order, [third, second]);
    assert!(shallow.is_ancestor(second, third).unwrap());
    let error = shallow.is_ancestor(first, third).unwrap_err();
    assert!(matches!(error, GitError::UnknownCommit { .. }), "{error}");
}

#[test]
fn files_of_a_commit() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let id = commit_oddities(&path);
    std::os::unix::fs::symlink("../../outside", path.join("bin/out")).unwrap();
    std::os::unix::fs::symlink("loop", path.join("loop")).unwrap();
    std::os::unix::fs::symlink("deep/er", path.join("short")).unwrap();
    let more = commit(&path, &[], "links");
    // What counts is the commit, not the work tree.
    write(&path.join("plain"), "changed");

    let repository = open(&path);
    let has = |id, name: &str| repository.has_file(id, name).unwrap();
    for there in ["plain", "empty", "with blank/and\nnewline", "bin/link"] {
        assert!(has(id, there), "{there}");
    }
    assert!(has(more, "short/and/deeper/still"));
    for missing in ["absent", "bin", "plain/below", "dangling", "", "/plain", "../r/plain"] {
        assert!(!has(id, missing), "{missing}");
    }
    for missing in ["bin/out", "loop", "short"] {
        assert!(!has(more, missing), "{missing}");
    }

    let text = |name: &str, most| repository.file(more, name, most).unwrap();
    assert_eq!(text("bin/link", 5).as_deref(), Some(&b"plain"[..]));
    assert_eq!(text("bin/link", 4), None);
    assert_eq!(text("short/and/deeper/still", 1).as_deref(), Some(&b"4"[..]));
    let plain = |name: &str, most| repository.plain_file(more, name, most).unwrap();
    let other = |path: &str, found| PlainFile::Other { path: path.into(), found };
    assert_eq!(plain("plain", 5), PlainFile::Content(b"plain".into()));
    assert_eq!(plain("plain", 4), PlainFile::TooLarge);
    assert_eq!(plain("empty", 0), PlainFile::Content(Vec::new()));
    assert_eq!(plain("deep/er/and/deeper/still", 9), PlainFile::Content(b"4".into()));
    for nothing in ["absent", "deep/er/absent", "absent/absent"] {
        assert_eq!(plain(nothing, 9), PlainFile::Nothing, "{nothing}");
    }
    for (path, at, found) in [
        ("bin/link", "bin/link", "symbolic link"),
        ("short/and/deeper/still", "short", "symbolic link"),
        ("bin", "bin", "directory"),
        ("plain/below", "plain", "file"),
    ] {
        assert_eq!(plain(path, 9), other(at, found), "{path}");
    }
}

#[test]
fn a_mirror_is_made_once_and_keeps_no_password() {
    let fixture = Fixture::new();
    let dir = fixture.path("mirrors/one");
    let url = "https://me:secret@forge.example/a.git";
    for _ in 0..2 {
        let mirror = Repository::mirror(&dir, url).unwrap();
        assert!(mirror.is_bare());
        assert_eq!(mirror.remote_url("origin").as_deref(), Some("https://forge.example/a.git"));
        assert_eq!(mirror.remote_url("other"), None);
    }
    assert!(!std::fs::read_to_string(dir.join("config")).unwrap().contains("secret"));
    let again = Repository::mirror(&dir, "https://forge.example/b.git").unwrap();
    assert_eq!(again.remote_url("origin").as_deref(), Some("https://forge.example/b.git"));

    write(&fixture.path("file"), "");
    let error = Repository::mirror(&fixture.path("file"), url).unwrap_err();
    assert!(matches!(error, GitError::Open { .. }), "{error}");
    assert!(!error.to_string().contains("secret"));
    // An interrupted making is completed.
    std::fs::remove_file(dir.join("HEAD")).unwrap();
    assert!(Repository::mirror(&dir, url).unwrap().is_bare());
    assert_eq!(git(Path::new(&dir), &["rev-parse", "--is-bare-repository"]), "true");
}

#[test]
fn a_git_directory_elsewhere_keeps_its_work_tree() {
    let fixture = Fixture::new();
    let (_, first) = fixture.small("r");
    git(&fixture.path(""), &["clone", "-q", "--separate-git-dir=elsewhere", "r", "tree"]);
    let repository = open(&fixture.path("tree"));
    assert_eq!(repository.location(), fixture.path("tree"));
    assert_eq!(repository.git_dir(), fixture.path("elsewhere"));
    assert_eq!(repository.changes(1).unwrap(), Vec::<String>::new());
    assert_eq!(repository.head().unwrap(), first);
}

#[test]
fn a_work_tree_of_a_shallow_clone_is_shallow() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    commit(&path, &[("a", "two")], "second");
    let url = format!("file://{}", path.display());
    git(&fixture.path(""), &["clone", "-q", "--depth", "1", &url, "clone"]);
    git(&fixture.path("clone"), &["worktree", "add", "-q", "../linked"]);
    assert!(open(&fixture.path("clone")).is_shallow());
    assert!(open(&fixture.path("linked")).is_shallow());
    assert!(!open(&path).is_shallow());
}

#[test]
fn a_partial_clone_is_completed_and_nothing_else_is_touched() {
    for filter in ["blob:none", "tree:0"] {
        let fixture = Fixture::new();
        let (path, first) = fixture.small("r");
        commit(&path, &[("a", "changed"), ("d/e/b", "other")], "second");
        git(&path, &["rm", "-q", "-r", "."]);
        commit(&path, &[("c", "rest")], "third");
        for key in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
            git(&path, &["config", key, "true"]);
        }
        let url = format!("file://{}", path.display());
        let filter = format!("--filter={filter}");
        git(&fixture.path(""), &["clone", "-q", &filter, &url, "clone"]);
        let clone = open(&fixture.path("clone"));
        let second = git(&path, &["rev-parse", "HEAD~1"]).parse().unwrap();
        assert!(clone.is_partial().unwrap());
        assert!(clone.file(second, "d/e/b", 100).is_err());
        let overlay = clone.overlay().unwrap();
        clone.complete(second, &overlay.repository).unwrap();
        let read = overlay.repository.file(second, "d/e/b", 100).unwrap();
        assert_eq!(read.as_deref(), Some(b"other".as_slice()), "{filter}");
        assert!(open(&fixture.path("clone")).file(second, "d/e/b", 100).is_err());
        clone.complete(second, &clone).unwrap();
        assert!(clone.file(second, "d/e/b", 100).unwrap().is_some());
        // Where everything is there, nobody is asked.
        std::fs::rename(&path, fixture.path("gone")).unwrap();
        clone.complete(second, &clone).unwrap();
        assert!(clone.complete(first, &clone).is_err());
    }
}
