//! Building: a status for each derivation, and the events on the way.

use levain_store::{
    BuildEvent, BuildOptions, BuildResult, BuildStatus, DerivationPath, ProtocolError,
};

use crate::fixture::{Fixture, lines};

fn build(
    fixture: &Fixture,
    options: &BuildOptions,
    derivations: &[DerivationPath],
) -> (Vec<BuildResult>, Vec<BuildEvent>) {
    let mut connection = fixture.connect();
    connection.set_options(options).unwrap();
    let mut events = Vec::new();
    let results = connection.build(derivations, &mut |event| events.push(event)).unwrap();
    // Whatever came out, the connection can be used.
    assert!(connection.is_valid(derivations[0].as_ref()).is_ok());
    (results, events)
}

fn keep_going() -> BuildOptions {
    BuildOptions { keep_going: true, max_jobs: Some(1), ..BuildOptions::default() }
}

fn statuses(results: &[BuildResult]) -> Vec<BuildStatus> {
    results.iter().map(|result| result.status).collect()
}

#[test]
fn success_has_outputs_and_a_log() {
    let fixture = Fixture::new();
    let definition = r#"d = sh "d" { outputs = [ "out" "dev" ]; args = [ "-c" "echo one; echo two >&2; printf '@nix { \"action\": \"setPhase\", \"phase\": \"p\" }\\n' >&2; printf tail; echo x > $out; echo y > $dev; exit 0" ]; };"#;
    let [d] = &fixture.derivations(definition, &["d"])[..] else { panic!() };
    let (results, events) = build(&fixture, &keep_going(), std::slice::from_ref(d));
    assert_eq!(statuses(&results), [BuildStatus::Built]);
    assert_eq!(results[0].error, "");
    let derivation = fixture.store.read_derivation(d).unwrap();
    for (name, output) in &derivation.outputs {
        assert_eq!(Some(&results[0].outputs[name]), output.path.as_ref());
        assert!(fixture.store.exists_on_disk(&results[0].outputs[name]));
    }
    assert_eq!(lines(&events, d), ["one", "two", "tail"]);
    let derivation = d.clone();
    assert!(events.contains(&BuildEvent::Phase { derivation, name: "p".to_owned() }));
    let first = events.iter().find(|event| !matches!(event, BuildEvent::Message { .. }));
    assert_eq!(first, Some(&BuildEvent::Started { derivation: d.clone(), machine: None }));
    let last = events.iter().rfind(|event| !matches!(event, BuildEvent::Message { .. }));
    assert_eq!(last, Some(&BuildEvent::Stopped { derivation: d.clone() }));

    let (again, events) = build(&fixture, &keep_going(), &[d.clone(), d.clone()]);
    assert_eq!(statuses(&again), [BuildStatus::AlreadyValid, BuildStatus::AlreadyValid]);
    assert_eq!(again[0].outputs, results[0].outputs);
    assert_eq!(events, []);
}

#[test]
fn a_failure_has_its_log_and_stops_what_needs_it() {
    let fixture = Fixture::new();
    let derivations = fixture.derivations(
        r#"bad = sh "bad" "echo oh no; exit 7";
           user = sh "user" "echo ${bad}; exit 0";
           good = sh "good" "echo > $out; exit 0";"#,
        &["user", "bad", "good"],
    );
    let (results, events) = build(&fixture, &keep_going(), &derivations);
    use BuildStatus::{Built, DependencyFailed, PermanentFailure};
    assert_eq!(statuses(&results), [DependencyFailed, PermanentFailure, Built]);
    assert_eq!(lines(&events, &derivations[1]), ["oh no"]);
    assert!(results[1].error.contains("exit code 7"), "{}", results[1].error);
    assert!(!results[1].error.contains('\u{1b}'));
    assert!(results[1].outputs.is_empty());
}

#[test]
fn without_keep_going_a_failure_stops_the_others() {
    let fixture = Fixture::new();
    let definitions = r#"bad = sh "bad" "exit 1"; user = sh "user" "${bad}; exit 0"; "#;
    let derivations = fixture.derivations(definitions, &["bad", "user"]);
    let options = BuildOptions { keep_going: false, ..keep_going() };
    let (results, _) = build(&fixture, &options, &derivations);
    assert_eq!(results[0].status, BuildStatus::PermanentFailure);
    assert!(!results[1].status.is_success());
    let named: Vec<_> = results.iter().map(|result| &result.derivation).collect();
    assert_eq!(named, derivations.iter().collect::<Vec<_>>());
}

