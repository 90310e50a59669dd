//! What the server can take, beside bare commits to the same disk: `scripts/bench-server`.
//!
//! The server is a process of its own with an SQLite database, and everything but the engine at work; clients are here,
//! on the same machine. Each row stands beside its goal, with the machine's load at that time: figures of a machine that
//! has other things to do say little.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

mod attack;
mod bare;
mod client;
mod evaluations;
mod served;

use std::path::Path;
use std::time::{Duration, Instant};

use client::{Connection, Times, as_fast_as_possible, at_a_rate, delivery, get};
use levain_actions::forge::webhook::Sender;
use levain_server::Database;
use levain_server::database::DatabaseUrl;
use levain_server::projects::{Added, NewProject};
use served::Served;
use sqlx::{Connection as _, Executor};
use tokio::io::AsyncWriteExt;

/// Bytes of a body.
const BODY: usize = 8 * 1024;
/// How many connections deliver at a time.
const CLIENTS: usize = 64;
/// What fits into the database of a busy server.
const PROJECTS: u32 = 20;
/// How many are delivered at a rate, and how many a second.
const PACED: usize = 5_000;
const RATE: u32 = 1_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much is done.
struct Amounts {
    deliveries: usize,
    burst: usize,
    runs: u32,
    slow: usize,
    bad: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, url] = arguments.as_slice()
        && first == "serve"
    {
        return served::serve(url).await;
    }
    if let [first, port, hook, count] = arguments.as_slice()
        && first == "attack"
    {
        return attack::attack(port.parse()?, hook, count.parse()?).await;
    }
    let amount = |name: &str, default: usize| -> Result<usize, Failure> {
        let found = arguments.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix('='));
        Ok(found.map(str::parse).transpose()?.unwrap_or(default))
    };
    let amounts = Amounts {
        deliveries: amount("deliveries", 10_000)?,
        burst: amount("burst", 5_000)?,
        runs: u32::try_from(amount("runs", 1_000_000)?)?,
        slow: amount("slow", 1_000)?,
        bad: amount("bad", 1_000_000)?,
    };
    let directory = tempfile::tempdir()?;
    let url = DatabaseUrl::file(&directory.path().join("levain.sqlite"))?;
    let text = format!("sqlite:{}", directory.path().join("levain.sqlite").display());
    let added = prepare(&url, &text, amounts.runs).await?;
    println!("{:52} {:>22}  {:22} load", "", "measured", "goal");
    measure(&amounts, &text, directory.path(), &added).await
}

/// Prints a row.
fn row(what: &str, measured: String, goal: &str) -> Result<(), Failure> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    println!("{what:52} {measured:>22}  {goal:22} {load}");
    Ok(())
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

async fn measure(
    amounts: &Amounts,
    url: &str,
    directory: &Path,
    added: &Added,
) -> Result<(), Failure> {
    let bare = bare::one_by_one(directory, amounts.deliveries, BODY).await?;
    row("bare commits of 8 KiB, one after the other", format!("{bare:.0} /s"), "")?;
    let limit = bare::grouped(directory, PACED, RATE, BODY).await?;
    let shown = format!("{:.1} ms (p50 {:.1})", limit.at(990), limit.at(500));
    row("bare commits of what is there, 1000/s: p99", shown, "")?;
    let served = Served::start(url)?;
    let target = &served.target;
    let ready = format!("{:.2} s", served.ready.as_secs_f64());
    row(&format!("ready with {} runs", amounts.runs), ready, "5 s")?;

    let (times, took) =
        as_fast_as_possible(target, parcels(added, "fast", amounts.deliveries), CLIENTS, 202)
            .await?;
    let rate = per_second(times.len(), took);
    row(&format!("deliveries of 8 KiB, {CLIENTS} at a time"), format!("{rate:.0} /s"), "1000 /s")?;
    row("  beside bare commits", format!("{:.2}", rate / bare), "")?;
    row("  acknowledged, p99", format!("{:.1} ms", times.at(990)), "")?;
    paced(&served, added, "1000 deliveries/s: acknowledged, p99", "paced", "25 ms").await?;
    let mut evaluations = evaluations::start()?;
    let what = format!("the same while {} evaluations run", evaluations.count()?);
    paced(&served, added, &what, "evaluated", "50 ms").await?;
    evaluations.count()?;
    drop(evaluations);

    let burst = parcels(added, "burst", amounts.burst);
    let (times, took) = as_fast_as_possible(target, burst, amounts.burst.min(2_000), 202).await?;
    let all = format!("{:.2} s, {} of 2xx", took.as_secs_f64(), times.len());
    row(&format!("a burst of {}", amounts.burst), all, "5 s")?;

    read(&served, amounts.runs).await?;
    hostile(&served, amounts, added).await
}

