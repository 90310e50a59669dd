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
