//! Statuses: what a forge is told, and what happens when it cannot be told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::bad_input::incremental;
use crate::environment::{Environment, Ran, Repository};
use crate::jobs::{ended, job, simple};

/// A token that is easy to find where it must not be.
pub(crate) const SECRET: &str = "ghs_S3cretS3cretS3cret";

/// A forge on loopback that notes what it is sent.
pub(crate) struct Forge {
    runtime: Runtime,
    server: MockServer,
}

impl Forge {
    /// Starts a forge that always gives this answer.
    pub(crate) fn answering(answer: ResponseTemplate) -> Self {
        Self::with(move |_| answer.clone())
    }

    /// Starts a forge that takes everything.
    pub(crate) fn new() -> Self {
        Self::answering(ResponseTemplate::new(201).set_body_json(json!({ "id": 1 })))
    }

    /// Starts a forge that answers like this.
    pub(crate) fn with(
        answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(any()).respond_with(answer).mount(&server).await;
            server
        });
        Self { runtime, server }
    }

    /// Returns where it is.
    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// Returns the declaration of this forge, without a semicolon.
    pub(crate) fn declared(&self, kind: &str, repository: &str) -> String {
        let url = self.url();
        format!(
            "forge = {{ kind = \"{kind}\"; apiUrl = \"{url}\"; repository = \"{repository}\"; }}"
        )
    }

    /// Returns what was sent so far, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.runtime.block_on(self.server.received_requests()).unwrap()
    }

    /// Returns what was sent under one name, in order: fields of the bodies.
    fn sent(&self, name: &str, context: &str, fields: [&str; 2]) -> Vec<[String; 2]> {
        let requests = self.requests();
        let bodies = requests.iter().map(body);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        bodies
            .filter(|body| body[name] == context)
            .map(|body| fields.map(|field| text(&body[field])))
            .collect()
    }

    /// Returns state and description of what was sent under one context.
    pub(crate) fn statuses(&self, context: &str) -> Vec<[String; 2]> {
        self.sent("context", context, ["state", "description"])
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

impl Repository<'_> {
    /// Runs levain here with a token in the environment.
    pub(crate) fn levain_with_token(&self, args: &[&str]) -> Ran {
        let mut command = self.environment.levain_command(&self.path, args);
        command.env("LEVAIN_TOKEN", SECRET).output().unwrap().into()
    }
}

/// One job that succeeds, one that fails, one that cannot be evaluated.
const THREE: &str = r#"levainJobs = {
  good = job "good";
  bad = derivation {
    name = "bad"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "exit 1" ];
  };
  broken = throw "no flour";
};"#;

/// Makes a project whose declaration has these settings.
fn project<'a>(environment: &'a Environment, settings: &str, jobs: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    repository.write("flake.nix", &simple(&format!("levainProject = {{ {settings}; }}; {jobs}")));
    repository.commit("first");
    repository
}

/// Cuts what differs from one machine and moment to another.
fn without_details(statuses: Vec<[String; 2]>) -> Vec<String> {
    let cut = |text: String| match text.split_once(" after ").or(text.split_once(" in ")) {
        Some((before, _)) => before.to_owned(),
        None => text,
    };
    statuses.into_iter().map(|[state, text]| format!("{state}: {}", cut(text))).collect()
}

