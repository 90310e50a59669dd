//! When a default branch is built anew though nobody pushed: every so often, or at a time of day, in UTC.
//!
//! A schedule divides time into slots and has one run in each. Which slot was served last is kept, so that a time that
//! passed while no server ran is made up for once, however many passed.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The longest pause between two runs, in days.
const LONGEST: i64 = 366;

/// When something is built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Every so many hours, counted from 1970.
    Hours(i64),
    /// Every so many days, at midnight.
    Days(i64),
    /// Every day at so many minutes past midnight.
    Daily(i64),
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no schedule\nhint: `6h` is every six hours, `7d` every week, `03:00` every day at three, all in UTC"
)]
pub struct ScheduleError {
    /// The text.
    pub text: String,
}

impl Schedule {
    /// Returns the number of the slot that a moment is in. Later slots have higher numbers.
    pub fn slot(self, now: Timestamp) -> i64 {
        let now = now.millis();
        match self {
            Self::Hours(hours) => now.div_euclid(hours.saturating_mul(HOUR).max(HOUR)),
            Self::Days(days) => now.div_euclid(days.saturating_mul(DAY).max(DAY)),
            Self::Daily(minutes) => {
                now.saturating_sub(minutes.saturating_mul(MINUTE)).div_euclid(DAY)
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hours(hours) => write!(f, "{hours}h"),
            Self::Days(days) => write!(f, "{days}d"),
            Self::Daily(minutes) => write!(f, "{:02}:{:02}", minutes / 60, minutes % 60),
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let number = |digits: &str, least: i64, most: i64| {
            let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse::<i64>().ok().filter(|_| is_plain)?;
            (least..=most).contains(&number).then_some(number)
        };
        let found = match (text.strip_suffix('h'), text.strip_suffix('d'), text.split_once(':')) {
            (Some(hours), _, _) => number(hours, 1, LONGEST * 24).map(Self::Hours),
            (_, Some(days), _) => number(days, 1, LONGEST).map(Self::Days),
            (_, _, Some((hour, minute))) if hour.len() == 2 && minute.len() == 2 => {
                let parts = number(hour, 0, 23).zip(number(minute, 0, 59));
                parts.map(|(hour, minute)| Self::Daily(hour * 60 + minute))
            }
            (None, None, _) => None,
        };
        found.ok_or_else(|| ScheduleError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(text: &str, minutes: i64) -> i64 {
        let schedule: Schedule = text.parse().unwrap();
        schedule.slot(Timestamp::from_millis(minutes * MINUTE))
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["1h", "6h", "1d", "7d", "366d", "00:00", "03:00", "23:59"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "h",
            "0h",
            "-1h",
            "+1h",
            "1.5h",
            "8785h",
            "0d",
            "367d",
            "6",
            "6m",
            "3:00",
            "03:0",
            "24:00",
            "03:60",
            "+3:00",
            "03:00:00",
            " 6h",
            "6h ",
            "99999999999999999999h",
            "٣h",
        ] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.to_string().contains("hint: "), "{text}");
        }
    }

    #[test]
    fn a_slot_begins_when_something_is_due() {
        assert_eq!([0, 359, 360, 719, 720].map(|at| slot("6h", at)), [0, 0, 1, 1, 2]);
        let day = 24 * 60;
        assert_eq!(
            [0, 179, 180, day + 179, day + 180].map(|at| slot("03:00", at)),
            [-1, -1, 0, 0, 1]
        );
        assert_eq!([0, 2 * day - 1, 2 * day].map(|at| slot("2d", at)), [0, 0, 1]);
        // However many passed, what comes next is one higher than any before.
        assert!(slot("6h", 100 * day) > slot("6h", day));
        assert_eq!(slot("00:00", 10 * day), slot("1d", 10 * day));
    }
}
