//! The pages as a browser gets them, and their twins.

use std::sync::Arc;

use levain_engine::event::{Event, WaitReason, What};
use levain_engine::report::{JobReport, JobStatus};
use levain_server::Database;
use levain_server::deliveries::DeliveryState;
use levain_server::http::{Readers, Site};
use levain_server::live::Live;
use levain_server::runs::state::{RunState, Verdict};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::listening::operator;
use crate::sample::{self, Filling};
use crate::support::databases;

/// A server of this machine's own users, and one of them.
pub(crate) struct Browsing {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
}

impl Browsing {
    pub(crate) async fn new(database: &Database) -> Self {
        Self::watching(database, Live::default()).await
    }

    /// Of a server whose operator it is that looks.
    pub(crate) async fn as_operator(database: &Database) -> Self {
        let cookie = operator(database).await;
        let headers = [(reqwest::header::COOKIE, cookie.parse().unwrap())];
        let client = reqwest::Client::builder().no_proxy();
        let client = client.default_headers(headers.into_iter().collect()).build().unwrap();
        Self { client, ..Self::new(database).await }
    }

    /// Returns whichever of the two may see a page.
    pub(crate) fn reader_of<'a>(&'a self, operator: &'a Self, path: &str) -> &'a Self {
        if path.contains("/deliveries/") { operator } else { self }
    }

    /// Of a server whose runs are doing something.
    pub(crate) async fn watching(database: &Database, live: Live) -> Self {
        Self::seen_by(Readers::Local, database, live).await
    }

    /// The same, for visitors who are not on its machine.
    pub(crate) async fn by_nobody(database: &Database, live: Live) -> Self {
        Self::seen_by(Readers::Nobody, database, live).await
    }

    async fn seen_by(readers: Readers, database: &Database, live: Live) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let public_url = base.clone();
        let site = Site { readers, public_url, live, ..Site::new(database.clone()) };
        tokio::spawn(levain_server::http::serve(listener, site, Arc::default()));
        // Another test may have done so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { base, client }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.base));
        request.header("accept", "text/html,*/*").send().await.unwrap()
    }

    /// Returns a page, which has to be there.
    #[track_caller]
    pub(crate) fn page(&self, path: &str) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        async move {
            let response = self.get(path).await;
            let status = response.status();
            let text = response.text().await.unwrap();
            assert_eq!(status, StatusCode::OK, "{path} at {place}: {text}");
            text
        }
    }

    pub(crate) async fn twin(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path).await).unwrap()
    }

    /// Sends a form as a page of the server does.
    pub(crate) async fn send(&self, path: &str, site: &str) -> StatusCode {
        let request = self.client.request(Method::POST, format!("{}{path}", self.base));
        request.header("sec-fetch-site", site).send().await.unwrap().status()
    }
}

/// The addresses of a filled database, each once.
pub(crate) const PATHS: &[&str] = &[
    "/",
    "/projects/bread",
    "/projects/bread/heads/main",
    "/projects/bread/heads/topic/rye",
    "/runs/10",
    "/runs/11",
    "/runs/14",
    "/runs/10/jobs/x86_64-linux.parser",
    "/runs/9/jobs/x86_64-linux.crust",
    "/runs/10/jobs/x86_64-linux.parser/log",
    "/runs/10/jobs/x86_64-linux.crust/log",
    "/projects/bread/pull/7",
    "/projects/bread/cache",
    "/projects/bread/settings",
    "/projects/bread/deliveries",
    "/projects/bread/deliveries/3",
    "/queue",
    "/deliveries",
    "/health",
];