#[test]
fn every_job_and_a_summary_on_every_forge() {
    let word = |github: &'static str, gitlab: &'static str, kind: &str| {
        if kind == "gitlab" { gitlab } else { github }
    };
    for (kind, path, header, prefix, name) in [
        ("github", "/repos/octo/bread/statuses/", "authorization", "Bearer ", "context"),
        ("gitlab", "/api/v4/projects/octo%2Fbread/statuses/", "private-token", "", "name"),
        ("gitea", "/api/v1/repos/octo/bread/statuses/", "authorization", "token ", "context"),
        ("forgejo", "/api/v1/repos/octo/bread/statuses/", "authorization", "token ", "context"),
    ] {
        let environment = Environment::new();
        let forge = Forge::new();
        let repository = project(&environment, &forge.declared(kind, "octo/bread"), THREE);
        let commit = repository.git(&["rev-parse", "HEAD"]);
        let ran = repository.levain_with_token(&["run"]).code(1);
        assert!(!ran.stdout.contains("not delivered"), "{}", ran.stdout);

        for request in forge.requests() {
            assert_eq!(request.method.as_str(), "POST");
            assert_eq!(request.url.path(), format!("{path}{commit}"));
            assert_eq!(request.headers[header], format!("{prefix}{SECRET}"));
            let fields = body(&request);
            let fields: Vec<&String> = fields.as_object().unwrap().keys().collect();
            let expected: &[&str] = match kind {
                "gitlab" => &["description", "name", "ref", "state"],
                _ => &["context", "description", "state"],
            };
            assert_eq!(fields, expected, "{kind}");
        }
        let sent =
            |context: &str| without_details(forge.sent(name, context, ["state", "description"]));
        let failure = word("failure", "failed", kind);
        let (error, running) = (word("error", "failed", kind), word("pending", "running", kind));
        assert_eq!(
            sent("levain"),
            [
                "pending: evaluating".to_owned(),
                format!("{running}: building, 1 of 3 jobs done"),
                format!("{failure}: 1 of 3 jobs failed, 1"),
            ]
        );
        let waiting = "pending: waiting to be built";
        assert_eq!(sent("levain/good"), [waiting, "success: built"]);
        assert_eq!(sent("levain/bad"), [waiting, &format!("{failure}: build failed")]);
        let broken = format!("{error}: could not be built: no flour");
        assert_eq!(sent("levain/broken"), [broken]);
        assert_eq!(forge.requests().len(), 8, "{kind}");
    }
}

#[test]
fn what_was_skipped_is_no_success() {
    let odd = |name: &str| {
        format!(
            "{name} = derivation {{ name = \"{name}\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; requiredSystemFeatures = [ \"nobody\" ]; }};"
        )
    };
    let some = format!(
        "levainJobs = {{ good = job \"good\"; {} all = job \"all\" // {{ _hydraAggregate = true; constituents = [ \"good\" \"odd\" ]; }}; }};",
        odd("odd")
    );
    let all = format!("levainJobs = {{ {} {} }};", odd("odd"), odd("even"));
    for (kind, name, skipped) in [
        ("github", "context", "pending"),
        ("gitlab", "name", "skipped"),
        ("gitea", "context", "pending"),
    ] {
        let environment = Environment::new();
        let forge = Forge::new();
        let repository = project(&environment, &forge.declared(kind, "octo/bread"), &some);
        repository.levain_with_token(&["run"]).ok();
        let sent = |context: &str| forge.sent(name, context, ["state", "description"]);
        let last = |context: &str| sent(context).pop().unwrap();
        let why = "skipped: no builder for x86_64-linux with nobody";
        assert_eq!(last("levain/odd"), [skipped, why], "{kind}");
        let why = "skipped: constituent `odd`: skipped";
        assert_eq!(last("levain/all"), [skipped, why], "{kind}");
        for context in ["levain/odd", "levain/all"] {
            assert!(sent(context).iter().all(|[state, _]| state != "success"), "{kind}");
        }
        let summary = "3 jobs: 0 unchanged, 0 incremental, 1 clean, 2 skipped";
        assert_eq!(last("levain"), ["success", summary], "{kind}");

        // Nobody built anything.
        let flake = simple(&format!(
            "levainProject = {{ {}; }}; {all}",
            forge.declared(kind, "octo/bread")
        ));
        repository.write("flake.nix", &flake);
        repository.commit("second");
        let ran = repository.levain_with_token(&["run"]).code(1);
        assert!(ran.stdout.contains("nothing was built: all jobs were skipped"), "{ran:?}");
        assert_eq!(last("levain"), [skipped, "nothing was built: 2 of 2 jobs skipped"], "{kind}");
    }
}

