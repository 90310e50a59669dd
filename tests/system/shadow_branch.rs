//! The shadow branch that a run keeps: what is in it, what it leaves alone, and
//! which repositories and histories it copes with.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::bad_input::incremental;
use crate::environment::{BUILDER, Environment, Repository, flake};
use crate::jobs::{ended, job};

const APP: &str = "x86_64-linux.app";
const SHADOW: &str = "refs/levain/heads/main";

impl Repository<'_> {
    /// Returns the parents of a commit.
    fn parents(&self, commit: &str) -> Vec<String> {
        let line = self.git(&["rev-list", "--parents", "-n1", commit]);
        line.split(' ').skip(1).map(str::to_owned).collect()
    }

    /// Returns mode, kind and object of every file in a commit's tree, by name.
    fn tree(&self, commit: &str) -> BTreeMap<String, String> {
        let listed = self.git(&["ls-tree", "-r", "-z", commit]);
        let entries = listed.split('\0').filter_map(|line| line.split_once('\t'));
        entries.map(|(entry, name)| (name.to_owned(), entry.to_owned())).collect()
    }

    /// Requires that a shadow ref mirrors a commit; `files` are pointer and commit file.
    #[track_caller]
    fn assert_mirrors(&self, shadow: &str, original: &str, files: [&str; 2]) {
        let text = self.git(&["show", &format!("{shadow}:{}", files[1])]);
        assert_eq!(text, original);
        let (mut ours, mut theirs) = (self.tree(shadow), self.tree(original));
        for file in files {
            let entry = ours.remove(file).unwrap();
            assert!(entry.starts_with("100644 blob "), "{entry}");
            theirs.remove(file);
        }
        assert_eq!(ours, theirs);
        let parents = self.parents(shadow);
        assert_eq!(parents.last().map(String::as_str), Some(original));
    }
}

const FILES: [&str; 2] = ["cache.nix", "commit.txt"];

/// Changes the source, so that there is something to build, and commits.
fn edit(repository: &Repository<'_>, text: &str) -> String {
    repository.write("src/a.txt", text);
    repository.commit(text)
}

#[track_caller]
fn assert_ended(report: &Value, status: &str) {
    assert_eq!(ended(report), [(APP, status)].into(), "{report:#}");
}

#[test]
fn a_merge_commit_of_shadow_and_original() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.write("src/b.txt", "b\n");
    let first = repository.commit("first");
    let report = repository.report(&[]);
    let at = |report: &Value, key: &str| report["shadow"][key].as_str().map(str::to_owned);
    assert_eq!(report["shadow"]["ref"], SHADOW);
    assert_eq!(report["shadow"]["before"], Value::Null);
    let evaluated = at(&report, "evaluated").unwrap();
    let after = at(&report, "after").unwrap();
    assert_eq!(repository.reference(SHADOW), Some(after.clone()));
    assert_eq!(repository.parents(&evaluated), std::slice::from_ref(&first));
    assert_eq!(repository.parents(&after), [evaluated.clone(), first.clone()]);
    repository.assert_mirrors(&evaluated, &first, FILES);
    repository.assert_mirrors(&after, &first, FILES);
    assert_eq!(repository.git(&["show", &format!("{evaluated}:cache.nix")]), "null");

    let second = edit(&repository, "second\n");
    let report = repository.report(&[]);
    assert_ended(&report, "incremental");
    assert_eq!(at(&report, "before"), Some(after.clone()));
    let evaluated = at(&report, "evaluated").unwrap();
    assert_eq!(repository.parents(&evaluated), [after, second.clone()]);
    let pointer = repository.git(&["show", &format!("{evaluated}:cache.nix")]);
    let cache = report["jobs"][0]["caches"][0]["path"].as_str().unwrap();
    assert!(pointer.contains(cache), "{pointer}");
    let after = at(&report, "after").unwrap();
    repository.assert_mirrors(&after, &second, FILES);

    let who = repository.git(&["log", "-1", "--format=%an <%ae> %cn", &after]);
    assert_eq!(who, "levain <levain@localhost> levain");
    let message = repository.git(&["log", "-1", "--format=%B", &after]);
    assert_eq!(message, format!("levain: heads/main at {}\n\n[skip ci]", &second[..12]));
    // It is no branch, and nothing that a fetch would bring along.
    assert_eq!(repository.git(&["branch", "--all", "--format=%(refname)"]), "refs/heads/main");

    // With nothing new, nothing is written.
    repository.report(&[]);
    assert_eq!(repository.reference(SHADOW), Some(after));
}

