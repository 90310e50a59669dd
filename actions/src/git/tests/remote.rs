//! Tests of fetching and pushing, races and refusals among them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::git::fixture::{Fixture, commit, executable, git, open};
use crate::git::{
    CommitId, Conduct, Login, Prune, PushOutcome, PushUpdate, RemoteError, Repository,
};

const NAME: &str = "refs/levain/heads/main";

fn update(name: &str, expected: Option<CommitId>, new: Option<CommitId>) -> PushUpdate {
    PushUpdate { name: name.to_owned(), new, expected }
}

fn push_one(
    repository: &Repository,
    expected: Option<CommitId>,
    new: Option<CommitId>,
) -> PushOutcome {
    let mut outcomes = repository.push("origin", &[update(NAME, expected, new)]).unwrap();
    assert_eq!(outcomes.len(), 1);
    let (name, outcome) = outcomes.remove(0);
    assert_eq!(name, NAME);
    outcome
}

/// Makes a repository with one commit, a bare one to push to, and two clones.
fn two_clones(fixture: &Fixture) -> (PathBuf, CommitId, [PathBuf; 2]) {
    let (_, first) = fixture.small("r");
    git(&fixture.path(""), &["clone", "-q", "--bare", "r", "remote"]);
    git(&fixture.path(""), &["clone", "-q", "remote", "one"]);
    git(&fixture.path(""), &["clone", "-q", "remote", "two"]);
    (fixture.path("remote"), first, [fixture.path("one"), fixture.path("two")])
}

#[test]
fn a_remote_says_which_refs_it_has() {
    let fixture = Fixture::new();
    let (remote, first, [one, _]) = two_clones(&fixture);
    git(&remote, &["update-ref", "refs/levain/heads/main", &first.to_string()]);
    // It ends like one that is asked for.
    git(&remote, &["update-ref", "refs/x/refs/heads/gone", &first.to_string()]);
    let names = ["HEAD", "refs/heads/main", "refs/heads/gone", "refs/heads/mai"].map(String::from);
    let found = open(&one).which_has("origin", &names).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["HEAD", "refs/heads/main"]);
    std::fs::remove_dir_all(&remote).unwrap();
    assert!(open(&one).which_has("origin", &names).is_err());
}

#[test]
fn a_mirror_follows_its_remote() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    git(&path, &["branch", "gone"]);
    git(&path, &["update-ref", "refs/pull/1/head", &first.to_string()]);
    git(&path, &["tag", "v1"]);
    let url = path.display().to_string();
    let mirror = Repository::mirror(&fixture.path("mirror"), &url).unwrap();
    let heads = ["+refs/heads/*:refs/heads/*".to_owned()];
    mirror.fetch("origin", &heads, Prune::No).unwrap();
    assert_eq!(mirror.branch("main").unwrap(), first);
    assert_eq!(mirror.default_branch(Some("origin")).unwrap().as_deref(), Some("main"));
    assert_eq!(mirror.references("refs/tags/").unwrap(), []);

    // Forced push, deletion, another default branch.
    git(&path, &["checkout", "-q", "--orphan", "trunk"]);
    let island = commit(&path, &[], "island");
    git(&path, &["branch", "-f", "main", "trunk"]);
    git(&path, &["branch", "-D", "gone"]);
    mirror.fetch("origin", &[], Prune::No).unwrap();
    assert_eq!(mirror.branch("main").unwrap(), island);
    assert!(mirror.branch("gone").is_ok());
    assert_eq!(mirror.default_branch(Some("origin")).unwrap().as_deref(), Some("trunk"));
    let lock = fixture.lock();
    let swap = mirror.swap(&lock, NAME, None, Some(island), "").unwrap();
    assert_eq!(swap, crate::git::Swap::Moved);
    mirror.fetch("origin", &heads, Prune::Yes).unwrap();
    assert!(mirror.branch("gone").is_err());
    assert_eq!(mirror.reference(NAME).unwrap(), Some(island));

    // By URL, and other refs than branches.
    let pull = ["+refs/pull/1/head:refs/levain/pull/1".to_owned()];
    mirror.fetch(&url, &pull, Prune::No).unwrap();
    assert_eq!(mirror.reference("refs/levain/pull/1").unwrap(), Some(first));
    let absent = ["refs/pull/2/head:refs/levain/pull/2".to_owned()];
    let error = mirror.fetch("origin", &absent, Prune::No).unwrap_err();
    assert!(
        matches!(&error, RemoteError::Failed { message, .. } if message.contains("refs/pull/2/head")),
        "{error}"
    );
}