#[test]
fn statuses_go_to_the_original_commit() {
    let environment = Environment::new();
    let forge = Forge::new();
    let declared = format!("; {}", forge.declared("github", "octo/bread"));
    let repository = incremental(&environment, &declared);
    let context = "levain/x86_64-linux.app";
    let last = |context: &str| forge.statuses(context).pop().unwrap();
    let mut commits = Vec::new();
    for text in ["one\n", "two\n"] {
        repository.write("src/a.txt", text);
        commits.push(repository.commit(text));
        repository.levain_with_token(&["run"]).ok();
    }
    let [state, description] = last(context);
    assert_eq!(state, "success");
    assert!(description.starts_with("built incrementally in "), "{description}");
    assert_eq!(last("levain")[1], "1 job: 0 unchanged, 1 incremental, 0 clean");

    // The same commit again: the forge shows all that there is to say.
    let before = forge.requests().len();
    repository.levain_with_token(&["run"]).ok();
    assert_eq!(forge.requests().len(), before);

    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "nothing"]);
    commits.push(repository.git(&["rev-parse", "HEAD"]));
    repository.levain_with_token(&["run"]).ok();
    let since = format!("unchanged since {}", &commits[1][..12]);
    assert_eq!(last(context), ["success".to_owned(), since]);
    assert_eq!(last("levain")[1], "1 job: 1 unchanged, 0 incremental, 0 clean");

    for request in forge.requests() {
        let commit = request.url.path().rsplit('/').next().unwrap();
        assert!(commits.iter().any(|known| known == commit), "{commit} is none of {commits:?}");
    }
    assert!(repository.reference("refs/levain/heads/main").is_some());
}

#[test]
fn the_token_comes_from_a_file_or_the_environment_and_shows_nowhere() {
    let environment = Environment::new();
    let forge = Forge::new();
    let repository = project(&environment, &forge.declared("github", "octo/bread"), THREE);
    let file = environment.path("token");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let file = file.display().to_string();
    let no_secret = |ran: Ran| {
        let ran = ran.code(1);
        assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{ran:?}");
    };
    no_secret(repository.levain(&["-vv", "run", "--token-file", &file]));
    let from_file = forge.requests().len();
    assert!(from_file > 0);
    no_secret(repository.levain_with_token(&["-vv", "run", "--format", "json"]));
    let from_environment = forge.requests().len();
    assert!(from_environment > from_file);
    let mut command = environment.levain_command(&repository.path, &["-vv", "run"]);
    no_secret(command.env("LEVAIN_TOKEN_FILE", &file).output().unwrap().into());
    assert!(forge.requests().len() > from_environment);
    for request in forge.requests() {
        assert_eq!(request.headers["authorization"], format!("Bearer {SECRET}"));
    }

    repository.levain(&["run", "--token-file", "nowhere"]).code(1).says("nowhere").says("hint: ");
    // An argument would show in the list of processes: there is none for it.
    repository.levain(&["run", "--token", SECRET]).code(2);
}

#[test]
fn without_a_token_nothing_is_sent() {
    let environment = Environment::new();
    let forge = Forge::new();
    let repository = project(
        &environment,
        &forge.declared("gitea", "octo/bread"),
        "levainJobs.good = job \"good\";",
    );
    repository.levain(&["run"]).ok().says("no statuses are sent to gitea, for want of a token");
    assert_eq!(forge.requests().len(), 0);
    // Nor where no forge is declared: a token alone tells nobody where to.
    repository.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    repository.commit("no forge");
    repository.levain_with_token(&["run"]).ok();
    assert_eq!(forge.requests().len(), 0);
}

