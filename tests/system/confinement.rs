//! What an evaluation reaches and takes: no network but the proxy, no credentials, limits.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::environment::{Environment, Ran, Repository};
use crate::jobs::simple;

/// A host on loopback with files; it notes each request with its credentials.
struct Host {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What a host answers to a path.
enum Answer {
    File(Vec<u8>),
    /// Only for those who have credentials.
    Secret(Vec<u8>),
    Redirect(String),
}

impl Host {
    fn new(answers: impl FnOnce(u16) -> BTreeMap<String, Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, requests) = (answers(port), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&requests);
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(&stream, &answers, &noted);
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, answers: &BTreeMap<String, Answer>, noted: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut block = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut block) {
            Ok(count) if count > 0 => head.extend_from_slice(&block[..count]),
            Ok(_) | Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    let authorized = head.to_ascii_lowercase().contains("\r\nauthorization: basic");
    noted
        .lock()
        .unwrap()
        .push(format!("{path}{}", if authorized { " with credentials" } else { "" }));
    let (status, header, body) = match answers.get(&path) {
        Some(Answer::File(body)) => ("200 OK", String::new(), body.clone()),
        Some(Answer::Secret(body)) if authorized => ("200 OK", String::new(), body.clone()),
        Some(Answer::Secret(_)) => {
            ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n".into(), Vec::new())
        }
        Some(Answer::Redirect(to)) => ("302 Found", format!("Location: {to}\r\n"), Vec::new()),
        None => ("404 Not Found", String::new(), Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap_or_default();
}

/// Requires a text in what was printed: errors of jobs are part of the results.
#[track_caller]
pub(crate) fn shows(ran: &Ran, text: &str) {
    let both = format!("{}{}", ran.stdout, ran.stderr);
    assert!(both.contains(text), "`{text}` is not in:\n{both}");
}

/// Makes a project with a remote, so that it can have pull requests.
pub(crate) fn project<'a>(environment: &'a Environment, flake: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    repository.write("flake.nix", flake);
    repository.commit("first");
    environment.run("git", &environment.path("."), &["init", "--quiet", "--bare", "remote"]).ok();
    repository.git(&["remote", "add", "origin", "../remote"]);
    repository.git(&["push", "--quiet", "origin", "main"]);
    repository
}

/// Commits a flake as the head of pull request 7, from a fork.
pub(crate) fn pull_request(repository: &Repository<'_>, flake: &str) {
    repository.git(&["checkout", "--quiet", "--detach", "main"]);
    repository.write("flake.nix", flake);
    repository.commit("proposed");
    repository.git(&["push", "--quiet", "--force", "origin", "HEAD:refs/pull/7/head"]);
    repository.git(&["checkout", "--quiet", "main"]);
}

pub(crate) fn sha256(environment: &Environment, bytes: &[u8]) -> String {
    let file = environment.path("tmp/hashed");
    std::fs::write(&file, bytes).unwrap();
    let file = file.display().to_string();
    let args = ["--type", "sha256", "--flat", "--base32", &file];
    environment.run("nix-hash", Path::new("/"), &args).ok().stdout.trim().to_owned()
}

/// A flake with a job whose text is what `fetch` gives.
pub(crate) fn fetching(fetch: &str) -> String {
    simple(&format!("levainJobs.x = job (builtins.substring 0 4 (builtins.readFile ({fetch})));"))
}

#[test]
fn what_has_a_hash_is_fetched_from_hosts_that_may_be_reached() {
    let environment = Environment::new();
    let host = Host::new(|port| {
        let redirect = Answer::Redirect(format!("http://127.0.0.1:{port}/file"));
        [("/file".into(), Answer::File(b"text".to_vec())), ("/moved".into(), redirect)].into()
    });
    let port = host.port;
    std::fs::write(
        environment.path("conf/netrc"),
        "machine 127.0.0.1 login ci password TOKEN\nmachine localhost login ci password TOKEN\n",
    )
    .unwrap();
    let hash = sha256(&environment, b"text");
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    let fetch = |url: &str, hash: &str| {
        pull_request(
            &repository,
            &fetching(&format!("builtins.fetchurl {{ url = \"{url}\"; sha256 = \"{hash}\"; }}")),
        );
    };
    for name in ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"] {
        fetch(&format!("http://{name}:{port}/file"), &hash);
        let ran = repository.levain(&["run", "--pull-request", "7"]).code(1);
        shows(&ran, "an evaluation may not connect to `");
        shows(&ran, "hint: pass `--allow-host");
        assert_eq!(host.requests(), [] as [&str; 0], "{name}");
    }
    // An allowed host must not lead to another one that is not.
    let args = ["run", "--pull-request", "7", "--allow-host", &format!("localhost:{port}")];
    fetch(&format!("http://localhost:{port}/moved"), &hash);
    let ran = repository.levain(&args).code(1);
    shows(&ran, "an evaluation may not connect to `127.0.0.1`");
    assert!(!host.requests().contains(&"/file".to_owned()), "{:?}", host.requests());
    fetch(&format!("http://localhost:{port}/file"), &hash);
    repository.levain(&args).ok();
    assert_eq!(host.requests().last().map(String::as_str), Some("/file"));
    fetch(&format!("http://localhost:{port}/file"), &sha256(&environment, b"other"));
    shows(&repository.levain(&args).code(1), "hash mismatch");
    let credentials = host.requests().iter().any(|request| request.contains("credentials"));
    assert!(!credentials, "{:?}", host.requests());
}

#[test]
fn git_repositories_are_fetched_over_http() {
    let environment = Environment::new();
    let dep = environment.repository("dep");
    dep.write("name", "text");
    let commit = dep.commit("first");
    dep.git(&["update-server-info"]);
    let files = environment.run("find", &dep.path.join(".git"), &[".", "-type", "f"]).ok().stdout;
    let host = Host::new(|_| {
        let read = |name: &str| std::fs::read(dep.path.join(".git").join(name)).unwrap();
        let names = files.lines().map(|name| name.trim_start_matches("./"));
        names.map(|name| (format!("/dep.git/{name}"), Answer::File(read(name)))).collect()
    });
    let place = format!("127.0.0.1:{}", host.port);
    let fetch = format!(
        "(builtins.fetchGit {{ url = \"http://{place}/dep.git\"; ref = \"main\"; rev = \"{commit}\"; }}) + \"/name\""
    );
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    pull_request(&repository, &fetching(&fetch));
    let ran = repository.levain(&["run", "--pull-request", "7"]).code(1);
    shows(&ran, "an evaluation may not connect to `127.0.0.1`");
    assert_eq!(host.requests(), [] as [&str; 0]);
    repository.levain(&["run", "--pull-request", "7", "--allow-host", &place]).ok();
    assert!(host.requests().contains(&"/dep.git/info/refs".to_owned()), "{:?}", host.requests());
}

#[test]
fn private_inputs_are_fetched_for_the_project_and_not_for_a_fork() {
    let environment = Environment::new();
    let archive = |text: &str| {
        let dir = environment.path("tmp/dep");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(
            dir.join("flake.nix"),
            format!("{{ outputs = _: {{ text = \"{text}\"; }}; }}"),
        )
        .unwrap();
        let args = ["-c", "--sort=name", "--mtime=@1", "dep"];
        let ran = environment.command("tar", &environment.path("tmp")).args(args).output().unwrap();
        assert!(ran.status.success());
        ran.stdout
    };
    let (dep, other) = (archive("dep"), archive("other"));
    let host = Host::new(|_| {
        [("/dep.tar".into(), Answer::Secret(dep)), ("/other.tar".into(), Answer::Secret(other))]
            .into()
    });
    let port = host.port;
    std::fs::write(environment.path("conf/netrc"), "machine 127.0.0.1 login ci password TOKEN\n")
        .unwrap();
    let environment = environment.with("LEVAIN_ALLOW_HOSTS", "127.0.0.1");
    let flake = |archive: &str, job: &str| {
        format!(
            "{{ inputs.dep.url = \"http://127.0.0.1:{port}/{archive}.tar\"; outputs = {{ self, dep }}: {{ levainJobs.{job} = derivation {{ name = \"x\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; inherit (dep) text; args = [ \"-c\" \"echo $text > $out\" ]; }}; }}; }}"
        )
    };
    // Locks the input, commits, and removes it from the store and from Nix's own cache.
    let lock = |repository: &Repository<'_>| {
        environment.run("nix", &repository.path, &["flake", "lock"]).ok();
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--amend", "--no-edit"]);
    };
    let forget = || {
        environment.run("nix-store", Path::new("/"), &["--gc"]).ok();
        std::fs::remove_dir_all(environment.path("home/.cache")).unwrap();
        let seen = host.requests().len();
        move |host: &Host| host.requests()[seen..].to_vec()
    };
    let repository = project(&environment, &flake("dep", "x"));
    lock(&repository);
    repository.git(&["push", "--quiet", "--force", "origin", "main"]);
    let since = forget();
    repository.levain(&["run"]).ok();
    assert_eq!(since(&host), ["/dep.tar with credentials"]);
    // A fork's pull request that has the same input, and one that has another.
    pull_request(&repository, &flake("dep", "y"));
    let since = forget();
    repository.levain(&["run", "--pull-request", "7"]).ok();
    assert_eq!(since(&host), ["/dep.tar with credentials"]);
    repository.git(&["checkout", "--quiet", "--detach", "main"]);
    repository.write("flake.nix", &flake("other", "x"));
    repository.commit("another input");
    lock(&repository);
    repository.git(&["push", "--quiet", "--force", "origin", "HEAD:refs/pull/7/head"]);
    repository.git(&["checkout", "--quiet", "main"]);
    let since = forget();
    let ran = repository.levain(&["run", "--pull-request", "7"]).code(1);
    shows(&ran, "other.tar` is an input that the default branch does not have");
    let requests = since(&host);
    assert!(requests.contains(&"/other.tar".to_owned()), "{requests:?}");
    assert!(!requests.contains(&"/other.tar with credentials".to_owned()), "{requests:?}");
}

