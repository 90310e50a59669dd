//! Whose the commits of a jobset are where no remote says it, or one that is not to be believed, each with the real git.
//!
//! Checkouts with an ordinary remote are in [`crate::checkouts`].

use serde_json::Value;

use crate::bad_input::incremental;
use crate::checkouts::Remote;
use crate::environment::{Environment, Ran, Repository};
use crate::jobs::simple;
use crate::status::{Forge, SECRET};

/// What a run says of the commits in a checkout: the tier that it records, `off` if there is no declaration that it
/// could follow and so no record, and its notices.
#[track_caller]
fn run(checkout: &Repository<'_>, jobset: &str) -> (String, String) {
    let ran = checkout.levain(&["run", "--format", "json"]).ok();
    let report = ran.json();
    assert_eq!(report["jobset"], jobset, "{}", ran.stderr);
    let notices = report["notices"].to_string();
    if report["mode"] == "off" {
        return ("off".to_owned(), notices);
    }
    let tier = checkout.entry(jobset, "app").tier;
    if tier == "fork" {
        assert_eq!(report["shadow"]["pushed"], false, "{report:#}");
    }
    (tier, notices)
}

/// Runs scripts that each make a checkout `c`; each has a jobset, a tier, and what a notice says or nothing.
fn runs(remote: &Remote<'_>, rows: &[(&str, &str, &str, &str, &str)]) {
    for (name, script, jobset, tier, notice) in rows {
        let (found, notices) = run(&remote.checkout(name, script), jobset);
        assert_eq!(found, *tier, "{name}: {notices}");
        match notice.is_empty() {
            true => assert_eq!(notices, "[]", "{name}"),
            false => assert!(notices.contains(notice), "{name}: {notices}"),
        }
    }
}

#[test]
fn in_a_work_tree_without_a_remote_only_what_was_committed_there_is_own() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let pull = "git init -q c; cd c; git fetch -q $URL refs/pull/7/head";
    let own = "git init -q c; cd c; git fetch -q $URL main; git checkout -q --orphan main; git checkout -q FETCH_HEAD -- .; git commit -q -m own";
    let told = |branch: &str| format!("git config levain.defaultBranch {branch}`");
    let (x, main) = (told("x"), told("main"));
    runs(
        &remote,
        &[
            ("only", &format!("{pull}; git checkout -q -b x FETCH_HEAD"), "heads/x", "off", &x),
            (
                "main",
                &format!("{pull}; git checkout -q -b main FETCH_HEAD"),
                "heads/main",
                "fork",
                &main,
            ),
            (
                "more",
                &format!(
                    "{pull}; git checkout -q -b x FETCH_HEAD; git commit -q --allow-empty -m x"
                ),
                "heads/x",
                "off",
                &x,
            ),
            (
                "said",
                &format!(
                    "{pull}; git checkout -q -b x FETCH_HEAD; git config levain.defaultBranch x"
                ),
                "heads/x",
                "default-branch",
                "",
            ),
            (
                "cloned",
                "git clone -q $URL c; git -C c remote remove origin",
                "heads/main",
                "fork",
                &main,
            ),
            ("own", own, "heads/main", "default-branch", ""),
            (
                "built-on",
                &format!(
                    "{own}; git clone -q . ../d; git -C ../d commit -q --allow-empty -m theirs; git fetch -q ../d"
                ),
                "heads/main",
                "default-branch",
                "",
            ),
            (
                "topic",
                &format!("{own}; git checkout -q -b t; git commit -q --allow-empty -m more"),
                "heads/t",
                "branch",
                "",
            ),
            (
                "beside",
                &format!(
                    "{own}; git fetch -q $URL refs/pull/7/head; git checkout -q -b x FETCH_HEAD"
                ),
                "heads/x",
                "fork",
                "counts as a fork's",
            ),
            // A remote that somebody added may be a contributor's.
            (
                "contributor",
                "git init -q c; cd c; git remote add alice $URL; git fetch -q alice; git checkout -q -b x alice/main",
                "heads/x",
                "off",
                "git config checkout.defaultRemote alice`",
            ),
            // What a user says of all repositories is not said of this one. Last, for it stays.
            (
                "global",
                &format!(
                    "{pull}; git checkout -q -b x FETCH_HEAD; git config --global levain.defaultBranch x; git config --global levain.ownBranches true"
                ),
                "heads/x",
                "off",
                &x,
            ),
        ],
    );
}