#[test]
fn a_passing_failure_is_tried_again() {
    let environment = Environment::new();
    let count = AtomicUsize::new(0);
    let forge = Forge::with(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => ResponseTemplate::new(500).set_body_string("oops"),
        _ => ResponseTemplate::new(201).set_body_json(json!({ "id": 1 })),
    });
    let repository = project(
        &environment,
        &forge.declared("github", "octo/bread"),
        "levainJobs.good = job \"good\";",
    );
    let ran = repository.levain_with_token(&["run", "--format", "json"]).ok();
    assert_eq!(ran.json()["undelivered"], json!([]));
    let twice = "evaluating".to_owned();
    let texts: Vec<String> = forge.statuses("levain").into_iter().map(|[_, text]| text).collect();
    assert_eq!(texts[..2], [twice.clone(), twice]);
    assert_eq!(texts.len(), 4, "{texts:?}");
}

#[test]
fn an_undelivered_status_changes_no_result() {
    let environment = Environment::new();
    let forge = Forge::answering(
        ResponseTemplate::new(422).set_body_json(json!({ "message": "No commit found for SHA" })),
    );
    let declared = format!("; {}", forge.declared("github", "octo/bread"));
    let repository = incremental(&environment, &declared);
    let report = repository.levain_with_token(&["run", "--format", "json"]).code(4).json();
    assert_eq!(ended(&report), [("x86_64-linux.app", "clean")].into(), "{report:#}");
    assert_eq!(job(&report, "x86_64-linux.app")["pointer"]["moved"], true);
    let undelivered = report["undelivered"].as_array().unwrap();
    let subjects: Vec<&Value> = undelivered.iter().map(|one| &one["subject"]).collect();
    assert_eq!(subjects, ["levain", "levain/x86_64-linux.app"]);
    for one in undelivered {
        assert_eq!(one["kind"], "status");
        let error = one["error"].as_str().unwrap();
        assert!(error.contains("422") && error.contains("No commit found for SHA"), "{error}");
    }
    // A failing job weighs more than an undelivered status.
    repository.write("src/fail", "");
    repository.commit("fails");
    repository.levain_with_token(&["run"]).code(1);
}

#[test]
fn texts_and_links_of_the_projects_own() {
    let environment = Environment::new();
    let forge = Forge::new();
    let long = "é".repeat(200);
    let declared = forge.declared("github", "octo/bread").replace(
        "; }",
        "; contextPrefix = \"oven\"; targetUrl = \"https://ci.example.org/{{jobset}}/{{commit}}\"; }",
    );
    let settings = format!(
        "{declared}; status = {{
          context = \"{{{{prefix}}}}: {{{{job}}}}\"; summaryContext = \"{{{{prefix}}}} of {{{{project}}}}\";
          pending = \"in the queue of {{{{jobset}}}}\"; successClean = \"{long}\";
          summarySuccess = \"{{{{clean}}}} baked\";
        }}"
    );
    let repository = project(&environment, &settings, "levainJobs.good = job \"good\";");
    let commit = repository.git(&["rev-parse", "HEAD"]);
    repository.levain_with_token(&["run"]).ok();
    let sent = forge.statuses("oven: good");
    assert_eq!(sent[0], ["pending", "in the queue of heads/main"]);
    assert_eq!(sent[1], ["success".to_owned(), format!("{}…", "é".repeat(139))]);
    let summary = forge.statuses("oven of octo/bread");
    assert_eq!(summary.last().unwrap(), &["success", "1 baked"]);
    let url = format!("https://ci.example.org/heads/main/{commit}");
    for request in forge.requests() {
        assert_eq!(body(&request)["target_url"], url.as_str());
    }
}

