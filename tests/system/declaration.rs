//! The declaration: where it is read from, what is wrong with a wrong one, and
//! what its keys change. Keys that other modules are about are tested there.

use std::fs;

use serde_json::{Value, json};

use crate::bad_input::incremental;
use crate::environment::{BUILDER, Environment, Repository, flake};
use crate::jobs::{ended, job, simple};
use crate::status::{Forge, SECRET};

const APP: &str = "x86_64-linux.app";

/// Writes and commits a flake with this declaration.
fn declare(repository: &Repository<'_>, declaration: &str) {
    let outputs = format!("levainProject = {declaration}; levainJobs.good = job \"good\";");
    let text = simple(&outputs).replacen("let", "let levain = import ./lib;", 1);
    repository.write("flake.nix", &text);
    repository.commit(declaration);
}

/// Requires an error with these words, on every command that reads the declaration.
#[track_caller]
fn assert_wrong(repository: &Repository<'_>, words: &[&str]) {
    for args in [&["run"][..], &["why", "good"], &["cache", "list"]] {
        let ran = repository.levain(args).code(1);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
        words.iter().fold(ran, |ran, word| ran.says(word));
    }
}

#[test]
fn wrong_keys_and_types_are_named() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    for (declaration, words) in [
        ("{ incremantal.enable = true; }", ["incremantal", "unknown"]),
        ("{ incremental.enabled = true; }", ["incremental.enabled", "unknown"]),
        ("{ incremental.enable = \"yes\"; }", ["incremental.enable", "boolean"]),
        ("{ incremental.depthLimit = -1; }", ["incremental.depthLimit", "-1"]),
        ("{ incremental.branches = \"main\"; }", ["incremental.branches", "list"]),
        ("{ forge = { kind = \"sourcehut\"; }; }", ["forge.kind", "sourcehut"]),
        ("{ forge = { repository = \"o/r\"; }; }", ["forge", "kind"]),
        ("{ status.succes = \"x\"; }", ["status.succes", "unknown"]),
        ("7", ["levainProject", "found an integer"]),
    ] {
        declare(&repository, &format!("levain.mkProject ({declaration})"));
        assert_wrong(&repository, &words);
    }
    // The library only tells earlier. What stands in the flake without it is checked as well.
    for (declaration, words) in [
        ("{ incremantal.enable = true; }", ["`levainProject.incremantal`", "unknown field"]),
        ("{ incremental.enabled = true; }", ["`levainProject.incremental.enabled`", "unknown"]),
        ("{ incremental.enable = \"yes\"; }", ["`levainProject.incremental.enable`", "boolean"]),
        ("{ incremental.depthLimit = -1; }", ["`levainProject.incremental.depthLimit`", "-1"]),
        ("{ forge = { kind = \"sourcehut\"; }; }", ["`levainProject.forge.kind`", "sourcehut"]),
        ("{ shadow.ref = \"levain/{{jobset}}\"; }", ["`levainProject.shadow.ref`", "`refs/`"]),
        ("{ shadow.ref = \"refs/levain/x\"; }", ["`levainProject.shadow.ref`", "`{{jobset}}`"]),
        (
            "{ shadow.ref = \"refs/tags/{{branch}}\"; }",
            ["`levainProject.shadow.ref`", "`refs/tags/`"],
        ),
        (
            "{ shadow.ref = \"refs/heads/{{branch}}\"; }",
            ["`levainProject.shadow.ref`", "any branch"],
        ),
        ("{ files.pointer = \"../x\"; }", ["`levainProject.files", "../x"]),
        ("{ files.pointer = \"commit.txt\"; }", ["`levainProject.files", "commit.txt"]),
        ("{ incremental.cacheOutput = \"out\"; }", ["incremental.cacheOutput`", "`out`"]),
        ("7", ["the declaration is wrong at `levainProject`:", "invalid type: integer `7`"]),
        ("[ ]", ["`levainProject`", "expected an attribute set, found a list"]),
        (
            "{ d = (let d = n: if n == 0 then 1 else { a = d (n - 1); }; in d 200); }",
            ["`levainProject` is nested too deeply", "docs/declaration.md"],
        ),
        ("x: x", ["cannot read the declaration", "function"]),
    ] {
        declare(&repository, declaration);
        assert_wrong(&repository, &words);
    }
}