#[test]
fn a_fetch_leaves_tracking_branches_and_fetch_head_alone() {
    let fixture = Fixture::new();
    let (_, first, [one, _]) = two_clones(&fixture);
    let second = commit(&fixture.path("r"), &[], "second");
    git(&fixture.path("r"), &["push", "-q", "../remote", "main"]);
    let repository = open(&one);
    let spec = ["+refs/heads/main:refs/levain/seen".to_owned()];
    repository.fetch("origin", &spec, Prune::No).unwrap();
    assert_eq!(repository.reference("refs/levain/seen").unwrap(), Some(second));
    assert_eq!(repository.reference("refs/remotes/origin/main").unwrap(), Some(first));
    assert!(!one.join(".git/FETCH_HEAD").exists());
}

#[test]
fn a_push_moves_only_from_what_was_expected() {
    let fixture = Fixture::new();
    let (remote, first, [one, _]) = two_clones(&fixture);
    let second = commit(&one, &[], "second");
    let repository = open(&one);
    assert_eq!(push_one(&repository, Some(first), Some(second)), PushOutcome::Stale);
    assert_eq!(push_one(&repository, None, Some(second)), PushOutcome::Moved);
    assert_eq!(push_one(&repository, None, Some(second)), PushOutcome::UpToDate);
    assert_eq!(push_one(&repository, None, Some(first)), PushOutcome::Stale);
    // Backwards, too: the lease is what counts.
    assert_eq!(push_one(&repository, Some(second), Some(first)), PushOutcome::Moved);
    assert_eq!(git(&remote, &["rev-parse", NAME]), first.to_string());
    assert_eq!(push_one(&repository, Some(second), None), PushOutcome::Stale);
    assert_eq!(push_one(&repository, Some(first), None), PushOutcome::Moved);
    assert_eq!(git(&remote, &["for-each-ref", "refs/levain"]), "");
    assert_eq!(repository.push("origin", &[]).unwrap(), []);

    // Several at once, each with an outcome of its own.
    let outcomes = repository
        .push(
            &remote.display().to_string(),
            &[
                update("refs/levain/a", None, Some(first)),
                update("refs/levain/b", Some(second), Some(first)),
                update("refs/heads/main", Some(first), Some(first)),
            ],
        )
        .unwrap();
    assert_eq!(
        outcomes,
        [
            ("refs/levain/a".to_owned(), PushOutcome::Moved),
            ("refs/levain/b".to_owned(), PushOutcome::Stale),
            ("refs/heads/main".to_owned(), PushOutcome::UpToDate),
        ]
    );
    // A ref in the way will not go away by trying again.
    let outcomes =
        repository.push("origin", &[update("refs/levain/a/b", None, Some(first))]).unwrap();
    assert!(matches!(&outcomes[0].1, PushOutcome::Refused { .. }), "{outcomes:?}");
}

#[test]
fn of_two_pushes_at_once_one_wins() {
    let fixture = Fixture::new();
    let (remote, mut current, clones) = two_clones(&fixture);
    let names = [NAME, "refs/heads/main"];
    let mut expected = [None, Some(current)];
    for round in 0..3 {
        let made = clones.clone().map(|path| {
            let place = path.display().to_string();
            (path.clone(), commit(&path, &[], &format!("{round} {place}")))
        });
        for (name, expected) in names.iter().zip(&mut expected) {
            let start = Barrier::new(2);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let threads = made.clone().map(|(path, id)| {
                    let (start, expected) = (&start, *expected);
                    scope.spawn(move || {
                        let repository = open(&path);
                        start.wait();
                        let outcomes =
                            repository.push("origin", &[update(name, expected, Some(id))]).unwrap();
                        (id, outcomes[0].1.clone())
                    })
                });
                threads.map(|thread| thread.join().unwrap()).into()
            });
            let won: Vec<_> =
                outcomes.iter().filter(|(_, outcome)| *outcome == PushOutcome::Moved).collect();
            let lost =
                outcomes.iter().filter(|(_, outcome)| *outcome == PushOutcome::Stale).count();
            assert_eq!((won.len(), lost), (1, 1), "{outcomes:?}");
            current = won[0].0;
            assert_eq!(git(&remote, &["rev-parse", name]), current.to_string());
            *expected = Some(current);
        }
    }
}

