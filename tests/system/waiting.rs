//! Others that never answer: a remote, a forge, a builder. levain waits so long and no longer, and never keeps others
//! from the repository meanwhile.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

use wiremock::ResponseTemplate;

use crate::environment::{Environment, Repository};
use crate::interruption::{wait_until_nothing_runs, wait_until_runs};
use crate::jobs::simple;
use crate::shadow::{EVERYWHERE, Started};
use crate::status::{Forge, SECRET};

/// A server that takes connections and answers none.
struct Silent {
    port: u16,
    connections: Receiver<TcpStream>,
}

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (send, connections) = mpsc::channel();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if send.send(connection.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { port, connections }
    }

    /// Waits until somebody waits for an answer.
    fn next(&self) -> TcpStream {
        self.connections.recv().unwrap()
    }

    fn declared(&self) -> String {
        format!(
            "forge = {{ kind = \"gitea\"; apiUrl = \"http://127.0.0.1:{}\"; repository = \"a/b\"; }};",
            self.port
        )
    }
}

/// A project with one job, which is built in no time, and this declaration.
fn one_job<'a>(environment: &'a Environment, declaration: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    let outputs = format!("levainProject = {{ {declaration} }}; levainJobs.app = job \"app\";");
    repository.write("flake.nix", &simple(&outputs));
    repository.commit("first");
    repository
}

fn terminate(environment: &Environment, started: &Started) {
    let kill = format!("kill -TERM {}", started.child.id());
    let _sent = environment.run("sh", &environment.path(""), &["-c", &kill]).ok();
}

/// A project whose remote takes connections and says nothing.
fn with_silent_remote<'a>(environment: &'a Environment, silent: &Silent) -> Repository<'a> {
    let repository = environment.project("project", &["app"], EVERYWHERE);
    repository.commit("first");
    let url = format!("git://127.0.0.1:{}/x.git", silent.port);
    repository.git(&["remote", "add", "origin", &url]);
    repository
}

#[test]
fn one_sigterm_ends_a_run_that_waits_for_a_silent_remote() {
    let environment = Environment::new();
    let silent = Silent::new();
    let repository = with_silent_remote(&environment, &silent);
    let started = Started::levain(&environment, &repository.path, &["run"]);
    let _waiting = silent.next();
    terminate(&environment, &started);
    let ran = started.end().code(130);
    assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
    wait_until_nothing_runs(&environment);
}

#[test]
fn a_killed_run_leaves_no_git_that_waits_for_a_silent_remote() {
    let environment = Environment::new();
    let silent = Silent::new();
    let repository = with_silent_remote(&environment, &silent);
    let started = Started::levain(&environment, &repository.path, &["run"]);
    let _waiting = silent.next();
    started.kill();
    wait_until_nothing_runs(&environment);
}

#[test]
fn a_silent_remote_gets_so_much_time_and_no_more() {
    let environment = Environment::new();
    let silent = Silent::new();
    let _repository = with_silent_remote(&environment, &silent);
    let url = format!("git://127.0.0.1:{}/x.git", silent.port);
    let args = ["run", &url, "--git-timeout", "1"];
    let ran = environment.levain(&environment.path("home"), &args).code(1);
    let _told = ran.says("git did not finish with `git://127.0.0.1:").says("hint:");
    wait_until_nothing_runs(&environment);
}

#[test]
fn a_forge_that_wants_to_be_left_alone_is_left_alone() {
    let environment = Environment::new().with("LEVAIN_TOKEN", SECRET);
    let forge = Forge::answering(ResponseTemplate::new(429).insert_header("retry-after", "800"));
    let repository = one_job(&environment, &format!("{};", forge.declared("gitea", "a/b")));
    let ran = repository.levain(&["run"]).code(4);
    assert!(ran.stdout.contains("not delivered: status"), "{}", ran.stdout);
    assert!(ran.stdout.contains("asks to wait"), "{}", ran.stdout);
}