#[test]
fn wrong_templates_are_named_before_anything_is_built() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    for (declaration, words) in [
        ("{ status.failure = \"{{why}}\"; }", ["template `failure`", "variable `why`"]),
        ("{ status.context = \"ci\"; }", ["template `context`", "use `{{job}}` in it"]),
        ("{ status.pending = \"{{#if}\"; }", ["template `pending`", "hint: "]),
        ("{ shadow.ref = \"refs/levain/{{job}}\"; }", ["`shadow.ref`", "variable `job`"]),
        ("{ shadow.message = \"{{jobs}}\"; }", ["`shadow.message`", "variable `jobs`"]),
        ("{ forge.kind = \"gitea\"; }", ["forge", "`levainProject.forge.repository`"]),
    ] {
        declare(&repository, declaration);
        let ran = repository.levain(&["run"]).code(1).says("the declaration");
        assert_eq!(ran.stdout, "");
        words.iter().fold(ran, |ran, word| ran.says(word));
    }
    let mut names = fs::read_dir(environment.path("store")).unwrap();
    assert!(names.all(|name| !name.unwrap().file_name().to_string_lossy().ends_with("-good")));
}

#[test]
fn without_one_everything_is_built_and_nothing_kept() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    repository.commit("first");
    let report = repository.report(&[]);
    assert_eq!(report["mode"], "off");
    assert_eq!(report.get("shadow"), None);
    assert_eq!(ended(&report), [("good", "clean")].into());
    assert_eq!(repository.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
}

#[test]
fn another_flake_can_hold_it() {
    let environment = Environment::new();
    let declaring = environment.repository("settings");
    declare(&declaring, "{ incremental = { enable = true; defaultBranch = true; }; }");
    let repository = environment.repository("project");
    repository.write("flake.nix", &flake(&["app"], "{ enable = false; }"));
    repository.write("builder.sh", BUILDER);
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    let path = declaring.path.display().to_string();
    assert_eq!(repository.report(&[])["mode"], "off");
    assert_eq!(repository.report(&["--declaration", &path])["mode"], "incremental");
    let url = format!("file://{path}");
    assert_eq!(repository.report(&["--declaration", &url])["mode"], "incremental");
    repository.levain(&["why", APP, "--declaration", &path]).ok();

    // It is read from the default branch there, too, and every time anew.
    declaring.git(&["switch", "--quiet", "-c", "topic"]);
    declare(&declaring, "{ incremental.enable = 7; }");
    declaring.git(&["switch", "--quiet", "main"]);
    assert_eq!(repository.report(&["--declaration", &url])["mode"], "incremental");
    declare(&declaring, "{ incremental.enable = true; }");
    assert_eq!(repository.report(&["--declaration", &url])["mode"], "record");

    declaring.write("flake.nix", &simple(""));
    declaring.commit("nothing");
    for place in [&path, &url] {
        repository
            .levain(&["run", "--declaration", place])
            .code(1)
            .says(&format!("cannot read the declaration from `{place}`"))
            .says("it has no output `levainProject`")
            .says("hint: name a git repository");
    }
    let nowhere = environment.path("nowhere").display().to_string();
    repository.levain(&["run", "--declaration", &nowhere]).code(1).says(&nowhere).says("hint: ");
}

/// Makes a pull request number 1 with a declaration of its own.
fn pull_request(repository: &Repository<'_>, declaration: &str) -> String {
    repository.git(&["switch", "--quiet", "-c", "work"]);
    repository.write("flake.nix", &flake(&["app"], declaration));
    repository.write("src/a.txt", "of the pull request\n");
    let head = repository.commit("pull request");
    repository.git(&["update-ref", "refs/pull/1/head", &head]);
    repository.git(&["switch", "--quiet", "main"]);
    repository.git(&["branch", "--quiet", "-D", "work"]);
    repository.git(&["remote", "add", "origin", "."]);
    head
}