/// Measures how long acknowledgements take at a rate that the server must bear.
async fn paced(
    served: &Served,
    added: &Added,
    what: &str,
    name: &str,
    goal: &str,
) -> Result<(), Failure> {
    let times = at_a_rate(&served.target, parcels(added, name, PACED), RATE, 202).await?;
    let shown = format!("{:.1} ms (p50 {:.1})", times.at(990), times.at(500));
    row(what, shown, goal)
}

fn parcels(added: &Added, name: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| delivery(added, &format!("{name}-{number}"), BODY)).collect()
}

/// Measures what is read of a large database.
async fn read(served: &Served, runs: u32) -> Result<(), Failure> {
    let (before, mut connection) = (served.memory()?, Connection::open(&served.target).await?);
    let number = u64::from(runs.max(1));
    let paths =
        [("/api/v1/projects", 0), ("/api/v1/projects/p7/runs", 0), ("/api/v1/runs/", number)];
    for (path, last) in paths {
        let mut times = Vec::new();
        for turn in 0..300 {
            let path = match last {
                0 => path.to_owned(),
                // All over the table.
                last => format!("{path}{}", turn * 7919 % last + 1),
            };
            let request = get(&path);
            let began = Instant::now();
            let (status, _) = connection.ask(&request).await?;
            times.push(began.elapsed());
            if status != 200 {
                return Err(format!("{path} answered {status}").into());
            }
        }
        let times = Times::new(times);
        row(&format!("GET {path}, p95"), format!("{:.1} ms", times.at(950)), "50 ms")?;
    }
    let grown = format!("{} to {} MiB", before, served.memory()?);
    row("  memory meanwhile", grown, "flat")
}

/// Measures deliveries while others take connections and time.
async fn hostile(served: &Served, amounts: &Amounts, added: &Added) -> Result<(), Failure> {
    let before = served.memory()?;
    let mut slow = Vec::new();
    for _ in 0..amounts.slow {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", served.target.port)).await?;
        let head = format!(
            "POST /hooks/{} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{",
            added.hook.as_str()
        );
        stream.write_all(head.as_bytes()).await?;
        slow.push(stream);
    }
    let what = format!("the same with {} slow clients", amounts.slow);
    paced(served, added, &what, "slow", "25 ms").await?;
    drop(slow);

    let began = Instant::now();
    let mut attack = attack::start(served.target.port, added.hook.as_str(), amounts.bad)?;
    paced(served, added, "the same among bad signatures", "among", "25 ms").await?;
    // It says how many were refused, and fails if one was not.
    let sent = tokio::task::spawn_blocking(move || attack.end()).await??;
    let rate = per_second(sent, began.elapsed());
    row(&format!("{sent} bad signatures refused"), format!("{rate:.0} /s"), "")?;
    let grown = format!("{} to {} MiB", before, served.memory()?);
    row("  memory meanwhile", grown, "flat")
}

/// Makes a database as a busy server has it after a while; returns the project that is delivered for.
async fn prepare(url: &DatabaseUrl, text: &str, runs: u32) -> Result<Added, Failure> {
    let database = Database::open(url).await?;
    let new = |name: String| NewProject::new(name, Sender::DEFAULT, "https://example.org/o/r");
    let added = database.add_project(new("delivered".to_owned())).await?;
    for number in 0..PROJECTS {
        database.add_project(new(format!("p{number}"))).await?;
    }
    database.close().await;
    let mut connection = sqlx::AnyConnection::connect(text).await?;
    connection.execute("PRAGMA synchronous = OFF").await?;
    let insert = format!(
        "INSERT INTO runs (project, jobset, commit_id, state, rank, created_at, started_at, ended_at,
             attempts, summary, report, trust)
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {runs})
         SELECT n % {PROJECTS} + 2, 'heads/b' || (n % 997), printf('%040x', n),
             CASE n % 5 WHEN 0 THEN 'failed' WHEN 1 THEN 'superseded' ELSE 'succeeded' END,
             2, n * 1000, n * 1000 + 1, n * 1000 + 900, 1, '12 fresh, 3 clean', NULL, 'branch'
         FROM numbers"
    );
    connection.execute(sqlx::AssertSqlSafe(insert)).await?;
    connection.close().await?;
    Ok(added)
}
