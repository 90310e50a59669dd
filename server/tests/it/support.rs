//! Databases for tests: a file, and one in a PostgreSQL that runs already.

use levain_actions::forge::ForgeKind;
use levain_actions::forge::webhook::Sender;
use levain_server::database::DatabaseUrl;
use levain_server::projects::{Added, NewProject, ProjectId};
use levain_server::reconcile::Heads;
use levain_server::runs::Noted;
use levain_server::{Database, clock};
use sqlx::{Connection, Executor};
use tempfile::TempDir;

/// A database of one test.
pub(crate) struct TestDatabase {
    pub(crate) url: DatabaseUrl,
    /// The same for sqlx itself.
    pub(crate) text: String,
    _directory: Option<TempDir>,
}

impl TestDatabase {
    pub(crate) async fn open(&self) -> Database {
        Database::open(&self.url).await.unwrap()
    }

    /// Connects past levain, to make what levain would not.
    pub(crate) async fn connect(&self) -> sqlx::AnyConnection {
        sqlx::any::install_default_drivers();
        sqlx::AnyConnection::connect(&self.text).await.unwrap()
    }
}

/// Returns an empty database of each kind.
pub(crate) async fn databases() -> Vec<TestDatabase> {
    let directory = tempfile::tempdir().unwrap();
    // What ends a URL is allowed in a path.
    let file = directory.path().join("a ?#% b.sqlite");
    let url = DatabaseUrl::file(&file).unwrap();
    let escaped = file.display().to_string().replace('%', "%25");
    let escaped = escaped.replace('?', "%3f").replace('#', "%23");
    let text = format!("sqlite:{escaped}?mode=rwc");
    let postgres = postgres().await;
    vec![TestDatabase { url, text, _directory: Some(directory) }, postgres]
}

/// Adds a project of GitHub.
pub(crate) async fn project(database: &Database, name: &str, sender: Sender) -> Added {
    let new = NewProject::new(name, sender, "https://example.org/o/r");
    database.add_project(new).await.unwrap()
}

/// Lists heads and takes note of them, with nobody else doing so.
pub(crate) async fn note(database: &Database, project: ProjectId, heads: Heads) -> Noted {
    let last = database.last_note(project).await.unwrap();
    database.note_heads(project, last, heads).await.unwrap().unwrap()
}

pub(crate) const GITHUB: Sender = Sender::Forge(ForgeKind::GitHub);

pub(crate) fn now() -> clock::Timestamp {
    clock::Timestamp::now()
}

/// Makes a new database in the PostgreSQL that `scripts/test` started.
async fn postgres() -> TestDatabase {
    let server = std::env::var("LEVAIN_TEST_POSTGRES").expect(
        "LEVAIN_TEST_POSTGRES is the address of a PostgreSQL server, without a database; hint: `scripts/with-postgres cargo test -p levain-server`",
    );
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let name = format!("test_{:032x}", fastrand::u128(..));
    let make = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    connection.execute(make).await.unwrap();
    connection.close().await.unwrap();
    let text = format!("{server}/{name}");
    TestDatabase { url: text.parse().unwrap(), text, _directory: None }
}