#[test]
fn a_pull_request_cannot_change_it() {
    let environment = Environment::new();
    let (ours, theirs) = (Forge::new(), Forge::new());
    let declared = |forge: &Forge| format!("; {}", forge.declared("github", "octo/bread"));
    let repository = incremental(&environment, &declared(&ours));
    repository.levain_with_token(&["run"]).ok();
    let count = ours.requests().len();
    let more = "; shadow.ref = \"refs/heads/evil/{{jobset}}\"; evaluation.allowImportFromDerivation = true";
    let settings = format!("{{ enable = false; }}{}{more}", declared(&theirs));
    let head = pull_request(&repository, &settings);

    let args = ["run", "--pull-request", "1", "--format", "json"];
    let report = repository.levain_with_token(&args).ok().json();
    assert_eq!(report["originalCommit"], head.as_str());
    assert_eq!(report["mode"], "incremental");
    assert_eq!(report["shadow"]["ref"], "refs/levain/pull/1");
    // From a fork, as far as anyone can tell: its shadow branch stays here.
    assert_eq!(report["shadow"]["pushed"], false);
    assert_eq!(ended(&report), [(APP, "incremental")].into(), "{report:#}");
    assert!(ours.requests().len() > count);
    assert_eq!(theirs.requests().len(), 0, "no token goes where a pull request wants it");

    // Nor can a branch, before it is the default one.
    repository.git(&["branch", "--quiet", "topic", &head]);
    let args = ["run", "--branch", "topic", "--format", "json"];
    assert_eq!(repository.levain_with_token(&args).ok().json()["mode"], "incremental");
    assert_eq!(theirs.requests().len(), 0);
}

#[test]
fn where_builds_are_incremental() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    repository.report(&[]);
    let settings =
        "{ enable = true; pullRequests = false; branches = [ \"release-*\" \"next\" ]; }";
    pull_request(&repository, "{ }");
    for branch in ["release-1", "next", "nextish"] {
        repository.git(&["branch", "--quiet", branch]);
    }
    repository.write("flake.nix", &flake(&["app"], settings));
    repository.commit("policy");
    let mode = |args: &[&str]| repository.report(args)["mode"].clone();
    assert_eq!(mode(&[]), "record");
    assert_eq!(mode(&["--branch", "release-1"]), "incremental");
    assert_eq!(mode(&["--branch", "next"]), "incremental");
    assert_eq!(mode(&["--branch", "nextish"]), "record");
    assert_eq!(mode(&["--pull-request", "1"]), "record");
}

#[test]
fn the_cache_output_has_the_name_that_the_project_gives_it() {
    let environment = Environment::new();
    let repository = incremental(&environment, "");
    let names = |name: &str, setting: &str| {
        let settings = format!("{{ enable = true; defaultBranch = true; {setting} }}");
        let text = flake(&["app"], &settings).replace("\"cache\"", &format!("\"{name}\""));
        repository.write("flake.nix", &text);
        repository.write("builder.sh", &BUILDER.replace("$cache", &format!("${name}")));
    };
    let edit = |text: &str| {
        repository.write("src/a.txt", text);
        repository.commit(text);
        repository.report(&[])
    };
    names("kept", "cacheOutput = \"kept\";");
    assert_eq!(ended(&edit("one\n")), [(APP, "clean")].into());
    let report = edit("two\n");
    assert_eq!(ended(&report), [(APP, "incremental")].into(), "{report:#}");
    let path = job(&report, APP)["pointer"]["path"].as_str().unwrap();
    assert!(path.ends_with("-app-kept"), "{path}");

    // The name that others use for it is understood without a word.
    names("intermediates", "");
    assert_eq!(ended(&edit("three\n")), [(APP, "clean")].into());
    assert_eq!(ended(&edit("four\n")), [(APP, "incremental")].into());

    names("other", "");
    let report = edit("five\n");
    // A job without a cache output is silent about caches.
    assert_eq!(ended(&report), [(APP, "clean")].into());
    assert_eq!(job(&report, APP)["reason"], Value::Null);
}

#[test]
fn shadow_branches_can_be_kept_here() {
    let environment = Environment::new();
    let repository = incremental(&environment, "; shadow.push = false");
    let origin = environment.path("origin.git").display().to_string();
    repository.git(&["init", "--quiet", "--bare", &origin]);
    repository.git(&["remote", "add", "origin", &origin]);
    let report = repository.report(&[]);
    assert_eq!(report["shadow"]["pushed"], false);
    assert_eq!(report["undelivered"], json!([]));
    assert!(repository.reference("refs/levain/heads/main").is_some());
    assert_eq!(repository.git(&["ls-remote", "origin"]), "");
}

