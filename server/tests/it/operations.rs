//! What operators do: exchanging secrets, removing projects, looking at the numbers, keeping a copy.

use std::sync::Arc;

use levain_server::counters::Counted;
use levain_server::database::DatabaseUrl;
use levain_server::http::{self, Readers, Site};
use levain_server::projects::{MOST_SECRETS, ProjectError};
use levain_server::reconcile::Head;
use levain_server::{Database, backup};
use reqwest::StatusCode;
use sqlx::{AnyConnection, Connection as _, Executor as _, Row as _};

use crate::support::{GITHUB, databases, note, now, project};

#[tokio::test]
async fn while_a_secret_is_exchanged_both_are_good() {
    for test in databases().await {
        let database = test.open().await;
        let added = project(&database, "a", GITHUB).await;
        let other = project(&database, "b", GITHUB).await;
        let good = async |hook: &str| database.hooked(hook).await.unwrap().unwrap().secrets.len();
        let new = database.add_webhook_secret(added.id).await.unwrap();
        assert_eq!((new.len(), new == added.secret), (64, false));
        assert_eq!(good(added.hook.as_str()).await, 2);
        for _ in 2..MOST_SECRETS {
            database.add_webhook_secret(added.id).await.unwrap();
        }
        let error = database.add_webhook_secret(added.id).await.unwrap_err();
        assert!(matches!(error, ProjectError::TooManySecrets), "{error}");
        let dropped = database.drop_old_webhook_secrets(added.id).await.unwrap();
        assert_eq!(dropped, MOST_SECRETS as u64 - 1);
        assert_eq!(database.drop_old_webhook_secrets(added.id).await.unwrap(), 0);
        assert_eq!((good(added.hook.as_str()).await, good(other.hook.as_str()).await), (1, 1));
    }
}

fn head(number: u64) -> levain_server::reconcile::Heads {
    let commit = format!("{number:040x}").parse().unwrap();
    [("heads/main".parse().unwrap(), Head::branch(commit))].into()
}

#[tokio::test]
async fn a_project_goes_with_all_that_is_kept_of_it() {
    use levain_server::runs::state::Verdict;
    use levain_server::runs::{Ended, Owner};
    for test in databases().await {
        let database = test.open().await;
        let (a, b) = (project(&database, "a", GITHUB).await, project(&database, "b", GITHUB).await);
        for id in [a.id, b.id] {
            note(&database, id, head(1)).await;
        }
        let other = (b.id, "heads/main".parse().unwrap());
        let run = database.claim_run(Owner::new("o"), now(), &[other]).await.unwrap().unwrap();
        assert!(database.remove_project(a.id).await.unwrap());
        assert!(!database.remove_project(a.id).await.unwrap());
        assert!(database.hooked(a.hook.as_str()).await.unwrap().is_none());
        assert!(!database.renew_run(run.id, Owner::new("o"), now()).await.unwrap());
        let ended = Ended::new(Verdict::Succeeded, "");
        assert!(!database.end_run(run.id, Owner::new("o"), ended).await.unwrap());
        assert_eq!(database.runs(a.id, 9).await.unwrap(), []);
        assert_eq!(database.runs(b.id, 9).await.unwrap().len(), 1);
        let names: Vec<String> =
            database.projects().await.unwrap().into_iter().map(|project| project.name).collect();
        assert_eq!(names, ["b"]);
        project(&database, "a", GITHUB).await;
    }
}