#[test]
fn a_repository_with_a_work_tree_is_no_authority() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let work = "git clone -q $URL w; git -C w fetch -q origin refs/pull/7/head:patch; git -C w checkout -q patch";
    let notice = "`origin` has a work tree";
    runs(
        &remote,
        &[
            ("path", &format!("{work}; git clone -q w c"), "heads/patch", "fork", notice),
            (
                "url",
                &format!("{work}; git clone -q file://$PWD/w c"),
                "heads/patch",
                "fork",
                notice,
            ),
            (
                "instead",
                &format!(
                    "{work}; git clone -q w c; cd c; git config url.$PWD/../w.insteadOf https://host.invalid/p; git remote set-url origin https://host.invalid/p"
                ),
                "heads/patch",
                "fork",
                notice,
            ),
            ("bare", &format!("{work}; git clone -q --bare w c"), "heads/patch", "fork", notice),
            (
                "said",
                &format!("{work}; git clone -q w c; git -C c config levain.defaultBranch patch"),
                "heads/patch",
                "default-branch",
                "",
            ),
        ],
    );
    // So it is with a mirror that levain makes of one.
    let checkout = remote.checkout("mirrored", &format!("{work}; mv w c"));
    let path = checkout.path.display().to_string();
    let report = environment.report(&environment.path("home"), &[&path]);
    assert_eq!(
        (&report["jobset"], &report["mode"]),
        (&"heads/patch".into(), &"incremental".into())
    );
    assert_eq!(report["shadow"]["pushed"], false, "{report:#}");
    let notices = report["notices"].to_string();
    assert!(notices.contains("`levain -C DIRECTORY run`"), "{notices}");
}

#[test]
fn a_bare_repository_is_one_that_people_push_to_or_none() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let fetched = "git init -q --bare c; git -C c fetch -q $URL main:main refs/pull/7/head:refs/heads/patch; git -C c symbolic-ref HEAD refs/heads/patch";
    let notice = "`git config levain.ownBranches true`";
    runs(
        &remote,
        &[
            (
                "pushed",
                "git init -q --bare c; git clone -q $URL w; git -C w push -q ../c origin/topic:refs/heads/topic; git -C c symbolic-ref HEAD refs/heads/topic",
                "heads/topic",
                "default-branch",
                "",
            ),
            ("fetched", fetched, "heads/patch", "fork", notice),
            (
                "linked",
                "git clone -q --bare $URL c; git -C c worktree add -q ../w main; git -C w fetch -q $URL refs/pull/7/head:patch; git -C c remote remove origin; git -C c symbolic-ref HEAD refs/heads/patch",
                "heads/patch",
                "fork",
                notice,
            ),
            (
                "said",
                &format!("{fetched}; git -C c config levain.ownBranches true"),
                "heads/patch",
                "default-branch",
                "",
            ),
            (
                "said-default",
                &format!("{fetched}; git -C c config levain.defaultBranch main"),
                "heads/patch",
                "fork",
                notice,
            ),
            (
                "cloned",
                &format!("{fetched}; mv c hub; git clone -q hub c"),
                "heads/patch",
                "fork",
                "commits of others were fetched into `origin`",
            ),
        ],
    );
}

#[test]
fn no_branch_becomes_the_default_branch_by_its_name() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "trunk");
    let before = remote.checkout("before", "git clone -q -b topic $URL c");
    remote.bare(&["symbolic-ref", "HEAD", "refs/heads/nothing"]);
    remote.push("evil\n", "refs/heads/main");
    let clone = "git clone -q -b main $URL c";
    let report = remote.checkout("unborn", clone).report(&[]);
    assert_eq!((&report["jobset"], &report["mode"]), (&"heads/main".into(), &"off".into()));
    let notices = report["notices"].to_string();
    assert!(notices.contains("`git config levain.defaultBranch NAME` names one"), "{notices}");
    runs(
        &remote,
        &[(
            "said",
            &format!("{clone}; git -C c config levain.defaultBranch trunk"),
            "heads/main",
            "branch",
            "",
        )],
    );
    // A clone knows what the remote said when it was made.
    assert_eq!(run(&before, "heads/topic"), ("branch".into(), "[]".into()));
    // Nor in a mirror, whose HEAD has to be somewhere.
    let (home, url) = (environment.path("home"), remote.url.clone());
    let report = environment.report(&home, &[&url, "--branch", "main"]);
    assert_eq!(report["mode"], "off", "{report:#}");
    environment.levain(&home, &["run", &url]).code(1).says("hint: name one with `--branch`");
    remote.bare(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let report = environment.report(&home, &[&url]);
    assert_eq!(
        (&report["jobset"], &report["mode"]),
        (&"heads/trunk".into(), &"incremental".into())
    );
    // It is asked, too, when somebody has moved HEAD to no branch.
    remote.bare(&["update-ref", "--no-deref", "HEAD", "refs/pull/7/head"]);
    assert_eq!(environment.report(&home, &[&url, "--branch", "main"])["mode"], "off");
}

