//! What forges say of their limits on requests, in the headers of whatever they answer.
//!
//! Nothing is decided here: who sends decides whether to wait. This is for those who look why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::is_rate_limit;
use crate::status::asked_wait;

/// How long a forge wants silence that does not say how long.
const UNSAID: Duration = Duration::from_secs(60);

/// What a forge said last of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// How many requests it takes until the limit is reset.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: Option<u64>,
    /// When the limit is reset.
    pub resets_at: Option<SystemTime>,
    /// Until when it wants to hear nothing.
    pub blocked_until: Option<SystemTime>,
}

impl Limit {
    /// Reads an answer; nothing if it says nothing of a limit.
    fn read(code: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let with_x = format!("x-ratelimit-{name}");
            let text = headers.get(with_x).or_else(|| headers.get(format!("ratelimit-{name}")))?;
            text.to_str().ok()?.trim().parse().ok()
        };
        let is_silence = is_rate_limit(code, headers, "")
            || (!code.is_success() && headers.contains_key("retry-after"));
        let wait = is_silence.then(|| asked_wait(headers, now).unwrap_or(UNSAID));
        let resets_at = number("reset")
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        let read = Self {
            limit: number("limit"),
            remaining: number("remaining"),
            resets_at,
            blocked_until: wait.and_then(|wait| now.checked_add(wait)),
        };
        (read != Self::default()).then_some(read)
    }

    /// Returns what is known after this was said as well. Some answers tell a part, and silence lasts until it is over:
    /// other requests may be answered meanwhile.
    fn then(self, said: Self) -> Self {
        let is_counted = said.remaining.is_some();
        Self {
            limit: said.limit.or(self.limit),
            remaining: said.remaining.or(self.remaining),
            resets_at: if is_counted { said.resets_at } else { said.resets_at.or(self.resets_at) },
            blocked_until: self.blocked_until.max(said.blocked_until),
        }
    }
}

/// The limits that were heard of, each by the name of whose it is. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Limits(Arc<Mutex<BTreeMap<String, Limit>>>);

impl Limits {
    /// Returns what was heard last of a limit.
    pub fn of(&self, whose: &str) -> Option<Limit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(whose).copied()
    }

    /// Returns who hears what is said of one limit.
    pub fn listener(&self, whose: String) -> LimitListener {
        LimitListener { whose, limits: self.clone() }
    }
}

/// Hears what a forge says of one limit.
#[derive(Clone, Debug)]
pub struct LimitListener {
    whose: String,
    limits: Limits,
}

impl LimitListener {
    /// Hears an answer.
    pub(super) fn hear(&self, code: StatusCode, headers: &HeaderMap) {
        let Some(said) = Limit::read(code, headers, SystemTime::now()) else { return };
        let mut limits = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = limits.entry(self.whose.clone()).or_default();
        *known = known.then(said);
    }
}

/// Two are equal if they hear of the same limit.
impl PartialEq for LimitListener {
    fn eq(&self, other: &Self) -> bool {
        self.whose == other.whose
    }
}

impl Eq for LimitListener {}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(header).collect()
    }

    fn read(code: u16, pairs: &[(&'static str, &str)]) -> Option<Limit> {
        Limit::read(StatusCode::from_u16(code).unwrap(), &headers(pairs), at(1_000))
    }

    #[test]
    fn every_answer_tells_what_is_left() {
        let counted = Limit {
            limit: Some(5_000),
            remaining: Some(4_321),
            resets_at: Some(at(2_000)),
            blocked_until: None,
        };
        for prefix in ["x-ratelimit", "ratelimit"] {
            let [limit, remaining, reset] =
                ["limit", "remaining", "reset"].map(|name| format!("{prefix}-{name}"));
            let pairs = [(limit, "5000"), (remaining, "4321"), (reset, "2000")];
            let named = pairs.iter().map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value))
            });
            let found = Limit::read(StatusCode::OK, &named.collect(), at(1_000));
            assert_eq!(found, Some(counted), "{prefix}");
        }
        for (code, pairs) in [
            (200, &[][..]),
            (404, &[]),
            (200, &[("x-ratelimit-remaining", "many")]),
            (200, &[("x-ratelimit-reset", "99999999999999999999")]),
        ] {
            assert_eq!(read(code, pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn a_refusal_tells_until_when_silence_is_wanted() {
        let blocked = |code, pairs: &[_]| read(code, pairs)?.blocked_until;
        assert_eq!(blocked(429, &[("retry-after", "30")]), Some(at(1_030)));
        assert_eq!(blocked(403, &[("retry-after", "30")]), Some(at(1_030)));
        assert_eq!(blocked(503, &[("retry-after", "30")]), Some(at(1_030)));
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1500")];
        assert_eq!(blocked(403, &used_up), Some(at(1_500)));
        assert_eq!(blocked(429, &[]), Some(at(1_060)));
        // The last request of an hour is answered, and a matter of rights is none of limits.
        assert_eq!(blocked(200, &used_up), None);
        assert_eq!(blocked(403, &[("x-ratelimit-remaining", "7")]), None);
        assert_eq!(blocked(503, &[]), None);
    }

    #[test]
    fn silence_lasts_though_others_are_answered() {
        let limits = Limits::default();
        let (ours, theirs) = (limits.listener("a".into()), limits.listener("b".into()));
        ours.hear(StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", "600")]));
        let until = limits.of("a").unwrap().blocked_until;
        assert!(until.is_some());
        ours.hear(StatusCode::OK, &headers(&[("x-ratelimit-remaining", "12")]));
        let known = limits.of("a").unwrap();
        assert_eq!((known.remaining, known.blocked_until), (Some(12), until));
        assert_eq!(limits.of("b"), None);
        theirs.hear(StatusCode::OK, &headers(&[("x-ratelimit-remaining", "0")]));
        assert_eq!(limits.of("a").unwrap().remaining, Some(12));
        assert!(ours != theirs && ours == limits.listener("a".into()));
    }

    #[test]
    fn a_new_count_goes_with_its_own_reset() {
        let known = Limit { remaining: Some(0), resets_at: Some(at(9)), ..Limit::default() };
        let counted = Limit { remaining: Some(60), limit: Some(60), ..Limit::default() };
        assert_eq!(known.then(counted), counted);
        let blocked = Limit { blocked_until: Some(at(5)), ..Limit::default() };
        assert_eq!(known.then(blocked), Limit { blocked_until: Some(at(5)), ..known });
    }
}
