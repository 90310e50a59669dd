//! Building: what is shared, how many at a time, what is told about failures.

use std::fs;

use serde_json::Value;

use crate::environment::{Environment, Repository};
use crate::shadow::{attr_path, job};

/// Makes a repository whose jobs are these Nix expressions; each may use `build NAME SCRIPT` and
/// the other jobs. Incremental mode is off: it plays no part here.
fn repository<'a>(environment: &'a Environment, jobs: &[(&str, String)]) -> Repository<'a> {
    let repository = environment.repository("project");
    let jobs: String =
        jobs.iter().map(|(name, value)| format!("      {name} = {value};\n")).collect();
    let at = environment.path(".").display().to_string();
    repository.write("flake.nix", &FLAKE.replace("@jobs@", &jobs).replace("@at@", &at));
    repository.commit("first");
    repository
}

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      build = name: script: derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ "-c" "PATH=/usr/bin:/bin; at=@at@; ${script}; exit 0" ];
      };
      shared = build "shared" "echo shared >> $at/built; echo shared > $out";
      broken = build "broken" "for i in $(seq 1 40); do echo line $i; done; exit 7";
    in {
      levainJobs.x86_64-linux = rec {
@jobs@      };
    };
}
"#;

fn script(name: &str, script: &str) -> String {
    format!("build \"{name}\" \"{script}\"")
}

#[test]
fn a_shared_dependency_is_built_once() {
    let environment = Environment::new();
    let on_top = |name: &str| script(name, "cat ${shared} > $out; echo top >> $at/built");
    let repository = repository(
        &environment,
        &[("a", on_top("a")), ("b", on_top("b")), ("c", on_top("c")), ("d", "shared".into())],
    );
    let report = repository.report(&["--max-jobs", "4"]);
    assert_eq!(report["counters"]["clean"], 4, "{report:#}");
    let built = fs::read_to_string(environment.path("built")).unwrap();
    assert_eq!(built.matches("shared").count(), 1, "{built}");
    assert_eq!(built.matches("top").count(), 3, "{built}");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["fresh"], 4);
    assert_eq!(fs::read_to_string(environment.path("built")).unwrap(), built);
}

#[test]
fn as_many_at_a_time_as_allowed() {
    // Two that wait for each other can only end if both are started; in rows, nobody overlaps.
    let meeting = |own: &str, other: &str| {
        script(
            own,
            &format!(
                "touch $at/{own}; while ! [ -e $at/{other} ]; do sleep 0.05; done; echo > $out"
            ),
        )
    };
    let environment = Environment::new();
    let repository =
        repository(&environment, &[("a", meeting("a", "b")), ("b", meeting("b", "a"))]);
    let report = repository.report(&["--max-jobs", "2", "--timeout", "60"]);
    assert_eq!(report["counters"]["clean"], 2, "{report:#}");
}

#[test]
fn one_at_a_time() {
    let environment = Environment::new();
    // The directory is there only while one of them is at work; `cat` takes a moment.
    let work = "mkdir $at/alone || exit 1; cat /bin/sh /bin/sh > /dev/null; rmdir $at/alone";
    let alone = |name: &str| script(name, &format!("{work}; echo > $out"));
    let jobs = ["a", "b", "c", "d"].map(|name| (name, alone(name)));
    let repository = repository(&environment, &jobs);
    let report = repository.report(&["--max-jobs", "1"]);
    assert_eq!(report["counters"]["clean"], 4, "{report:#}");
}

#[test]
fn remote_builders_take_as_many_as_they_say() {
    let environment = Environment::new();
    // Another store on this machine is a builder, too. Its builds are always sandboxed.
    let [at, far, store] = ["meeting", "far", "store"].map(|name| environment.path(name));
    fs::create_dir(&at).unwrap();
    let conf = environment.path("conf/nix.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let builders = format!(
        "{text}max-jobs = 0\nsandbox-paths = /bin /usr /lib /lib64 {at}\nbuilders = local?root={far}&store={store} x86_64-linux - 3\n",
        at = at.display(),
        far = far.display(),
        store = store.display()
    );
    fs::write(&conf, builders).unwrap();
    // Nix does not bear it if several of its programs make one store at the same time.
    let far = format!("local?root={}&store={}", far.display(), store.display());
    environment.run("nix-store", &at, &["--store", &far, "--init"]).ok();
    // Three that wait for each other end only if all are started.
    let meeting = |own: &str| {
        let wait = "while ! [ -e a -a -e b -a -e c ]; do sleep 0.05; done";
        let at = at.display();
        script(own, &format!("echo met; cd {at}; touch {own}; {wait}; echo > $out"))
    };
    let jobs = [
        ("a", meeting("a")),
        ("b", meeting("b")),
        ("c", meeting("c")),
        ("bad", script("bad", "echo far away; exit 3")),
        ("on-bad", script("on-bad", "echo ${bad} > $out")),
    ];
    let repository = repository(&environment, &jobs);
    let report = repository.report(&["--timeout", "60"]);
    assert_eq!(report["counters"]["clean"], 3, "{report:#}");
    let log = fs::read_to_string(job(&report, "a")["log"].as_str().unwrap()).unwrap();
    assert_eq!(log, "met\n");
    // Of the exit code only one thing is told: that it is another than zero.
    for name in ["bad", "on-bad"] {
        assert_eq!(job(&report, name)["status"], "failed", "{report:#}");
        assert_eq!(job(&report, name)["lastLines"], serde_json::json!(["far away"]));
    }
}

