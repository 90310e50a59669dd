//! Tests of the lock: one holder at a time, freed when the holder dies.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::git::fixture::{Fixture, program};
use crate::git::{LockError, RunLock};

/// With this variable, the test below is the process that holds the lock until it is killed.
const HOLD: &str = "LEVAIN_TEST_HOLD_LOCK";

#[test]
fn a_second_lock_is_refused_until_the_first_is_dropped() {
    if let Some(path) = std::env::var_os(HOLD) {
        let _lock = RunLock::acquire(path.as_ref()).unwrap();
        println!("\nheld");
        let mut nothing = String::new();
        std::io::stdin().read_to_string(&mut nothing).unwrap();
        return;
    }
    let fixture = Fixture::new();
    let path = fixture.path("not/yet/there/lock");
    let first = RunLock::acquire(&path).unwrap();
    let error = RunLock::acquire(&path).unwrap_err();
    assert!(error.to_string().contains("hint: "), "{error}");
    match error {
        LockError::Held { pid, since, path: told } => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(since > Some(1_600_000_000));
            assert_eq!(told, path);
        }
        LockError::File { .. } => panic!("{error}"),
    }
    drop(first);
    RunLock::acquire(&path).unwrap();
}

#[test]
fn killing_the_holder_frees_the_lock() {
    let fixture = Fixture::new();
    let path = fixture.path("state/lock");
    let this = std::env::current_exe().unwrap();
    let mut holder = program(this.to_str().unwrap(), &fixture.path(""))
        .args(["--exact", "--nocapture"])
        .arg("git::tests::lock::a_second_lock_is_refused_until_the_first_is_dropped")
        .env(HOLD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"));

    match RunLock::acquire(&path).unwrap_err() {
        LockError::Held { pid, .. } => assert_eq!(pid, Some(holder.id())),
        error @ LockError::File { .. } => panic!("{error}"),
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    RunLock::acquire(&path).unwrap();
}

#[test]
fn a_lock_that_cannot_be_made_is_an_error() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("file"), "").unwrap();
    let error = RunLock::acquire(&fixture.path("file/lock")).unwrap_err();
    assert!(matches!(error, LockError::File { .. }), "{error}");
}