#[test]
fn others_may_work_while_a_run_waits_for_its_statuses() {
    let silent = Silent::new();
    let environment = Environment::new().with("LEVAIN_TOKEN", SECRET);
    let repository = one_job(&environment, &silent.declared());
    let args = ["run", "--status-timeout", "3600"];
    let first = Started::levain(&environment, &repository.path, &args);
    let _waiting = silent.next();
    // Refused until the first has built everything, and then not any more although it still waits.
    let second = loop {
        let ran = repository.levain(&["run", "--status-timeout", "0"]);
        if !ran.stderr.contains("another levain is at work") {
            break ran;
        }
    };
    let _second = second.code(4);
    terminate(&environment, &first);
    let ran = first.end().code(130);
    assert!(ran.stdout.contains("not delivered: status"), "{}", ran.stdout);
    wait_until_nothing_runs(&environment);
}

#[test]
fn a_forge_that_drips_its_answer_does_not_keep_a_run() {
    let silent = Silent::new();
    let environment = Environment::new().with("LEVAIN_TOKEN", SECRET);
    let repository = one_job(&environment, &silent.declared());
    let args = ["run", "--status-timeout", "1"];
    let started = Started::levain(&environment, &repository.path, &args);
    let mut connection = silent.next();
    // A promise of many bytes, of which one comes.
    connection.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n{").unwrap();
    let ran = started.end().code(4);
    assert!(ran.stdout.contains("`--status-timeout` allows more time"), "{}", ran.stdout);
}

#[test]
fn stopping_while_the_declaration_is_read_is_no_error_of_the_project() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    // Hours of work, in little memory, before anything is known of the project.
    repository.write(
        "flake.nix",
        "{ outputs = _: let
             numbers = count: builtins.genList (n: n) count;
             sum = builtins.foldl' (a: b: a + b) 0;
             slow = builtins.filter (n: sum (numbers 10000) < n - n) (numbers 10000000);
           in { levainProject.incremental.enable = slow == [ ]; levainJobs = { }; }; }",
    );
    repository.commit("first");
    let started = Started::levain(&environment, &repository.path, &["run"]);
    wait_until_runs(&environment, "levainProject");
    terminate(&environment, &started);
    let ran = started.end().code(130);
    assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
    wait_until_nothing_runs(&environment);
}

#[test]
fn what_killed_and_read_only_runs_leave_in_the_temporary_directory_is_removed() {
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    let gate = environment.path("gate");
    repository.write("src/app/wait", gate.to_str().unwrap());
    repository.commit("first");
    let left = || fs::read_dir(environment.path("tmp")).unwrap().count();
    // Evaluated from a temporary repository, with logs in a temporary directory.
    let mut killed = Started::levain(&environment, &repository.path, &["run", "--read-only"]);
    killed.wait_for("building app");
    killed.kill();
    wait_until_nothing_runs(&environment);
    assert!(left() > 0, "nothing to remove");
    fs::write(&gate, "").unwrap();
    let report = repository.report(&["--read-only"]);
    assert_eq!(report["counters"]["clean"], 1, "{report:#}");
    assert_eq!(left(), 0);
    assert!(report["jobs"][0]["log"].is_null(), "{report:#}");

    // A log that explains a failure stays to be read, until the next levain starts.
    repository.write("src/app/fail", "");
    repository.commit("broken");
    let report = repository.report(&["--read-only"]);
    let log = report["jobs"][0]["log"].as_str().unwrap().to_owned();
    assert!(fs::read_to_string(&log).unwrap().contains("this build fails"));
    let _why = repository.levain(&["why", "x86_64-linux.app"]).ok();
    assert_eq!(left(), 0);
}

#[test]
fn a_stopped_or_killed_evaluation_of_an_expression_leaves_nothing() {
    let environment = Environment::new();
    // Hours of work, in little memory.
    let slow = "let numbers = builtins.genList (n: n); in builtins.length (builtins.filter
        (n: builtins.foldl' (a: b: a + b) 0 (numbers 10000) < n - n) (numbers 10000000))";
    for kill in [false, true] {
        let args = ["eval", "--evaluator", "nix", "--expr", slow];
        let started = Started::levain(&environment, &environment.path("home"), &args);
        wait_until_runs(&environment, "nix-instantiate");
        if kill {
            started.kill();
        } else {
            terminate(&environment, &started);
            let _stopped = started.end();
        }
        wait_until_nothing_runs(&environment);
    }
}
