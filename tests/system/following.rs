//! `levain watch` and `levain log`: a run is followed from where it was pushed, and its log while it is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::environment::{BUILDER, Environment};
use crate::serve::{Pushed, Server, logged, newest};

/// The builder of `flake`'s jobs, which says that it waits.
fn says_that_it_waits(pushed: &Pushed<'_>) {
    let builder = BUILDER.replace("while [ ! -e", "echo waiting\n  while [ ! -e");
    assert_ne!(builder, BUILDER);
    pushed.work.write("builder.sh", &builder);
}

#[test]
fn a_push_is_watched_to_its_end() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let server = Server::start(&environment);
    // Nobody knows of this repository yet.
    pushed.work.levain(&["watch"]).code(1).says("no project is at");
    pushed.add();
    let good = pushed.push("good\n");
    let ran = pushed.work.levain(&["watch"]).code(0);
    let run = newest(&environment, &good, "succeeded");
    let last = format!("run {} of heads/main is succeeded: 1 clean\n", run["id"]);
    assert!(ran.stdout.ends_with(&last), "{}", ran.stdout);

    pushed.work.write("src/fail", "");
    let bad = pushed.push("bad\n");
    pushed.work.levain(&["watch", "--project", "bread"]).code(1);
    let run = newest(&environment, &bad, "failed");
    let number = run["id"].to_string();
    // By its number, from anywhere.
    let home = environment.path("home");
    environment.levain(&home, &["watch", &number]).code(1);
    let log = environment.levain(&home, &["log", &number]).code(0).stdout;
    assert!(log.contains("this build fails\n"), "{log}");
    let same = pushed.work.levain(&["log"]).code(0).stdout;
    assert_eq!(same, log);
    environment.levain(&home, &["log", &number, "--job", "none"]).code(1).says("no job `none`");
    environment.levain(&home, &["log", "99"]).code(1).says("there is no run 99");
    environment.levain(&home, &["watch", "99"]).code(1).says("there is no run 99");
    server.end();
}

#[test]
fn a_log_is_followed_while_it_is_written() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("gate");
    pushed.work.write("src/wait", &gate.display().to_string());
    says_that_it_waits(&pushed);
    let server = Server::start(&environment);
    pushed.add();
    let commit = pushed.push("first\n");
    let run = newest(&environment, &commit, "running")["id"].to_string();
    pushed.work.levain(&["watch", "--timeout", "1"]).code(124).says("has not ended after 1 s");

    let mut command = environment.levain_command(&pushed.work.path, &["log", "--follow"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(following.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "waiting\n", "{}", logged(&environment));
    // What was printed so far, without waiting for more.
    let so_far = environment.levain(&environment.path("home"), &["log", &run]);
    assert_eq!(so_far.code(0).stdout, "waiting\n");
    fs::write(&gate, "").unwrap();
    std::io::Read::read_to_string(&mut out, &mut line).unwrap();
    let ended = following.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    newest(&environment, &commit, "succeeded");
    let whole = environment.levain(&environment.path("home"), &["log", &run]).code(0).stdout;
    assert_eq!(line, whole, "each line once");
    assert!(whole.contains("compiling b.txt\n"), "{whole}");
    server.end();
}

#[test]
fn a_database_that_is_not_reached_is_told_by_the_code() {
    let environment = Environment::new();
    let home = environment.path("home");
    let nobody = "postgres://nobody@%2Fnowhere/levain";
    for command in [&["status"][..], &["watch", "1"], &["log", "1"], &["cancel", "1"]] {
        let args = [command, &["--database", nobody]].concat();
        environment.levain(&home, &args).code(3).says("cannot open the database");
    }
}

#[test]
fn the_run_of_the_checkout_is_stopped_and_begun_again() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("gate");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start(&environment);
    pushed.add();
    pushed.work.levain(&["cancel"]).code(1).says("`bread` has no run of ");
    let commit = pushed.push("first\n");
    let run = newest(&environment, &commit, "running");
    let stopped = pushed.work.levain(&["cancel"]).code(0).stdout;
    assert_eq!(stopped, format!("run {} is cancelled\n", run["id"]));
    pushed.work.levain(&["watch"]).code(1);
    pushed.work.levain(&["cancel"]).code(1).says("is over: cancelled");
    fs::write(&gate, "").unwrap();
    pushed.work.levain(&["rerun"]).code(0);
    pushed.work.levain(&["watch"]).code(0);
    let again = newest(&environment, &commit, "succeeded");
    assert_ne!(again["id"], run["id"]);
    server.end();
}

#[test]
fn a_database_of_somebody_else_is_told_by_the_code() {
    let environment = Environment::new();
    let home = environment.path("home");
    environment.levain(&home, &["status"]).ok();
    let directory = home.join(".local/state/levain/server");
    let mode = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    let program = env!("CARGO_BIN_EXE_levain");
    let is_root = environment.run("id", &home, &["-u"]).ok().stdout == "0\n";
    let ran = match is_root {
        // Root as others are: without the right to open everything.
        true => {
            let powerless = ["--inh-caps=-all", "--bounding-set=-all", program, "status"];
            environment.run("setpriv", &home, &powerless)
        }
        false => environment.levain(&home, &["status"]),
    };
    mode(0o700);
    ran.code(4).says("sudo -Hu");
}
