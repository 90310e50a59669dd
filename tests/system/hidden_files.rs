//! Files of this machine that nobody shows: those beside the commits of a checkout, and those that a
//! lock file names.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::confinement::{fetching, project, pull_request, sha256, shows};
use crate::environment::{Environment, Ran, Repository};
use crate::jobs::simple;
use serde_json::{Value, json};

/// Requires that a text is in nothing that was printed.
#[track_caller]
fn hides(ran: &Ran, text: &str) {
    let both = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!both.contains(text), "`{text}` is in:\n{both}");
}

/// Lets a pull request ask for a file in two steps: with a wrong hash, which would tell the right one,
/// and with the right one.
#[track_caller]
fn asks_in_vain(
    environment: &Environment,
    repository: &Repository<'_>,
    file: &Path,
    run: impl Fn() -> Ran,
) {
    let right = sha256(environment, &std::fs::read(file).unwrap());
    for hash in [sha256(environment, b"other"), right.clone()] {
        let url = format!("file://{}", file.display());
        let fetch = format!("builtins.fetchurl {{ url = \"{url}\"; sha256 = \"{hash}\"; }}");
        pull_request(repository, &fetching(&fetch));
        let ran = run().code(1);
        if hash != right {
            hides(&ran, &right);
        }
    }
}

#[test]
fn a_pull_request_reads_nothing_of_a_checkout_that_is_in_no_commit() {
    let environment = Environment::new();
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    repository.levain(&["cache", "key"]).ok();
    std::fs::write(repository.path.join(".git/info/exclude"), ".env\n").unwrap();
    repository.write(".env", "PASSWORD=1\n");
    repository.git(&["config", "http.extraHeader", "Authorization: secret"]);
    repository.write("unstaged", "PASSWORD=2\n");
    let object = repository.git(&["hash-object", "-w", "unstaged"]);
    std::fs::remove_file(repository.path.join("unstaged")).unwrap();
    let object = format!(".git/objects/{}/{}", &object[..2], &object[2..]);
    for file in [".env", ".git/config", ".git/index", ".git/levain/signing-key", &object] {
        let file = repository.path.join(file);
        asks_in_vain(&environment, &repository, &file, || {
            repository.levain(&["run", "--pull-request", "7"])
        });
    }
}

#[test]
fn a_pull_request_reads_nothing_of_a_mirror_but_commits() {
    let environment = Environment::new();
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    let remote = environment.path("remote").display().to_string();
    let run = || environment.levain(Path::new("/"), &["run", &remote, "--pull-request", "7"]);
    pull_request(&repository, &simple("levainJobs.good = job \"good\";"));
    run().ok();
    let mirrors = environment.path("home/.local/state/levain/mirrors");
    let mirrors: Vec<PathBuf> =
        std::fs::read_dir(mirrors).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mirror = mirrors.iter().find(|path| path.join("config").exists()).unwrap();
    asks_in_vain(&environment, &repository, &mirror.join("config"), run);
}

/// Commits a flake with one input, `dep`, which the lock file says lies where `locked` leads. Its job
/// has a text from there.
fn lock(repository: &Repository<'_>, url: &str, locked: &Value, hash: &str, text: &str) {
    let mut locked = locked.clone();
    locked["narHash"] = hash.into();
    let mut original = locked.clone();
    for attribute in ["narHash", "rev", "lastModified", "revCount"] {
        original.as_object_mut().unwrap().remove(attribute);
    }
    let nodes = json!({
        "root": { "inputs": { "dep": "dep" } },
        "dep": { "flake": false, "locked": locked, "original": original },
    });
    let lock = json!({ "nodes": nodes, "root": "root", "version": 7 });
    repository.write("flake.lock", &lock.to_string());
    repository.write(
        "flake.nix",
        &format!(
            "{{ inputs.dep = {{ url = \"{url}\"; flake = false; }}; outputs = {{ self, dep }}: {{ levainJobs.x = derivation {{ name = \"x\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo $text > $out\" ]; text = {text}; }}; }}; }}"
        ),
    );
    repository.commit("locked");
    repository.git(&["push", "--quiet", "--force", "origin", "main"]);
}

