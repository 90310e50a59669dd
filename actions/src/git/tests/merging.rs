//! Merges of real commits: clean, conflicting, and made to be hard.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use levain_store::nix::Stop;

use crate::git::fixture::{Fixture, commit, commit_submodule, git, git_bytes, head, open, write};
use crate::git::{CommitId, Conduct, Conflict, MergeError, Merged};

/// Makes a commit on a new branch that begins at `from`.
fn branch(at: &Path, from: CommitId, name: &str, files: &[(&str, &str)]) -> CommitId {
    git(at, &["switch", "-q", "-c", name, &from.to_string()]);
    commit(at, files, name)
}

fn clean(merged: Merged) -> CommitId {
    match merged {
        Merged::Commit(id) => id,
        Merged::Conflict(conflict) => panic!("{conflict:?}"),
    }
}

fn files(merged: Merged) -> (Vec<String>, usize) {
    match merged {
        Merged::Conflict(Conflict::Files { ref named, more }) => (named.clone(), more),
        Merged::Conflict(Conflict::Unrelated) | Merged::Commit(_) => panic!("{merged:?}"),
    }
}

#[test]
fn the_same_two_commits_give_the_same_merge_everywhere() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let attributes = (".gitattributes", "* merge=ours\n");
    let first = commit(&path, &[("a", "1\n2\n3\n4\n5\n"), ("gone", "x"), attributes], "first");
    let base = branch(&path, first, "base", &[("a", "one\n2\n3\n4\n5\n"), ("b", "of base")]);
    let topic = branch(&path, first, "topic", &[("a", "1\n2\n3\n4\nfive\n"), ("c", "of topic")]);
    git(&path, &["rm", "-q", "gone"]);
    let topic_head = commit(&path, &[], "without");
    assert_ne!(topic, topic_head);
    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "bare"]);
    let (here, there) = (open(&path), open(&fixture.path("bare")));
    // The settings of one of them ask for something else.
    git(&path, &["config", "merge.default", "union"]);
    git(&path, &["config", "merge.ours.driver", "false"]);
    let refs = git(&path, &["for-each-ref"]);
    let made = clean(here.merge(base, topic_head).unwrap());
    assert_eq!(clean(there.merge(base, topic_head).unwrap()), made);
    assert_eq!(clean(here.merge(base, topic_head).unwrap()), made);
    let show = |name: &str| git(&path, &["show", &format!("{made}:{name}")]);
    assert_eq!(show("a"), "one\n2\n3\n4\nfive");
    assert_eq!(
        git(&path, &["ls-tree", "--name-only", &made.to_string()]),
        ".gitattributes\na\nb\nc"
    );
    assert_eq!(
        git(&path, &["cat-file", "commit", &made.to_string()]).split_once('\n').unwrap().1,
        format!(
            "parent {base}\nparent {topic_head}\n\
             author levain <levain@localhost> 1700000100 +0000\n\
             committer levain <levain@localhost> 1700000100 +0000\n\n\
             Merge {topic_head} into {base}"
        )
    );
    git(&path, &["fsck", "--strict", "--no-dangling", &made.to_string()]);
    // No ref, no index and no work tree noticed.
    assert_eq!(git(&path, &["for-each-ref"]), refs);
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    // The other way round it is another commit of the same tree.
    let other = clean(here.merge(topic_head, base).unwrap());
    assert_ne!(other, made);
    assert_eq!(here.tree_of(other).unwrap().id(), here.tree_of(made).unwrap().id());
}

#[test]
fn what_contains_the_other_needs_no_merge() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let second = commit(&path, &[("b", "two")], "second");
    let repository = open(&path);
    assert_eq!(repository.merge(first, second).unwrap(), Merged::Commit(second));
    assert_eq!(repository.merge(second, first).unwrap(), Merged::Commit(second));
    assert_eq!(repository.merge(second, second).unwrap(), Merged::Commit(second));
}

#[test]
fn conflicts_name_their_files() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let first = commit(&path, &[("a", "1\n"), ("dir", "file"), ("kept", "1\n")], "first");
    branch(&path, first, "base", &[("a", "base\n"), ("new\nline", "base")]);
    git(&path, &["rm", "-q", "kept"]);
    let base = commit(&path, &[], "without");
    git(&path, &["switch", "-q", "-c", "topic", &first.to_string()]);
    write(&path.join(OsStr::from_bytes(b"caf\xe9")), "topic");
    git(&path, &["rm", "-q", "dir"]);
    let files_of_topic = [
        ("a", "topic\n"),
        ("new\nline", "topic"),
        ("kept", "changed\n"),
        ("dir/below", "x"),
        ("\u{1b}[31mred\u{202e}", "y"),
    ];
    let topic = commit(&path, &files_of_topic, "topic");
    let repository = open(&path);
    let (named, more) = files(repository.merge(base, topic).unwrap());
    assert_eq!((named, more), (vec!["a".to_owned(), "kept".into(), "new\\nline".into()], 0));
    // Unlike names, bytes may be anything, and are shown by number.
    git(&path, &["switch", "-q", "-c", "odd", &base.to_string()]);
    write(&path.join(OsStr::from_bytes(b"caf\xe9")), "base");
    let odd = commit(&path, &[("\u{1b}[31mred\u{202e}", "z")], "odd");
    let conflict = Conflict::Files { named: vec!["x".into(), "y".into()], more: 3 };
    assert_eq!(
        conflict.with("ma\u{202e}in"),
        "it conflicts with `ma\\u{202e}in` in x, y and 3 more"
    );
    let (named, _) = files(repository.merge(odd, topic).unwrap());
    assert!(named.contains(&"\\u{1b}[31mred\\u{202e}".to_owned()), "{named:?}");
    assert!(named.contains(&"caf\u{fffd}".to_owned()), "{named:?}");
}