#[test]
fn work_tree_and_index_are_left_alone() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.write("staged", "1\n");
    repository.write("both", "1\n");
    repository.commit("files");
    repository.write("staged", "2\n");
    repository.write("both", "2\n");
    repository.git(&["add", "staged", "both"]);
    repository.write("both", "3\n");
    repository.write("untracked", "4\n");
    fs::remove_file(repository.path.join("commit.txt")).unwrap();
    let look = || {
        let head = fs::read_to_string(repository.path.join(".git/HEAD")).unwrap();
        let index = fs::read(repository.path.join(".git/index")).unwrap();
        let status = repository.environment.run(
            "git",
            &repository.path,
            &["--no-optional-locks", "status", "--porcelain"],
        );
        (head, index, status.ok().stdout, contents(&repository.path))
    };
    let before = look();
    assert_ended(&repository.report(&[]), "clean");
    assert!(look() == before, "{:?}", look().2);
    assert!(repository.reference(SHADOW).is_some());
    assert_eq!(repository.git(&["stash", "list"]), "");
}

/// Returns the content of every file of a work tree.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(".git") {
            found.extend(contents(&path));
        } else if path.is_file() {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn heads_that_are_moved_back_and_aside() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.report(&[]);
    let edited = edit(&repository, "edited\n");
    assert_ended(&repository.report(&[]), "incremental");

    // Force-pushed: the head is a sibling of what the shadow mirrored.
    let before = repository.reference(SHADOW).unwrap();
    repository.write("src/a.txt", "amended\n");
    repository.git(&["commit", "--quiet", "--all", "--amend", "-m", "amended"]);
    let amended = repository.git(&["rev-parse", "HEAD"]);
    let report = repository.report(&[]);
    assert_ended(&report, "incremental");
    assert_eq!(job(&report, APP)["caches"][0]["commit"], edited.as_str());
    let shadow = repository.reference(SHADOW).unwrap();
    repository.assert_mirrors(&shadow, &amended, FILES);
    repository.git(&["merge-base", "--is-ancestor", &before, &shadow]);

    // Moved back to where it has been: nothing to build, and the shadow follows.
    repository.git(&["reset", "--quiet", "--hard", &edited]);
    let report = repository.report(&[]);
    assert_ended(&report, "fresh");
    let shadow = repository.reference(SHADOW).unwrap();
    repository.assert_mirrors(&shadow, &edited, FILES);

    // A history without any relation to the old one.
    repository.git(&["checkout", "--quiet", "--orphan", "fresh-start"]);
    repository.write("new.txt", "");
    edit(&repository, "orphan\n");
    repository.git(&["branch", "--quiet", "-M", "fresh-start", "main"]);
    let orphan = repository.git(&["rev-parse", "HEAD"]);
    assert_eq!(repository.parents(&orphan), Vec::<String>::new());
    let report = repository.report(&[]);
    assert_ended(&report, "incremental");
    let shadow = repository.reference(SHADOW).unwrap();
    repository.assert_mirrors(&shadow, &orphan, FILES);
    repository.git(&["merge-base", "--is-ancestor", &before, &shadow]);
}

#[test]
fn a_branch_that_is_deleted_and_made_again() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.git(&["switch", "--quiet", "-c", "topic/rye"]);
    edit(&repository, "one\n");
    assert_ended(&repository.report(&[]), "clean");
    let name = "refs/levain/heads/topic/rye";
    let before = repository.reference(name).unwrap();

    repository.git(&["switch", "--quiet", "main"]);
    repository.git(&["branch", "--quiet", "-D", "topic/rye"]);
    repository.levain(&["run", "--branch", "topic/rye"]).code(1).says("there is no branch");
    repository.git(&["switch", "--quiet", "-c", "topic/rye"]);
    let again = edit(&repository, "two\n");
    let report = repository.report(&[]);
    assert_ended(&report, "incremental");
    assert_eq!(job(&report, APP)["caches"][0]["origin"], "own");
    let shadow = repository.reference(name).unwrap();
    repository.assert_mirrors(&shadow, &again, FILES);
    repository.git(&["merge-base", "--is-ancestor", &before, &shadow]);

    // And if the shadow itself is deleted, it begins anew.
    repository.git(&["update-ref", "-d", name]);
    edit(&repository, "three\n");
    let report = repository.report(&[]);
    assert_eq!(report["shadow"]["before"], Value::Null, "{report:#}");
    let evaluated = report["shadow"]["evaluated"].as_str().unwrap();
    assert_eq!(repository.parents(evaluated).len(), 1);
}

