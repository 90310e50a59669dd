//! Tests of temporary repositories on top of others.

use std::path::Path;

use crate::git::fixture::{Fixture, commit, git, open, program, write};
use crate::git::{CommitId, Repository, Swap};
use crate::shadow::{self, ShadowCommit, ShadowFiles};

const NAME: &str = "refs/levain/x";

fn objects(at: &Path) -> String {
    git(at, &["count-objects", "-v"])
}

/// Writes a shadow commit into an overlay and lets git read it there.
fn shadow_in_overlay(fixture: &Fixture, repository: &Repository, original: CommitId) {
    let before = objects(repository.location());
    let overlay = repository.overlay().unwrap();
    let upper = &overlay.repository;
    assert!(!upper.is_bare());
    let commit = ShadowCommit {
        previous: None,
        original,
        built: original,
        pointer: b"null\n",
        message: "shadow",
    };
    let id = shadow::write(upper, &commit, &ShadowFiles::default()).unwrap();
    let swap = upper.swap(&fixture.lock(), NAME, None, Some(id), "").unwrap();
    assert_eq!(swap, Swap::Moved);
    let at = upper.location().to_owned();
    assert_eq!(git(&at, &["show", &format!("{NAME}:cache.nix")]), "null");
    assert_eq!(git(&at, &["show", &format!("{NAME}:a")]), "one");
    git(&at, &["rev-list", "--objects", NAME]);
    assert_eq!(objects(repository.location()), before);
    assert_eq!(git(repository.location(), &["for-each-ref", "refs/levain"]), "");
    drop(overlay);
    assert!(!at.exists());
}

#[test]
fn an_overlay_writes_nothing_into_its_source() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    shadow_in_overlay(&fixture, &open(&path), first);

    git(&path, &["worktree", "add", "-q", "../linked", "-b", "other"]);
    shadow_in_overlay(&fixture, &open(&fixture.path("linked")), first);

    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "bare"]);
    shadow_in_overlay(&fixture, &open(&fixture.path("bare")), first);
}

#[test]
fn an_overlay_of_a_shallow_clone_and_of_borrowed_objects() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let second = commit(&path, &[("b", "2")], "second");
    let url = format!("file://{}", path.display());
    git(&fixture.path(""), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let shallow = open(&fixture.path("shallow"));
    assert!(shallow.is_shallow());
    shadow_in_overlay(&fixture, &shallow, second);

    // A chain as long as git itself would not follow through one more step.
    let mut below = "r".to_owned();
    for number in 0..5 {
        let name = format!("borrower{number}");
        git(&fixture.path(""), &["clone", "-q", "--shared", &below, &name]);
        below = name;
    }
    shadow_in_overlay(&fixture, &open(&fixture.path(&below)), second);

    // Relative alternates begin at their own directory of objects; lost ones are passed over.
    write(
        &fixture.path("borrower0/.git/objects/info/alternates"),
        "# by hand\n../../../r/.git/objects\n/nowhere\n",
    );
    shadow_in_overlay(&fixture, &open(&fixture.path("borrower0")), second);
}

#[test]
fn an_overlay_of_an_overlay() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let overlay = open(&path).overlay().unwrap();
    shadow_in_overlay(&fixture, &overlay.repository, first);
}

#[test]
fn nix_evaluates_a_shadow_commit_in_an_overlay() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let flake = "{ outputs = { self }: { x = { pointer = import ./cache.nix; commit = builtins.readFile ./commit.txt; rev = self.rev; }; }; }";
    let original = commit(&path, &[("flake.nix", flake)], "flake");
    let overlay = open(&path).overlay().unwrap();
    let upper = &overlay.repository;
    let commit = ShadowCommit {
        previous: None,
        original,
        built: original,
        pointer: b"{ entries = 3; }\n",
        message: "shadow",
    };
    let id = shadow::write(upper, &commit, &ShadowFiles::default()).unwrap();
    let swap = upper.swap(&fixture.lock(), NAME, None, Some(id), "").unwrap();
    assert_eq!(swap, Swap::Moved);

    write(
        &fixture.path("conf/nix.conf"),
        "experimental-features = nix-command flakes\nsubstituters =\nsandbox = false\nbuild-users-group =\n",
    );
    let url = format!("git+file://{}?ref={NAME}&rev={id}", upper.location().display());
    let output = program("nix", &fixture.path(""))
        .args(["eval", "--json", "--expr"])
        .arg(format!("(builtins.getFlake \"{url}\").x"))
        .env("NIX_STORE_DIR", fixture.path("store"))
        .env("NIX_STATE_DIR", fixture.path("var"))
        .env("NIX_LOG_DIR", fixture.path("log"))
        .env("NIX_CONF_DIR", fixture.path("conf"))
        .env("HOME", fixture.path("home"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        value,
        serde_json::json!({ "commit": format!("{original}\n"), "pointer": { "entries": 3 }, "rev": id.to_string() })
    );
}