#[test]
fn no_token_goes_where_commits_say_that_nobody_vouches_for() {
    let environment = Environment::new();
    let forge = Forge::new();
    let theirs =
        incremental(&environment, &format!("; {}", forge.declared("github", "octo/bread")));
    let path = theirs.path.display().to_string();
    let checkout = |name: &str, script: &str| -> Repository<'_> {
        let path = environment.path(name);
        std::fs::create_dir(&path).unwrap();
        let script = format!("set -eu; URL={}; {script}", theirs.path.display());
        environment.run("/bin/sh", &path, &["-c", &script]).ok();
        Repository { environment: &environment, path: path.join("c") }
    };
    let with_token = |place: &Repository<'_>, args: &[&str]| -> Value {
        let args: Vec<&str> = ["run", "--format", "json"].iter().chain(args).copied().collect();
        let ran: Ran = place.levain_with_token(&args);
        assert!(!ran.stdout.contains(SECRET));
        ran.ok().json()
    };
    let fetched = checkout(
        "fetched",
        "git init -q c; cd c; git fetch -q $URL main; git checkout -q -b main FETCH_HEAD",
    );
    let cloned = checkout("cloned", "git clone -q $URL c");
    for place in [&fetched, &cloned] {
        let report = with_token(place, &[]);
        assert!(report["notices"].to_string().contains("is not followed"), "{report:#}");
    }
    // Nor does a declaration elsewhere, which the operator names: nobody knows whose it is there.
    let own = environment.repository("own");
    own.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    own.commit("own");
    let place = fetched.path.display().to_string();
    let report = with_token(&own, &["--declaration", &place]);
    assert!(report["notices"].to_string().contains("is not followed"), "{report:#}");
    assert_eq!(forge.requests().len(), 0, "no token goes where a fork wants it");
    let report = with_token(&own, &["--declaration", &path]);
    assert_eq!(report["notices"], serde_json::json!([]));
    assert!(!forge.requests().is_empty(), "{report:#}");
    let before = forge.requests().len();
    fetched.git(&["config", "levain.defaultBranch", "main"]);
    with_token(&fetched, &[]);
    assert!(forge.requests().len() > before);
}

#[test]
fn a_relative_remote_is_found_from_everywhere() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let script = "git clone -q -b topic $URL c; git -C c remote set-url origin ../../remote.git";
    let checkout = remote.checkout("relative", script);
    let path = checkout.path.display().to_string();
    let args = ["-C", &path, "run", "--format", "json"];
    let report = environment.levain(&environment.path("home"), &args).ok().json();
    assert_eq!(report["notices"], serde_json::json!([]), "{report:#}");
    assert_eq!(checkout.entry("heads/topic", "app").tier, "branch");
}

/// Commands that ask nobody read the declaration wherever it is, and must leave no trace of having believed it.
#[test]
fn what_nobody_was_asked_about_is_not_remembered() {
    let environment = Environment::new();
    let remote = Remote::new(&environment, "main");
    let script = "git clone -q $URL c; cd c; git pull -q origin refs/pull/7/head";
    let checkout = remote.checkout("merged", script);
    checkout.levain(&["cache", "allow", "app"]).ok();
    let remembered = checkout.path.join(".git/levain/project/last-good-declaration.json");
    assert!(!remembered.exists(), "{}", std::fs::read_to_string(remembered).unwrap());
    checkout.levain(&["run"]).ok();
    let text = std::fs::read_to_string(remembered).unwrap();
    assert!(text.contains(&remote.bare(&["rev-parse", "main"])), "{text}");
}
