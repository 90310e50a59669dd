//! Shadow refs that others write: only what a trusted levain signed is used, wherever it stands.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::environment::{Environment, PUBLIC_KEY, Repository, SIGNING_KEY};
use crate::shadow::{EVERYWHERE, History, attr_path, job};

const BRANCH: &str = "heads/main";

fn edit(repository: &Repository<'_>, text: &str) -> Value {
    repository.write("src/app/main.txt", text);
    repository.commit("edit");
    repository.report(&[])
}

fn outcome(report: &Value) -> String {
    let app = job(report, "app");
    let reason = app["reason"].as_str().unwrap_or("-");
    format!("{} {reason}", app["status"].as_str().unwrap())
}

fn detail(report: &Value) -> String {
    job(report, "app")["reasonDetail"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_directory_that_no_build_made_is_no_cache() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    let remote = environment.remote_of(&repository, "remote.git");
    repository.report(&[]);
    let good = remote.entry(BRANCH, "app");
    repository.write("evil/note", "evil\n");
    let add = ["--add-fixed", "sha256", "--recursive", "evil"];
    let evil = environment.run("nix-store", &repository.path, &add).ok().stdout.trim().to_owned();
    let hash = environment.nar_hash(&evil);
    // Signed for another path, signed with a key of their own, not signed; in the name of later.
    let signed = remote.pointer_text(BRANCH).unwrap();
    let signed = signed.replace(&good.path, &evil).replace(&good.nar_hash, &hash);
    let unsigned = signed
        .lines()
        .filter(|line| {
            !["signature", "job", "jobset"]
                .iter()
                .any(|name| line.trim_start().starts_with(&format!("{name} = ")))
        })
        .collect::<Vec<_>>()
        .join("\n");
    let other = signed.replace(good.signature.split(':').next().unwrap(), "somebody");
    for (number, text) in [signed, unsigned, other].into_iter().enumerate() {
        let text = text.replace(&good.time.to_string(), "9000000000");
        remote.edit_pointer(BRANCH, &text, History::Replaced);
        let local = repository.reference("refs/levain/heads/main").unwrap();
        let report = edit(&repository, &format!("edit {number}\n"));
        // What this levain recorded itself is still here.
        assert_eq!(outcome(&report), "incremental -", "{report:#}");
        assert_ne!(job(&report, "app")["caches"][0]["path"], evil.as_str());
        assert_ne!(repository.reference("refs/levain/heads/main").unwrap(), local);
        assert_ne!(remote.entry(BRANCH, "app").path, evil, "the next push replaces it");
    }
    // Where there is nothing of one's own, the build is clean, and says what to do.
    let text = remote.pointer_text(BRANCH).unwrap();
    let entry = remote.entry(BRANCH, "app");
    let text = text.replace(&entry.path, &evil).replace(&entry.nar_hash, &hash);
    remote.edit_pointer(BRANCH, &text, History::Replaced);
    let clone = environment.clone_of(&remote, "clone");
    let report = edit(&clone, "from a clone\n");
    assert_eq!(outcome(&report), "clean untrusted", "{report:#}");
    assert!(detail(&report).contains("levainProject.incremental.trustedKeys"), "{report:#}");
}

#[test]
fn a_shadow_commit_of_other_sources_is_never_evaluated() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    repository.report(&[]);
    repository.write("src/app/main.txt", "edit\n");
    repository.commit("edit");
    // What the next run will write is known beforehand, but for the sources.
    let before = repository.reference("refs/levain/heads/main").unwrap();
    let expected = repository.report(&[]);
    assert_eq!(outcome(&expected), "incremental -", "{expected:#}");
    let evaluated = expected["shadow"]["evaluated"].as_str().unwrap().to_owned();
    let drv = job(&expected, "app")["builtDrvPath"].clone();
    repository.git(&["update-ref", "refs/levain/heads/main", &evaluated]);
    repository.git(&["checkout", "--quiet", "--detach", &evaluated]);
    repository.write("src/app/main.txt", "evil\n");
    repository.git(&["add", "--all"]);
    let tree = repository.git(&["write-tree"]);
    let parents = ["-p", &before, "-p", &repository.git(&["rev-parse", "main"])].map(String::from);
    let mut args = vec!["commit-tree", "-m", "forged"];
    args.extend(parents.iter().map(String::as_str));
    args.push(&tree);
    let forged = repository.git(&args);
    repository.git(&["update-ref", "refs/levain/heads/main", &forged]);
    repository.git(&["checkout", "--quiet", "--force", "main"]);
    std::fs::remove_dir_all(repository.path.join(".git/levain/successes")).unwrap();
    let outputs: Vec<&str> = job(&expected, "app")["outputs"]
        .as_object()
        .unwrap()
        .values()
        .map(|it| it.as_str().unwrap())
        .collect();
    let _ran =
        environment.run("nix-store", &repository.path, &[&["--delete"], &outputs[..]].concat());
    let report = repository.report(&[]);
    assert_ne!(report["shadow"]["evaluated"], forged.as_str(), "{report:#}");
    assert_eq!(job(&report, "app")["builtDrvPath"], drv, "{report:#}");
}

