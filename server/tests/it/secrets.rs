//! What a build prints of the secrets of its project and of the server leaves the server in no form.

use std::path::Path;

use data_encoding::BASE64;
use levain_server::Database;
use levain_server::projects::Project;
use levain_server::runs::RunId;
use levain_server::runs::state::Verdict;

use crate::listening::Forge;
use crate::pages::Browsing;
use crate::sample::{self, Filling};
use crate::support::databases;

const JOB: &str = "x86_64-linux.parser";
/// The token of the projects of [`Forge`], which is its client's secret as well.
const TOKEN: &str = "s3cr3t-t0ken";
/// How much of the log stands before each of the tokens: some are split over parts that are read and sent.
const FILLERS: [usize; 5] = [0, 65_530, 16_378, 65_536, 131_060];

/// Writes a log with a token and a webhook's secret; returns its text, and what of it is secret.
fn log(directory: &Path, secrets: &[String]) -> (String, String) {
    let logs = directory.join("levain/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let path = logs.join("built.drv.log");
    let mut text = String::new();
    for (number, filler) in FILLERS.into_iter().enumerate() {
        for secret in secrets {
            text.push_str(&"x".repeat(filler));
            text.push_str(&format!("{secret}\nline of {number}\n"));
        }
    }
    // Colours within it, which pages leave out, and a line that was cut.
    text.push_str(&format!("{}\u{1b}[31m{}\nline\n", &secrets[0][..5], &secrets[0][5..]));
    text.push_str(&format!("{} [9 bytes of this line left out]\n", &secrets[0][..11]));
    // A last line without an end.
    text.push_str(&format!("last {}", secrets[0]));
    std::fs::write(&path, &text).unwrap();
    (path.display().to_string(), text)
}

async fn with_log(
    database: &Database,
    forge: &Forge,
    directory: &Path,
) -> (Project, RunId, String, Vec<String>) {
    let project = forge.project(database, "r", false).await;
    let hooked = database.add_webhook_secret(project.id).await.unwrap();
    let secrets = vec![TOKEN.to_owned(), BASE64.encode(TOKEN.as_bytes()), hooked];
    let (path, text) = log(directory, &secrets);
    let mut job = sample::job(JOB, "failed");
    job["log"] = path.into();
    let report = Some(sample::report(vec![job]));
    let mut filling = Filling::of(database, project.id);
    let run = filling.run("heads/main", Verdict::Failed, "1 failed", report).await;
    (project, run, text, secrets)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_shows_no_secret_whole_in_lines_live_or_found() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        let forge = Forge::new(&database).await;
        let (_, run, text, secrets) = with_log(&database, &forge, directory.path()).await;
        let browsing = Browsing::new(&database).await;
        let log = format!("/runs/{}/jobs/{JOB}/log", run.number());
        let body = async |path: String| {
            let response = browsing.get(&path).await;
            assert!(response.status().is_success(), "{path}: {}", response.status());
            response.text().await.unwrap()
        };
        let whole = body(format!("{log}.txt")).await;
        assert_eq!(whole.len(), text.len(), "who counts bytes goes on where they were");
        assert_eq!(whole.matches("line of").count(), FILLERS.len() * secrets.len());
        let mut shown = vec![("txt", whole.clone())];
        let at = text.find(TOKEN).unwrap();
        for after in [at + 1, at + 5, text.len() - 3, 65_536, 70_000] {
            let rest = body(format!("{log}.txt?after={after}")).await;
            assert_eq!(rest, whole[after..], "{after}");
            shown.push(("rest", rest));
        }
        for path in ["", ".json", "?end", "/lines?first=1", "/lines?last=99", "/events"] {
            shown.push((path, body(format!("{log}{path}")).await));
        }
        assert!(shown.iter().all(|(what, text)| *what == "rest" || text.contains("line of")));
        for (what, text) in &shown {
            for half in [&TOKEN[..5], &TOKEN[5..]] {
                assert!(!text.contains(half), "{what}: {half}");
            }
            for secret in &secrets {
                // Nor its first letters, where a line was cut.
                let begun = &secret[..8];
                let place = text.find(begun);
                assert_eq!(place, None, "{what}: {begun} at {place:?}");
            }
        }
        for secret in &secrets {
            for length in [8, secret.len() / 2, secret.len() - 1] {
                let found = body(format!("{log}/find?q={}", &secret[..length])).await;
                assert_eq!(found, r#"{"line":null}"#, "{secret}");
            }
        }
        assert_eq!(body(format!("{log}/find?q=line%20of%203")).await, r#"{"line":20}"#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_exchanged_is_covered_as_the_new_one_is() {
    for test in databases().await {
        let database = test.open().await;
        let directory = tempfile::tempdir().unwrap();
        let forge = Forge::new(&database).await;
        let (project, run, _, _) = with_log(&database, &forge, directory.path()).await;
        let browsing = Browsing::new(&database).await;
        let path = format!("/runs/{}/jobs/{JOB}/log.txt", run.number());
        let shown = async || browsing.get(&path).await.text().await.unwrap();
        assert!(!shown().await.contains(TOKEN));
        std::fs::write(project.token_file.unwrap(), "line-of-the-n3w-token").unwrap();
        let log = directory.path().join("levain/logs/built.drv.log");
        std::fs::write(log, format!("{TOKEN} line-of-the-n3w-token\n")).unwrap();
        // What is secret is found out anew now and then.
        for round in 0.. {
            let text = shown().await;
            assert!(!text.contains(TOKEN), "{text}");
            if text == format!("{} {}\n", "*".repeat(12), "*".repeat(21)) {
                break;
            }
            assert!(round < 1_000, "{text}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
