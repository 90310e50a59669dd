//! Each step by which tables come to their present form is taken with rows in the tables that were there before.

use levain_server::deliveries::{Kept, NewDelivery};
use levain_server::reconcile::Head;
use sqlx::{Connection, Executor, Row};

use crate::support::{GITHUB, TestDatabase, databases, note, now, project};

/// Rows for the tables that the step of that number made, to be kept by all later ones.
const SAMPLES: &[&str] = &[
    "
    INSERT INTO projects (hook, name, forge, url, created_at) VALUES ('h', 'n', 'github', 'u', 1);
    INSERT INTO webhook_secrets (project, secret, created_at) VALUES (1, '0123456789abcdef', 1);
    INSERT INTO deliveries (project, key, received_at, event, body, state)
        VALUES (1, 'k', 1, 'push', '{}', 'waiting');
",
    "
    INSERT INTO heads (project, jobset, commit_id, seen_at)
        VALUES (1, 'heads/main', '0000000000000000000000000000000000000001', 1);
    INSERT INTO runs (project, jobset, commit_id, state, rank, created_at)
        VALUES (1, 'heads/main', '0000000000000000000000000000000000000001', 'queued', 2, 1);
",
    "
    INSERT INTO projects (hook, name, forge, url, created_at, token_file, pull_requests)
        VALUES ('i', 'o', 'git', 'v', 1, '/t', 'all');
    INSERT INTO settings (name, value) VALUES ('public-url', 'https://ci.example.org');
    UPDATE runs SET report = '{\"jobs\":[]}', notices = '[]';
",
    "
    UPDATE projects SET looked_at = 1, look_failed = 'nobody answers';
",
    "
    UPDATE projects SET pull_requests = 'approved';
    INSERT INTO heads (project, jobset, commit_id, seen_at, trust)
        VALUES (1, 'pull/7', '0000000000000000000000000000000000000002', 1, 'fork');
    INSERT INTO runs (project, jobset, commit_id, state, rank, created_at, trust)
        VALUES (1, 'pull/7', '0000000000000000000000000000000000000002', 'unapproved', 1, 1, 'fork');
    INSERT INTO approvals (project, jobset, commit_id, way, approver, approved_at, expires_at)
        VALUES (1, 'pull/7', '0000000000000000000000000000000000000001', 'comment', 'ann (5)', 1, 2);
",
    "
    UPDATE runs SET state = 'superseded', owner = 'o', leased_until = 1 WHERE id = 1;
",
    "
    UPDATE projects SET default_branch = 'main';
",
    "
    INSERT INTO statuses (project, commit_id, slot, run, attempt, context, state, description,
            sequence, sending, not_before)
        VALUES (1, '0000000000000000000000000000000000000001', 'levain', 1, 0, 'levain', 'pending',
            'evaluating', 1, 'due', 1);
    UPDATE projects SET telling = '{\"texts\":{}}', held_until = 1;
    UPDATE runs SET begun = 1;
",
    "
    INSERT INTO sign_in_forges (kind, url, client_id, secret_file, created_at)
        VALUES ('gitea', 'https://git.example.org', 'c', '/s', 1);
    INSERT INTO people (forge, account, login, created_at) VALUES (1, 5, 'ann', 1);
    INSERT INTO people (login, created_at) VALUES ('operator', 1);
    INSERT INTO sessions (cookie, person, created_at, expires_at) VALUES ('h', 1, 1, 2);
    INSERT INTO operator_links (link, expires_at) VALUES ('h', 2);
    INSERT INTO sign_ins (state, browser, forge, verifier, next, expires_at)
        VALUES ('h', 'h', 1, 'v', '/', 2);
    INSERT INTO api_tokens (name, secret, scope, project, created_at, expires_at)
        VALUES ('t', 'h', 'read', 1, 1, 2);
    UPDATE projects SET is_public = 1;
    UPDATE runs SET author = 5;
    UPDATE heads SET author = 5;
",
    "
    INSERT INTO runs (project, jobset, commit_id, state, rank, created_at, trust, owner, leased_until)
        VALUES (1, 'heads/other', '0000000000000000000000000000000000000003', 'running', 2, 1, 'branch', 'o', 1);
",
    "
    INSERT INTO projects (hook, name, forge, url, created_at) VALUES ('j', 'p', 'git', 'w', 1);
",
    "
    INSERT INTO apps (hook, name, forge, url, number, private_key, webhook_secret, created_at)
        VALUES ('a', 'levain', 'github', 'https://github.com', 5, 'k', '0123456789abcdef', 1);
    UPDATE projects SET app = 1, repository = 7, installation = 9 WHERE id = 1;
",
    "
    INSERT INTO app_deliveries (app, key, received_at, event, body, digest, state)
        VALUES (1, 'k', 1, 'push', '{}', 'd', 'waiting');
    INSERT INTO app_departures (state, person, forge, url, hook, expires_at)
        VALUES ('h', 2, 'github', 'https://github.com', 'b', 1);
    UPDATE apps SET follows = 1;
",
    "
    UPDATE statuses SET details = '{\"text\":\"t\"}', check_id = 3, check_open = 1;
    INSERT INTO approvals (project, jobset, commit_id, way, approver, approved_at, expires_at)
        VALUES (1, 'pull/7', '0000000000000000000000000000000000000001', 'button', 'ann (5)', 1, 2);
",
    "
    UPDATE projects SET merge = 'head';
    UPDATE heads SET base = 'main' WHERE jobset = 'pull/7';
    INSERT INTO runs (project, jobset, commit_id, state, rank, created_at, trust, base, base_commit)
        VALUES (1, 'pull/7', '0000000000000000000000000000000000000002', 'conflict', 1, 1, 'fork', 'main',
            '0000000000000000000000000000000000000001');
",
    "
    UPDATE projects SET tags = 'v*', tags_noted = 1, schedule = '03:00', scheduled = 20000;
    INSERT INTO heads (project, jobset, commit_id, seen_at, trust)
        VALUES (1, 'tags/v1', '0000000000000000000000000000000000000001', 1, 'branch');
",
    "
    INSERT INTO deliveries (project, key, received_at, event, state) VALUES (1, 'l', 1, 'push', 'waiting');
    INSERT INTO delivery_bodies (delivery, body) SELECT id, '{}' FROM deliveries WHERE key = 'l';
",
    "
    INSERT INTO repositories (url) VALUES ('u');
    INSERT INTO successes (repository, base, maker, job, built, outputs, commit_id, made_at, tier, cache, entry)
        VALUES (1, 'prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv', 'pull/7', 'app',
            '/nix/store/qrwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv', '[]',
            '0000000000000000000000000000000000000002', 1, 'fork', 'entry', '{ }'),
        (1, 'prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv', '', 'app',
            '/nix/store/prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv', '[]',
            '0000000000000000000000000000000000000002', 1, 'fork', 'none', NULL);
    INSERT INTO dropped_caches (repository, name, kind, jobset, job, dropped_until, commit_id)
        VALUES (1, 'a', 'until', '*', NULL, 1, NULL),
        (1, 'b', 'off', 'pull/7', 'app', NULL, '0000000000000000000000000000000000000002');
    INSERT INTO cache_keys (repository, key, document) VALUES (1, 'k', '[]');
    INSERT INTO taken_over (part, repository) VALUES ('p', 1);
",
    "
    UPDATE projects SET other_repository = 8 WHERE id = 1;
",
    "
    INSERT INTO wishes (project, wish, delivery, asked_at) VALUES (1, 'comment 5 of 7', 1, 1);
",
    "
    UPDATE repositories SET name = 'u' WHERE url = 'u';
",
    "
    UPDATE runs SET put_off = 1, put_off_until = 1, lost_by = '<o>';
",
];

