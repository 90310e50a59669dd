//! Audits: a lying cache is caught, a job that is not deterministic is told from it.

use crate::environment::{BUILDER, Environment, Repository, flake};
use crate::shadow::Started;

const ON: &str = "{ enable = true; defaultBranch = true; }";

/// A builder that, given a cache, never looks at the source again.
const LIAR: &str = r#"
export PATH=/usr/bin:/bin
mkdir "$cache" "$out"
if [ -n "$previous" ]; then
  cp "$previous"/*.txt "$cache"
else
  cp "$src"/*.txt "$cache"
fi
cp "$cache"/*.txt "$out"
exit 0
"#;

/// A builder whose output holds the time, whatever the cache.
const CLOCK: &str = r#"
export PATH=/usr/bin:/bin
mkdir "$cache" "$out"
cp "$src"/*.txt "$out"
date +%N > "$out/now"
exit 0
"#;

fn built_twice<'a>(
    environment: &'a Environment,
    builder: &str,
    incremental: &str,
) -> Repository<'a> {
    let repository = environment.repository("project");
    repository.write("flake.nix", &flake(&["app"], incremental));
    repository.write("builder.sh", builder);
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    repository.levain(&["run"]).ok();
    repository.write("src/a.txt", "A\n");
    repository.commit("second");
    repository
}

#[test]
fn an_honest_cache_passes() {
    let environment = Environment::new();
    let repository = built_twice(&environment, BUILDER, ON);
    repository.levain(&["run"]).ok();
    let audited = repository.levain(&["audit", "--format", "json"]).ok().json();
    assert_eq!(audited[0]["verdict"], "same", "{audited:#}");
    assert_eq!(repository.levain(&["cache", "list", "--format", "json"]).json()[0]["depth"], 1);
}

#[test]
fn an_audit_that_was_stopped_has_not_passed() {
    let environment = Environment::new();
    let gate = environment.path("gate");
    let wait = format!(
        "if [ -z \"$previous\" ] && grep -q A \"$src/a.txt\"; then\n  \
         until [ -e {} ]; do sleep 0.1; done\nfi\nmkdir \"$cache\"",
        gate.display()
    );
    let builder = BUILDER.replace("mkdir \"$cache\"", &wait);
    let every = "{ enable = true; defaultBranch = true; audit.every = 1; }";
    let repository = built_twice(&environment, &builder, every);
    let stop = |args: &[&str]| {
        let mut started = Started::levain(&environment, &repository.path, args);
        started.wait_for("auditing");
        let kill = format!("kill -TERM {}", started.child.id());
        let _sent = environment.run("sh", &repository.path, &["-c", &kill]).ok();
        started.end().code(130)
    };
    let report = stop(&["run", "--format", "json"]).json();
    assert_eq!(report["jobs"][0]["audit"], "unfinished", "{report:#}");
    let notices = report["notices"].to_string();
    assert!(notices.contains("x86_64-linux.app: audit: the clean build could not be done: "));
    assert!(notices.contains("; the next run audits it"), "{notices}");
    let ran = stop(&["audit"]);
    assert!(ran.stdout.contains("x86_64-linux.app: the clean build could not be done"), "{ran:?}");

    std::fs::write(&gate, "").unwrap();
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["status"], "fresh", "{report:#}");
    assert_eq!(report["jobs"][0]["audit"], "same", "{report:#}");
    let report = repository.report(&[]);
    assert!(report["jobs"][0]["audit"].is_null(), "{report:#}");
}

#[test]
fn a_pull_request_whose_cache_lies_costs_nobody_else_theirs() {
    let environment = Environment::new();
    let liar = format!("if [ ! -e \"$src/lie\" ]; then\n{BUILDER}\nfi\n{LIAR}");
    let every = "{ enable = true; defaultBranch = true; audit.every = 1; }";
    let repository = built_twice(&environment, &liar, every);
    repository.levain(&["run"]).ok();
    repository.git(&["checkout", "--quiet", "-b", "fork"]);
    repository.write("src/lie", "");
    repository.write("src/a.txt", "what is not seen\n");
    repository.commit("a lie");
    let _remote = environment.remote_of(&repository, "remote.git");
    repository.git(&["push", "--quiet", "origin", "main", "HEAD:refs/pull/7/head"]);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["branch", "--quiet", "-D", "fork"]);
    let of_fork = ["run", "--pull-request", "7", "--format", "json"];
    let report = repository.levain(&of_fork).json();
    assert_eq!(report["jobs"][0]["audit"], "lied", "{report:#}");

    repository.write("src/a.txt", "third\n");
    repository.commit("third");
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["status"], "incremental", "{report:#}");
    assert_eq!(report["jobs"][0]["audit"], "same", "{report:#}");
}

#[test]
fn a_lying_cache_is_dropped_and_stays_off_until_allowed() {
    let environment = Environment::new();
    let repository = built_twice(&environment, LIAR, ON);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");

    let ran = repository.levain(&["audit", "x86_64-linux.app"]).code(1);
    assert_eq!(
        ran.stdout,
        "x86_64-linux.app: the cache lied\n  a.txt of output `out`: different content\n  \
         its caches are dropped; it builds clean until `levain cache allow`\n"
    );
    assert_eq!(repository.levain(&["cache", "list"]).ok().stdout, "no caches are recorded\n");

    // What the clean build of the audit gave counts from now on.
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["status"], "fresh", "{report:#}");
    let out = report["jobs"][0]["outputs"]["out"].as_str();
    repository.write("src/a.txt", "x\n");
    repository.commit("third");
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["status"], "clean", "{report:#}");
    assert_eq!(report["jobs"][0]["reason"], "disabled");
    assert_ne!(report["jobs"][0]["outputs"]["out"].as_str(), out);

    repository.levain(&["cache", "allow", "x86_64-linux.app"]).ok();
    repository.write("src/a.txt", "y\n");
    repository.commit("fourth");
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["status"], "incremental", "{report:#}");
}

#[test]
fn the_policy_audits_within_a_run_and_keeps_the_clean_result() {
    let environment = Environment::new();
    let on = "{ enable = true; defaultBranch = true; audit.every = 1; }";
    let repository = built_twice(&environment, LIAR, on);
    let ran = repository.levain(&["run", "--format", "json"]).code(5);
    let report = ran.json();
    let job = &report["jobs"][0];
    assert_eq!(job["status"], "clean", "{report:#}");
    assert_eq!(job["audit"], "lied");
    assert_eq!(job["builtDrvPath"], job["baseDrvPath"]);
    assert_eq!(report["undelivered"].as_array().unwrap().len(), 0);
    assert_eq!(report["lies"][0]["job"], "x86_64-linux.app");
    assert_eq!(report["lies"][0]["verdict"], "lied");
    assert_eq!(
        report["lies"][0]["detail"],
        "audit: the cache lied; `a.txt` of `out`: different content"
    );
    let out = std::path::Path::new(job["outputs"]["out"].as_str().unwrap()).join("a.txt");
    assert_eq!(std::fs::read_to_string(out).unwrap(), "A\n");
    assert_eq!(repository.levain(&["cache", "list"]).ok().stdout, "no caches are recorded\n");
}

#[test]
fn what_a_log_says_of_itself_spares_no_audit() {
    let environment = Environment::new();
    let on = "{ enable = true; defaultBranch = true; audit.every = 1; }";
    let claim = "echo 'levain-cache: not restored x: not at all; clean build; 0.00 s'";
    let builder = LIAR.replace("exit 0", &format!("{claim}\nexit 0"));
    let repository = built_twice(&environment, &builder, on);
    let ran = repository.levain(&["run"]).code(5);
    assert!(
        ran.stdout.contains("\nx86_64-linux.app: audit: the cache lied; `a.txt` of `out`: "),
        "{ran:?}"
    );
}

#[test]
fn a_build_that_is_not_deterministic_is_no_lie() {
    let environment = Environment::new();
    // Without the cache among its inputs the build would not be incremental.
    let builder = format!("# $previous\n{CLOCK}");
    let repository = built_twice(&environment, &builder, ON);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    let audited = repository.levain(&["audit", "--format", "json"]).ok().json();
    assert_eq!(audited[0]["verdict"], "not-deterministic", "{audited:#}");
    assert_eq!(audited[0]["files"][0]["path"], "now");
    assert_eq!(audited[0]["files"][0]["alsoInClean"], true);
}

/// Keeps a text with its own path, cut into pieces as a compiler does, beside something that differs
/// between any two builds.
const OWN_PATH: &str = r#"
export PATH=/usr/bin:/bin
mkdir "$cache" "$out"
if [ -n "$previous" ] && STALE; then
  cp "$previous/code" "$cache/code"
else
  echo "$out/share" | fold -w 8 | sed 's/^/movabs /' > "$cache/code"
fi
cp "$cache/code" "$out/code"
cp "$cache/code" "$out/with-id"
chmod u+w "$out/with-id"
CLOCK
cat "$src"/*.txt > "$out/sources"
exit 0
"#;

#[test]
fn an_own_path_in_pieces_is_no_difference_and_another_builds_path_is_a_lie() {
    let id = "date +%N | sha256sum >> \"$out/with-id\"";
    for (stale, clock, verdict, path) in [
        ("false", ":", "same", None),
        ("false", id, "not-deterministic", Some("with-id")),
        ("true", ":", "lied", Some("code")),
        ("true", id, "lied", Some("with-id")),
    ] {
        let environment = Environment::new();
        let builder = OWN_PATH.replace("STALE", stale).replace("CLOCK", clock);
        let repository = built_twice(&environment, &builder, ON);
        let report = repository.report(&[]);
        assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
        let code = i32::from(verdict == "lied");
        let audited = repository.levain(&["audit", "--format", "json"]).code(code).json();
        assert_eq!(audited[0]["verdict"], verdict, "{stale} {clock}: {audited:#}");
        if let Some(path) = path {
            let files = audited[0]["files"].as_array().unwrap();
            let file = files.iter().find(|file| file["path"] == path).unwrap();
            assert_eq!(file["alsoInClean"], verdict == "not-deterministic", "{audited:#}");
            let names_another = "names the output of another build";
            assert_eq!(file["difference"] == names_another, verdict == "lied", "{audited:#}");
        }
    }
}

#[test]
fn a_job_built_clean_has_nothing_to_audit() {
    let environment = Environment::new();
    let repository = built_twice(&environment, BUILDER, "{ enable = true; }");
    repository.levain(&["run"]).ok();
    let ran = repository.levain(&["audit"]).ok();
    assert_eq!(ran.stdout, "no job of this commit was built from a cache\n");
    let ran = repository.levain(&["audit", "x86_64-linux.app"]).ok();
    assert_eq!(ran.stdout, "x86_64-linux.app: was not built from a cache\n");
    repository
        .levain(&["audit", "x86_64-linux.ap"])
        .code(1)
        .says("did you mean `x86_64-linux.app`?");
}

#[test]
fn a_cache_that_is_never_the_same_twice_hides_no_lie() {
    let environment = Environment::new();
    // As the caches of `levain-cache` are, which hold times.
    let builder = LIAR.replace("exit 0", "date +%N > \"$cache/stamp\"\nexit 0");
    let repository = built_twice(&environment, &builder, ON);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    let audited = repository.levain(&["audit", "--format", "json"]).code(1).json();
    assert_eq!(audited[0]["verdict"], "lied", "{audited:#}");
    assert_eq!(audited[0]["files"][0]["path"], "a.txt");
    assert_eq!(audited[0]["files"][0]["alsoInClean"], false);
}

#[test]
fn a_clean_build_that_fails_by_chance_is_no_lie() {
    let environment = Environment::new();
    let flag = environment.path("fails-once");
    let builder = BUILDER.replace(
        "mkdir \"$cache\"",
        &format!(
            "if [ -z \"$previous\" ] && [ -e {flag} ]; then rm {flag}; exit 1; fi\nmkdir \"$cache\"",
            flag = flag.display()
        ),
    );
    let repository = built_twice(&environment, &builder, ON);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    std::fs::write(&flag, "").unwrap();
    let audited = repository.levain(&["audit", "--format", "json"]).ok().json();
    assert_eq!(audited[0]["verdict"], "same", "{audited:#}");
    assert!(!flag.exists());
}

#[test]
fn a_clean_build_that_always_fails_is_a_lie() {
    let environment = Environment::new();
    let builder = BUILDER.replace(
        "mkdir \"$cache\"",
        "if [ -z \"$previous\" ] && grep -q A \"$src/a.txt\"; then exit 1; fi\nmkdir \"$cache\"",
    );
    let repository = built_twice(&environment, &builder, ON);
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    let audited = repository.levain(&["audit", "--format", "json"]).code(1).json();
    assert_eq!(audited[0]["verdict"], "clean-fails", "{audited:#}");
}

#[test]
fn a_cache_that_users_get_is_not_used() {
    // Without a cache, and with one: the cache output, or the cache that was given.
    let real = "cat \"$src\"/*.txt > \"$out\"";
    let own = "echo evil > \"$cache/evil\"; ln -s \"$cache/evil\" \"$out\"";
    let given = "ln -s \"$previous/a.txt\" \"$out\"";
    for (clean, incremental, detail) in [
        (real, own, "output `out` refers to the cache output; it is built clean"),
        (
            real,
            given,
            "output `out` refers to the cache that the build started from; it is built clean",
        ),
        (
            "cp \"$src\"/*.txt \"$cache\"; ln -s \"$cache/a.txt\" \"$out\"",
            own,
            "output `out` refers to the cache output; no cache is kept",
        ),
    ] {
        let environment = Environment::new();
        let builder = format!(
            "export PATH=/usr/bin:/bin\nmkdir \"$cache\"\necho a > \"$cache/a.txt\"\n\
             if [ -n \"$previous\" ]; then {incremental}; else {clean}; fi\nexit 0\n"
        );
        let repository = built_twice(&environment, &builder, ON);
        let report = repository.report(&[]);
        let job = &report["jobs"][0];
        assert_eq!((&job["status"], &job["reason"]), (&"clean".into(), &"cache-in-output".into()));
        assert_eq!(job["reasonDetail"], detail, "{report:#}");
        assert_eq!(job["builtDrvPath"], job["baseDrvPath"]);
        assert_eq!(job["pointer"].is_null(), clean != real, "{report:#}");
        let out = job["outputs"]["out"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "A\n");
        // Nothing else is recorded for the base derivation.
        repository.levain(&["audit", "x86_64-linux.app"]).ok().says("");
        let report = repository.report(&[]);
        assert_eq!(report["jobs"][0]["status"], "fresh", "{report:#}");
        assert_eq!(report["jobs"][0]["outputs"]["out"], out);
    }
}

#[test]
fn a_cache_that_a_plain_build_gives_is_not_kept() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let order = flake(&["app"], ON).replace("[ \"out\" \"cache\" ]", "[ \"cache\" \"out\" ]");
    repository.write("flake.nix", &order);
    repository.write("builder.sh", BUILDER);
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    let report = repository.report(&[]);
    let job = &report["jobs"][0];
    assert_eq!((&job["status"], &job["reason"]), (&"clean".into(), &"cache-in-output".into()));
    let detail = "the cache output is the first output; no cache is kept";
    assert_eq!(job["reasonDetail"], detail);
    assert_eq!(repository.levain(&["cache", "list"]).ok().stdout, "no caches are recorded\n");
}

#[test]
fn a_source_tree_named_in_the_output_is_no_lie() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    // The whole tree: another store path on the shadow branch, for two files differ.
    for source in ["./.", "\"${self}\""] {
        let flake =
            flake(&["app"], ON).replace("src = levain.source ./src;", &format!("src = {source};"));
        repository.write("flake.nix", &flake);
        let builder = BUILDER.replace("$src\"/*", "$src\"/src/*");
        repository.write("builder.sh", &builder.replace("exit 0", "echo $src >> $out\nexit 0"));
        repository.write("src/a.txt", &format!("a {source}\n"));
        repository.commit("first");
        repository.levain(&["run"]).ok();
        repository.write("src/a.txt", &format!("A {source}\n"));
        repository.commit("second");
        let report = repository.report(&[]);
        assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
        let audited = repository.levain(&["audit", "--format", "json"]).ok().json();
        assert_eq!(audited[0]["verdict"], "same", "{source}: {audited:#}");
    }
}

#[test]
fn a_lie_costs_every_jobset_its_caches_of_the_job() {
    let environment = Environment::new();
    let repository = built_twice(&environment, LIAR, ON);
    repository.levain(&["run"]).ok();
    // Another branch builds the same commit, and one more on top, from the same caches.
    repository.git(&["checkout", "--quiet", "-b", "topic"]);
    repository.write("src/a.txt", "topic\n");
    repository.commit("topic");
    assert_eq!(repository.report(&[])["counters"]["incremental"], 1);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.levain(&["audit", "x86_64-linux.app"]).code(1).says("");

    // What that branch built from them is not taken for good,
    let report = repository.report(&["--branch", "topic"]);
    assert_eq!(report["jobs"][0]["status"], "clean", "{report:#}");
    // and once caches are allowed, no old one comes back.
    repository.levain(&["cache", "allow", "x86_64-linux.app"]).ok();
    repository.git(&["checkout", "--quiet", "-b", "other", "topic"]);
    repository.write("src/a.txt", "other\n");
    repository.commit("other");
    let report = repository.report(&[]);
    assert_eq!(report["jobs"][0]["caches"][0]["depth"], 0, "{report:#}");
}