#[tokio::test]
async fn every_page_is_small_safe_and_has_a_twin() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        sample::fill(&database, directory.path()).await;
        let server = Browsing::new(&database).await;
        let operator = Browsing::as_operator(&database).await;
        let mut assets = 0;
        for asset in ["css", "js", "svg"] {
            assets += server.page(&format!("/assets/levain.{asset}")).await.len();
        }
        for path in PATHS {
            let server = server.reader_of(&operator, path);
            let response = server.get(path).await;
            let headers = response.headers().clone();
            let text = response.text().await.unwrap();
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            assert_eq!(header("cache-control"), "no-store");
            assert!(header("content-type").starts_with("text/html"), "{path}");
            let policy = header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
            assert!(!policy.contains("unsafe"));
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("referrer-policy"), "same-origin");
            assert!(text.len() + assets <= 60 << 10, "{path}: {} + {assets}", text.len());
            assert!(text.starts_with("<!doctype html>"), "{path}");
            assert!(text.contains("<main") && text.contains("<h1"), "{path}");
            // Nothing that the policy would refuse.
            for inline in ["<style", " style=", " onclick", "javascript:", "<script>"] {
                assert!(!text.contains(inline), "{path}: {inline}");
            }
            let twin = match *path {
                "/" => "/.json".to_owned(),
                path => format!("{path}.json"),
            };
            assert!(text.contains(&format!("href=\"{twin}\"")), "{path} leads to its twin");
            assert!(server.twin(&twin).await.is_object(), "{path}");
        }
    }
}