#[test]
fn a_refusal_carries_the_remotes_words_and_own_hooks_do_not_run() {
    let fixture = Fixture::new();
    let (remote, first, [one, _]) = two_clones(&fixture);
    executable(&one.join(".git/hooks/pre-push"), "#!/bin/sh\nexit 1\n");
    executable(&one.join(".git/hooks/reference-transaction"), "#!/bin/sh\nexit 1\n");
    let repository = open(&one);
    assert_eq!(push_one(&repository, None, Some(first)), PushOutcome::Moved);

    executable(
        &remote.join("hooks/pre-receive"),
        "#!/bin/sh\necho 'not on a Friday'\necho 'see https://ci:word@forge.example/rules' >&2\nexit 1\n",
    );
    match push_one(&repository, Some(first), None) {
        PushOutcome::Refused { message } => {
            assert!(message.contains("pre-receive hook declined"), "{message}");
            assert!(message.contains("not on a Friday"), "{message}");
            assert!(message.contains("https://***@forge.example/rules"), "{message}");
        }
        outcome @ (PushOutcome::Moved | PushOutcome::UpToDate | PushOutcome::Stale) => {
            panic!("{outcome:?}")
        }
    }
    git(&remote, &["config", "receive.denyDeletes", "true"]);
    std::fs::remove_file(remote.join("hooks/pre-receive")).unwrap();
    let deletion = [update("refs/heads/main", Some(first), None)];
    let outcome = repository.push("origin", &deletion).unwrap().remove(0).1;
    assert!(
        matches!(&outcome, PushOutcome::Refused { message } if message.contains("deletion prohibited")),
        "{outcome:?}"
    );
}

#[test]
fn an_unreachable_remote_is_named_without_its_password() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let repository = open(&path);
    // Nothing listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [
        format!("http://me:secret@127.0.0.1:{port}/a"),
        format!("https://secret@127.0.0.1:{port}/a"),
        fixture.path("absent").display().to_string(),
        "origin".to_owned(),
    ] {
        let pushed = repository.push(&url, &[update(NAME, None, Some(first))]).unwrap_err();
        let fetched = repository.fetch(&url, &[], Prune::No).unwrap_err();
        for error in [pushed, fetched] {
            assert!(matches!(error, RemoteError::Unreachable { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}

/// A web server that asks who it is, and refuses whatever it is told.
struct Asking {
    port: u16,
    /// The request that told it, and what.
    told: JoinHandle<(String, String)>,
}

impl Asking {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = std::thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let sent = request.lines().find_map(|line| line.strip_prefix("Authorization: "));
                let status = if sent.is_some() { "403 Forbidden" } else { "401 Unauthorized" };
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                .unwrap();
                if let Some(sent) = sent {
                    return (
                        request.lines().next().unwrap_or_default().to_owned(),
                        sent.to_owned(),
                    );
                }
            }
        });
        Self { port, told }
    }
}

#[test]
fn a_password_in_a_url_reaches_the_server_and_nothing_else() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let server = Asking::start();
    let url = format!("http://me:p%40ss@127.0.0.1:{}/a.git", server.port);
    let error = open(&path).fetch(&url, &[], Prune::No).unwrap_err();
    let (request, sent) = server.told.join().unwrap();
    // `me:p@ss` in base 64.
    assert_eq!(sent, "Basic bWU6cEBzcw==");
    assert!(request.starts_with("GET /a.git/info/refs"), "{request}");
    assert!(
        matches!(&error, RemoteError::Failed { message, .. } if message.contains("403")),
        "{error:?}"
    );
    assert!(
        !format!("{error:?}").contains("p@ss") && !format!("{error:?}").contains("p%40ss"),
        "{error:?}"
    );
    assert!(!std::fs::read_to_string(path.join(".git/config")).unwrap().contains("127.0.0.1"));
}