#[test]
fn a_colleagues_caches_are_used_once_the_project_says_so() {
    let environment = Environment::new();
    let first = environment.project("first", &["app"], EVERYWHERE);
    first.commit("first");
    let remote = environment.remote_of(&first, "remote.git");
    first.report(&[]);
    let key = first.levain(&["cache", "key"]).ok().stdout.trim().to_owned();
    let mode = std::fs::metadata(first.path.join(".git/levain/signing-key")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let second = environment.clone_of(&remote, "second");
    let report = edit(&second, "second\n");
    assert_eq!(outcome(&report), "clean untrusted", "{report:#}");
    let name = key.split(':').next().unwrap();
    assert!(detail(&report).contains(&format!("signed by `{name}`")), "{report:#}");
    // A pull request cannot say so: only the default branch is asked.
    let trusting = format!(
        "{{ enable = true; defaultBranch = true; trustedKeys = [ \"{key}\" \"{PUBLIC_KEY}\" ]; }}"
    );
    let third = environment.clone_of(&remote, "third");
    third.git(&["checkout", "--quiet", "-b", "topic"]);
    third.write("flake.nix", &crate::shadow::parts(&["app"], &trusting));
    assert_eq!(outcome(&edit(&third, "third\n")), "clean untrusted");
    third.git(&["push", "--quiet", "origin", "topic:main"]);
    let fourth = environment.clone_of(&remote, "fourth");
    let report = edit(&fourth, "fourth\n");
    assert_eq!(outcome(&report), "incremental -", "{report:#}");
    // Its own key is not among those that the project trusts: nobody would use what it pushes.
    assert_eq!(report["shadow"]["pushed"], false, "{report:#}");
    let notice = report["notices"][0].as_str().unwrap();
    assert!(notice.contains("incremental.trustedKeys"), "{notice}");
    // An operator's key serves checkouts that begin with nothing.
    let fifth = environment.clone_of(&remote, "fifth");
    let path = environment.path("secret");
    std::fs::write(&path, format!("{SIGNING_KEY}\n")).unwrap();
    let file = path.to_str().unwrap();
    let key = fifth.levain(&["cache", "key", "--signing-key-file", file]).ok().stdout;
    assert_eq!(key.trim(), PUBLIC_KEY);
    fifth.write("src/app/main.txt", "fifth\n");
    fifth.commit("fifth");
    let report = fifth.report(&["--signing-key-file", file]);
    assert_eq!(outcome(&report), "incremental -", "{report:#}");
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert!(!fifth.path.join(".git/levain/signing-key").exists());
    let signature = remote.entry(BRANCH, "app").signature;
    assert!(signature.starts_with("tests.example.org-1:"), "{signature}");
    let report = edit(&fourth, "fourth again\n");
    assert_eq!(outcome(&report), "incremental -", "{report:#}");
}

#[test]
fn a_signed_entry_counts_for_its_own_project_only() {
    let environment = Environment::new().with_one_signing_key();
    let [mine, other] = ["mine", "other"].map(|name| {
        let repository = environment.project(name, &["app"], EVERYWHERE);
        repository.commit("first");
        let remote = environment.remote_of(&repository, &format!("{name}.git"));
        repository.report(&[]);
        (repository, remote)
    });
    // The same job with the same key: but another project's developers decide what its cache says.
    assert_eq!(mine.1.entry(BRANCH, "app").key, other.1.entry(BRANCH, "app").key);
    let text = other.1.pointer_text(BRANCH).unwrap();
    mine.1.edit_pointer(BRANCH, &text, History::Replaced);
    let clone = environment.clone_of(&mine.1, "clone");
    let report = edit(&clone, "edit\n");
    assert_eq!(outcome(&report), "clean untrusted", "{report:#}");
    assert!(detail(&report).contains("made for another project"), "{report:#}");
}

#[test]
fn a_pull_requests_entry_is_no_branchs() {
    let environment = Environment::new().with_one_signing_key();
    let author = environment.project("author", &["app"], EVERYWHERE);
    author.commit("first");
    let _remote = environment.remote_of(&author, "remote.git");
    author.git(&["checkout", "--quiet", "--detach"]);
    author.write("src/app/main.txt", "from a fork\n");
    author.commit("a pull request");
    author.git(&["push", "--quiet", "origin", "HEAD:refs/pull/7/head"]);
    author.git(&["checkout", "--quiet", "main"]);
    let report = author.report(&["--pull-request", "7"]);
    assert_eq!(outcome(&report), "clean first-build", "{report:#}");
    // A genuine entry in another place, as its maker's or as main's.
    let genuine = author.pointer_text("pull/7").unwrap();
    assert!(genuine.contains("tier = \"fork\";"), "{genuine}");
    author.git(&["update-ref", "refs/levain/heads/main", "refs/levain/pull/7"]);
    author.edit_pointer(BRANCH, &genuine, History::Replaced);
    let main = |text: &str| {
        author.write("src/app/main.txt", text);
        author.commit("edit");
        author.report(&["--no-push"])
    };
    assert_eq!(outcome(&main("main\n")), "clean untrusted");
    author.edit_pointer(
        BRANCH,
        &genuine.replace("\"fork\"", "\"default-branch\"").replace("pull/7", "heads/main"),
        History::Replaced,
    );
    let report = main("main again\n");
    assert_eq!(outcome(&report), "clean untrusted", "{report:#}");
    assert!(author.entries(BRANCH).contains_key(&attr_path("app")));
}

#[test]
fn an_evaluation_cannot_read_the_key() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    repository.report(&[]);
    // By its hash, pure evaluation reads any file that it can see.
    let read = |file: &str| {
        let path = repository.path.join(file).display().to_string();
        let hash = environment.run("nix", &repository.path, &["hash", "file", &path]).ok().stdout;
        let hash = hash.trim();
        let leak = format!(
            "levain.source (builtins.readFile (builtins.fetchurl {{ url = \"file://{path}\"; sha256 = \"{hash}\"; }}))"
        );
        let flake = crate::shadow::parts(&["app"], EVERYWHERE);
        let source = "src = levain.source (./src + \"/${name}\");";
        assert!(flake.contains(source), "{flake}");
        let leak = leak.replace("levain.source ", "");
        repository.write("flake.nix", &flake.replace(source, &format!("src = {leak};")));
        repository.commit(file);
        outcome(&repository.report(&[]))
    };
    assert_eq!(read("/etc/passwd"), "clean key-changed");
    assert_eq!(read(".git/levain/signing-key"), "error -");
}

#[test]
fn a_key_that_is_none_ends_the_command() {
    let environment = Environment::new().with("LEVAIN_SIGNING_KEY", "secret-text");
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    let ran = repository.levain(&["run"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("NAME:BASE64"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("secret-text"), "{}", ran.stderr);
    let environment = Environment::new().with("LEVAIN_SIGNING_KEY", "");
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    assert_eq!(outcome(&repository.report(&[])), "clean first-build");
}
