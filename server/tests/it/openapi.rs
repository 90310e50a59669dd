//! The OpenAPI document says what is so: it has all routes, real answers are as it describes them, and readers are told
//! of every change to it.

use std::collections::{BTreeMap, BTreeSet};

use levain_engine::event::{Stage, WaitReason};
use levain_engine::report::JobStatus;
use levain_evaluator::JobName;
use levain_server::http::{self, Site, document};
use levain_server::live::{LiveBuild, LiveEnd, LiveJob, LiveRun};
use levain_server::reconcile::Head;
use levain_server::runs::state::{RunState, Verdict};
use levain_server::runs::{Ended, Owner};
use levain_server::shown::{ShownProject, ShownRun};
use levain_store::DerivationPath;
use serde_json::Value;

use crate::support::{GITHUB, databases, note, now, project};

/// `UPDATE_EXPECT=1 cargo test -p levain-server --test it openapi` writes it anew.
#[test]
fn the_document_is_the_one_that_is_kept() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap();
    assert!(
        kept == text,
        "docs/openapi.json is old; hint: UPDATE_EXPECT=1, and read the difference"
    );
}

#[tokio::test]
async fn every_route_is_described() {
    let test = &databases().await[0];
    let database = test.open().await;
    let table = http::table(Site::new(database));
    let below = table.listed().iter().filter(|route| route.path.starts_with("/api/v1/"));
    let there: BTreeSet<(String, String)> = below
        .map(|route| (route.path.to_owned(), route.method.as_str().to_ascii_lowercase()))
        .collect();
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(described, there);
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().values() {
            let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            let parameters = method["parameters"].as_array().into_iter().flatten();
            let described = parameters.map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(named, described, "{path}");
        }
    }
}

/// Fails unless a value is as a schema says.
pub(crate) fn check(value: &Value, schema: &Value, place: &str) {
    let kinds: Vec<&str> = match schema["type"].as_array() {
        Some(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        None => vec![schema["type"].as_str().unwrap()],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{place} is {value}, not {kinds:?}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{place} is {value}");
    }
    if let (Some(object), Some(described)) = (value.as_object(), schema.get("additionalProperties"))
    {
        for (name, value) in object {
            check(value, described, &format!("{place}.{name}"));
        }
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for required in schema["required"].as_array().unwrap() {
            assert!(object.contains_key(required.as_str().unwrap()), "{place} has no {required}");
        }
        for (name, value) in object {
            let described = properties.get(name).unwrap_or_else(|| panic!("{place}: {name}"));
            check(value, described, &format!("{place}.{name}"));
        }
    }
}

/// Returns what runs may be doing: everything that can be said of one.
fn lives() -> Vec<LiveRun> {
    let (jobs, fresh) = (2, 1);
    let stages = [
        Stage::Fetch,
        Stage::EvaluateBase,
        Stage::EvaluateShadow,
        Stage::Build { jobs, fresh },
        Stage::Audit { jobs },
        Stage::Deliver,
    ];
    let derivation = |name: &str| -> DerivationPath {
        format!("prwm9syyq3qlrywj4hir7c92gf7kbl1q-{name}.drv").parse().unwrap()
    };
    let waits = [
        WaitReason::Slot,
        WaitReason::Dependency { derivation: derivation("x") },
        WaitReason::Nix,
        WaitReason::Retry { at: 7 },
    ];
    let waits =
        waits.into_iter().zip(["a", "b", "c", "e"]).map(|(wait, of)| (derivation(of), wait));
    let ended = [
        JobStatus::Fresh,
        JobStatus::Incremental,
        JobStatus::Clean,
        JobStatus::Failed,
        JobStatus::Error,
        JobStatus::Cancelled,
        JobStatus::Skipped,
    ];
    let ended = ended.into_iter().enumerate().map(|(number, status)| {
        (JobName::from(number.to_string().as_str()), LiveEnd { status, log: None })
    });
    let full = LiveRun {
        jobs: Some(9),
        waiting: [("w".into(), LiveJob { built: Some("/nix/store/x.drv".to_owned()) })].into(),
        waits: waits.collect(),
        builds: [(derivation("d"), LiveBuild { since: 7, last_line: Some(8), log: None })].into(),
        ended: ended.collect(),
        ..LiveRun::default()
    };
    let of =
        stages.map(|stage| LiveRun { stage: Some(stage), stage_since: Some(6), ..full.clone() });
    of.into_iter().chain([LiveRun::default()]).collect()
}

#[tokio::test]
async fn answers_are_as_the_document_describes_them() {
    let document = document();
    let schemas: BTreeMap<&str, &Value> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, schema)| (name.as_str(), schema))
        .collect();
    let test = &databases().await[0];
    let database = test.open().await;
    let id = project(&database, "a", GITHUB).await.id;
    let commit = format!("{:040x}", 1).parse().unwrap();
    note(&database, id, [("heads/main".parse().unwrap(), Head::branch(commit))].into()).await;
    let run = database.claim_run(Owner::new("o"), now(), &[]).await.unwrap().unwrap();
    let before = ShownRun::new("a", &run);
    let ended = Ended {
        report: Some("{}".to_owned()),
        notices: vec!["a notice".to_owned()],
        ..Ended::new(Verdict::Succeeded, "fine")
    };
    assert!(database.end_run(run.id, Owner::new("o"), ended).await.unwrap());
    let run = database.run(run.id).await.unwrap().unwrap();
    let details = database.run_details(run.id).await.unwrap().unwrap();
    let after = ShownRun::new("a", &run).with(details);
    let mut all = vec![before.clone(), after];
    all.extend(lives().into_iter().map(|live| ShownRun { live: Some(live), ..before.clone() }));
    for shown in all {
        check(&serde_json::to_value(shown).unwrap(), schemas["Run"], "a run");
    }
    for project in database.projects().await.unwrap() {
        let shown = serde_json::to_value(ShownProject::new(&project)).unwrap();
        check(&shown, schemas["Project"], "a project");
    }
    let states = schemas["Run"]["properties"]["state"]["enum"].as_array().unwrap();
    let named: Vec<&str> = states.iter().map(|state| state.as_str().unwrap()).collect();
    assert_eq!(named, RunState::ALL.map(RunState::name));
}