#[test]
fn a_token_reaches_the_server_that_it_is_for_and_no_other() {
    let fixture = Fixture::new();
    let (path, first) = fixture.small("r");
    let file = fixture.path("the token's \"file\"");
    let server = Asking::start();
    let url = format!("http://127.0.0.1:{}/a.git", server.port);
    let login = Login::new(&url, "me", file.clone()).unwrap();
    let repository =
        open(&path).conducted(Conduct { login: Some(login.clone()), ..Conduct::default() });
    // As it is now, not as it was when the login was made.
    std::fs::write(&file, "p@ss\n").unwrap();
    let error = repository.push(&url, &[update(NAME, None, Some(first))]).unwrap_err();
    assert_eq!(server.told.join().unwrap().1, "Basic bWU6cEBzcw==");
    assert!(!format!("{error:?} {login:?}").contains("p@ss"), "{error:?} {login:?}");

    let other = Asking::start();
    let url = format!("http://127.0.0.1:{}/a.git", other.port);
    let error = repository.fetch(&url, &[], Prune::No).unwrap_err();
    assert!(error.to_string().contains("could not read Username"), "{error}");
    // It never heard a word: this is the first.
    let url = format!("http://its:own@127.0.0.1:{}/a.git", other.port);
    repository.fetch(&url, &[], Prune::No).unwrap_err();
    assert_eq!(other.told.join().unwrap().1, "Basic aXRzOm93bg==");

    for none in ["/srv/r.git", "git@git.example.org:o/r.git", "ssh://git.example.org/o/r.git"] {
        assert_eq!(Login::new(none, "me", file.clone()), None, "{none}");
    }
}

#[test]
fn a_remote_that_never_answers_gets_limited_time_and_can_be_left() {
    let fixture = Fixture::new();
    let (path, _) = fixture.small("r");
    let listen = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("git://127.0.0.1:{}/x.git", listener.local_addr().unwrap().port());
        (listener, url)
    };
    let (_never, url) = listen();
    let limit = Duration::from_millis(200);
    let hasty = open(&path).conducted(Conduct { limit, ..Conduct::default() });
    let error = hasty.fetch(&url, &[], Prune::No).unwrap_err();
    assert!(matches!(&error, RemoteError::TimedOut { url: at, .. } if *at == url), "{error}");

    let (listener, url) = listen();
    let conduct = Conduct::default();
    let stop = conduct.stop.clone();
    let patient = open(&path).conducted(conduct);
    let error = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let waiting = listener.accept().unwrap();
            stop.stop();
            waiting
        });
        let error = patient.fetch(&url, &[], Prune::No).unwrap_err();
        drop(waiting.join().unwrap());
        error
    });
    assert_eq!(error, RemoteError::Stopped);
}

#[test]
fn a_remote_that_is_away_may_come_back_and_one_that_refuses_stays_so() {
    let (url, limit_seconds) = (|| "u".to_owned(), 1);
    let unreachable =
        |message: &str| RemoteError::Unreachable { url: url(), message: message.to_owned() };
    let failed = |message: &str| RemoteError::Failed { url: url(), message: message.to_owned() };
    for (error, expected) in [
        (unreachable("fatal: unable to access 'u': Could not resolve host: x"), true),
        (unreachable("fatal: unable to connect to x: Connection refused"), true),
        (unreachable("ssh: connect to host x: Connection timed out"), true),
        (unreachable("git@x: Permission denied (publickey)."), false),
        (unreachable("SSL certificate problem: unable to get local issuer certificate"), false),
        (failed("The requested URL returned error: 503"), true),
        (failed("error: RPC failed; HTTP 502 curl 22"), true),
        (failed("fatal: the remote end hung up unexpectedly"), true),
        (failed("The requested URL returned error: 403"), false),
        (failed("remote: Repository not found."), false),
        (RemoteError::TimedOut { url: url(), limit_seconds }, true),
        (RemoteError::Stopped, false),
        (RemoteError::GitMissing, false),
    ] {
        assert_eq!(error.may_pass(), expected, "{error}");
    }
}
