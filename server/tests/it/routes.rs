//! Every route of the table, asked by everybody about what is public, private and not there.

use std::path::Path;

use levain_server::Database;
use levain_server::deliveries::DeliveryState;
use levain_server::http::{self, Listed, Needs};
use levain_server::projects::{Project, ProjectSettings};
use levain_server::rights::Right;
use levain_server::runs::RunId;
use levain_server::runs::state::{RunState, Verdict};
use reqwest::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::listening::{Answer, Forge, Listening, account, operator, signed_in, site, token};
use crate::sample::{self, Filling};
use crate::support::{databases, now};

/// A job that has everything that routes ask for.
const JOB: &str = "x86_64-linux.parser";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Nobody,
    Local,
    /// Signed in, and known to no project.
    Stranger,
    Reader,
    Writer,
    Admin,
    Operator,
    ReadToken,
    WriteToken,
    AdminToken,
    /// Of an administrator, for another project.
    OtherToken,
}

impl Asker {
    const ALL: [Self; 11] = [
        Self::Nobody,
        Self::Local,
        Self::Stranger,
        Self::Reader,
        Self::Writer,
        Self::Admin,
        Self::Operator,
        Self::ReadToken,
        Self::WriteToken,
        Self::AdminToken,
        Self::OtherToken,
    ];

    /// What they may do with a project, public or private.
    fn right(self, is_public: bool) -> Right {
        match self {
            Self::Nobody | Self::Stranger | Self::OtherToken if is_public => Right::Read,
            Self::Nobody | Self::Stranger | Self::OtherToken => Right::None,
            Self::Local | Self::Reader | Self::ReadToken => Right::Read,
            Self::Writer | Self::WriteToken => Right::Write,
            Self::Admin | Self::Operator | Self::AdminToken => Right::Admin,
        }
    }
}

/// A project with something of everything.
struct Filled {
    project: Project,
    run: RunId,
    delivery: i64,
}

/// A server with two such projects, and everybody who asks.
struct World {
    server: Listening,
    routes: Vec<Listed>,
    /// The public one and the private one.
    projects: [Filled; 2],
    /// What each sends.
    lines: Vec<(Asker, Vec<(String, String)>)>,
    _forge: Forge,
    _directory: tempfile::TempDir,
}

/// Adds a project with a branch that failed, and a pull request of a fork that waits.
async fn with_runs(
    database: &Database,
    forge: &Forge,
    directory: &Path,
    (name, is_public): (&str, bool),
) -> Filled {
    let project = forge.project(database, name, is_public).await;
    let tags = Some(Some("v*".to_owned()));
    let settings = ProjectSettings { tags, ..ProjectSettings::default() };
    database.change_project(project.id, settings).await.unwrap();
    let mut filling = Filling::of(database, project.id);
    let mut job = sample::job(JOB, "failed");
    job["log"] = sample::log(directory, 10).into();
    let report = Some(sample::report(vec![job]));
    let run = filling.run("heads/main", Verdict::Failed, "1 failed", report).await;
    filling.run("tags/v1", Verdict::Succeeded, "1 clean", None).await;
    filling.push_of_fork("pull/7").await;
    let delivery = filling.deliver("k", DeliveryState::Acted, "queued run 1").await;
    Filled { project, run, delivery }
}

impl World {
    async fn new(database: &Database) -> Self {
        let forge = Forge::new(database).await;
        let server = Listening::new(database).await;
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let public = with_runs(database, &forge, place, ("public", true)).await;
        let private = with_runs(database, &forge, place, ("private", false)).await;
        let other = forge.project(database, "other", false).await;
        let mut lines = Vec::new();
        for asker in Asker::ALL {
            let cookie = |value: String| vec![("cookie".to_owned(), value)];
            let person = async |login: &str, id: u64| {
                cookie(signed_in(database, &forge, account(login, id)).await)
            };
            let later = now().after(std::time::Duration::from_secs(600));
            let program = async |name: &str, scope, project| {
                vec![(
                    "authorization".to_owned(),
                    token(database, name, scope, project, later).await,
                )]
            };
            let of = match asker {
                // Whoever comes through a proxy is not on this machine.
                Asker::Nobody => vec![("x-forwarded-for".to_owned(), "192.0.2.1".to_owned())],
                Asker::Local => Vec::new(),
                Asker::Stranger => person("stranger", 1).await,
                Asker::Reader => person("reader", 2).await,
                Asker::Writer => person("writer", 3).await,
                Asker::Admin => person("admin", 4).await,
                Asker::Operator => cookie(operator(database).await),
                Asker::ReadToken => program("read", Right::Read, None).await,
                Asker::WriteToken => program("write", Right::Write, None).await,
                Asker::AdminToken => program("admin", Right::Admin, None).await,
                Asker::OtherToken => program("other", Right::Admin, Some(&other)).await,
            };
            lines.push((asker, of));
        }
        for repository in ["public", "private"] {
            for (login, id, permission) in
                [("reader", 2, "read"), ("writer", 3, "write"), ("admin", 4, "admin")]
            {
                forge.permit(repository, login, id, permission).await;
            }
        }
        let routes = http::table(site(database, &server.base)).listed().to_vec();
        let projects = [public, private];
        let world = Self { server, routes, projects, lines, _forge: forge, _directory: directory };
        world.warm_up().await;
        world
    }