#[test]
fn what_ends_a_run_early_is_told() {
    let environment = Environment::new();
    let forge = Forge::new();
    let jobs = "levainJobs.good = job \"good\";";
    let declared = forge.declared("github", "octo/bread");
    let repository = project(&environment, &declared, jobs);
    repository.levain_with_token(&["run"]).ok();
    repository.git(&["switch", "--quiet", "-c", "topic"]);
    repository.write("flake.nix", &simple("levainJobs = abort \"the oven is cold\";"));
    repository.commit("broken");
    repository.levain_with_token(&["run"]).code(1).says("the oven is cold");
    let told = "cannot be evaluated: evaluation aborted with the following error message: 'the oven is cold'";
    assert_eq!(forge.statuses("levain").pop().unwrap(), ["failure", told]);

    // The author is not blamed for what the machine cannot write, nor told where.
    let machines = "creating directory '/srv/ci/.cache/nix': Read-only file system";
    repository.write("flake.nix", &simple(&format!("levainJobs = throw \"{machines}\";")));
    repository.commit("read-only");
    repository.levain_with_token(&["run"]).code(1).says(machines);
    let told = "cannot be evaluated: creating directory '…': Read-only file system";
    assert_eq!(forge.statuses("levain").pop().unwrap(), ["error", told]);

    // Nor for its Nix.
    repository.write("flake.nix", &simple("levainJobs.other = job \"other\";"));
    repository.commit("mended");
    let bin = environment.path("bin");
    fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'nix (Nix) 2.4' && exit 0\nexit 1\n";
    fs::write(bin.join("nix"), script).unwrap();
    fs::set_permissions(bin.join("nix"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = environment.levain_command(&repository.path, &["run"]);
    let ran =
        Ran::from(command.envs([("LEVAIN_TOKEN", SECRET), ("PATH", &path)]).output().unwrap());
    ran.code(1).says("nix 2.4 is too old");
    assert_eq!(forge.statuses("levain").pop().unwrap()[0], "error");
}

#[test]
fn a_job_that_cannot_be_built_here_is_neither_a_failure_nor_a_success() {
    let environment = Environment::new();
    let forge = Forge::new();
    let jobs = "levainJobs.other = derivation {
      name = \"other\"; system = \"aarch64-linux\"; builder = \"/bin/sh\";
    };";
    let repository = project(&environment, &forge.declared("github", "octo/bread"), jobs);
    repository.levain_with_token(&["run"]).code(1);
    assert_eq!(forge.statuses("levain/other").pop().unwrap()[0], "pending");
    assert_eq!(forge.statuses("levain").pop().unwrap()[0], "pending");
}

#[test]
fn a_forge_is_not_told_twice() {
    let environment = Environment::new();
    let refuse = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let refusing = std::sync::Arc::clone(&refuse);
    let forge = Forge::with(move |request| {
        let is_b = body(request)["context"] == "levain/b";
        match is_b && refusing.load(Ordering::SeqCst) {
            true => ResponseTemplate::new(422),
            false => ResponseTemplate::new(201).set_body_json(json!({ "id": 1 })),
        }
    });
    let jobs = "levainJobs = { a = job \"a\"; b = job \"b\"; thrown = throw \"no\"; };";
    let repository = project(&environment, &forge.declared("github", "octo/bread"), jobs);
    repository.levain_with_token(&["run"]).code(1);
    assert_eq!(forge.statuses("levain/a").len(), 2);
    refuse.store(false, Ordering::SeqCst);
    let before = forge.requests().len();
    // Only what could not be delivered is sent.
    repository.levain_with_token(&["run"]).code(1);
    let sent: Vec<Value> = forge.requests()[before..].iter().map(body).collect();
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert_eq!((&sent[0]["context"], &sent[0]["state"]), (&"levain/b".into(), &"success".into()));
    repository.levain_with_token(&["run"]).code(1);
    assert_eq!(forge.requests().len(), before + 1);
    // Another commit is another matter.
    repository.write("README", "new");
    repository.commit("docs");
    repository.levain_with_token(&["run"]).code(1);
    assert!(forge.requests().len() > before + 3);
}

#[test]
fn no_two_jobs_share_a_name() {
    let environment = Environment::new();
    let forge = Forge::new();
    let jobs = "levainJobs = { app = job \"a\"; App = job \"b\"; \"a b\" = job \"c\"; \"a  b\" = job \"d\"; };";
    let repository = project(&environment, &forge.declared("gitea", "octo/bread"), jobs);
    repository.levain_with_token(&["run"]).ok();
    let names: std::collections::BTreeSet<String> = forge
        .requests()
        .iter()
        .map(|request| body(request)["context"].as_str().unwrap().to_lowercase())
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
}
