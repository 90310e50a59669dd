//! Names and texts that builds make, as an attacker would: whatever page they are on, they are text.

use std::collections::BTreeSet;

use levain_server::deliveries::{DeliveryState, Kept, NewDelivery};
use levain_server::pages::links;
use levain_server::projects::ProjectSettings;
use levain_server::runs::state::Verdict;
use serde_json::json;

use crate::pages::Browsing;
use crate::sample::{self, Filling};
use crate::support::{databases, now};

/// How many names are made, and how many are jobs of one run.
const NAMES: usize = 500;
const JOBS: usize = 25;

/// What attacks are made of.
const PIECES: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "`onfocus=alert(1) autofocus`",
    "</title><script>",
    "</main></body>",
    "<!--",
    "]]>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "{{title}}",
    "{{{page}}}",
    "&lt;b&gt;",
    "&#60;script&#62;",
    "\u{202e}gnp.exe",
    "\u{2066}\u{200f}",
    "\0",
    "\u{1b}[31m",
    "\u{1b}]8;;javascript:alert(1)\u{7}",
    "\u{9b}2J",
    "\u{feff}",
    "\r\nset-cookie: a=b\r\n",
    "../../etc/passwd",
    "%2e%2e%2f",
    "//evil.example.org/",
    "\\\"\\",
    "日本語",
    "a b",
    "#x?y&z",
    ".json",
];

fn names() -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(500);
    let mut names = BTreeSet::new();
    while names.len() < NAMES {
        let count = random.usize(1..5);
        let mut name: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        if random.usize(..25) == 0 {
            name = name.repeat(30);
        }
        names.insert(name);
    }
    names.into_iter().collect()
}

/// Fails if a page has anything that its templates do not make.
#[track_caller]
fn check(path: &str, html: &str) {
    for bad in ["<script>", "<img", "<!--"] {
        let at = html.find(bad);
        let context = at.map(|at| html[at..].chars().take(80).collect::<String>());
        assert_eq!(context, None, "{path}");
    }
    let hidden = html.chars().find(|c| levain_store::is_hidden(*c) && !matches!(c, '\n' | '\t'));
    assert_eq!(hidden, None, "{path}");
    let tags = tags(html);
    for (name, attributes) in &tags {
        assert!(TAGS.contains(&name.as_str()), "{path}: <{name}>");
        for (attribute, value) in attributes {
            assert!(ATTRIBUTES.contains(&attribute.as_str()), "{path}: {attribute} of <{name}>");
            if ["href", "src", "action"].contains(&attribute.as_str()) {
                let is_own =
                    (value.starts_with('/') && !value.starts_with("//")) || value.starts_with('#');
                assert!(is_own, "{path}: {attribute}={value}");
                assert!(
                    !value.contains(['"', '\'', '<', '>', ' ', '\\']),
                    "{path}: {attribute}={value}"
                );
            }
        }
    }
    let scripts = tags.iter().filter(|(name, _)| name == "script").count();
    assert_eq!(scripts, 2, "{path}: the one of the page, which begins and ends");
}

/// The elements and attributes that templates have.
const TAGS: &[&str] = &[
    "!doctype", "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav",
    "form", "input", "main", "footer", "p", "span", "h1", "h2", "h3", "section", "article", "ul",
    "ol", "li", "code", "pre", "time", "details", "summary", "svg", "rect", "div", "button", "dl",
    "dt", "dd", "strong", "br",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "name",
    "content",
    "rel",
    "href",
    "type",
    "src",
    "defer",
    "class",
    "id",
    "action",
    "method",
    "role",
    "placeholder",
    "aria-label",
    "aria-labelledby",
    "aria-hidden",
    "aria-live",
    "aria-current",
    "autocomplete",
    "tabindex",
    "data-item",
    "data-failure",
    "data-live",
    "data-log",
    "data-follow",
    "data-total",
    "datetime",
    "title",
    "viewbox",
    "preserveaspectratio",
    "focusable",
    "x",
    "y",
    "width",
    "height",
    "value",
    "html",
];

/// Reads the tags of a page as a browser would, far enough for what is made here.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        rest = rest.strip_prefix('/').unwrap_or(rest);
        let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
        let name = rest[..end].to_lowercase();
        rest = &rest[end..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '=').unwrap();
            let attribute = rest[..end].to_lowercase();
            rest = &rest[end..];
            let mut value = "";
            if let Some(after) = rest.strip_prefix("=\"") {
                let end = after.find('"').unwrap();
                value = &after[..end];
                rest = &after[end + 1..];
            } else {
                assert!(!rest.starts_with('='), "an attribute without quotes: {attribute}");
            }
            attributes.push((attribute, value.to_owned()));
        }
        tags.push((name, attributes));
    }
    tags
}

#[test]
fn the_check_finds_what_it_looks_for() {
    for bad in [
        "<p><iframe></iframe>",
        "<p onclick=\"x\">",
        "<a href=\"javascript:alert(1)\">",
        "<a href=\"//evil.example.org\">",
        "<p>\u{202e}",
        "<script>x</script>",
    ] {
        let page = format!("<script src=\"/a.js\"></script>{bad}");
        assert!(std::panic::catch_unwind(|| check("bad", &page)).is_err(), "{bad}");
    }
    check("good", "<script src=\"/a.js\"></script><p class=\"x\">&lt;script&gt;");
}