#[test]
fn local_inputs_outlive_a_collection_on_the_project_s_own_branches() {
    let environment = Environment::new();
    let dep = environment.repository("dep");
    dep.write("flake.nix", "{ outputs = _: { text = \"dep\"; }; }");
    dep.commit("first");
    let flake = format!(
        "{{ inputs.dep.url = \"git+file://{}\"; outputs = {{ self, dep }}: {{ levainJobs.x = derivation {{ name = \"x\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; inherit (dep) text; args = [ \"-c\" \"echo $text > $out\" ]; }}; }}; }}",
        dep.path.display()
    );
    let repository = project(&environment, &flake);
    environment.run("nix", &repository.path, &["flake", "lock"]).ok();
    repository.commit("lock");
    environment.run("nix-store", Path::new("/"), &["--gc"]).ok();
    std::fs::remove_dir_all(environment.path("home/.cache")).unwrap();
    let refused = repository.levain(&["run"]).code(1);
    shows(&refused, "is on this machine, and not below a directory that lock files may name");
    repository.levain(&["run", "--allow-path", &dep.path.display().to_string()]).ok();
}

#[test]
fn the_user_s_settings_count_but_not_their_secrets() {
    let environment = Environment::new();
    let config = environment.path("home/.config/nix");
    std::fs::create_dir_all(&config).unwrap();
    // Nix 2.8 knows no setting that changes what a flake means but this one.
    std::fs::write(
        config.join("nix.conf"),
        "extra-experimental-features = ca-derivations\naccess-tokens = example.org=TOKEN\n",
    )
    .unwrap();
    let job = "derivation { name = \"x\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; outputHashMode = \"recursive\"; outputHashAlgo = \"sha256\"; __contentAddressed = true; }";
    let repository =
        project(&environment, &format!("{{ outputs = _: {{ levainJobs.x = {job}; }}; }}"));
    let ran = repository.levain(&["run"]).code(1);
    // Without the feature Nix itself would refuse to evaluate it.
    assert!(!ran.stderr.contains("'ca-derivations' is disabled"), "{}", ran.stderr);
    let written = environment.run("grep", &environment.path("."), &["-rl", "TOKEN", "home/.cache"]);
    assert_eq!((written.stdout.as_str(), written.code), ("", Some(1)));
}

