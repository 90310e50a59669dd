//! When to try again: our own patience, and what the forge asks for.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

/// How often and how patiently a status is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many requests are made at most; at least one is.
    pub attempts: u32,
    /// How long to wait after the first failure; doubled after each further one.
    pub first_delay: Duration,
    /// The longest wait that the doubling leads to.
    pub max_delay: Duration,
    /// The longest wait that a forge may ask for; a longer one gives the status up.
    ///
    /// A wait that is asked for is never shortened: forges ban those who come back too early.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            patience: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// Returns how long to wait after the given number of failures.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first_delay.saturating_mul(1 << doublings).min(self.max_delay)
    }
}

/// Time, as the client sees it. Tests bring their own and never wait.
pub trait Clock: Debug + Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> SystemTime;
    /// Waits.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Returns how long the forge asks to wait: `Retry-After`, else the time at which a limit that is
/// used up is reset.
pub(crate) fn asked_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(after) = text("retry-after") {
        let wait = match after.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_not_seconds) => httpdate::parse_http_date(after).ok().map(|then| until(then, now)),
        };
        if wait.is_some() {
            return wait;
        }
    }
    // While requests remain, it is another limit that was hit, and this reset is not about it.
    let remaining = text("x-ratelimit-remaining").or_else(|| text("ratelimit-remaining"));
    if remaining.is_some_and(|count| count != "0") {
        return None;
    }
    let reset = text("x-ratelimit-reset").or_else(|| text("ratelimit-reset"))?;
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(reset.parse().ok()?))?;
    // At the very second of the reset the old count may still hold.
    Some(until(then, now).max(Duration::from_secs(1)))
}

fn until(then: SystemTime, now: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_date_is_a_wait_and_what_is_none_says_nothing() {
        let wait = |text| asked_wait(&headers(&[("retry-after", text)]), at(784_111_770));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        for text in ["", "soon", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }

    #[test]
    fn retry_after_goes_before_the_reset() {
        let wait = |pairs: &[_], now| asked_wait(&headers(pairs), at(now)).map(|d| d.as_secs());
        assert_eq!(wait(&[("retry-after", "7"), ("x-ratelimit-reset", "900")], 0), Some(7));
        let date = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(&[date], 784_111_700), Some(77));
        assert_eq!(wait(&[date], 784_111_800), Some(0));
        assert_eq!(wait(&[("x-ratelimit-reset", "900")], 860), Some(40));
        assert_eq!(wait(&[("ratelimit-reset", "900")], 900), Some(1));
        let (used_up, left) = (("x-ratelimit-remaining", "0"), ("x-ratelimit-remaining", "4000"));
        assert_eq!(wait(&[used_up, ("x-ratelimit-reset", "900")], 860), Some(40));
        assert_eq!(wait(&[left, ("x-ratelimit-reset", "900")], 860), None);
        assert_eq!(wait(&[("retry-after", "soon")], 0), None);
        assert_eq!(wait(&[("x-ratelimit-reset", "18446744073709551615")], 0), None);
        assert_eq!(wait(&[], 0), None);
    }

    #[test]
    fn the_backoff_doubles_up_to_its_limit() {
        let policy = RetryPolicy::default();
        let waits = [1, 2, 3, 6, 7, 8, 40, u32::MAX].map(|n| policy.backoff(n).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60, 60]);
    }
}
