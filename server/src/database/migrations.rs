//! The steps by which tables come to their present form, for each kind of database. They only go forward.
//!
//! Adding one is adding a file for each kind, a line here, and sample rows for the tests: see
//! `tests/it/migrations.rs`.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::Kind;

/// The steps: what each is called, for SQLite and for PostgreSQL.
const STEPS: &[(&str, &str, &str)] = &[
    (
        "deliveries",
        include_str!("../../migrations/sqlite/0001_deliveries.sql"),
        include_str!("../../migrations/postgres/0001_deliveries.sql"),
    ),
    (
        "runs",
        include_str!("../../migrations/sqlite/0002_runs.sql"),
        include_str!("../../migrations/postgres/0002_runs.sql"),
    ),
    (
        "serving",
        include_str!("../../migrations/sqlite/0003_serving.sql"),
        include_str!("../../migrations/postgres/0003_serving.sql"),
    ),
    (
        "looks",
        include_str!("../../migrations/sqlite/0004_looks.sql"),
        include_str!("../../migrations/postgres/0004_looks.sql"),
    ),
    (
        "approvals",
        include_str!("../../migrations/sqlite/0005_approvals.sql"),
        include_str!("../../migrations/postgres/0005_approvals.sql"),
    ),
    (
        "held",
        include_str!("../../migrations/sqlite/0006_held.sql"),
        include_str!("../../migrations/postgres/0006_held.sql"),
    ),
    (
        "pages",
        include_str!("../../migrations/sqlite/0007_pages.sql"),
        include_str!("../../migrations/postgres/0007_pages.sql"),
    ),
    (
        "statuses",
        include_str!("../../migrations/sqlite/0008_statuses.sql"),
        include_str!("../../migrations/postgres/0008_statuses.sql"),
    ),
    (
        "people",
        include_str!("../../migrations/sqlite/0009_people.sql"),
        include_str!("../../migrations/postgres/0009_people.sql"),
    ),
    (
        "jobsets",
        include_str!("../../migrations/sqlite/0010_jobsets.sql"),
        include_str!("../../migrations/postgres/0010_jobsets.sql"),
    ),
    (
        "numbers",
        include_str!("../../migrations/sqlite/0011_numbers.sql"),
        include_str!("../../migrations/postgres/0011_numbers.sql"),
    ),
    (
        "apps",
        include_str!("../../migrations/sqlite/0012_apps.sql"),
        include_str!("../../migrations/postgres/0012_apps.sql"),
    ),
    (
        "app_deliveries",
        include_str!("../../migrations/sqlite/0013_app_deliveries.sql"),
        include_str!("../../migrations/postgres/0013_app_deliveries.sql"),
    ),
    (
        "checks",
        include_str!("../../migrations/sqlite/0014_checks.sql"),
        include_str!("../../migrations/postgres/0014_checks.sql"),
    ),
    (
        "merges",
        include_str!("../../migrations/sqlite/0015_merges.sql"),
        include_str!("../../migrations/postgres/0015_merges.sql"),
    ),
    (
        "tags",
        include_str!("../../migrations/sqlite/0016_tags.sql"),
        include_str!("../../migrations/postgres/0016_tags.sql"),
    ),
    (
        "bodies",
        include_str!("../../migrations/sqlite/0017_bodies.sql"),
        include_str!("../../migrations/postgres/0017_bodies.sql"),
    ),
    (
        "records",
        include_str!("../../migrations/sqlite/0018_records.sql"),
        include_str!("../../migrations/postgres/0018_records.sql"),
    ),
    (
        "repositories",
        include_str!("../../migrations/sqlite/0019_repositories.sql"),
        include_str!("../../migrations/postgres/0019_repositories.sql"),
    ),
    (
        "wishes",
        include_str!("../../migrations/sqlite/0020_wishes.sql"),
        include_str!("../../migrations/postgres/0020_wishes.sql"),
    ),
    (
        "names",
        include_str!("../../migrations/sqlite/0021_names.sql"),
        include_str!("../../migrations/postgres/0021_names.sql"),
    ),
    (
        "outages",
        include_str!("../../migrations/sqlite/0022_outages.sql"),
        include_str!("../../migrations/postgres/0022_outages.sql"),
    ),
];

/// How many steps this levain knows, which is the version of its tables.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// Returns all steps for a kind of database.
pub(super) fn all(kind: Kind) -> Migrator {
    let steps = (1..).zip(STEPS).map(|(number, (name, sqlite, postgres))| {
        let text = match kind {
            Kind::Sqlite => *sqlite,
            Kind::Postgres => *postgres,
        };
        let text = AssertSqlSafe(text).into_sql_str();
        Migration::new(number, (*name).into(), MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(steps.collect())
}