#[test]
fn wrong_outputs_are_rejected() {
    let fixture = Fixture::new();
    let derivations = fixture.derivations(
        r#"fixed = sh "fixed" { outputHashMode = "recursive"; outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; args = [ "-c" "echo other > $out; exit 0" ]; };
           none = sh "none" "exit 0";
           dep = sh "dep" "echo > $out; exit 0";
           refers = sh "refers" { allowedReferences = [ ]; inherit dep; args = [ "-c" "echo $dep > $out; exit 0" ]; };"#,
        &["fixed", "none", "refers"],
    );
    let (results, _) = build(&fixture, &keep_going(), &derivations);
    assert_eq!(statuses(&results), [BuildStatus::OutputRejected; 3]);
    assert!(results[0].error.contains("hash mismatch"), "{}", results[0].error);
}

#[test]
fn a_missing_derivation_or_builder_is_a_failure_of_its_own() {
    let fixture = Fixture::new();
    let mut derivations = fixture.derivations(
        r#"absent = sh "absent" { builder = "/nowhere/builder"; }; good = sh "good" "echo > $out; exit 0";"#,
        &["absent", "good"],
    );
    derivations.push("0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-absent.drv".parse().unwrap());
    let (results, _) = build(&fixture, &keep_going(), &derivations);
    assert_eq!(results[0].status, BuildStatus::PermanentFailure);
    assert!(results[1].status.is_success());
    // Nix 2.34 takes the derivation for a dependency of the question.
    let status = results[2].status;
    assert!(matches!(status, BuildStatus::MiscFailure | BuildStatus::DependencyFailed), "{status}");
    assert!(results[2].error.contains("absent.drv"), "{}", results[2].error);
}

#[test]
fn a_system_of_another_machine_fails_alone() {
    let fixture = Fixture::new();
    let derivations = fixture.derivations(
        r#"far = sh "far" { system = "riscv64-none"; }; a = sh "a" "echo > $out; exit 0"; b = sh "b" "echo > $out; exit 0";"#,
        &["a", "far", "b"],
    );
    let (results, _) = build(&fixture, &keep_going(), &derivations);
    assert!(results[0].status.is_success());
    assert!(!results[1].status.is_success());
    assert!(results[1].error.contains("riscv64-none"), "{}", results[1].error);
    assert!(results[2].status.is_success());
}

#[test]
fn a_build_that_takes_too_long_is_stopped() {
    let fixture = Fixture::new();
    let derivation = fixture.derivation("slow", "PATH=/usr/bin:/bin; sleep 300; exit 0");
    let options = BuildOptions { timeout_seconds: Some(1), ..keep_going() };
    let (results, _) = build(&fixture, &options, &[derivation]);
    assert_eq!(statuses(&results), [BuildStatus::TimedOut]);
}

#[test]
fn an_error_leaves_the_connection_usable() {
    let fixture = Fixture::new();
    let derivation = fixture.derivation("d", "echo > $out; exit 0");
    let mut connection = fixture.connect();
    let absent = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-absent".parse().unwrap();
    assert!(!connection.is_valid(&absent).unwrap());
    assert!(connection.path_info(&absent).unwrap().is_none());
    let error = connection.ensure_path(&absent).unwrap_err();
    let ProtocolError::Daemon { message } = &error else { panic!("{error:?}") };
    assert!(message.contains("absent") && !message.contains('\u{1b}'), "{message}");
    connection.ensure_path(derivation.as_ref()).unwrap();
    let results = connection.build(&[derivation], &mut |_| {}).unwrap();
    assert_eq!(results[0].status, BuildStatus::Built);
    assert!(connection.nix_version().is_some_and(|version| version.starts_with('2')));
}

#[test]
fn a_child_that_cannot_start_says_why() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("conf/nix.conf"), "cores = many\n").unwrap();
    let error = fixture.store.connect().unwrap_err().to_string();
    assert!(error.contains("'cores'"), "{error}");
}