#[test]
fn everything_that_a_tree_can_hold() {
    let environment = Environment::new();
    let library = environment.repository("library");
    library.write("file", "of the submodule\n");
    let pinned = library.commit("library");
    let repository = incremental(&environment, "");
    let url = library.path.display().to_string();
    repository.git(&["submodule", "--quiet", "add", &url, "vendor/library"]);
    repository.write("tool", "#!/bin/sh\n");
    let tool = repository.path.join("tool");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("tool", repository.path.join("link")).unwrap();
    symlink("no/where", repository.path.join("dangling")).unwrap();
    for name in ["a b", "-dash", "qu\"ote", "back\\slash", "new\nline", "tab\t", "été", "$(x)"] {
        repository.write(&format!("odd/{name}"), name);
    }
    let bytes = OsStr::from_bytes(b"odd/\xff\xfe");
    fs::write(repository.path.join(bytes), "not UTF-8").unwrap();
    // Neighbours of the two files, where a wrong sort order would show.
    for name in ["cache.nix.bak", "cache-nix", "cache/nix", "commit.txt0", "commit/txt"] {
        repository.write(name, name);
    }
    let original = repository.commit("everything");

    let report = repository.report(&[]);
    assert_ended(&report, "clean");
    let notices = report["notices"].as_array().unwrap();
    let of_submodules = |notice: &&Value| notice.to_string().contains("has submodules");
    assert_eq!(notices.iter().filter(of_submodules).count(), 1, "{report:#}");
    let shadow = repository.reference(SHADOW).unwrap();
    repository.assert_mirrors(&shadow, &original, FILES);
    let tree = repository.tree(&shadow);
    assert_eq!(tree["vendor/library"], format!("160000 commit {pinned}"));
    assert!(tree["tool"].starts_with("100755 "), "{tree:?}");
    assert!(tree["link"].starts_with("120000 "), "{tree:?}");
    repository.git(&["fsck", "--strict", "--no-progress", &shadow]);
    edit(&repository, "edited\n");
    assert_ended(&repository.report(&[]), "incremental");
}