#[test]
fn time_memory_and_jobs_have_limits_that_are_named() {
    let environment = Environment::new();
    let busy = "builtins.foldl' (a: i: a + builtins.foldl' (b: j: b + j) 0 (builtins.genList (j: j) 10000)) 0 (builtins.genList (i: i) 10000000)";
    let repository =
        project(&environment, &simple(&format!("levainJobs.busy = job (toString ({busy}));")));
    let time = ["run", "--evaluation-timeout", "1"];
    repository
        .levain(&time)
        .code(1)
        .says("the evaluation takes longer than 1 s, its time limit")
        .says("hint: raise it with `--evaluation-timeout SECONDS`");
    // 800 MB at once, and a job that is fine.
    let greedy = "builtins.length (builtins.genList (i: i) 50000000)";
    repository.write(
        "flake.nix",
        &simple(&format!(
            "levainJobs.greedy = job (toString ({greedy})); levainJobs.good = job \"good\";"
        )),
    );
    repository.commit("greedy");
    let memory = ["run", "--evaluation-memory", "500"];
    let ran = repository.levain(&memory).code(1);
    shows(&ran, "the evaluation needs more than 500 MiB of memory, its limit");
    shows(&ran, "good    clean");
    // What a limit caused is not remembered.
    repository.levain(&["run"]).ok();
    repository.write(
        "flake.nix",
        &simple(
            "levainProject.evaluation.maxJobs = 2; levainJobs = { a = job \"a\"; b = job \"b\"; c = job \"c\"; };",
        ),
    );
    repository.commit("many");
    repository
        .levain(&["run"])
        .code(1)
        .says("the flake has 3 jobs, more than the 2 that it may have");
}

