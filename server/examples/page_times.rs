//! How long pages take until their first byte, with many runs in the database and a log of many lines.
//!
//! `cargo run --release -p levain-server --example page_times [RUNS] [LINES]`: a server and a reader in one process, over
//! real HTTP on loopback, SQLite, 40 projects. Each page is asked for 200 times; the table has the median, the 95th
//! percentile and how many bytes the page has. A log is opened anew each time: as if nobody had read it before.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on should stop there"
)]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use levain_server::Database;
use levain_server::database::DatabaseUrl;
use levain_server::http::{Readers, Site, serve};
use levain_server::runs::state::Verdict;
use sample::Filling;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor};

#[path = "../tests/it/sample.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod sample;

/// How often each page is asked for.
const TIMES: u32 = 200;
/// How often each log is opened.
const OPENINGS: u32 = 20;

/// Puts finished runs into a database, past levain.
async fn insert(file: &Path, runs: usize) {
    let url = format!("sqlite:{}", file.display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    for chunk in 0..runs.div_ceil(500) {
        let rows: Vec<String> = (chunk * 500..(chunk * 500 + 500).min(runs))
            .map(|n| {
                let state = ["succeeded", "failed", "errored", "superseded"][n % 13 % 4];
                let (project, branch) = (n % 40 + 1, n / 40 % 30);
                let time = 1_700_000_000_000 + n * 1_000;
                format!("({project}, 'heads/b{branch}', '{n:040x}', '{state}', 2, {time}, {time}, {time}, 1, '14 fresh')")
            })
            .collect();
        let text = format!(
            "INSERT INTO runs (project, jobset, commit_id, state, rank, created_at, started_at, ended_at, attempts, summary)
             VALUES {}",
            rows.join(", ")
        );
        connection.execute(AssertSqlSafe(text)).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Writes a log of many lines.
fn log(directory: &Path, lines: usize) -> String {
    let path = directory.join("logs");
    std::fs::create_dir_all(&path).unwrap();
    let path = path.join("long.drv.log");
    let text: String = (1..=lines)
        .map(|n| format!("[{n}] cc -O2 -c src/file-{n}.c -o build/file-{n}.o\n"))
        .collect();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (runs, lines) = (args.next().unwrap_or(100_000), args.next().unwrap_or(1_000_000));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("levain.sqlite");
    let database = Database::open(&DatabaseUrl::file(&file).unwrap()).await.unwrap();
    let log = log(directory.path(), lines);
    for number in 0..39 {
        Filling::new(&database, &format!("project-{number}"), "/srv/git/x.git").await;
    }
    let mut filling = Filling::new(&database, "bread", "/srv/git/bread.git").await;
    insert(&file, runs).await;
    let mut jobs: Vec<_> =
        (0..49).map(|n| sample::job(&format!("x86_64-linux.job-{n}"), "fresh")).collect();
    let mut failing = sample::job("x86_64-linux.long", "failed");
    failing["log"] = json!(log);
    jobs.push(failing);
    let mut last = 0;
    for jobset in ["heads/main", "pull/7"] {
        for _ in 0..10 {
            let report = Some(sample::report(jobs.clone()));
            last = filling.run(jobset, Verdict::Failed, "1 failed", report).await.number();
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let site = Site { readers: Readers::Local, ..Site::new(database) };
    tokio::spawn(serve(listener, site, Arc::default()));
    // Nobody else installs one in this process.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let job = format!("/runs/{last}/jobs/x86_64-linux.long");
    println!(
        "{runs} runs, {lines} lines\n{:<36}{:>10}{:>10}{:>10}",
        "page", "median ms", "p95 ms", "bytes"
    );
    let measure = async |path: &str, times: u32, is_anew: bool| {
        let mut took = Vec::new();
        let mut bytes = 0;
        for time in 0..times {
            if is_anew {
                // Another log of the same name: the server has not read any of it yet.
                let file = std::fs::File::options().write(true).open(&log).unwrap();
                file.write_all_at(format!("{time:03}").as_bytes(), 0).unwrap();
            }
            let began = Instant::now();
            let answer = client.get(format!("{base}{path}")).send().await.unwrap();
            took.push(began.elapsed());
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            bytes = answer.bytes().await.unwrap().len();
        }
        took.sort();
        let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
        println!("{path:<36}{:>10.1}{:>10.1}{bytes:>10}", at(50), at(95));
    };
    for path in [
        "/".to_owned(),
        "/projects/bread".to_owned(),
        "/projects/project-7".to_owned(),
        "/projects/bread/pull/7".to_owned(),
        format!("/runs/{last}"),
        job.clone(),
        format!("{job}/log"),
        format!("{job}/log?line={}", lines / 2),
        "/queue".to_owned(),
        "/deliveries".to_owned(),
    ] {
        measure(&path, TIMES, false).await;
    }
    println!("opened anew");
    measure(&format!("{job}/log?end"), OPENINGS, true).await;
    println!("resident memory: {}", resident());
}

/// Returns how much memory the process has, in the kernel's words.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned()
    };
    format!("{} now, {} at most", line("VmRSS:"), line("VmHWM:"))
}
