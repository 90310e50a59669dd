//! The other ways to reach a store: a daemon's socket, and a store below a root.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use levain_store::{BuildEvent, Confinement, EvalRequest, ProtocolError, Remote, StoreConfig};

use crate::fixture::{Fixture, eventually};

/// A daemon that listens; it ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(fixture: &Fixture) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the daemon belongs to the test")]
        let mut command = std::process::Command::new("nix-daemon");
        command.env_clear().envs(&fixture.variables).env_remove("NIX_REMOTE");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let socket = fixture.path("var/daemon-socket/socket");
        eventually("the daemon listens", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_daemon_that_is_there_builds_and_evaluates() {
    let fixture = Fixture::with(|_| vec![("NIX_REMOTE", "daemon".into())]);
    assert!(fixture.store.connect().is_err());
    let _daemon = Daemon::start(&fixture);
    let derivation = fixture.derivation("d", "echo line; echo > $out; exit 0");
    let mut connection = fixture.connect();
    assert_eq!(connection.daemon_process(), None);
    let results = connection.build(std::slice::from_ref(&derivation), &mut |_| {}).unwrap();
    assert!(results[0].status.is_success());
    let output = &results[0].outputs["out"];
    let copied = connection.copy_content_addressed(&fixture.store, output).unwrap();
    assert!(connection.is_valid(&copied.path).unwrap());

    let confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    let expression = "(derivation { name = \"e\"; system = \"s\"; builder = \"b\"; }).drvPath";
    let request = EvalRequest { confinement, ..fixture.request(expression) };
    let json = fixture.nix.eval(&request).unwrap();
    let path =
        fixture.store.dir().parse_derivation(&serde_json::from_slice::<String>(&json).unwrap());
    assert!(connection.is_valid(path.unwrap().as_ref()).unwrap());
}

#[test]
fn a_daemon_makes_its_store_before_the_first_evaluation() {
    let fixture = Fixture::with(|_| vec![("NIX_REMOTE", "daemon".into())]);
    let _daemon = Daemon::start(&fixture);
    let store = fixture.path("store");
    eventually("the daemon has a store", || store.join(".links").exists());
    // As on a machine on which nobody has connected yet.
    fs::remove_dir_all(&store).unwrap();
    let confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    let expression = "(derivation { name = \"e\"; system = \"s\"; builder = \"b\"; }).drvPath";
    let request = EvalRequest { confinement, ..fixture.request(expression) };
    fixture.nix.eval(&request).unwrap();
    assert!(store.exists());
}

#[test]
fn a_closer_ends_a_socket_too() {
    let fixture = Fixture::with(|_| vec![("NIX_REMOTE", "daemon".into())]);
    let _daemon = Daemon::start(&fixture);
    let derivation = fixture.derivation("d", "PATH=/usr/bin:/bin; echo started; sleep 300; exit 0");
    let mut connection = fixture.connect();
    let closer = connection.closer();
    let mut on_event = |event: BuildEvent| {
        if matches!(event, BuildEvent::Line { .. }) {
            closer.close();
        }
    };
    let error = connection.build(std::slice::from_ref(&derivation), &mut on_event).unwrap_err();
    assert!(matches!(error, ProtocolError::Closed), "{error:?}");
}

#[test]
fn files_of_a_store_below_a_root_are_found_there() {
    let fixture = Fixture::with(|dir| {
        let remote = format!("local?root={}", dir.join("root").display());
        let unset = ["NIX_STORE_DIR", "NIX_STATE_DIR", "NIX_LOG_DIR"];
        let mut changes = unset.map(|name| (name, "".into())).to_vec();
        changes.push(("NIX_REMOTE", remote.into()));
        changes
    });
    assert_eq!(fixture.store.dir().as_str(), "/nix/store");
    assert_eq!(fixture.store.config().real_dir, fixture.path("root/nix/store"));
    let confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    let request = EvalRequest {
        confinement,
        ..fixture.request("(derivation { name = \"e\"; system = \"s\"; builder = \"b\"; }).drvPath")
    };
    let json = fixture.nix.eval(&request).unwrap();
    let path = serde_json::from_slice::<String>(&json).unwrap();
    let path = fixture.store.dir().parse_derivation(&path).unwrap();
    assert_eq!(fixture.store.read_derivation(&path).unwrap().system, "s");

    let mut connection = fixture.connect();
    assert!(connection.is_valid(path.as_ref()).unwrap());
    let copied = connection.copy_content_addressed(&fixture.store, path.as_ref()).unwrap();
    assert!(fixture.store.exists_on_disk(&copied.path));
}

#[test]
fn without_a_setting_a_database_of_ours_is_used_by_a_child() {
    let fixture = Fixture::new();
    let _path = fixture.derivation("d", "exit 0");
    let config = fixture.store.config();
    assert_eq!((&config.remote, config.resolve_remote()), (&Remote::Auto, Remote::Child));
    // A socket does not change that, as long as the database can be written.
    fs::create_dir_all(fixture.path("var/daemon-socket")).unwrap();
    fs::write(config.socket(), "").unwrap();
    assert_eq!(config.resolve_remote(), Remote::Child);
    let elsewhere = StoreConfig { state_dir: Path::new("/nowhere").to_owned(), ..config.clone() };
    assert_eq!(elsewhere.resolve_remote(), Remote::Child);
}