#[tokio::test]
async fn no_page_has_anything_of_it_as_markup() {
    let tests = databases().await;
    let database = tests[0].open().await;
    let directory = tempfile::tempdir().unwrap();
    let names = names();
    let log = directory.path().join("levain/logs");
    std::fs::create_dir_all(&log).unwrap();
    let log = log.join("x.log");
    let text: Vec<String> = names.iter().map(|name| name.replace('\n', " ")).collect();
    std::fs::write(&log, text.join("\n")).unwrap();
    let mut filling = Filling::new(&database, "bread", "https://git.example.org/\"><b>").await;
    let statuses = ["failed", "error", "incremental", "clean", "fresh", "skipped", "cancelled"];
    let job = |index: usize, name: &String| {
        let mut job = sample::job(name, statuses[index % statuses.len()]);
        for field in [
            "error",
            "reasonDetail",
            "skipped",
            "system",
            "name",
            "key",
            "unchangedSince",
            "builtDrvPath",
            "audit",
        ] {
            job[field] = name.clone().into();
        }
        job["lastLines"] = json!([name, format!("\u{1b}[1;3{}m{name}", index % 8)]);
        job["cacheSets"] = json!([name]);
        job["outputs"] = json!({ name: name });
        job["failedDependencies"] = json!([{ "drvPath": name, "name": name, "error": name }]);
        job["pointer"] = json!({ "path": name, "moved": true });
        job["log"] = log.display().to_string().into();
        job
    };
    let report = |part: &[String]| {
        let jobs = part.iter().enumerate().map(|(index, name)| job(index, name));
        Some(sample::report(jobs.collect()))
    };
    let mut paths = Vec::new();
    for (number, part) in names.chunks(JOBS).enumerate() {
        let branch = format!("heads/{number}");
        let run = filling.run(&branch, Verdict::Failed, &part[0], report(part)).await.number();
        for (index, name) in part.iter().enumerate() {
            let job = links::job(run, name);
            // Each job's page; of the log, which they share, some windows.
            paths.push(job.clone());
            if index == 0 {
                paths.push(format!("{job}/log?line={}", number * JOBS));
                paths.push(format!("{job}/log?q={}", links::segment(name)));
            }
        }
        paths.push(links::run(run));
    }
    filling.run("heads/main", Verdict::Failed, &names[0], report(&names[..JOBS])).await;
    filling.run("pull/7", Verdict::Failed, &names[1], report(&names[JOBS..2 * JOBS])).await;
    let server = Browsing::new(&database).await;
    let operator = Browsing::as_operator(&database).await;
    let lists = [
        "/",
        "/projects/bread",
        "/projects/bread/pull/7",
        "/projects/bread/cache",
        "/queue",
        "/deliveries",
    ];
    paths.extend(lists.map(str::to_owned));
    let tags = Some(Some("*".to_owned()));
    let settings = ProjectSettings { tags, ..ProjectSettings::default() };
    database.change_project(filling.project, settings).await.unwrap();
    filling.run("heads/main", Verdict::Failed, &names[0], report(&names[..JOBS])).await;
    for (index, name) in names[..100].iter().enumerate() {
        let kind = ["heads/", "heads/gitea-mq/", "tags/"][index % 3];
        let branch = format!("{kind}{name}");
        // A database keeps no NUL, and git allows none in a name.
        let without = name.replace('\0', "0");
        if branch.parse::<levain_evaluator::JobsetName>().is_ok() && !name.contains('\0') {
            let id = filling.run(&branch, Verdict::Errored, name, None).await;
            paths.push(links::run(id.number()));
            // Clients make other paths of some.
            if !name.contains(['/', '.', '\\']) {
                paths.push(links::jobset("bread", &branch.parse().unwrap()));
            }
            let onto = filling.push_onto("pull/8", name).await;
            paths.push(links::run(onto.number()));
            database.cancel_run(onto).await.unwrap();
        }
        let new = NewDelivery {
            project: filling.project,
            key: without.clone(),
            received_at: now(),
            event: Some(without.clone()),
            body: name.clone().into_bytes(),
        };
        if let Kept::New(id) = database.keep_delivery(new).await.unwrap() {
            database.settle_delivery(id, DeliveryState::Failed, without).await.unwrap();
            paths.push(links::delivery("bread", id.number()));
        }
    }
    assert!(paths.len() > 700, "{}", paths.len());
    for path in &paths {
        let html = server.reader_of(&operator, path).page(path).await;
        check(path, &html);
    }
    for path in ["/.json", "/runs/2.json", "/projects/bread.json", "/deliveries.json"] {
        let text = server.page(path).await;
        let hidden = text.chars().find(|c| levain_store::is_hidden(*c) && *c != '\n');
        assert_eq!(hidden, None, "{path}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    let feed = server.page("/projects/bread/runs.atom").await;
    assert!(!feed.contains("<script") && !feed.contains("<img"), "{feed}");
    assert!(!feed.chars().any(|c| levain_store::is_hidden(c) && c != '\n'), "{feed}");
}