    /// Waits until the forge has said what everybody may do, however slow this machine is.
    async fn warm_up(&self) {
        for (asker, _) in &self.lines {
            let both = asker.right(false) >= Right::Read;
            let mut list = self.ask(*asker, &Method::GET, "/api/v1/projects", "").await;
            for _ in 0..100 {
                if list.body.contains(r#""name":"private""#) == both {
                    break;
                }
                list = self.ask(*asker, &Method::GET, "/api/v1/projects", "").await;
            }
            assert_eq!(list.body.contains(r#""name":"private""#), both, "{asker:?}: {}", list.body);
            assert!(list.body.contains(r#""name":"public""#), "{asker:?}: {}", list.body);
        }
    }

    async fn ask(&self, asker: Asker, method: &Method, path: &str, body: &str) -> Answer {
        let (_, lines) = self.lines.iter().find(|(known, _)| *known == asker).unwrap();
        let mut lines: Vec<(&str, &str)> =
            lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if *method == Method::POST {
            lines.push(("origin", &self.server.base));
        }
        self.server.ask(method, path, &lines, body).await
    }
}

/// Fills in the parameters of a path.
fn at(route: &Listed, project: &str, run: i64, delivery: i64) -> String {
    let path = route.path.replace("{project}", project).replace("{run}", &run.to_string());
    let path = path.replace("{hook}", "0123").replace("{number}", "7").replace("{forge}", "1");
    let path = path.replace("{*branch}", "main").replace("{*tag}", "v1").replace("{job}", JOB);
    let path = path.replace("{delivery}", &delivery.to_string());
    assert!(!path.contains('{'), "{path}: a parameter that this test does not know");
    path
}

/// Returns the right that a route needs, if it is about a project.
fn needed(needs: Needs) -> Option<Right> {
    match needs {
        // Those that need the operator are asked for in a test of their own.
        Needs::Nothing | Needs::Signature | Needs::Visitor | Needs::Operator => None,
        Needs::Project(right) | Needs::Run(right) => Some(right),
        Needs::RunOrAuthor => Some(Right::Write),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_answered_by_their_right_and_what_is_hidden_is_not_there() {
    for test in databases().await {
        let database = test.open().await;
        let world = std::sync::Arc::new(World::new(&database).await);
        let mut asking = JoinSet::new();
        for route in world.routes.clone() {
            let Some(needed) = needed(route.needs) else { continue };
            assert!(needed > Right::None, "{route:?} needs no right");
            for asker in Asker::ALL {
                for Filled { project, run, delivery } in &world.projects {
                    let there = at(&route, &project.name, run.number(), *delivery);
                    let nowhere = at(&route, "nowhere", run.number() + 1_000, *delivery);
                    let is_public = project.is_public;
                    let right = asker.right(is_public);
                    let (world, route) = (std::sync::Arc::clone(&world), route.clone());
                    asking.spawn(async move {
                        let answer = world.ask(asker, &route.method, &there, "").await;
                        let what = format!("{asker:?} {} {there}: {answer:?}", route.method);
                        let missing = world.ask(asker, &route.method, &nowhere, "").await;
                        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{what}");
                        if right == Right::None {
                            assert_eq!(answer, missing, "{what}");
                        } else if right < needed && asker == Asker::Nobody {
                            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
                        } else if right < needed {
                            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                        } else if route.method == Method::GET {
                            assert_eq!(answer.status, StatusCode::OK, "{what}");
                        } else {
                            let code = answer.status.as_u16();
                            // Done, or not to be done as things are, or asked for with nothing said.
                            assert!([200, 303, 409, 415, 422].contains(&code), "{what}");
                        }
                        let kept = answer.header("cache-control").unwrap();
                        let is_stream = answer.header("content-type") == Some("text/event-stream");
                        let may_be_kept = is_public || is_stream;
                        assert!(kept == "no-store" || kept == "no-cache" && may_be_kept, "{what}");
                        // No address is told to others. Pages tell theirs to their own server, or their forms
                        // would not say where they come from.
                        let policy = answer.header("referrer-policy").unwrap();
                        assert!(["no-referrer", "same-origin"].contains(&policy), "{what}");
                    });
                }
            }
        }
        assert!(asking.len() >= 8 * 22, "{}", asking.len());
        while let Some(asked) = asking.join_next().await {
            asked.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_operators_nobody_else_gets() {
    for test in databases().await {
        let database = test.open().await;
        let world = World::new(&database).await;
        let routes = world.routes.iter().filter(|route| route.needs == Needs::Operator);
        let mut asked = 0;
        for route in routes {
            for asker in Asker::ALL {
                let answer = world.ask(asker, &route.method, route.path, "").await;
                let what = format!("{asker:?} {} {}: {answer:?}", route.method, route.path);
                match asker {
                    Asker::Operator => {
                        assert!([200, 403, 415, 422].contains(&answer.status.as_u16()), "{what}");
                        assert_ne!(answer.body, "you may not do that\n", "{what}");
                    }
                    Asker::Nobody | Asker::Local => {
                        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
                    }
                    Asker::Stranger
                    | Asker::Reader
                    | Asker::Writer
                    | Asker::Admin
                    | Asker::ReadToken
                    | Asker::WriteToken
                    | Asker::AdminToken
                    | Asker::OtherToken => {
                        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                    }
                }
                asked += 1;
            }
        }
        assert!(asked >= 3 * Asker::ALL.len(), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_somebody_else_changes_anything() {
    const FOREIGN: &str = "this was not sent by a page of this server\n";
    for test in databases().await {
        let database = test.open().await;
        let world = World::new(&database).await;
        let own = world.server.base.as_str();
        let (site, origin) = ("sec-fetch-site", "origin");
        let elsewhere = "https://evil.example";
        let foreign = [
            &[][..],
            &[(site, "cross-site")],
            &[(site, "same-site")],
            &[(site, "none")],
            &[(origin, "null")],
            &[(origin, elsewhere)],
            &[(site, "cross-site"), (origin, own)],
            &[(site, "same-origin"), (origin, elsewhere)],
        ];
        let ours = [
            &[(site, "same-origin")][..],
            &[(origin, own)],
            &[(site, "same-origin"), (origin, own)],
        ];
        let Filled { project, run, delivery } = &world.projects[1];
        let writing: Vec<&Listed> = world
            .routes
            .iter()
            .filter(|route| route.method != Method::GET && route.needs != Needs::Signature)
            .collect();
        assert!(writing.len() >= 8, "{writing:?}");
        for route in &writing {
            assert_ne!(route.needs, Needs::Nothing, "{route:?} would not be checked");
            let path = at(route, &project.name, run.number(), *delivery);
            for lines in foreign {
                let cookie = operator(&database).await;
                let lines = [lines, &[("cookie", cookie.as_str())]].concat();
                let answer = world.server.ask(&route.method, &path, &lines, "").await;
                let refused = (answer.status, answer.body.as_str());
                assert_eq!(refused, (StatusCode::FORBIDDEN, FOREIGN), "{path} {lines:?}");
                // Whoever it was is still signed in.
                let whoever = world.server.get("/api/v1/visitor", &[("cookie", &cookie)]).await;
                assert!(whoever.body.contains("operator"), "{}", whoever.body);
            }
        }
        let newest = &database.runs(project.id, 10).await.unwrap()[0];
        assert_eq!(newest.state, RunState::Unapproved, "nothing was done");
        assert_eq!(database.approvals(project.id, 7).await.unwrap(), []);
        for route in &writing {
            let path = at(route, &project.name, run.number(), *delivery);
            for lines in ours {
                let cookie = operator(&database).await;
                let lines = [lines, &[("cookie", cookie.as_str())]].concat();
                let answer = world.server.ask(&route.method, &path, &lines, "").await;
                assert_ne!(answer.body, FOREIGN, "{path} {lines:?}");
            }
            // A program is not misled by a page, whatever its headers say.
            for lines in foreign {
                let (_, of) =
                    world.lines.iter().find(|(asker, _)| *asker == Asker::AdminToken).unwrap();
                let lines = [lines, &[(of[0].0.as_str(), of[0].1.as_str())]].concat();
                let answer = world.server.ask(&route.method, &path, &lines, "").await;
                assert_ne!(answer.body, FOREIGN, "{path} {lines:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_number_is_no_run() {
    let test = databases().await.remove(0);
    let database = test.open().await;
    let server = Listening::new(&database).await;
    for path in ["x", "-1", "9223372036854775808", "1%00", "%ff"] {
        let answer = server.get(&format!("/api/v1/runs/{path}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

/// One thread answers everybody. Who reads a report there keeps all others waiting.
#[test]
fn reports_are_read_on_other_threads_than_those_that_answer() {
    let mut places = vec![std::path::PathBuf::from("src/http")];
    let mut reading = 0;
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("KeptReport::read") {
                reading += 1;
                let function = text[..at].rfind("async fn").unwrap_or(0);
                let end = text[at..].find("\n}\n").map_or(text.len(), |end| at + end);
                assert!(text[function..end].contains(".aside("), "{}: {at}", path.display());
            }
        }
    }
    assert!(reading >= 4, "{reading}");
}

/// There is one way to add a route, so that each has said what it needs.
#[test]
fn routes_are_added_to_the_table_only() {
    let mut read = 0;
    let mut places = vec![std::path::PathBuf::from("src")];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            read += 1;
            for call in ["Router::new", ".route(", ".route_service(", ".nest(", ".fallback("] {
                let is_table = path.ends_with("http/table.rs");
                assert!(is_table || !text.contains(call), "{}: {call}", path.display());
            }
        }
    }
    assert!(read > 20, "{read} files");
}
