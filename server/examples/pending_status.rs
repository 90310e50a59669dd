//! How long it takes from a delivery to the pending status on the new commit, with the forge on loopback.
//!
//! `cargo run --release -p levain-server --example pending_status [PUSHES]`: a server on an SQLite file, a bare repository
//! on this disk, and a forge that answers at once, in one process. Each push is delivered over HTTP, signed; the server
//! keeps the delivery, lists the repository with `git ls-remote` and the open pull requests over HTTP, queues the run and
//! posts its status. The clock stops when the forge has the status. Nothing is evaluated.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{Method, Uri};
use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{ForgeConfig, Token};
use levain_actions::pull_requests::PullRequestReader;
use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::database::DatabaseUrl;
use levain_server::http::{Site, router};
use levain_server::logins::Logins;
use levain_server::projects::{NewProject, Project};
use levain_server::reconcile::{Head, Heads};
use levain_server::runs::state::Verdict;
use levain_server::runs::{Ended, Owner};
use levain_server::serving::{Company, Running, Settings};
use levain_server::statuses::messenger::{ForgeMessenger, Messenger};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[expect(clippy::disallowed_methods, reason = "it plays the people who push")]
fn git(directory: &Path, arguments: &[&str], input: &str) -> std::io::Result<Output> {
    use std::io::Write;
    let mut child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// Makes a bare repository with some commits; returns them.
fn repository(directory: &Path, count: usize) -> Result<Vec<String>, Failure> {
    std::fs::create_dir(directory)?;
    git(directory, &["init", "--quiet", "--bare", "--initial-branch=main"], "")?;
    let mut import = String::new();
    for mark in 1..=count {
        let message = format!("push {mark}");
        let length = message.len();
        import.push_str(&format!(
            "commit refs/all\nmark :{mark}\ncommitter a <a@b.c> {mark} +0000\ndata {length}\n{message}\n"
        ));
    }
    let marks = directory.join("marks");
    let export = format!("--export-marks={}", marks.display());
    git(directory, &["fast-import", "--quiet", &export], &import)?;
    let text = std::fs::read_to_string(marks)?;
    let commits = text.lines().filter_map(|line| line.split_once(' '));
    Ok(commits.map(|(_, commit)| commit.to_owned()).collect())
}

/// Lists like the product, and carries out nothing.
struct Bench {
    repository: PathBuf,
    token_file: PathBuf,
    runtime: Handle,
}

impl Bench {
    fn list(&self, project: &Project) -> Result<Heads, Failure> {
        let output = git(&self.repository, &["ls-remote", "--", ".", "refs/heads/*"], "")?;
        let mut heads = Heads::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            if let Some((commit, name)) = line.split_once("\trefs/") {
                heads.insert(name.parse()?, Head::branch(commit.parse()?));
            }
        }
        if let Sender::Forge(kind) = project.sender {
            let config = ForgeConfig::from_remote(kind, &project.url)?;
            let reader = PullRequestReader::new(&config, &Token::from_file(&self.token_file)?)?;
            self.runtime.block_on(reader.open())?;
        }
        Ok(heads)
    }
}

impl Workshop for Bench {
    fn heads(&self, project: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        match self.list(project) {
            Ok(heads) => Ok(Listed { heads, ..Listed::default() }),
            Err(error) => Err(HeadsError { message: error.to_string() }),
        }
    }

    fn carry_out(&self, _: &Order, _: &Cancel) -> Carried {
        Carried::Ended(Ended::new(Verdict::Succeeded, "nothing"))
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        Some(Arc::new(ForgeMessenger::new(Logins::default())))
    }
}

/// Answers as a forge, and says when it was told about which commit.
async fn forge(told: mpsc::UnboundedSender<(String, Instant)>) -> Result<String, Failure> {
    let answer = async |State(told): State<mpsc::UnboundedSender<_>>, method: Method, uri: Uri| {
        let now = Instant::now();
        if method == Method::GET {
            return "[]";
        }
        let commit = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        // Nobody listens any more at the end.
        drop(told.send((commit, now)));
        r#"{"id": 1}"#
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = axum::Router::new().fallback(answer).with_state(told);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

fn signed(secret: &str, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Nobody else installs one in this process.
    drop(rustls::crypto::ring::default_provider().install_default());
    let pushes: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let bare = directory.path().join("bread.git");
    let commits = repository(&bare, pushes + 1)?;
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "t0ken-of-nobody")?;
    let (told, mut hear) = mpsc::unbounded_channel();
    let forge = forge(told).await?;
    let database = DatabaseUrl::file(&directory.path().join("levain.sqlite"))?;
    let database = Database::open(&database).await?;
    let sender = Sender::DEFAULT;
    let project = NewProject {
        token_file: Some(token_file.clone()),
        ..NewProject::new("bread", sender, format!("{forge}/o/bread.git"))
    };
    let added = database.add_project(project).await?;
    let bench = Bench { repository: bare.clone(), token_file, runtime: Handle::current() };
    let owner = Owner::unique()?;
    let running = Running::start(
        database.clone(),
        Arc::new(bench),
        owner,
        Company::Alone,
        Settings::default(),
    )
    .await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/hooks/{}", listener.local_addr()?, added.hook.as_str());
    let site = Site { arrived: running.arrived(), ..Site::new(database.clone()) };
    let serving = tokio::spawn(async move { axum::serve(listener, router(site)).await });
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut times = Vec::new();
    let mut known: HashMap<String, Instant> = HashMap::new();
    for (number, commit) in commits.iter().enumerate() {
        git(&bare, &["update-ref", "refs/heads/main", commit], "")?;
        let body = format!(r#"{{"ref": "refs/heads/main", "after": "{commit}"}}"#);
        let began = Instant::now();
        let request = http
            .post(&address)
            .header("content-type", "application/json")
            .header(sender.event_header(), "push")
            .header("x-github-delivery", number.to_string())
            .header("x-hub-signature-256", signed(&added.secret, body.as_bytes()));
        let status = request.body(body).send().await?.status();
        if status != reqwest::StatusCode::ACCEPTED {
            return Err(Failure::from(format!("answered {status}")));
        }
        while !known.contains_key(commit) {
            let next = tokio::time::timeout(Duration::from_secs(10), hear.recv()).await?;
            let (commit, at) = next.ok_or("the forge is gone")?;
            known.entry(commit).or_insert(at);
        }
        // The first opens connections.
        if number > 0
            && let Some(at) = known.get(commit)
        {
            times.push(at.saturating_duration_since(began));
        }
        // Its end must not be what the next one waits for.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stop().await;
    serving.abort();
    times.sort();
    let at = |part: usize| {
        let index = (times.len() * part / 1000).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!("delivery to pending status posted, {} pushes, forge on loopback", times.len());
    println!("p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms", at(500), at(950), at(1000));
    Ok(())
}
