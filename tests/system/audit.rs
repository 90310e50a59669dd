//! Audits: a lying cache is caught, a job that is not deterministic is told from it.

use crate::environment::{BUILDER, Environment, Repository, flake};

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
    let ran = repository.levain(&["run", "--format", "json"]).code(4);
    let report = ran.json();
    let job = &report["jobs"][0];
    assert_eq!(job["status"], "clean", "{report:#}");
    assert_eq!(job["audit"], "lied");
    assert_eq!(job["builtDrvPath"], job["baseDrvPath"]);
    assert_eq!(report["undelivered"][0]["kind"], "audit");
    let out = std::path::Path::new(job["outputs"]["out"].as_str().unwrap()).join("a.txt");
    assert_eq!(std::fs::read_to_string(out).unwrap(), "A\n");
    assert_eq!(repository.levain(&["cache", "list"]).ok().stdout, "no caches are recorded\n");
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
fn an_output_that_only_the_incremental_build_has_is_a_difference() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let flake = flake(&["app"], ON).replace(
        "outputs = [ \"out\" \"cache\" ];",
        "outputs = [ \"out\" \"cache\" ] ++ (if levain.cache ./cache.nix \"x86_64-linux.${name}\" == null then [ ] else [ \"more\" ]);",
    );
    repository.write("flake.nix", &flake);
    let more = "if [ -n \"${more-}\" ]; then echo more > $more; fi\nexit 0";
    repository.write("builder.sh", &BUILDER.replace("exit 0", more));
    repository.write("src/a.txt", "a\n");
    repository.commit("first");
    repository.levain(&["run"]).ok();
    repository.write("src/a.txt", "A\n");
    repository.commit("second");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    let audited = repository.levain(&["audit", "--format", "json"]).code(1).json();
    assert_eq!(audited[0]["verdict"], "lied", "{audited:#}");
    assert_eq!(audited[0]["files"][0]["output"], "more");
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
