//! Times, durations and sizes, as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::clock::Timestamp;

/// The last second that can be written with four digits for the year.
const LAST: u64 = 253_402_300_799;

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub millis: i64,
    /// As in `2026-01-31T12:00:00Z`.
    pub iso: String,
    /// As in `3 min ago`.
    pub ago: String,
}

impl Moment {
    /// Describes a time as it is seen from another.
    pub fn new(time: Timestamp, now: Timestamp) -> Self {
        Self { millis: time.millis(), iso: iso(time), ago: ago(time, now) }
    }
}

/// Returns a time as in RFC 3339, in UTC.
pub fn iso(time: Timestamp) -> String {
    let seconds = u64::try_from(time.millis() / 1_000).unwrap_or(0).min(LAST);
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.millis().saturating_sub(time.millis()) / 1_000;
    let (count, unit) = match seconds {
        ..5 => return "just now".to_owned(),
        5..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        86_400..5_184_000 => (seconds / 86_400, "d"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "months"),
        _ => (seconds / 31_536_000, "years"),
    };
    format!("{count} {unit} ago")
}

/// Returns how long something took.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    let whole = Duration::try_from_secs_f64(seconds.round()).map_or(u64::MAX, |d| d.as_secs());
    match whole {
        ..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

/// Returns how big something is.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, "B");
    for next in UNITS {
        if whole < 1_000 {
            break;
        }
        (whole, rest, unit) = (whole / 1_000, whole % 1_000 / 100, next);
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{whole}.{rest} {unit}"),
    }
}

/// Returns how long it was from one time to another.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    let millis = u64::try_from(to.millis().saturating_sub(from.millis())).unwrap_or(0);
    duration(Duration::from_millis(millis).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_in_words() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let now = at(1_800_000_000);
        for (seconds, expected) in [
            (-50, "just now"),
            (0, "just now"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7_300, "2 h ago"),
            (86_400 * 3, "3 d ago"),
            (86_400 * 90, "3 months ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(Moment::new(at(1_800_000_000 - seconds), now).ago, expected);
        }
        assert_eq!(iso(now), "2027-01-15T08:00:00Z");
        assert_eq!(iso(Timestamp::from_millis(i64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(iso(Timestamp::from_millis(-1)), "1970-01-01T00:00:00Z");
        for (seconds, expected) in [
            (0.04, "0.0 s"),
            (1.25, "1.2 s"),
            (59.7, "1 min 0 s"),
            (3_700.0, "1 h 1 min"),
            (90_000.0, "1 d 1 h"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
        assert_eq!(between(at(1), at(31)), "30 s");
    }

    #[test]
    fn sizes_in_words() {
        let shown = [0, 999, 1_000, 48_190_000, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "48.1 MB", "18446744.0 TB"]);
    }
}