fn nar_hash(environment: &Environment, path: &Path) -> String {
    let path = path.display().to_string();
    let hash = environment.run("nix", Path::new("/"), &["hash", "path", &path]).ok().stdout;
    hash.trim().to_owned()
}

const WRONG: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

#[test]
fn a_lock_file_reads_only_what_the_operator_names() {
    let environment = Environment::new();
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    let other = environment.repository("other/repository");
    other.write("file", "PASSWORD");
    let rev = other.commit("private");
    let tree = environment.path("other/tree");
    other.git(&["checkout-index", "--all", &format!("--prefix={}/", tree.display())]);
    let right = nar_hash(&environment, &tree);
    let allowed = environment.path("allowed");
    std::fs::create_dir(&allowed).unwrap();
    std::os::unix::fs::symlink(environment.path("other"), allowed.join("link")).unwrap();
    let (allowed, elsewhere) = (allowed.display().to_string(), environment.path("other"));
    let text = "builtins.readFile (dep + \"/file\")";
    let git = |place: &str| {
        let url = format!("file://{place}/repository");
        (
            format!("git+{url}"),
            json!({ "type": "git", "url": url, "rev": rev, "lastModified": 1767225600, "revCount": 1 }),
        )
    };
    let path = |place: &str| {
        let path = format!("{place}/tree");
        (format!("path:{path}"), json!({ "type": "path", "path": path, "lastModified": 1 }))
    };
    let elsewhere = elsewhere.display().to_string();
    for place in [elsewhere.clone(), format!("{allowed}/link"), format!("{allowed}/../other")] {
        for (url, locked) in [git(&place), path(&place)] {
            for hash in [WRONG, &right] {
                lock(&repository, &url, &locked, hash, text);
                let ran = repository.levain(&["run", "--allow-path", &allowed]).code(1);
                if hash == WRONG {
                    hides(&ran, &right);
                }
                let stored = environment.run(
                    "grep",
                    Path::new("/"),
                    &["-rl", "PASSWORD", &environment.path("store").display().to_string()],
                );
                assert_eq!(stored.stdout, "", "{url}");
            }
        }
    }
    for (url, locked) in [git(&elsewhere), path(&elsewhere)] {
        lock(&repository, &url, &locked, &right, text);
        let ran = repository.levain(&["run"]).code(1);
        shows(&ran, "is on this machine, and not below a directory that lock files may name");
        shows(&ran, &format!("hint: pass `--allow-path {elsewhere}/"));
        repository.levain(&["run", "--allow-path", &elsewhere]).ok();
        environment.run("nix-store", Path::new("/"), &["--gc"]).ok();
    }
}

#[test]
fn a_lock_file_speaks_to_no_service_of_this_machine() {
    let environment = Environment::new();
    let repository = project(&environment, &simple("levainJobs.good = job \"good\";"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let connections = || count.load(Ordering::SeqCst);
    let counted = Arc::clone(&count);
    // It hangs up on everybody, and ends with the test.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let made = environment.path("made");
    let locked = |url: &str| {
        let rev = "0123456789abcdef0123456789abcdef01234567";
        let locked =
            json!({ "type": "git", "url": url, "rev": rev, "lastModified": 1, "revCount": 1 });
        lock(
            &repository,
            &format!("git+{url}"),
            &locked,
            WRONG,
            "builtins.readFile (dep + \"/file\")",
        );
    };
    for host in ["127.0.0.1", "localhost"] {
        for (scheme, reason) in [
            ("git", "goes through no proxy\nhint: use `https://`"),
            ("ssh", "it is a loopback address\nhint: pass `--allow-host"),
        ] {
            locked(&format!("{scheme}://{host}:{port}/x"));
            let ran = repository.levain(&["run"]).code(1);
            shows(&ran, reason);
            assert_eq!(connections(), 0, "{scheme}");
            let ran =
                repository.levain(&["run", "--allow-host", &format!("{host}:{port}")]).code(1);
            assert_ne!(connections(), 0, "{scheme} {host}: {ran:?}");
            count.store(0, Ordering::SeqCst);
        }
    }
    for host in [format!("-oProxyCommand=touch {}", made.display()), "-oProxyCommand=x".to_owned()]
    {
        locked(&format!("ssh://{host}/x"));
        repository.levain(&["run"]).code(1);
    }
    assert!(!made.exists());
}
