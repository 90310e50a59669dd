//! How long an engine waits for a database that is away: for seconds, so that those end nothing.

use std::future::Future;
use std::time::Duration;

use crate::database::DatabaseError;
use crate::runs::LEASE;

/// How long to wait before the first further try; doubled before each one after it.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait that the doubling leads to.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Returns how long to wait before each further try: less than a lease in all, for a run that waited longer has lost its
/// own.
pub(super) fn waits() -> impl Iterator<Item = Duration> {
    let each = std::iter::successors(Some(FIRST_WAIT), |wait| {
        Some(wait.saturating_mul(2).min(LONGEST_WAIT))
    });
    let mut waited = Duration::ZERO;
    each.take_while(move |wait| {
        waited += *wait;
        waited < LEASE
    })
}

/// Does something that may be done twice, until the database answers. What it refuses is refused at once.
pub(super) async fn patient<T, F: Future<Output = Result<T, DatabaseError>>>(
    mut waits: impl Iterator<Item = Duration>,
    work: impl Fn() -> F,
) -> Result<T, DatabaseError> {
    loop {
        let error = match work().await {
            Err(error) if error.may_pass() => error,
            result => return result,
        };
        let Some(wait) = waits.next() else { return Err(error) };
        tracing::warn!(%error, "waiting for the database");
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn waits_grow_and_are_over_before_a_lease() {
        let all: Vec<Duration> = waits().collect();
        assert_eq!(all[..3], [50, 100, 200].map(Duration::from_millis));
        assert!(all.is_sorted() && *all.last().unwrap() == LONGEST_WAIT);
        let sum: Duration = all.iter().sum();
        assert!(sum < LEASE && sum + LONGEST_WAIT >= LEASE, "{sum:?}");
    }

    #[tokio::test]
    async fn an_outage_is_waited_for_and_a_refusal_is_not() {
        for (may_pass, answers_at, expected) in
            [(true, 3, Ok(3)), (true, 9, Err(4)), (false, 3, Err(1))]
        {
            let tries = Cell::new(0);
            let work = || async {
                tries.set(tries.get() + 1);
                let message = "no".to_owned();
                match may_pass {
                    _ if tries.get() == answers_at => Ok(tries.get()),
                    true => Err(DatabaseError::Away { message }),
                    false => Err(DatabaseError::Commit { message }),
                }
            };
            let found = patient([Duration::ZERO; 3].into_iter(), work).await;
            assert_eq!(found.map_err(|_refused| tries.get()), expected, "{may_pass} {answers_at}");
        }
    }
}
