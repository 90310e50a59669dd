//! Simulations: what several servers decide about one database, with everything made up but the decisions.
//!
//! `simulated.rs` is the world, `model.rs` its tables. `LEVAIN_SIMULATIONS` says how many seeds are tried;
//! `LEVAIN_TEST_SEED` repeats one.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]

mod agreement;
mod forge;
mod model;
mod serving;
mod simulated;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod support;

use simulated::World;

/// Reads a number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_happens_the_last_heads_are_built_and_nothing_gets_stuck() {
    let count = number("LEVAIN_SIMULATIONS").unwrap_or(500);
    let first = number("LEVAIN_TEST_SEED");
    let seeds = match first {
        Some(seed) => seed..seed + 1,
        None => {
            let first = fastrand::u64(..1 << 40);
            first..first + count
        }
    };
    println!("seeds {seeds:?}");
    let (mut events, mut runs) = (0, 0);
    for seed in seeds {
        let simulated = std::panic::catch_unwind(|| World::new(seed).live());
        let lived = simulated
            .unwrap_or_else(|_panic| panic!("to repeat it: scripts/simulate-server --seed {seed}"));
        events += lived.events;
        runs += lived.runs;
    }
    println!("{events} events, {runs} runs");
    assert!(runs > 0, "nothing ran");
}