/// Returns the rows of a step as a kind of database takes them.
fn sample(test: &TestDatabase, rows: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(match test.text.starts_with("sqlite") {
        // A blob is not a text there.
        true => rows.replace("'{}'", "x'7b7d'"),
        false => rows.to_owned(),
    })
}

/// The steps are those of the files, in order.
fn steps(test: &TestDatabase) -> Vec<String> {
    let kind = if test.text.starts_with("sqlite") { "sqlite" } else { "postgres" };
    let mut files: Vec<_> = std::fs::read_dir(format!("migrations/{kind}"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

async fn count(connection: &mut sqlx::AnyConnection, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    connection.fetch_one(count).await.unwrap().try_get(0).unwrap()
}

#[tokio::test]
async fn each_step_keeps_the_rows_that_were_there() {
    for test in databases().await {
        let mut connection = test.connect().await;
        let steps = steps(&test);
        assert_eq!(steps.len(), SAMPLES.len(), "each step has rows");
        for (step, rows) in steps.into_iter().zip(SAMPLES) {
            let mut transaction = connection.begin().await.unwrap();
            transaction.execute(sqlx::AssertSqlSafe(step)).await.unwrap();
            transaction.commit().await.unwrap();
            connection.execute(sample(&test, rows)).await.unwrap();
        }
        for (table, rows) in [
            ("projects", 3),
            ("webhook_secrets", 1),
            ("deliveries", 2),
            ("delivery_bodies", 2),
            ("heads", 3),
            ("runs", 4),
            ("approvals", 2),
            ("apps", 1),
            ("app_deliveries", 1),
            ("statuses", 1),
            ("people", 2),
            ("api_tokens", 1),
            ("repositories", 1),
            ("successes", 2),
            ("dropped_caches", 2),
            ("cache_keys", 1),
            ("taken_over", 1),
        ] {
            assert_eq!(count(&mut connection, table).await, rows, "{table}");
        }
        if test.text.starts_with("sqlite") {
            let found = connection.fetch_all("PRAGMA integrity_check").await.unwrap();
            assert_eq!(found[0].try_get::<String, _>(0).unwrap(), "ok");
            assert!(connection.fetch_all("PRAGMA foreign_key_check").await.unwrap().is_empty());
        }
        // What belongs to a project still goes with it.
        connection.execute("DELETE FROM projects").await.unwrap();
        for table in ["runs", "deliveries", "delivery_bodies", "statuses", "heads"] {
            assert_eq!(count(&mut connection, table).await, 0, "{table}");
        }
        // What is remembered of its repository does not: nothing that was dropped comes back with another project.
        assert_eq!(count(&mut connection, "dropped_caches").await, 2);
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn no_number_is_given_out_twice() {
    for test in databases().await {
        let database = test.open().await;
        let mut last = None;
        for _ in 0..3 {
            let id = project(&database, "p", GITHUB).await.id;
            let main = Head::branch("0000000000000000000000000000000000000001".parse().unwrap());
            let heads = [("heads/main".parse().unwrap(), main)];
            let run = note(&database, id, heads.into_iter().collect()).await.queued[0];
            let new = NewDelivery {
                project: id,
                key: "k".to_owned(),
                received_at: now(),
                event: None,
                body: b"{}".to_vec(),
            };
            let Kept::New(delivery) = database.keep_delivery(new).await.unwrap() else {
                panic!("it is known")
            };
            let numbers = (id, run, delivery.number());
            if let Some((before_id, before_run, before_delivery)) = last {
                assert_ne!(id, before_id);
                assert!(run > before_run, "{run:?} after {before_run:?}");
                assert!(delivery.number() > before_delivery, "{delivery:?}");
            }
            last = Some(numbers);
            assert!(database.remove_project(id).await.unwrap());
        }
    }
}

#[tokio::test]
async fn an_up_to_date_database_stays_as_it_is() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "p", GITHUB).await.id;
        let new = NewDelivery {
            project: id,
            key: "k".to_owned(),
            received_at: now(),
            event: None,
            body: b"{}".to_vec(),
        };
        database.keep_delivery(new).await.unwrap();
        database.close().await;
        let database = test.open().await;
        let waiting = database.waiting_deliveries(10).await.unwrap();
        assert_eq!(waiting.len(), 1);
        assert_eq!((waiting[0].key.as_str(), waiting[0].body.as_slice()), ("k", &b"{}"[..]));
        database.close().await;
        let mut connection = test.connect().await;
        let steps = connection.fetch_one("SELECT COUNT(*) FROM _sqlx_migrations").await.unwrap();
        assert_eq!(steps.try_get::<i64, _>(0).unwrap(), i64::try_from(SAMPLES.len()).unwrap());
    }
}

/// Older versions can lose what was written while the log was reset.
#[tokio::test]
async fn sqlite_is_new_enough() {
    let mut connection = databases().await[0].connect().await;
    let row = connection.fetch_one("SELECT sqlite_version()").await.unwrap();
    let version: String = row.try_get(0).unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    assert!(numbers.as_slice() >= &[3, 51, 3], "{version}");
}

#[tokio::test]
async fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("levain.sqlite");
    let url = levain_server::database::DatabaseUrl::file(&file).unwrap();
    let database = levain_server::Database::open(&url).await.unwrap();
    crate::support::project(&database, "p", crate::support::GITHUB).await;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{entry:?}");
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused_by_name() {
    for text in ["", "sqlite:", "mysql://x", "/path", "sqlite:/a?mode=ro"] {
        let error = text.parse::<levain_server::database::DatabaseUrl>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is no database")), "{error}");
    }
    let missing: levain_server::database::DatabaseUrl =
        "postgres://someone:secret-word@%2Fnowhere/x".parse().unwrap();
    let Err(error) = levain_server::Database::open(&missing).await else { panic!("it opened") };
    assert!(!error.to_string().contains("secret-word"), "{error}");
    assert!(!format!("{missing:?}").contains("secret-word"));
}
