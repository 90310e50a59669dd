//! The server in numbers, as text for Prometheus.
//!
//! Labels name kinds, and forges by their hosts with the number of a login: no project, branch or commit is among them, so
//! that there are never many series and nothing private is told.

use std::fmt::Write;

use sqlx::Row;

use crate::clock::Timestamp;
use crate::counters::Counted;
use crate::database::{Database, DatabaseError};
use crate::logins::{LoginLimit, Standing};
use crate::projects::ProjectId;

/// A metric: its name, its help, and its counters, each with its label.
type Family = (&'static str, &'static str, &'static [(&'static str, Counted)]);

const FAMILIES: &[Family] = &[
    (
        "levain_deliveries_total",
        "Deliveries received",
        &[
            (r#"{outcome="kept"}"#, Counted::DeliveryKept),
            (r#"{outcome="again"}"#, Counted::DeliveryAgain),
            (r#"{outcome="conflict"}"#, Counted::DeliveryConflict),
            (r#"{outcome="refused"}"#, Counted::DeliveryRefused),
            (r#"{outcome="not_kept"}"#, Counted::DeliveryFailed),
        ],
    ),
    (
        "levain_looks_total",
        "Looks at projects",
        &[
            (r#"{outcome="done"}"#, Counted::LookDone),
            (r#"{outcome="failed"}"#, Counted::LookFailed),
        ],
    ),
    ("levain_runs_begun_total", "Runs begun by this server", &[("", Counted::RunBegun)]),
    (
        "levain_runs_ended_total",
        "Runs that this server carried out to an end",
        &[
            (r#"{verdict="succeeded"}"#, Counted::RunSucceeded),
            (r#"{verdict="failed"}"#, Counted::RunFailed),
            (r#"{verdict="errored"}"#, Counted::RunErrored),
            (r#"{verdict="conflict"}"#, Counted::RunConflict),
        ],
    ),
    ("levain_runs_given_back_total", "Runs left to others", &[("", Counted::RunGivenBack)]),
    (
        "levain_runs_put_off_total",
        "Runs that something away kept from being carried out",
        &[("", Counted::RunPutOff)],
    ),
    (
        "levain_runs_taken_over_total",
        "Runs taken from servers that are gone",
        &[("", Counted::RunTakenOver)],
    ),
    ("levain_database_commits_total", "Transactions committed", &[("", Counted::Commit)]),
    ("levain_database_writes_total", "Writes in these transactions", &[("", Counted::Write)]),
];

/// What waits, and since when.
struct Waiting {
    count: i64,
    oldest: Option<i64>,
}

impl Database {
    /// Returns the server in numbers.
    pub async fn metrics(&self) -> Result<String, DatabaseError> {
        let mut text = String::new();
        for (name, help, counters) in FAMILIES {
            describe(&mut text, name, help, "counter");
            for (label, counted) in *counters {
                let value = self.counters().get(*counted);
                line(&mut text, &format!("{name}{label}"), value);
            }
        }
        // Each by an index of its own: there may be a million runs that are over.
        let runs = [
            ("queued", "runs WHERE state = 'queued'"),
            ("running", "runs WHERE owner IS NOT NULL AND state = 'running'"),
            ("unapproved", "runs WHERE state = 'unapproved'"),
        ];
        let mut waiting = Vec::new();
        for (state, rows) in runs {
            waiting.push((state, self.waiting("created_at", rows).await?));
        }
        let deliveries = self.waiting("received_at", "deliveries WHERE state = 'waiting'").await?;
        let now = Timestamp::now().millis();
        let age = |oldest: Option<i64>| oldest.map_or(0, |time| (now - time).max(0) / 1000);
        describe(&mut text, "levain_runs", "Runs that are not over", "gauge");
        for (state, found) in &waiting {
            line(&mut text, &format!(r#"levain_runs{{state="{state}"}}"#), found.count);
        }
        let name = "levain_oldest_run_seconds";
        describe(&mut text, name, "Age of the oldest run that is not over", "gauge");
        for (state, found) in &waiting {
            line(&mut text, &format!(r#"{name}{{state="{state}"}}"#), age(found.oldest));
        }
        let name = "levain_deliveries_waiting";
        describe(&mut text, name, "Deliveries that nothing became of yet", "gauge");
        line(&mut text, name, deliveries.count);
        let name = "levain_oldest_delivery_seconds";
        describe(&mut text, name, "Age of the oldest delivery that waits", "gauge");
        line(&mut text, name, age(deliveries.oldest));
        let failing = self.waiting("looked_at", "projects WHERE look_failed IS NOT NULL").await?;
        let name = "levain_projects_failing";
        describe(&mut text, name, "Projects that could not be looked at last", "gauge");
        line(&mut text, name, failing.count);
        Ok(text)
    }

    async fn waiting(&self, time: &str, rows: &str) -> Result<Waiting, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*), MIN({time}) FROM {rows}"));
        let row = sqlx::query(text).fetch_one(self.readers()).await?;
        Ok(Waiting { count: row.try_get(0)?, oldest: row.try_get(1)? })
    }
}

/// A number that a limit has at a time.
type OfLimit = fn(&Standing, Timestamp) -> Option<u64>;

const LIMITS: &[(&str, &str, OfLimit)] = &[
    ("levain_forge_requests_limit", "Requests that a forge takes", |standing, _| standing.limit),
    ("levain_forge_requests_left", "Requests that are left of them", |standing, _| standing.left),
    ("levain_forge_reset_seconds", "Time until that is reset", |standing, now| {
        standing.resets_at.map(|time| until(time, now))
    }),
    ("levain_forge_silence_seconds", "Time for which a forge asks for silence", |standing, now| {
        Some(standing.silent_until.map_or(0, |time| until(time, now)))
    }),
    ("levain_forge_wait_seconds", "Time for which statuses wait", |standing, now| {
        Some(standing.waits_until.map_or(0, |time| until(time, now)))
    }),
];

/// Returns the limits of forges in numbers, as this server was told. `held` are the projects whose statuses wait.
pub fn of_limits(limits: &[LoginLimit], held: &[(ProjectId, Timestamp)], now: Timestamp) -> String {
    let standing = limits.iter().filter_map(|limit| Some((limit, limit.standing(held, now)?)));
    let standing: Vec<(&LoginLimit, Standing)> = standing.collect();
    let mut text = String::new();
    for (name, help, number) in LIMITS {
        describe(&mut text, name, help, "gauge");
        for (limit, standing) in &standing {
            if let Some(value) = number(standing, now) {
                let (forge, login) = (&limit.forge, limit.login.label());
                line(&mut text, &format!(r#"{name}{{forge="{forge}",login="{login}"}}"#), value);
            }
        }
    }
    text
}

fn until(time: Timestamp, now: Timestamp) -> u64 {
    u64::try_from((time.millis() - now.millis()) / 1_000).unwrap_or(0)
}

fn describe(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string cannot fail.
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").unwrap_or_default();
}

fn line(text: &mut String, series: &str, value: impl std::fmt::Display) {
    writeln!(text, "{series} {value}").unwrap_or_default();
}
