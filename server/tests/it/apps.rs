//! Projects that an App looks after: which tokens it is given, when it asks for another, and what is kept of its key.

use levain_actions::forge::{Account, ForgeKind, Reach, Right};
use levain_server::apps::{NewApp, NotAnApp};
use levain_server::forges::Forges;
use levain_server::identity::Found;
use levain_server::logins::Logins;
use levain_server::projects::NewProject;
use serde_json::json;
use tokio::runtime::Handle;

use crate::hub::{APP, Hub, INSTALLATION, SECRET, rsa_key};
use crate::support::{GITHUB, databases};

fn ann() -> Account {
    Account { id: 5, login: "ann".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_one_repository_and_kept_until_shortly_before_its_end() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        hub.known().installed.insert("s".to_owned(), 8);
        let (_, app) = hub.add_app(&database).await;
        let one = hub.project(&database, &app, "r").await;
        let other = hub.project(&database, &app, "s").await;
        let logins = Logins::new(database.clone(), None);
        let token = async |project, reach| {
            logins.token(project, reach).await.unwrap().unwrap().expose().to_owned()
        };
        let read = token(&one, Reach::Read).await;
        assert_eq!(read.len(), 400);
        assert_eq!(token(&one, Reach::Read).await, read);
        assert_eq!(hub.known().given, 1);
        let write = token(&one, Reach::Write).await;
        let others = token(&other, Reach::Read).await;
        assert!(read != write && read != others && write != others);
        {
            let known = hub.known();
            let narrow = json!({ "contents": "read", "metadata": "read", "pull_requests": "read" });
            assert_eq!(known.tokens[&read], ("r".to_owned(), narrow.clone()));
            assert_eq!(known.tokens[&others], ("s".to_owned(), narrow));
            assert_eq!(known.tokens[&write].1["checks"], "write");
        }
        // Whose it is, the forge said.
        let noted = database.project(one.id).await.unwrap().unwrap();
        assert_eq!((noted.repository, noted.installation), (Some(1_296_269), Some(INSTALLATION)));
        // One that ends within five minutes is not used again.
        let logins = Logins::new(database.clone(), None);
        hub.known().lasts = 200;
        let first = logins.token(&one, Reach::Read).await.unwrap().unwrap();
        let second = logins.token(&one, Reach::Read).await.unwrap().unwrap();
        assert_ne!(first.expose(), second.expose());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_taken_any_more_is_exchanged_once() {
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        hub.known().people.insert("ann".to_owned(), (5, "write".to_owned()));
        let (_, app) = hub.add_app(&database).await;
        let project = hub.project(&database, &app, "r").await;
        let forges = Forges { logins: Logins::new(database.clone(), None) };
        assert_eq!(forges.right(&project, &ann()).await.unwrap(), Right::Write);
        assert_eq!(hub.known().given, 1);
        hub.revoke();
        assert_eq!(forges.right(&project, &ann()).await.unwrap(), Right::Write);
        let found = forges.repository(&project).await.unwrap();
        assert!(matches!(found, Found::Known(repository) if !repository.is_public));
        assert_eq!(hub.known().given, 2);
        // Taken out of the installation: neither the old token nor another is good.
        hub.revoke();
        hub.known().installed.clear();
        let error = forges.right(&project, &ann()).await.unwrap_err();
        assert!(error.to_string().contains("the App may not see `o/r`"), "{error}");
        assert!(error.to_string().contains("hint: install it there"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tried_at_its_forge() {
    for test in databases().await {
        let database = test.open().await;
        let (hub, other) = (Hub::new().await, Hub::new().await);
        let (_, app) = hub.add_app(&database).await;
        let logins = Logins::new(database.clone(), None);
        logins.try_app(&app).await.unwrap();
        // A forge that knows another key.
        database.remove_app(&app).await.unwrap();
        let new = NewApp {
            hook: None,
            name: "levain-ci".to_owned(),
            kind: ForgeKind::GitHub,
            url: hub.server.uri(),
            page: None,
            number: APP,
            private_key: other.pem.clone(),
            webhook_secret: None,
        };
        database.add_app(new).await.unwrap();
        let app = database.app_named("levain-ci").await.unwrap().unwrap();
        let error = logins.try_app(&app).await.unwrap_err().to_string();
        assert!(error.contains("does not take the App's key"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_no_good_elsewhere() {
    for test in databases().await {
        let database = test.open().await;
        let (hub, elsewhere) = (Hub::new().await, Hub::new().await);
        let (_, app) = hub.add_app(&database).await;
        let url = format!("{}/o/r", elsewhere.server.uri());
        let new = NewProject { app: Some(app.id), ..NewProject::new("e", GITHUB, url) };
        let id = database.add_project(new).await.unwrap().id;
        let project = database.project(id).await.unwrap().unwrap();
        let logins = Logins::new(database.clone(), None);
        let error = logins.token(&project, Reach::Write).await.unwrap_err();
        assert!(error.to_string().contains("where its App is"), "{error}");
        assert!(elsewhere.known().asked.is_empty());
        assert!(hub.known().asked.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_reads_the_token_from_a_file_that_nobody_else_can_read() {
    use std::os::unix::fs::PermissionsExt;
    for test in databases().await {
        let database = test.open().await;
        let hub = Hub::new().await;
        let (_, app) = hub.add_app(&database).await;
        let project = hub.project(&database, &app, "r").await;
        let logins = Logins::new(database.clone(), None);
        let expected = logins.token(&project, Reach::Write).await.unwrap().unwrap();
        let runtime = Handle::current();
        let thread = std::thread::spawn(move || logins.git(&project, Reach::Write, &runtime));
        let git = thread.join().unwrap().unwrap();
        let shown = format!("{:?}", git.login().unwrap());
        assert!(!shown.contains("ghs_"), "{shown}");
        let (_, rest) = shown.split_once("token_file: \"").unwrap();
        let file = std::path::PathBuf::from(rest.split_once('"').unwrap().0);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected.expose());
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        drop(git);
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn what_is_no_app_is_not_kept_and_keys_are_shown_nowhere() {
    for test in databases().await {
        let database = test.open().await;
        let key = rsa_key();
        let new = |name: &str, number| NewApp {
            hook: None,
            name: name.to_owned(),
            kind: ForgeKind::GitHub,
            url: "https://git.example.org/".to_owned(),
            page: None,
            number,
            private_key: key.clone(),
            webhook_secret: Some(SECRET.to_owned()),
        };
        let line = key.lines().nth(1).unwrap().to_owned();
        assert!(!format!("{:?}", new("a", APP)).contains(&line));
        for (what, bad) in [
            ("no private key", NewApp { private_key: "s3cr3t".to_owned(), ..new("a", APP) }),
            ("webhook secret", NewApp { webhook_secret: Some(String::new()), ..new("a", APP) }),
            ("has no Apps", NewApp { kind: ForgeKind::Forgejo, ..new("a", APP) }),
        ] {
            let error = database.add_app(bad).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(what), "{what}: {shown}");
            assert!(!shown.contains("s3cr3t") && !shown.contains(&line), "{shown}");
        }
        database.add_app(new("a", APP)).await.unwrap();
        for again in [new("a", 2), new("b", APP)] {
            let error = database.add_app(again).await.unwrap_err();
            assert!(matches!(error, NotAnApp::Known { .. }), "{error}");
        }
        let app = database.app_named("a").await.unwrap().unwrap();
        assert_eq!((app.url.as_str(), app.number), ("https://git.example.org", APP));
        let url = "https://git.example.org/o/r";
        let project = NewProject { app: Some(app.id), ..NewProject::new("p", GITHUB, url) };
        let project = database.add_project(project).await.unwrap().id;
        let app = database.app_named("a").await.unwrap().unwrap();
        let error = database.remove_app(&app).await.unwrap_err().to_string();
        assert!(error.contains("looks after 1 project\n"), "{error}");
        database.remove_project(project).await.unwrap();
        database.remove_app(&app).await.unwrap();
        assert!(database.apps().await.unwrap().is_empty());
    }
}
