//! What can go wrong with a server, each with its cause and what to do about it: what its database tells.
//!
//! What its machine tells is found out by those who know the machine: `levain doctor`.

use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::Row;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};

/// A commit that takes longer makes deliveries wait.
const SLOW_COMMIT: Duration = Duration::from_millis(500);
/// How long a delivery or a run may wait without that being strange.
const LONG: Duration = Duration::from_secs(30 * 60);
/// How far ahead a time may be that was noted here.
const AHEAD: Duration = Duration::from_secs(60);
/// How long an exchange of secrets takes at most.
const EXCHANGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// All is well.
    Good,
    /// It works, and may not for long.
    Doubtful,
    /// Something does not work.
    Bad,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What to do, if something is to be done.
    pub fix: Option<String>,
}

impl Finding {
    /// Says that all is well.
    pub fn good(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), severity: Severity::Good, found: found.into(), fix: None }
    }

    /// Says that something works, and may not for long.
    pub fn doubtful(
        check: impl Into<String>,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let severity = Severity::Doubtful;
        Self { check: check.into(), severity, found: found.into(), fix: Some(fix.into()) }
    }

    /// Says that something does not work.
    pub fn bad(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Bad, ..Self::doubtful(check, found, fix) }
    }
}

/// How many rows there are, and the time of the oldest.
struct Oldest {
    count: i64,
    time: Option<Timestamp>,
}

impl Database {
    /// Checks what the database tells.
    pub async fn examine(&self, now: Timestamp) -> Result<Vec<Finding>, DatabaseError> {
        let began = Instant::now();
        self.try_write().await?;
        let mut found = vec![commit(began.elapsed())];
        found.push(clock(self.newest().await?, now));
        let delivered = self.oldest("received_at", "deliveries WHERE state = 'waiting'").await?;
        found.push(deliveries(&delivered, now));
        let queued = self.oldest("created_at", "runs WHERE state = 'queued'").await?;
        let held = self.oldest("created_at", "runs WHERE owner IS NOT NULL").await?;
        found.push(runs(&queued, held.count, now));
        let url = self.public_url().await?;
        found.push(address(url.as_deref()));
        for project in self.projects().await? {
            let check = format!("project {}", project.name);
            let undecided = self.no_default_branch(&project).await?;
            found.extend(undecided.map(|wrong| {
                let check = format!("default branch of {}", project.name);
                Finding::bad(check, wrong.found(), wrong.hint())
            }));
            found.push(match project.look_failed {
                Some(why) => Finding::bad(
                    check,
                    format!("cannot be looked at: {}", why.lines().next().unwrap_or_default()),
                    format!(
                        "try `git ls-remote {}` as the user that the server runs as, and look at its token",
                        levain_actions::git::masked(&project.url)
                    ),
                ),
                None if project.looked_at.is_none() => {
                    Finding::doubtful(check, "was never looked at", "start `levain serve`")
                }
                None => Finding::good(check, "is looked at"),
            });
            let secrets = format!(
                "webhook_secrets WHERE project = {} AND created_at < {}",
                project.id.0,
                now.before(EXCHANGE).millis()
            );
            if self.oldest("created_at", &secrets).await?.count > 1 {
                found.push(Finding::doubtful(
                    format!("secrets of {}", project.name),
                    "old webhook secrets are still good",
                    format!("levain project secret drop {}", project.name),
                ));
            }
        }
        Ok(found)
    }

    async fn oldest(&self, time: &str, rows: &str) -> Result<Oldest, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*), MIN({time}) FROM {rows}"));
        let row = sqlx::query(text).fetch_one(self.readers()).await?;
        let time = row.try_get::<Option<i64>, _>(1)?.map(Timestamp::from_millis);
        Ok(Oldest { count: row.try_get(0)?, time })
    }

    /// Returns the latest time that was noted when something came.
    async fn newest(&self) -> Result<Option<Timestamp>, DatabaseError> {
        let row = sqlx::query(
            "SELECT MAX(time) FROM (
                 SELECT (SELECT received_at FROM deliveries ORDER BY id DESC LIMIT 1) AS time
                 UNION ALL
                 SELECT (SELECT created_at FROM runs ORDER BY id DESC LIMIT 1) AS time
             ) AS times",
        )
        .fetch_one(self.readers())
        .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(Timestamp::from_millis))
    }
}