#[test]
fn a_huge_conflict_is_told_in_a_few_words() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let long = "d".repeat(200);
    let names: Vec<String> = (0..3_000).map(|number| format!("{long}/{number:04}")).collect();
    let with = |text: &'static str| -> Vec<(&str, &str)> {
        names.iter().map(|name| (name.as_str(), text)).collect()
    };
    let first = commit(&path, &with("1\n"), "first");
    let base = branch(&path, first, "base", &with("base\n"));
    let topic = branch(&path, first, "topic", &with("topic\n"));
    let merged = open(&path).merge(base, topic).unwrap();
    let Merged::Conflict(conflict) = &merged else { panic!("{merged:?}") };
    assert!(conflict.with("main").len() < 2_000, "{}", conflict.with("main").len());
    let (named, more) = files(merged);
    assert_eq!(named.len(), 10);
    assert!(named.iter().all(|name| name.ends_with('…') && name.chars().count() == 121));
    assert!((1_000..=2_990).contains(&more), "{more}");
}

#[test]
fn unrelated_histories_and_submodules_are_conflicts() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    git(&path, &["switch", "-q", "--orphan", "alone"]);
    let alone = commit(&path, &[("b", "alone")], "alone");
    let repository = open(&path);
    let merged = repository.merge(first, alone).unwrap();
    assert_eq!(merged, Merged::Conflict(Conflict::Unrelated));
    assert_eq!(Conflict::Unrelated.with("main"), "it has no commit in common with `main`");
    let other = |name: &str, digit: &str| {
        git(&path, &["switch", "-q", "-f", "-c", name, &first.to_string()]);
        commit_submodule(&path, "sub");
        let entry = format!("160000,{},sub", digit.repeat(40));
        git(&path, &["update-index", "--add", "--cacheinfo", &entry]);
        git(&path, &["commit", "-q", "--amend", "-m", name]);
        head(&path)
    };
    let (one, two) = (other("one", "1"), other("two", "2"));
    assert_eq!(files(repository.merge(one, two).unwrap()), (vec!["sub".to_owned()], 0));
}

#[test]
fn histories_that_cross_are_merged() {
    let fixture = Fixture::new();
    let path = fixture.empty("r");
    let first = commit(&path, &[("a", "1\n"), ("b", "1\n")], "first");
    let left = branch(&path, first, "left", &[("a", "left\n")]);
    let right = branch(&path, first, "right", &[("b", "right\n")]);
    let repository = open(&path);
    let crossed = [
        clean(repository.merge(left, right).unwrap()),
        clean(repository.merge(right, left).unwrap()),
    ];
    let [one, two] = crossed.map(|from| {
        git(&path, &["switch", "-q", "--detach", &from.to_string()]);
        let name = from.short();
        commit(&path, &[(name.as_str(), "x")], "more")
    });
    let made = clean(repository.merge(one, two).unwrap());
    let listed = git_bytes(&path, &["ls-tree", "--name-only", &made.to_string()]);
    assert_eq!(listed.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).count(), 4);
}

#[test]
fn a_time_that_an_author_made_up_is_kept_in_bounds() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let at = |date: &str, name: &str| {
        git(&path, &["switch", "-q", "--detach", &first.to_string()]);
        write(&path.join(name), date);
        git(&path, &["add", "-A"]);
        let tree = git(&path, &["write-tree"]);
        let text = format!(
            "tree {tree}\nparent {first}\nauthor a <a@b> {date} +0000\ncommitter a <a@b> {date} +0000\n\n{name}\n"
        );
        write(&path.join(".git/text"), text);
        let id = git(&path, &["hash-object", "-t", "commit", "-w", "--literally", ".git/text"]);
        git(&path, &["reset", "-q", "--hard"]);
        id.parse::<CommitId>().unwrap()
    };
    let (one, two) = (at("99999999999999", "one"), at("5", "two"));
    let repository = open(&path);
    let made = clean(repository.merge(one, two).unwrap());
    assert_eq!(repository.commit_time(made).unwrap(), i64::from(u32::MAX));
}

#[test]
fn merging_can_be_stopped() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let base = branch(&path, first, "base", &[("b", "base")]);
    let topic = branch(&path, first, "topic", &[("c", "topic")]);
    let stop = Stop::default();
    stop.stop();
    let stopped = open(&path).conducted(Conduct { stop, ..Conduct::default() });
    assert!(matches!(stopped.merge(base, topic), Err(MergeError::Stopped)));
}