#[tokio::test]
async fn the_overview_begins_with_what_needs_somebody() {
    for test in databases().await {
        let database = test.open().await;
        let server = Browsing::new(&database).await;
        assert!(server.page("/").await.contains("There are no projects yet"));
        let directory = tempfile::tempdir().unwrap();
        sample::fill(&database, directory.path()).await;
        let twin = server.twin("/.json").await;
        let needs: Vec<_> = twin["needs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|need| need["what"]["text"].as_str().unwrap())
            .collect();
        // A default branch that is broken, though a newer run of it is under way; and a delivery that failed.
        assert_eq!(needs, ["flour main", "delivery 3 of bread"]);
        let projects = twin["projects"].as_array().unwrap();
        assert_eq!(projects[0]["runs"].as_array().unwrap().len(), 11);
        assert_eq!(projects[0]["defaultBranch"]["mark"]["word"], "succeeded");
        let found = server.twin("/.json?q=FLO").await;
        assert_eq!(found["total"], 1);
        assert_eq!(found["projects"][0]["name"]["href"], "/projects/flour");
    }
}

#[tokio::test]
async fn what_waits_for_an_approval_needs_somebody_too() {
    for test in databases().await {
        let database = test.open().await;
        sample::fill_with_trouble(&database).await;
        let server = Browsing::new(&database).await;
        let needs = server.twin("/.json").await["needs"].clone();
        assert_eq!(needs[0]["what"]["href"], "/projects/rye/pull/4", "{needs:#}");
        assert_eq!(needs[0]["mark"]["word"], "unapproved");
        assert_eq!(needs[1]["what"]["text"], "rye", "it cannot be looked at");
        let health = server.twin("/health.json").await;
        assert_eq!(health["checks"][1]["found"], "0 under way, 0 queued, 1 wait to be approved");
        for path in ["/", "/projects/rye", "/projects/rye/pull/3", "/projects/rye/pull/4"] {
            assert!(server.page(path).await.contains("</main>"), "{path}");
        }
    }
}

#[tokio::test]
async fn the_doctor_speaks_to_the_operator_alone() {
    for test in databases().await {
        let database = test.open().await;
        sample::fill_with_trouble(&database).await;
        let (reader, operator) =
            (Browsing::new(&database).await, Browsing::as_operator(&database).await);
        assert!(!reader.page("/health").await.contains("What the doctor says"));
        assert_eq!(reader.twin("/health.json").await["findings"], serde_json::json!([]));
        let text = operator.page("/health").await;
        assert!(text.contains("What the doctor says"), "{text}");
        assert!(text.contains("the host is not reached"), "{text}");
    }
}

#[tokio::test]
async fn many_projects_fit_on_a_small_page() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let server = Browsing::new(&database).await;
    for number in 0..17 {
        let name = format!("project-with-a-long-name-{number}");
        let mut filling = Filling::new(&database, &name, "/srv/git/x.git").await;
        // A project of which nothing is known yet.
        assert!(server.page(&format!("/projects/{name}")).await.contains("No runs yet"));
        let failed = filling.run("heads/main", Verdict::Failed, "1 failed of many", None).await;
        let page = server.page(&format!("/projects/{name}")).await;
        assert!(page.contains("Default branch") && page.contains(&format!("#{}", failed.number())));
        for _ in 0..20 {
            filling.run("heads/a-branch-with-a-name", Verdict::Succeeded, "14 fresh", None).await;
        }
    }
    let text = server.page("/").await;
    let marks = text.matches("<li><a class=\"good\" href=\"/runs/").count();
    assert_eq!((marks, text.matches("<ol class=\"marks\"").count()), (300, 15));
    assert!(text.len() < 38 << 10, "{}", text.len());
    assert!(text.contains("rel=\"next\" href=\"/?q=&amp;page=2\""), "{text}");
    let second = server.twin("/.json?page=2").await;
    assert_eq!(second["projects"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_run_shows_its_failures_first() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        sample::fill(&database, directory.path()).await;
        let server = Browsing::new(&database).await;
        let text = server.page("/runs/10").await;
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
        assert!(
            at("What fails") < at("x86_64-linux.parser")
                && at("x86_64-linux.parser") < at("The rest")
        );
        assert!(text.contains("<span class=\"f1\">FAILED</span>"));
        assert!(text.contains(
            "nix build &#39;git+https://git.example.org/bakery/bread?allRefs=1&amp;rev="
        ));
        assert!(text.contains("#levainJobs.x86_64-linux.parser&#39;"));
        assert!(text.contains("submodules, which evaluations do not see"));
        let twin = server.twin("/runs/10.json").await;
        let failures: Vec<_> = twin["failures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|failure| failure["job"]["mark"]["word"].as_str().unwrap())
            .collect();
        assert_eq!(failures, ["failed", "error"]);
        assert_eq!(twin["timeline"].as_array().unwrap().len(), 7);
        // One that failed before there were jobs.
        assert!(server.page("/runs/11").await.contains("the flake has no lock file"));
    }
}

#[tokio::test]
async fn a_run_of_many_jobs_is_still_small() {
    for test in databases().await {
        let database = test.open().await;
        let mut filling = Filling::new(&database, "large", "/srv/git/large").await;
        let statuses = ["fresh", "failed", "error", "incremental", "clean", "skipped", "cancelled"];
        let jobs =
            (0..2_000).map(|n| sample::job(&format!("x86_64-linux.job-{n}"), statuses[n % 7]));
        let report = sample::report(jobs.collect());
        let verdict = Verdict::Failed;
        let id = filling.run("heads/main", verdict, "many", Some(report)).await.number();
        let server = Browsing::new(&database).await;
        let text = server.page(&format!("/runs/{id}")).await;
        assert!(text.len() < 45 << 10, "{}", text.len());
        let all = server.page(&format!("/runs/{id}?all")).await;
        assert!(all.contains("x86_64-linux.job-1999") && all.len() > text.len());
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_page_as_well() {
    for test in databases().await {
        let database = test.open().await;
        let server = Browsing::new(&database).await;
        for path in [
            "/runs/1",
            "/runs/x",
            "/projects/none",
            "/projects/a/heads/b",
            "/runs/99999999999999999999",
        ] {
            let response = server.get(path).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert!(response.text().await.unwrap().contains("Nothing is here"), "{path}");
        }
        let response = server.get("/nowhere").await;
        assert!(response.text().await.unwrap().contains("Nothing is here"));
        // Programs get no page.
        let bare = server.client.get(format!("{}/runs/1.json", server.base)).send().await.unwrap();
        assert_eq!(
            (bare.status(), bare.text().await.unwrap().as_str()),
            (StatusCode::NOT_FOUND, "")
        );
    }
}

#[tokio::test]
async fn whoever_may_only_read_is_offered_nothing_else() {
    for test in databases().await {
        let database = test.open().await;
        let mut filling = Filling::new(&database, "bread", "/srv/git/bread").await;
        let id = filling.push("heads/main").await;
        let server = Browsing::new(&database).await;
        let page = format!("/runs/{}", id.number());
        let text = server.page(&page).await;
        assert!(text.contains("queued") && !text.contains("method=\"post\""), "{text}");
        for action in ["cancel", "again"] {
            let action = format!("{page}/{action}");
            assert_eq!(server.send(&action, "same-origin").await, StatusCode::FORBIDDEN);
            assert_eq!(server.send(&action, "cross-site").await, StatusCode::FORBIDDEN);
        }
        assert_eq!(server.send("/runs/99/cancel", "same-origin").await, StatusCode::NOT_FOUND);
        assert_eq!(database.run(id).await.unwrap().unwrap().state, RunState::Queued);
    }
}

#[tokio::test]
async fn others_see_nothing_of_it() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let server = Browsing::new(&database).await;
    Filling::new(&database, "bread", "/srv/git/bread").await.push("heads/main").await;
    for path in ["/", "/.json"] {
        let request = server.client.get(format!("{}{path}", server.base));
        let response = request.header("x-forwarded-for", "192.0.2.1").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(!response.text().await.unwrap().contains("bread"), "{path}");
    }
}

#[tokio::test]
async fn a_job_says_why_it_was_built_and_from_what() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        sample::fill(&database, directory.path()).await;
        let server = Browsing::new(&database).await;
        let twin = server.twin("/runs/9/jobs/x86_64-linux.crust.json").await;
        assert_eq!(twin["why"], "It was built from a cache.");
        assert_eq!(twin["caches"][0]["narHash"], "sha256-1b2m2y8asgtpgamy7phcfg==");
        assert_eq!(twin["caches"][0]["commit"], "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b");
        assert_eq!(twin["earlier"].as_array().unwrap().len(), 8);
        assert_eq!(twin["earlier"][0]["run"]["href"], "/runs/8");
        let reproduce = twin["reproduce"].as_str().unwrap();
        assert!(reproduce.contains("?ref=refs/levain/heads/main&rev=5feceb66"), "{reproduce}");
        let text = server.page("/runs/9/jobs/x86_64-linux.oven").await;
        assert!(text.contains("something other than the project&#39;s own sources changed"));
        assert!(text.contains("the compiler changed: gcc-13.3.0 became gcc-14.2.0"));
        let text = server.page("/runs/9/jobs/x86_64-linux.loaf-1").await;
        assert!(text.contains("unchanged since 9f86d081884c"), "{text}");
        for path in [
            "/runs/9/jobs/none",
            "/runs/11/jobs/x86_64-linux.crust",
            "/runs/9/jobs/x86_64-linux.oven/log",
        ] {
            assert_eq!(server.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}

#[tokio::test]
async fn a_log_is_read_window_by_window() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let directory = tempfile::tempdir().unwrap();
    sample::fill(&database, directory.path()).await;
    let server = Browsing::new(&database).await;
    let log = "/runs/10/jobs/x86_64-linux.parser/log";
    let numbers = async |query: &str| {
        let twin = server.twin(&format!("{log}.json{query}")).await;
        let lines = twin["lines"].as_array().unwrap().clone();
        let number = |line: Option<&Value>| line.unwrap()["number"].as_u64().unwrap();
        (number(lines.first()), number(lines.last()), twin["hit"].as_u64())
    };
    assert_eq!(numbers("").await, (1, 250, None));
    assert_eq!(numbers("?end").await, (2_751, 3_000, None));
    assert_eq!(numbers("?line=1000").await, (988, 1_237, Some(1_000)));
    assert_eq!(numbers("?error&line=401").await, (788, 1_037, Some(800)));
    assert_eq!(numbers("?q=V0.1234.1").await.2, Some(1_234));
    let twin = server.twin(&format!("{log}.json?q=nowhere")).await;
    assert_eq!((&twin["missed"], &twin["hit"]), (&true.into(), &Value::Null));
    assert_eq!(twin["phases"][1], serde_json::json!({ "line": 2, "name": "buildPhase" }));
    let page = server.page(&format!("{log}?line=400")).await;
    assert!(page.contains("<p id=\"L400\" class=\"hit\"><a href=\"#L400\" tabindex=\"-1\">400</a><span class=\"ab f1\">error</span>: cannot"));
    assert!(page.contains("(&lt;registry&gt; &amp; more)"));
    let more = server.page(&format!("{log}/lines?first=251")).await;
    assert!(more.starts_with("<p id=\"L251\"><a href=\"#L251\"") && more.contains("id=\"L1250\""));
    let before = server.page(&format!("{log}/lines?last=2750")).await;
    assert!(before.starts_with("<p id=\"L1751\"") && before.contains("id=\"L2750\""));
    let found =
        async |query: &str| server.twin(&format!("{log}/find?{query}")).await["line"].as_u64();
    assert_eq!(found("error&from=1").await, Some(400));
    assert_eq!(found("error&from=3000&back").await, Some(2_800));
    assert_eq!(found("error&from=2799&back").await, Some(2_400));
    assert_eq!(found("q=nowhere&from=1").await, None);
    assert_eq!(found("q=&from=1").await, None);
    let raw = server.get(&format!("{log}.txt")).await;
    assert_eq!(raw.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(raw.headers()["content-security-policy"], "sandbox");
    let path = directory.path().join("levain/logs/built.drv.log");
    assert_eq!(raw.text().await.unwrap(), std::fs::read_to_string(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.get(log).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_pull_request_is_compared_with_the_default_branch() {
    for test in databases().await {
        let database = test.open().await;
        let mut filling = Filling::new(&database, "bread", "/srv/git/bread").await;
        let jobs = |list: &[(&str, &str)]| {
            let jobs = list.iter().map(|(name, status)| sample::job(name, status));
            Some(sample::report(jobs.collect()))
        };
        let page = "/projects/bread/pull/7.json";
        let server = Browsing::new(&database).await;
        assert_eq!(server.get(page).await.status(), StatusCode::NOT_FOUND);
        let base =
            [("a", "clean"), ("b", "failed"), ("c", "failed"), ("d", "fresh"), ("old", "fresh")];
        filling.run("heads/main", Verdict::Failed, "2 failed", jobs(&base)).await;
        let head =
            [("a", "failed"), ("b", "failed"), ("c", "clean"), ("d", "fresh"), ("new", "clean")];
        filling.run("pull/7", Verdict::Failed, "2 failed", jobs(&head)).await;
        let twin = server.twin(page).await;
        assert_eq!(twin["mayMerge"]["answer"], "no");
        assert_eq!(twin["mayMerge"]["because"], "1 job fails that did not fail on main");
        assert_eq!(twin["failures"][0]["job"]["name"]["href"], "/runs/2/jobs/a");
        let changes: Vec<_> = twin["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| {
                (
                    change["mark"]["word"].as_str().unwrap(),
                    change["jobs"][0]["name"]["href"].as_str().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("still failing", "/runs/2/jobs/b"),
            ("newly fixed", "/runs/2/jobs/c"),
            ("added", "/runs/2/jobs/new"),
            ("removed", "/runs/1/jobs/old"),
        ];
        assert_eq!(changes, expected);
        assert_eq!(twin["unchanged"], 1);
        let text = server.page("/projects/bread/pull/7").await;
        assert!(text.find("Newly failing").unwrap() < text.find("still failing").unwrap());
        // While the next commit is built, the last result stays in sight and is no answer.
        filling.push("pull/7").await;
        let twin = server.twin(page).await;
        assert_eq!(twin["mayMerge"]["answer"], "not-yet");
        assert_eq!(twin["compared"]["href"], "/runs/2");
    }
}

#[tokio::test]
async fn the_queue_says_what_each_run_waits_for() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        sample::fill(&database, directory.path()).await;
        let server = Browsing::new(&database).await;
        let twin = server.twin("/queue.json").await;
        assert_eq!(twin["running"][0]["run"]["href"], "/runs/14");
        assert_eq!(
            (&twin["waiting"][0]["kind"], &twin["waiting"][0]["blocker"]["href"]),
            // Another branch is under way, which keeps nobody waiting.
            (&"slot".into(), &serde_json::Value::Null)
        );
    }
}

#[tokio::test]
async fn the_queue_says_when_runs_will_be_over_if_earlier_ones_tell() {
    for test in databases().await {
        let database = test.open().await;
        let mut bread = Filling::new(&database, "bread", "/srv/git/bread").await;
        // Other jobsets of the project tell, too; what failed does not.
        for (jobset, verdict) in [
            ("heads/one", Verdict::Succeeded),
            ("heads/one", Verdict::Failed),
            ("heads/two", Verdict::Succeeded),
            ("heads/two", Verdict::Succeeded),
        ] {
            bread.run(jobset, verdict, "over", None).await;
        }
        let server = Browsing::new(&database).await;
        // However slow this machine is, what is under way is nowhere near its end.
        let took = "UPDATE runs SET started_at = 0, ended_at = CASE jobset
            WHEN 'heads/one' THEN 360000000 ELSE 396000000 END WHERE state = 'succeeded'";
        sqlx::query(took).execute(&mut test.connect().await).await.unwrap();
        bread.push("heads/main").await;
        let running = bread.begin().await;
        bread.push("heads/three").await;
        bread.push("heads/four").await;
        // Nobody knows how long those of another project take, nor what comes after them.
        let mut flour = Filling::new(&database, "flour", "/srv/git/flour").await;
        flour.push("heads/main").await;
        bread.push("heads/five").await;

        let twin = server.twin("/queue.json").await;
        assert_eq!(twin["running"][0]["run"]["id"], running.number());
        assert_eq!(twin["running"][0]["eta"]["text"], "about 110 h (± 1 s)");
        let waiting: Vec<&Value> =
            twin["waiting"].as_array().unwrap().iter().map(|one| &one["eta"]["text"]).collect();
        let none = &Value::Null;
        let [next, last] = ["about 220 h (± 1 s)", "about 330 h (± 1 s)"].map(Value::from);
        assert_eq!(waiting, [&next, &last, none, none], "{twin:#}");
        let page = server.page("/queue").await;
        assert!(page.contains("about 110 h (± 1 s) left"), "{page}");
        assert!(page.contains("over in about 220 h (± 1 s)"), "{page}");

        let answer = server.twin("/api/v1/queue").await;
        assert_eq!(answer["running"][0]["run"]["id"], running.number());
        assert_eq!(answer["waiting"].as_array().unwrap().len(), 4);
        let schema = &levain_server::http::document()["components"]["schemas"]["Queued"];
        for one in answer["running"]
            .as_array()
            .unwrap()
            .iter()
            .chain(answer["waiting"].as_array().unwrap())
        {
            crate::openapi::check(&one["eta"], &schema["properties"]["eta"], "an estimate");
        }
        let seen = [&answer["running"][0]["eta"], &answer["waiting"][0]["eta"]];
        assert!(seen.iter().all(|eta| eta["seconds"].as_u64().unwrap() > 300_000), "{answer:#}");
    }
}

#[tokio::test]
async fn deliveries_are_listed_and_shown() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        sample::fill(&database, directory.path()).await;
        let server = Browsing::new(&database).await;
        let twin = server.twin("/deliveries.json").await;
        assert_eq!(twin["deliveries"][0]["outcome"], "not what that forge sends: no field `ref`");
        // Whoever may read learns what became of it, and neither what it says nor how to have it again.
        assert!(twin["deliveries"][0]["href"].is_null(), "{twin:#}");
        assert!(twin["deliveries"][0]["replay"].is_null(), "{twin:#}");
        let refused = server.get("/projects/bread/deliveries/2").await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let needs = server.twin("/.json").await["needs"].clone();
        assert_eq!(needs[1]["what"]["href"], "/projects/bread/deliveries", "{needs:#}");
        let server = Browsing::as_operator(&database).await;
        let text = server.page("/projects/bread/deliveries/2").await;
        assert!(text.contains("{&quot;ref&quot;: &quot;refs/heads/main&quot;}"), "{text}");
        assert!(text.contains("<form method=\"post\""), "{text}");
        let needs = server.twin("/.json").await["needs"].clone();
        assert_eq!(needs[1]["what"]["href"], "/projects/bread/deliveries/3", "{needs:#}");
        for path in [
            "/projects/flour/deliveries/2",
            "/projects/bread/deliveries/99",
            "/projects/bread/deliveries/x",
        ] {
            assert_eq!(server.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let twin = server.twin("/health.json").await;
        assert_eq!(twin["checks"][2]["found"], "0 waiting, 1 failed of the last 3");
    }
}

#[tokio::test]
async fn pointers_name_the_run_that_moved_them() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let directory = tempfile::tempdir().unwrap();
    sample::fill(&database, directory.path()).await;
    let server = Browsing::new(&database).await;
    let twin = server.twin("/projects/bread/cache.json").await;
    let pointers = twin["pointers"].as_array().unwrap();
    assert_eq!(pointers.len(), 2);
    assert_eq!(
        (&pointers[0]["madeBy"]["href"], &pointers[0]["depth"]),
        (&"/runs/9".into(), &4.into())
    );
    assert_eq!(
        (&pointers[1]["madeBy"]["href"], &pointers[1]["depth"]),
        (&"/runs/9".into(), &0.into())
    );
    assert_eq!(server.get("/projects/bread/cache?jobset=x").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn feeds_and_badges_are_well_formed() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let directory = tempfile::tempdir().unwrap();
    sample::fill(&database, directory.path()).await;
    let server = Browsing::new(&database).await;
    let feed = server.page("/projects/bread/runs.atom").await;
    assert!(feed.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns="), "{feed}");
    assert_eq!(feed.matches("<entry>").count(), 11);
    assert!(feed.contains(&format!("<id>{}/runs/11</id>", server.base)));
    let badge = server.page("/projects/flour/badge.svg").await;
    assert!(badge.contains("aria-label=\"levain: failed\""), "{badge}");
    assert!(server.page("/projects/bread/badge.svg").await.contains("levain: succeeded"));
}

/// Reads events until one has a text.
async fn until(response: &mut Response, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let part = tokio::time::timeout(std::time::Duration::from_secs(20), response.chunk()).await;
        let part = part.unwrap_or_else(|_| panic!("no {text} in {read}")).unwrap();
        read.push_str(&String::from_utf8_lossy(&part.unwrap_or_else(|| panic!("it ends: {read}"))));
    }
    read
}

#[tokio::test]
async fn pages_are_told_when_they_change() {
    for test in databases().await {
        let database = test.open().await;
        let mut filling = Filling::new(&database, "bread", "/srv/git/bread").await;
        filling.push("heads/main").await;
        let server = Browsing::new(&database).await;
        for page in ["/", "/projects/bread", "/runs/1"] {
            let text = server.page(page).await;
            let (_, live) = text.split_once("data-live=\"").unwrap();
            let live = live.split_once('"').unwrap().0;
            let mut events = server.get(live).await;
            assert_eq!(events.headers()["content-type"], "text/event-stream");
            match page {
                "/" => drop(filling.push("heads/topic").await),
                "/projects/bread" => drop(filling.push("heads/other").await),
                _ => drop(
                    database.cancel_run(levain_server::runs::RunId::from_number(1)).await.unwrap(),
                ),
            }
            until(&mut events, "event: changed").await;
            // What changed before it was watched is told at once.
            let mut events = server.get(live).await;
            until(&mut events, "event: changed").await;
        }
        assert!(!server.page("/runs/1").await.contains("data-live"), "it has ended");
    }
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let directory = tempfile::tempdir().unwrap();
    sample::fill(&database, directory.path()).await;
    let server = Browsing::new(&database).await;
    let events = "/runs/10/jobs/x86_64-linux.parser/log/events";
    let mut followed = server.get(&format!("{events}?after=2998")).await;
    let read = until(&mut followed, "event: end").await;
    assert!(read.contains("id: 3000") && read.contains("this build fails"), "{read}");
    assert!(!read.contains("id=\"L2998\""), "{read}");
    assert_eq!(followed.chunk().await.unwrap(), None, "nothing comes after the end");
}

#[tokio::test]
async fn what_is_being_built_is_shown_with_its_log() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let mut filling = Filling::new(&database, "bread", "/srv/git/bread").await;
    filling.push("heads/main").await;
    let run = filling.begin().await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("logs/crust.log");
    std::fs::create_dir(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "kneading\n").unwrap();
    let live = Live::default();
    let server = Browsing::watching(&database, live.clone()).await;
    let page = format!("/runs/{}", run.number());
    let (_, watched) = server.page(&page).await.split_once("data-live=\"").map(owned).unwrap();
    let watched = watched.split_once('"').unwrap().0.to_owned();

    let derivation = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-crust.drv";
    let mut job = JobReport::new(&"x86_64-linux.crust".into(), JobStatus::Clean);
    job.built_drv_path = Some(format!("/nix/store/{derivation}"));
    let hear = |what| live.hear(run, &Event { time: 5, what });
    hear(What::JobWaits { job: Box::new(job.clone()) });
    let text = server.page(&page).await;
    assert!(text.contains("x86_64-linux.crust") && text.contains("waiting"), "{text}");
    let other = "1c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-flour.drv";
    let reason = WaitReason::Dependency { derivation: other.parse().unwrap() };
    hear(What::BuildWaits { derivation: derivation.parse().unwrap(), reason });
    assert!(server.page(&page).await.contains("for &#96;flour&#96;"));
    let log = Some(log.display().to_string());
    hear(What::BuildStarted { derivation: derivation.parse().unwrap(), log: log.clone() });
    until(&mut server.get(&watched).await, "event: changed").await;
    let text = server.page(&page).await;
    assert!(text.contains("x86_64-linux.crust") && text.contains("building"), "{text}");
    let at = format!("{page}/jobs/x86_64-linux.crust/log");
    assert!(server.page(&at).await.contains("kneading"));
    // It has ended, and the run goes on.
    hear(What::BuildStopped { derivation: derivation.parse().unwrap() });
    job.log = log;
    hear(What::JobEnded { job: Box::new(job) });
    assert!(server.page(&page).await.contains("clean"));
    assert!(server.page(&at).await.contains("kneading"));
    live.forget(run);
    assert_eq!(server.get(&at).await.status(), StatusCode::NOT_FOUND);
}

fn owned((before, after): (&str, &str)) -> (String, String) {
    (before.to_owned(), after.to_owned())
}

#[tokio::test]
async fn no_place_of_the_machine_leaves_it() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        let mut filling =
            Filling::new(&database, "bread", "https://git.example.org/bakery/bread").await;
        let mut job = sample::job("x86_64-linux.parser", "error");
        job["error"] = "cannot write /var/lib/levain/mirrors/bread.git/levain/x: no space".into();
        job["log"] = sample::log(directory.path(), 10).into();
        let report = Some(sample::report(vec![job]));
        let summary = "cannot read the forge token from `/var/lib/levain/token`";
        let run = filling.run("pull/7", Verdict::Errored, summary, report).await;
        let why = Some("cannot lock /var/lib/levain/mirrors/bread.git".to_owned());
        database.note_look(filling.project, why).await.unwrap();
        filling.deliver("k", DeliveryState::Failed, "cannot open `/var/lib/levain/token`").await;
        let browsing = Browsing::new(&database).await;
        let run = run.number();
        let api = format!("/api/v1/runs/{run}");
        let mut shown = Vec::new();
        for path in [
            "/",
            "/health",
            "/deliveries",
            "/projects/bread",
            "/projects/bread/pull/7",
            "/projects/bread/runs.atom",
            &format!("/runs/{run}"),
            &format!("/runs/{run}/jobs/x86_64-linux.parser"),
            &api,
            "/api/v1/projects",
            "/api/v1/projects/bread/runs",
        ] {
            let is_page = !path.starts_with("/api/") && !path.ends_with(".atom");
            let twin = if path == "/" { "/.json".to_owned() } else { format!("{path}.json") };
            for path in [path.to_owned(), twin].into_iter().take(if is_page { 2 } else { 1 }) {
                let response = browsing.get(&path).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                let text = response.text().await.unwrap();
                assert!(!text.contains("/var/lib"), "{path}: {text}");
                let log = directory.path().display().to_string();
                assert!(!text.contains(&log), "{path}: {text}");
                shown.push(text);
            }
        }
        let flake = "git+https://git.example.org/bakery/bread?rev=1";
        assert!(shown.iter().filter(|text| text.contains(flake)).count() >= 2);
        let answer: Value = browsing.get(&api).await.json().await.unwrap();
        let log = answer["report"]["jobs"][0]["log"].as_str().unwrap();
        assert_eq!(browsing.get(log).await.status(), StatusCode::OK, "{log}");
    }
}