#[test]
fn what_the_remote_tells_of_the_forge_need_not_be_declared() {
    let environment = Environment::new().with("LEVAIN_TOKEN", SECRET);
    let forge = Forge::new();
    let repository = environment.repository("project");
    declare(&repository, "{ forge.kind = \"gitea\"; }");
    let url = format!("{}/octo/bread.git", forge.url());
    repository.git(&["remote", "add", "origin", &url]);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    repository.levain(&["run"]).ok();
    let mut requests = forge.requests();
    // Git asks the same address for its branches.
    requests.retain(|request| request.method.as_str() == "POST");
    assert!(!requests.is_empty());
    for request in requests {
        let expected = format!("/api/v1/repos/octo/bread/statuses/{commit}");
        assert_eq!(request.url.path(), expected);
    }
}

#[test]
fn the_example_in_the_library_is_a_declaration() {
    // Nobody is asked for that repository's branches.
    let environment = Environment::new().with("https_proxy", "http://127.0.0.1:1");
    let repository = environment.repository("project");
    let library = fs::read_to_string(repository.path.join("lib/mkProject.nix")).unwrap();
    let (_, example) = library.split_once("levain.lib.mkProject").unwrap();
    let (example, _) = example.split_once("};").unwrap();
    declare(&repository, &format!("levain.mkProject {example}}}"));
    repository.git(&["remote", "add", "origin", "https://github.com/octo/bread.git"]);
    let why: Value = repository.levain(&["why", "good", "--format", "json"]).ok().json();
    assert_eq!(why["wouldBuild"], true, "{why:#}");
}

/// A default branch that nobody can evaluate must not stop the branch that mends it.
#[test]
fn a_broken_default_branch_stops_nobody_else() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    declare(&repository, "{ incremental.enable = true; shadow.ref = \"refs/mine/{{jobset}}\"; }");
    let good = repository.commit("good");
    repository.levain(&["run"]).ok();
    repository.git(&["branch", "topic"]);
    let text = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    for (broken, words) in [
        ("{ outputs = ".to_owned(), "syntax error"),
        (text.replace("incremental.enable", "incremental.enabel"), "incremental.enabel"),
        (
            text.replace("{ incremental.enable", "throw \"no flour\" { incremental.enable"),
            "no flour",
        ),
    ] {
        repository.git(&["checkout", "-q", "main"]);
        repository.write("flake.nix", &broken);
        repository.commit("broken");
        // The broken commit itself is told so, and what is about the project as a whole.
        repository.levain(&["run"]).code(1).says(words);
        repository.levain(&["cache", "list"]).code(1).says(words);
        // The branch that mends it is built, with what was declared last.
        repository.git(&["checkout", "-q", "topic"]);
        repository.write("mended", words);
        repository.commit("mended");
        let report = repository.report(&[]);
        assert_eq!(ended(&report)["good"], "fresh");
        let notices = report["notices"].to_string();
        for part in [words, "cannot be read", &good[..12]] {
            assert!(notices.contains(part), "{part}: {notices}");
        }
        assert!(repository.reference("refs/mine/heads/topic").is_some());
    }
}

/// Where nothing is remembered, history is looked through; what never could be read is no obstacle.
#[test]
fn a_new_clone_of_a_broken_default_branch_builds_others() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", "{ outputs = ");
    repository.commit("never was a good one");
    repository.git(&["checkout", "-q", "-b", "mended"]);
    repository.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    repository.commit("mended");
    let report = repository.report(&[]);
    assert_eq!(ended(&report)["good"], "clean");
    let notices = report["notices"].to_string();
    assert!(notices.contains("no earlier one can be read either"), "{notices}");
}

/// What could be read but not used is no declaration to fall back on, and its error is nobody else's.
#[test]
fn a_wrong_declaration_is_not_told_as_an_older_ones_error() {
    let environment = Environment::new();
    for older in [
        "{ forge.kind = \"gitea\"; }",
        "{ incremental.enable = true; shadow.ref = \"refs/levain/{{job}}\"; }",
        "{ incremental.enable = true; shadow.ref = \"refs/heads/{{branch}}\"; }",
    ] {
        let repository = environment.repository("project");
        declare(&repository, "{ incremental.enable = true; }");
        repository.levain(&["run"]).ok();
        declare(&repository, older);
        repository.levain(&["run"]).code(1);
        repository.git(&["branch", "topic"]);
        declare(&repository, "{ statuses = { }; }");
        repository.levain(&["run"]).code(1).says("`levainProject.statuses`");
        repository.git(&["checkout", "-q", "topic"]);
        repository.write("other", "");
        repository.commit("other");
        let report = repository.report(&[]);
        assert_eq!(report["mode"], "incremental", "{older}: {report:#}");
        std::fs::remove_dir_all(&repository.path).unwrap();
    }
}