fn commit(took: Duration) -> Finding {
    let found = format!("a commit takes {} ms", took.as_millis());
    if took < SLOW_COMMIT {
        return Finding::good("database", found);
    }
    Finding::doubtful(
        "database",
        found,
        "put the database on a faster disk: deliveries wait for it",
    )
}

fn clock(newest: Option<Timestamp>, now: Timestamp) -> Finding {
    match newest {
        Some(time) if time > now.after(AHEAD) => Finding::bad(
            "clock",
            format!("the last thing in the database came {} s from now", seconds(now, time)),
            "set this machine's clock: leases and approvals end by it",
        ),
        Some(_) | None => Finding::good("clock", "nothing in the database is from the future"),
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    (to.millis() - from.millis()) / 1000
}

fn deliveries(waiting: &Oldest, now: Timestamp) -> Finding {
    match waiting.time.filter(|time| time.after(LONG) < now) {
        Some(time) => Finding::bad(
            "deliveries",
            format!("{} wait, the first for {} s", waiting.count, seconds(time, now)),
            "is `levain serve` running? `levain delivery list` shows them, `levain project list` why a project cannot be looked at",
        ),
        None => Finding::good("deliveries", format!("{} wait", waiting.count)),
    }
}

fn runs(queued: &Oldest, held: i64, now: Timestamp) -> Finding {
    let found = format!("{} wait, {held} are under way", queued.count);
    match queued.time.filter(|time| time.after(LONG) < now) {
        Some(_) if held == 0 => Finding::bad(
            "runs",
            format!("{found}, and nobody begins one"),
            "is `levain serve` running?",
        ),
        Some(time) => Finding::doubtful(
            "runs",
            format!("{found}, the first for {} s", seconds(time, now)),
            "give the server more `--workers`, or another server with the same database",
        ),
        None => Finding::good("runs", found),
    }
}

fn address(url: Option<&str>) -> Finding {
    match url {
        None => Finding::doubtful("address", "no server was started yet", "start `levain serve`"),
        Some(url) if url.starts_with("https://") => Finding::good("address", url),
        Some(url) => Finding::doubtful(
            "address",
            format!("{url} is not encrypted"),
            "forges elsewhere need `--public-url https://…`, with a proxy in front that has a certificate",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_says_what_to_do() {
        let now = Timestamp::from_millis(10_000_000_000);
        let oldest = |count, before: u64| Oldest {
            count,
            time: Some(now.before(Duration::from_secs(before))),
        };
        let none = || Oldest { count: 0, time: None };
        for (finding, severity) in [
            (commit(Duration::from_millis(3)), Severity::Good),
            (commit(Duration::from_secs(1)), Severity::Doubtful),
            (clock(None, now), Severity::Good),
            (clock(Some(now.after(Duration::from_secs(59))), now), Severity::Good),
            (clock(Some(now.after(Duration::from_secs(61))), now), Severity::Bad),
            (deliveries(&none(), now), Severity::Good),
            (deliveries(&oldest(3, 60), now), Severity::Good),
            (deliveries(&oldest(3, 3600), now), Severity::Bad),
            (runs(&none(), 0, now), Severity::Good),
            (runs(&oldest(3, 3600), 0, now), Severity::Bad),
            (runs(&oldest(3, 3600), 2, now), Severity::Doubtful),
            (address(None), Severity::Doubtful),
            (address(Some("http://127.0.0.1:8740")), Severity::Doubtful),
            (address(Some("https://ci.example.org")), Severity::Good),
        ] {
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert_eq!(finding.fix.is_some(), severity > Severity::Good, "{finding:?}");
        }
    }
}