/// Returns what is answered to a user of this machine, or to somebody behind a proxy.
async fn get(database: &Database, path: &str, is_local: bool) -> (StatusCode, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    let site = Site { readers: Readers::Local, ..Site::new(database.clone()) };
    tokio::spawn(http::serve(listener, site, Arc::default()));
    // Another test may have done so already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let request = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
    let request = if is_local { request } else { request.header("via", "1.1 proxy") };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_numbers_tell_what_waits_and_no_name() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "secret-name", GITHUB).await.id;
        note(&database, id, head(0xabcdef)).await;
        let (status, text) = get(&database, "/metrics", true).await;
        assert_eq!(status, StatusCode::OK);
        for line in [
            "levain_runs{state=\"queued\"} 1",
            "levain_runs{state=\"unapproved\"} 0",
            "levain_deliveries_total{outcome=\"kept\"} 0",
            "# TYPE levain_runs gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let commits = database.counters().get(Counted::Commit);
        assert!(commits > 0 && text.contains(&format!("levain_database_commits_total {commits}")));
        for private in ["secret-name", "abcdef", "main"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        // Every series has a help and a kind, as Prometheus reads them.
        let mut described = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => described = rest.split(' ').next().unwrap(),
                None if line.starts_with("# HELP ") => {}
                None => {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    assert_eq!(name.split('{').next(), Some(described), "{line}");
                    assert!(value.parse::<u64>().is_ok(), "{line}");
                }
            }
        }
        assert_eq!(get(&database, "/metrics", false).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_server_is_ready_as_long_as_it_can_write() {
    for test in databases().await {
        let database = test.open().await;
        let ready = (StatusCode::OK, "ready\n".to_owned());
        assert_eq!(get(&database, "/readyz", false).await, ready);
        let mut connection = test.connect().await;
        // Where there is room for nothing, it does not fit either.
        let tried = "SELECT value FROM settings WHERE name = 'tried'";
        let row = connection.fetch_one(tried).await.unwrap();
        assert!(row.try_get::<String, _>(0).unwrap().len() > 60_000);
        if let Some(file) = test.url.path() {
            let elsewhere = file.with_extension("moved");
            std::fs::rename(&file, &elsewhere).unwrap();
            assert_eq!(get(&database, "/readyz", false).await.0, StatusCode::SERVICE_UNAVAILABLE);
            std::fs::rename(&elsewhere, &file).unwrap();
            assert_eq!(get(&database, "/readyz", false).await, ready);
        }
        sqlx::query("DROP TABLE settings").execute(&mut connection).await.unwrap();
        assert_eq!(get(&database, "/readyz", false).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_copy_is_whole_private_and_brought_back() {
    use std::os::unix::fs::PermissionsExt;
    let databases = databases().await;
    let (test, postgres) = (&databases[0], &databases[1]);
    let database = test.open().await;
    project(&database, "before", GITHUB).await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("it's a copy.sqlite");
    backup::save(&test.url, &copy).await.unwrap();
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    let error = backup::save(&test.url, &copy).await.unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    project(&database, "after", GITHUB).await;
    database.close().await;

    let error = backup::restore(&test.url, &copy, backup::Existing::Kept).await.unwrap_err();
    assert!(error.to_string().contains("hint: "), "{error}");
    let aside = backup::restore(&test.url, &copy, backup::Existing::PutAside).await.unwrap();
    let names = async |url: &DatabaseUrl| {
        let database = Database::open(url).await.unwrap();
        let projects = database.projects().await.unwrap();
        database.close().await;
        projects.into_iter().map(|project| project.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&test.url).await, ["before"]);
    let aside = DatabaseUrl::file(&aside.unwrap()).unwrap();
    assert_eq!(names(&aside).await, ["after", "before"]);

    // What is no copy changes nothing.
    let broken = directory.path().join("broken");
    let mut bytes = std::fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    for bytes in [bytes.as_slice(), b"", b"something else"] {
        std::fs::write(&broken, bytes).unwrap();
        let error = backup::restore(&test.url, &broken, backup::Existing::PutAside).await;
        assert!(error.is_err());
        assert_eq!(names(&test.url).await, ["before"]);
    }
    // Nor does one that a newer levain made, which no server could work with; nor is that a riddle for one that finds it.
    let newer = directory.path().join("newer");
    std::fs::copy(&copy, &newer).unwrap();
    let url = DatabaseUrl::file(&newer).unwrap();
    let mut connection =
        AnyConnection::connect(&format!("sqlite:{}?mode=rw", newer.display())).await.unwrap();
    let step = "INSERT INTO _sqlx_migrations SELECT version + 1, description, installed_on, success, checksum,
        execution_time FROM _sqlx_migrations ORDER BY version DESC LIMIT 1";
    connection.execute(step).await.unwrap();
    connection.close().await.unwrap();
    let error = backup::restore(&test.url, &newer, backup::Existing::PutAside).await.unwrap_err();
    assert!(error.to_string().contains("is of a newer levain: its tables have version"), "{error}");
    assert_eq!(names(&test.url).await, ["before"]);
    let error = Database::open(&url).await.err().unwrap().to_string();
    assert!(error.contains("is of a newer levain") && error.contains("hint: install"), "{error}");
    let missing = directory.path().join("missing");
    let error = backup::restore(&test.url, &missing, backup::Existing::PutAside).await;
    assert!(error.is_err() && !missing.exists());
    for error in [
        backup::save(&postgres.url, &directory.path().join("x")).await.unwrap_err(),
        backup::restore(&postgres.url, &copy, backup::Existing::Kept).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("pg_dump"), "{error}");
    }
}
