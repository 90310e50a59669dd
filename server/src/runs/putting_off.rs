//! When a run is tried again that something away kept from being carried out, such as the forge: a pure decision.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pages::moment::iso;

/// How long to wait before each further try: about an hour in all.
pub const WAITS: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(25),
    Duration::from_secs(60),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(20 * 60),
];

/// Returns how long a run waits that was put off so often before; nothing if it is given up.
pub fn wait(waits: &[Duration], before: u32) -> Option<Duration> {
    waits.get(usize::try_from(before).ok()?).copied()
}

/// Says when a run is tried again, and why.
pub fn again(until: Timestamp, why: &str) -> String {
    format!("tried again at {}, because {why}", iso(until))
}

/// Says why a run is given up that was put off so often before.
pub fn given_up(before: u32, why: &str) -> String {
    let times = u64::from(before).saturating_add(1);
    format!("{why} ({times} times: run it again when that is mended)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let sum: Duration = WAITS.iter().sum();
        assert!(WAITS.is_sorted());
        assert!((50 * 60..70 * 60).contains(&sum.as_secs()), "{sum:?}");
        let all: Vec<_> = (0..).map_while(|before| wait(&WAITS, before)).collect();
        assert_eq!(all, WAITS);
        assert_eq!(wait(&WAITS, u32::MAX), None);
    }

    #[test]
    fn whoever_reads_it_knows_why_and_what_to_do() {
        let why = "cannot reach `https://git.example.org/o/r`";
        assert_eq!(
            again(Timestamp::from_millis(1_800_000_000_000), why),
            "tried again at 2027-01-15T08:00:00Z, because cannot reach `https://git.example.org/o/r`"
        );
        assert_eq!(
            given_up(8, why),
            "cannot reach `https://git.example.org/o/r` (9 times: run it again when that is mended)"
        );
    }
}
