//! The end of a connection: nothing that it started stays behind.

use std::path::Path;

use levain_store::{BuildEvent, Connection, DerivationPath, ProtocolError};

use crate::fixture::{Fixture, eventually, process_with};

/// Returns a derivation whose builder sleeps for ever, and the word by which its processes are
/// found.
fn sleeper(fixture: &Fixture) -> (DerivationPath, String) {
    let word = fixture.dir.path().file_name().unwrap().to_str().unwrap().to_owned() + "-sleeper";
    // The shell stays the parent, so that a grandchild of the daemon has to go as well.
    let script = format!("sh -c 'while :; do sleep 1; done # {word}' & echo started; wait; exit 0");
    (fixture.derivation("sleeper", &format!("PATH=/usr/bin:/bin; {script}")), word)
}

/// Builds, and does something as soon as the builder has started.
fn build_until_started(
    connection: &mut Connection,
    derivation: DerivationPath,
    mut then: impl FnMut(),
) -> ProtocolError {
    let mut on_event = |event: BuildEvent| {
        if matches!(event, BuildEvent::Line { .. }) {
            then();
        }
    };
    connection.build(&[derivation], &mut on_event).unwrap_err()
}

#[test]
fn a_closer_stops_builders_from_another_thread() {
    let fixture = Fixture::new();
    let (derivation, word) = sleeper(&fixture);
    let mut connection = fixture.connect();
    let closer = connection.closer();
    let (sender, started) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        started.recv().unwrap();
        closer.close();
        closer.close();
    });
    let error = build_until_started(&mut connection, derivation.clone(), || {
        eventually("the builder starts", || process_with(&word));
        sender.send(()).ok();
    });
    assert!(matches!(error, ProtocolError::Closed), "{error:?}");
    other.join().unwrap();
    assert!(matches!(connection.is_valid(derivation.as_ref()), Err(ProtocolError::Closed)));
    // Nix 2.34 may miss that its input has ended, and is then told once more.
    drop(connection);
    eventually("the builder is gone", || !process_with(&word));

    // Its locks are gone too: another connection can build at once.
    let quick = fixture.derivation("quick", "echo > $out; exit 0");
    assert!(fixture.connect().build(&[quick], &mut |_| {}).unwrap()[0].status.is_success());
}

#[test]
fn dropping_a_connection_ends_its_daemon() {
    let fixture = Fixture::new();
    let connection = fixture.connect();
    let process = format!("/proc/{}", connection.daemon_process().unwrap());
    assert!(Path::new(&process).exists());
    drop(connection);
    // The child has been waited for, so not even a zombie is left.
    assert!(!Path::new(&process).exists());
}

#[test]
fn a_daemon_in_another_group_is_not_reached_by_the_terminal() {
    let fixture = Fixture::new();
    let connection = fixture.connect();
    let group = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        fields.split_whitespace().nth(2).unwrap().to_owned()
    };
    assert_ne!(group(connection.daemon_process().unwrap()), group(std::process::id()));
}

#[test]
fn roots_keep_what_is_in_use() {
    let fixture = Fixture::new();
    let derivation = fixture.derivation("kept", "echo > $out; exit 0");
    let mut connection = fixture.connect();
    let results = connection.build(std::slice::from_ref(&derivation), &mut |_| {}).unwrap();
    let output = results[0].outputs["out"].clone();
    connection.add_temp_root(&output).unwrap();
    fixture.program("nix-store", &["--gc"]);
    assert!(fixture.store.exists_on_disk(&output));

    let link = fixture.path("link");
    std::os::unix::fs::symlink(fixture.store.real_path(&output), &link).unwrap();
    connection.add_indirect_root(&link).unwrap();
    drop(connection);
    fixture.program("nix-store", &["--gc"]);
    assert!(fixture.store.exists_on_disk(&output));
    std::fs::remove_file(link).unwrap();
    fixture.program("nix-store", &["--gc"]);
    assert!(!fixture.store.exists_on_disk(&output));
}
