//! Kills a server with SIGKILL, over and over, at random moments and at named points, and looks what is left.
//!
//! Each kill hits a process of its own with real HTTP, real git repositories and a real database; only evaluating and
//! building is a stand-in ([`served`]). What must hold after each restart is in [`checks`]. `LEVAIN_KILLS` says how many
//! kills there are; a failure prints the command that repeats its world. Times differ from run to run, so a repetition
//! does the same things and kills at the same points, but may miss a race.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]
#![expect(clippy::print_stdout, reason = "a test program says how it went")]

mod built;
mod checks;
mod origin;
mod sent;
mod served;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;

use levain_server::points::Point;
use world::{CYCLES, Kind, World};

const NAME: &str = "a_killed_server_loses_nothing";
/// Seeds of worlds that follow each other differ by this, so that together they go through all points.
const STRIDE: u64 = CYCLES as u64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == "serve"
    {
        return served::serve(rest);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    // As other test programs do: what does not match is left out.
    let is_left_out =
        arguments.iter().any(|argument| !argument.starts_with('-') && !NAME.contains(argument));
    if is_left_out {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 1 filtered out");
        return ExitCode::SUCCESS;
    }
    // Nobody else installs one in this process.
    drop(rustls::crypto::ring::default_provider().install_default());
    match kill_all() {
        Ok(()) => {
            println!("test {NAME} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}\ntest {NAME} ... FAILED");
            println!("\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// How often each point was where a server was killed; nothing: at a random moment.
type Hits = BTreeMap<Option<Point>, u32>;

fn kill_all() -> Result<(), String> {
    let kills = usize::try_from(number("LEVAIN_KILLS").unwrap_or(100)).unwrap();
    let seed = number("LEVAIN_KILL_SEED");
    let only = std::env::var("LEVAIN_KILL_DATABASE").ok();
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| only.as_deref().is_none_or(|only| only == kind.name()))
        .collect();
    let each = kills.div_ceil(kinds.len().max(1));
    let first = seed.unwrap_or_else(|| fastrand::u64(..1 << 40));
    println!("LEVAIN_KILL_SEED={first} LEVAIN_KILLS={kills}");
    // Both at once: each waits for its server most of the time.
    let begin = |kind| std::thread::spawn(move || kill_often(kind, first, each));
    let threads: Vec<_> = kinds.into_iter().map(begin).collect();
    let mut hits = Hits::new();
    for thread in threads {
        let found = thread.join().unwrap()?;
        found.into_iter().for_each(|(point, count)| *hits.entry(point).or_default() += count);
    }
    let total: u32 = hits.values().sum();
    let at_points = hits.keys().flatten().count();
    println!("{total} kills, at {at_points} of {} points:", Point::ALL.len());
    for (point, count) in &hits {
        let name = point.map_or_else(|| "a random moment".to_owned(), |point| format!("{point:?}"));
        println!("{count:6} {name}");
    }
    let missed: Vec<Point> =
        Point::ALL.into_iter().filter(|point| !hits.contains_key(&Some(*point))).collect();
    // How many are come to in time depends on the machine, as long as it is few kills.
    let allowed = if kills >= 1000 { 0 } else { Point::ALL.len() - 20 };
    match seed.is_some() || missed.len() <= allowed {
        true => Ok(()),
        false => Err(format!("nothing was killed at {missed:?}")),
    }
}

/// Kills servers of one kind of database, in one world after the other.
fn kill_often(kind: Kind, first: u64, kills: usize) -> Result<Hits, String> {
    let mut hits = Hits::new();
    for index in 0..kills.div_ceil(CYCLES) {
        let seed = first + index as u64 * STRIDE;
        let living = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { World::new(kind, seed).await.live().await })
        };
        // A thread of its own: whatever it panics with is told with its seed.
        let found = std::thread::spawn(living).join().map_err(|_panic| {
            let name = kind.name();
            format!("hint: scripts/kill-server --database {name} --seed {seed} {CYCLES}")
        })?;
        found.into_iter().for_each(|(point, count)| *hits.entry(point).or_default() += count);
    }
    Ok(hits)
}