#[test]
fn an_expression_sees_neither_clock_nor_other_files() {
    let environment = Environment::new();
    let (inside, outside) = (environment.path("inside"), environment.path("outside"));
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("secret"), "SECRET").unwrap();
    std::fs::write(inside.join("clock.nix"), "toString builtins.currentTime").unwrap();
    std::fs::write(inside.join("scoped.nix"), "scopedImport { a = 1; } ./clock.nix").unwrap();
    let outside = outside.display();
    for expression in [
        "builtins.currentTime".to_owned(),
        "__currentTime".to_owned(),
        "import ./clock.nix".to_owned(),
        "import ./scoped.nix".to_owned(),
        "builtins.builtins.currentSystem".to_owned(),
        format!(
            "builtins.readFile ((builtins.fetchTree {{ type = \"path\"; path = \"{outside}\"; }}) + \"/secret\")"
        ),
        format!("builtins.readFile ((builtins.fetchTree \"path:{outside}\") + \"/secret\")"),
        format!("builtins.readFile (builtins.fetchurl \"file://{outside}/secret\")"),
        format!("builtins.readFile (builtins.path {{ path = {outside}; }} + \"/secret\")"),
    ] {
        for evaluator in ["nix", "embedded"] {
            let args = ["eval", "--evaluator", evaluator, "--expr", &expression];
            let ran = environment.levain(&inside, &args).code(1);
            assert!(!ran.stdout.contains("SECRET"), "{evaluator} {expression}");
        }
    }
}

#[test]
fn too_little_of_the_machine_is_an_error_and_no_crash() {
    let environment = Environment::new();
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    let levain = env!("CARGO_BIN_EXE_levain");
    for limit in ["-v 150000", "-v 250000", "-n 6", "-n 8", "-n 12", "-n 20"] {
        let script = format!("ulimit {limit}; exec '{levain}' run");
        let ran = environment.run("sh", &repository.path, &["-c", &script]).code(1);
        ran.says("error: ").says("hint: ");
    }
    let long = "let d = s: n: if n == 0 then s else d (s + s) (n - 1); in builtins.stringLength (d \"aaaaaaaaaaaaaaaa\" 31)";
    let script =
        format!("ulimit -v 4000000; exec '{levain}' eval --evaluator embedded --expr '{long}'");
    environment.run("sh", &repository.path, &["-c", &script]).code(1).says("error: out of memory");
}