#[test]
fn a_linked_work_tree() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    assert_ended(&repository.report(&[]), "clean");
    let linked = environment.path("linked");
    let path = linked.display().to_string();
    repository.git(&["worktree", "add", "--quiet", "-b", "topic", &path]);
    let linked = Repository { environment: &environment, path: linked };
    // What one work tree learned, the other knows.
    let report = linked.report(&[]);
    assert_ended(&report, "fresh");
    assert_eq!(report["evaluations"][0]["memoized"], true);
    let head = edit(&linked, "linked\n");
    let report = linked.report(&[]);
    assert_eq!(report["jobset"], "heads/topic");
    assert_ended(&report, "incremental");
    let shadow = repository.reference("refs/levain/heads/topic").unwrap();
    repository.assert_mirrors(&shadow, &head, FILES);
    assert_eq!(linked.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_shallow_clone() {
    let environment = Environment::new();
    let origin = incremental(&environment, "");
    // It has a work tree, and would not be believed otherwise.
    origin.git(&["config", "levain.ownBranches", "true"]);
    edit(&origin, "more\n");
    let head = edit(&origin, "history\n");
    let path = environment.path("shallow");
    let url = format!("file://{}", origin.path.display());
    origin.git(&["clone", "--quiet", "--depth=1", &url, &path.display().to_string()]);
    let shallow = Repository { environment: &environment, path };
    assert_ended(&shallow.report(&[]), "clean");
    shallow.assert_mirrors(&shallow.reference(SHADOW).unwrap(), &head, FILES);
    let next = edit(&shallow, "next\n");
    assert_ended(&shallow.report(&[]), "incremental");
    shallow.assert_mirrors(&shallow.reference(SHADOW).unwrap(), &next, FILES);
}

#[test]
fn a_bare_repository() {
    let environment = Environment::new();
    let work = incremental(&environment, "");
    let path = environment.path("bare.git");
    work.git(&["clone", "--quiet", "--bare", ".", &path.display().to_string()]);
    let bare = Repository { environment: &environment, path };
    bare.git(&["remote", "remove", "origin"]);
    assert_ended(&bare.report(&[]), "clean");
    let next = edit(&work, "next\n");
    work.git(&["push", "--quiet", &bare.path.display().to_string(), "main"]);
    let report = bare.report(&[]);
    assert_ended(&report, "incremental");
    assert_eq!(report["notices"], serde_json::json!([]), "no work tree, nothing to say about one");
    bare.assert_mirrors(&bare.reference(SHADOW).unwrap(), &next, FILES);
}

#[test]
fn other_names_for_files_and_ref() {
    let environment = Environment::new();
    let more = "; files = { pointer = \"ci/pointer.nix\"; commit = \"ci/original\"; }; \
                shadow = { ref = \"refs/heads/ci/{{jobset}}\"; message = \"{{branch}}: {{commit}}\"; }";
    let repository = incremental(&environment, more);
    let text = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    repository.write("flake.nix", &text.replace("./cache.nix", "./ci/pointer.nix"));
    repository.write("ci/pointer.nix", "null\n");
    repository.commit("other names");
    assert_ended(&repository.report(&[]), "clean");
    let head = edit(&repository, "edited\n");
    let report = repository.report(&[]);
    assert_ended(&report, "incremental");
    assert_eq!(report["shadow"]["ref"], "refs/heads/ci/heads/main");
    let shadow = repository.reference("refs/heads/ci/heads/main").unwrap();
    repository.assert_mirrors(&shadow, &head, ["ci/pointer.nix", "ci/original"]);
    let message = repository.git(&["log", "-1", "--format=%B", &shadow]);
    assert_eq!(message, format!("main: {head}"));
    assert_eq!(repository.git(&["show", &format!("{shadow}:cache.nix")]), "null");

    // Refs that show as branches are still no jobsets.
    repository.levain(&["run", "--branch", "ci/heads/main"]).code(1).says("ci/heads/main");
    assert!(repository.reference("refs/heads/ci/heads/ci/heads/main").is_none());
}

#[test]
fn a_clean_default_branch_warms_the_others() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &flake(&["app"], "{ enable = true; }"));
    repository.write("builder.sh", BUILDER);
    repository.write("src/a.txt", "a\n");
    repository.write("src/b.txt", "b\n");
    repository.commit("first");
    let report = repository.report(&[]);
    assert_eq!(report["mode"], "record");
    assert_ended(&report, "clean");
    assert_eq!(job(&report, APP)["pointer"]["moved"], true);

    let second = edit(&repository, "second\n");
    let report = repository.report(&[]);
    assert_ended(&report, "clean");
    let recorded = job(&report, APP);
    assert_eq!(recorded["builtDrvPath"], recorded["baseDrvPath"]);
    assert_eq!(recorded["reason"], "disabled", "{recorded:#}");
    let log = fs::read_to_string(recorded["log"].as_str().unwrap()).unwrap();
    assert_eq!(log, "compiling a.txt\ncompiling b.txt\n");

    repository.git(&["switch", "--quiet", "-c", "topic"]);
    edit(&repository, "topic\n");
    let report = repository.report(&[]);
    assert_ended(&report, "incremental");
    let warm = job(&report, APP);
    assert_eq!(warm["caches"][0]["jobset"], "heads/main");
    assert_eq!(warm["caches"][0]["origin"], "ancestor");
    assert_eq!(warm["caches"][0]["commit"], second.as_str());
    assert_eq!(warm["caches"][0]["path"], recorded["pointer"]["path"]);
    let log = fs::read_to_string(warm["log"].as_str().unwrap()).unwrap();
    assert_eq!(log, "compiling a.txt\n");
}

#[test]
fn the_remote_gets_it_and_the_next_clone_starts_warm() {
    let environment = Environment::new().with_one_signing_key();
    let work = incremental(&environment, "");
    let origin = environment.path("origin.git").display().to_string();
    work.git(&["init", "--quiet", "--bare", &origin]);
    work.git(&["remote", "add", "origin", &origin]);
    work.git(&["push", "--quiet", "origin", "main"]);
    let report = work.report(&[]);
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert_eq!(report["undelivered"], serde_json::json!([]));
    let remote = work.git(&["ls-remote", "origin", SHADOW]);
    assert_eq!(remote, format!("{}\t{SHADOW}", work.reference(SHADOW).unwrap()));

    let path = environment.path("clone");
    work.git(&["clone", "--quiet", &origin, &path.display().to_string()]);
    let clone = Repository { environment: &environment, path };
    let head = edit(&clone, "from the clone\n");
    let report = clone.report(&[]);
    assert_ended(&report, "incremental");
    assert_eq!(job(&report, APP)["caches"][0]["origin"], "own");
    clone.assert_mirrors(&clone.reference(SHADOW).unwrap(), &head, FILES);
    let remote = work.git(&["ls-remote", "origin", SHADOW]);
    assert!(remote.starts_with(&clone.reference(SHADOW).unwrap()), "{remote}");

    // Not with `--no-push`.
    edit(&clone, "kept here\n");
    assert_ended(&clone.report(&["--no-push"]), "incremental");
    assert_eq!(work.git(&["ls-remote", "origin", SHADOW]), remote);
}