#[test]
fn by_default_a_failure_stops_nothing_else() {
    let environment = Environment::new();
    let good = |name: &str| script(name, "echo > $out");
    let repository = repository(
        &environment,
        &[
            ("a", good("a")),
            ("bad", script("bad", "echo goodbye; exit 3")),
            ("c", good("c")),
            ("on-bad", script("on-bad", "cat ${bad}; echo > $out")),
        ],
    );
    let ran = repository.levain(&["run", "--max-jobs", "1", "--format", "json"]).code(1);
    let report = ran.json();
    assert_eq!(
        (&report["counters"]["clean"], &report["counters"]["failed"]),
        (&2.into(), &2.into())
    );
    let bad = job(&report, "bad");
    assert_eq!(bad["status"], "failed");
    assert!(bad["error"].as_str().unwrap().contains("exit code 3"), "{bad:#}");
    assert_eq!(bad["lastLines"], serde_json::json!(["goodbye"]));
    // What only failed because of another says so, with the log of that one.
    let on_bad = job(&report, "on-bad");
    assert_eq!(on_bad["lastLines"], serde_json::json!(["goodbye"]), "{on_bad:#}");
    assert_eq!(on_bad["log"], bad["log"]);
    // Failures are not remembered as anything else: they are tried again.
    let report = repository.report(&[]);
    assert_eq!(
        (&report["counters"]["fresh"], &report["counters"]["failed"]),
        (&2.into(), &2.into())
    );
}

#[test]
fn without_keep_going_the_first_failure_stops_the_rest() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        &[
            // Fails once the other is under way, which only ends if it is stopped.
            ("bad", script("bad", "while ! [ -e $at/started ]; do sleep 0.05; done; exit 1")),
            (
                "slow",
                script(
                    "slow",
                    "touch $at/started; while ! [ -e $at/never ]; do sleep 0.05; done; echo > $out",
                ),
            ),
        ],
    );
    let args = ["run", "--no-keep-going", "--max-jobs", "2", "--format", "json"];
    let report = repository.levain(&args).code(1).json();
    assert_eq!(job(&report, "bad")["status"], "failed", "{report:#}");
    let slow = job(&report, "slow")["status"].as_str().unwrap();
    assert_ne!(slow, "clean");
    assert_ne!(slow, "failed", "nothing is wrong with it: {report:#}");
}

#[test]
fn a_failing_dependency_shows_the_end_of_its_log() {
    let environment = Environment::new();
    let app = script("app", "cat ${broken}; echo > $out");
    let repository = repository(&environment, &[("app", app)]);
    let ran = repository.levain(&["run"]).code(1);
    assert!(ran.stdout.contains("last 30 log lines:\n  line 11\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("  line 40\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("line 10\n"), "{}", ran.stdout);
    let report = repository.report(&[]);
    let app = job(&report, "app");
    let log = fs::read_to_string(app["log"].as_str().unwrap()).unwrap();
    assert_eq!(log.lines().count(), 40);
    let log = app["log"].as_str().unwrap();
    assert!(log.contains("-broken.drv.") && log.ends_with(".log"), "{log}");
}

#[test]
fn a_build_that_takes_too_long_is_stopped() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        &[("slow", script("slow", "while ! [ -e $at/never ]; do sleep 0.05; done; echo > $out"))],
    );
    let report = repository.levain(&["run", "--timeout", "1", "--format", "json"]).code(1).json();
    let slow = job(&report, "slow");
    assert_eq!(slow["status"], "failed", "{report:#}");
    assert!(slow["error"].as_str().unwrap().contains("timed out"), "{slow:#}");
}

#[test]
fn the_log_of_each_job_is_kept() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        &[(
            "talk",
            script(
                "talk",
                "echo to standard output; echo to standard error >&2; printf unfinished; echo > $out",
            ),
        )],
    );
    let report = repository.report(&[]);
    let log = fs::read(job(&report, "talk")["log"].as_str().unwrap()).unwrap();
    let log = String::from_utf8_lossy(&log).into_owned();
    assert_eq!(log, "to standard output\nto standard error\nunfinished\n");
}

#[test]
fn the_report_has_every_field() {
    let environment = Environment::new();
    let repository = repository(
        &environment,
        &[("bad", script("bad", "echo no; exit 1")), ("good", script("good", "echo > $out"))],
    );
    let report = repository.report(&[]);
    let keys = |value: &Value| {
        let object = value.as_object().unwrap();
        object.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        keys(&report),
        "counters evaluations jobs jobset mode notices originalCommit readOnly repository seconds undelivered version"
    );
    assert_eq!(
        keys(&report["counters"]),
        "cancelled clean errors failed fresh incremental skipped"
    );
    assert_eq!(
        keys(job(&report, "good")),
        "attrPath baseDrvPath builtDrvPath caches log name outputs seconds startedAt status system"
    );
    assert_eq!(
        keys(job(&report, "bad")),
        "attrPath baseDrvPath builtDrvPath caches error lastLines log name outputs seconds startedAt status system"
    );
    assert_eq!(keys(&report["evaluations"][0]), "flake memoized output pointer seconds");
    assert_eq!(job(&report, "good")["attrPath"], attr_path("good").as_str());
    let out = job(&report, "good")["outputs"]["out"].as_str().unwrap();
    assert!(environment.is_valid(out));
}
