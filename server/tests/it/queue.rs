//! The queue: what takes the slots of a server and what waits for them, to those who may see the runs.

use levain_engine::event::{Event, Stage, WaitReason, What};
use levain_engine::report::{JobReport, JobStatus};
use levain_server::clock::Timestamp;
use levain_server::live::Live;
use levain_server::runs::{Owner, RunId};
use serde_json::{Value, json};

use crate::openapi::check;
use crate::pages::Browsing;
use crate::sample::Filling;
use crate::support::databases;

const SLOW: &str = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-slow.drv";
const TOP: &str = "1c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-top.drv";

fn now() -> u64 {
    u64::try_from(Timestamp::now().millis()).unwrap()
}

/// Has a run build `slow`, for which a job of its waits.
fn builds(live: &Live, run: RunId, since: u64) {
    let hear = |time, what| live.hear(run, &Event { time, what });
    hear(since, What::Stage { stage: Stage::Build { jobs: 2, fresh: 0 } });
    for (name, built) in [("x86_64-linux.slow", SLOW), ("x86_64-linux.top", TOP)] {
        let mut job = JobReport::new(&name.into(), JobStatus::Clean);
        job.built_drv_path = Some(format!("/nix/store/{built}"));
        hear(since, What::JobWaits { job: Box::new(job) });
    }
    let reason = WaitReason::Dependency { derivation: SLOW.parse().unwrap() };
    hear(since, What::BuildWaits { derivation: TOP.parse().unwrap(), reason });
    hear(since, What::BuildWaits { derivation: SLOW.parse().unwrap(), reason: WaitReason::Nix });
    hear(since, What::BuildStarted { derivation: SLOW.parse().unwrap(), log: None });
}

#[tokio::test]
async fn a_build_that_hangs_is_seen_with_all_that_waits_for_it() {
    for test in databases().await {
        let database = test.open().await;
        let mut filling = Filling::new(&database, "bread", "/srv/git/bread").await;
        filling.push("heads/main").await;
        let run = filling.begin().await;
        let (live, since) = (Live::default(), now() - 7_260_000);
        builds(&live, run, since);
        let line = What::BuildLine { derivation: SLOW.parse().unwrap(), line: "kneading".into() };
        live.hear(run, &Event { time: since + 60_000, what: line });
        let server = Browsing::watching(&database, live.clone()).await;
        let page = server.page("/queue").await;
        for shown in [
            ">slow</code>",
            "last line <time",
            ">2 h ago<",
            "other jobs that wait for it: 1<",
            ">for <code>slow</code><",
        ] {
            assert!(page.contains(shown), "{shown} is not in {page}");
        }
        assert!(page.contains("building</span> <span class=\"dim\">since"), "{page}");
        let answer = server.twin("/api/v1/queue").await;
        let document = levain_server::http::document();
        let slots = &document["components"]["schemas"]["Slots"];
        check(&answer["slots"], slots, "the slots");
        let number = run.number();
        assert_eq!(
            answer["slots"],
            json!({
                "building": [{
                    "name": "slow", "derivation": SLOW, "since": since, "heardAt": since + 60_000,
                    "runs": [number], "waitingJobs": 1,
                }],
                "waitingJobs": [{
                    "run": number, "job": "x86_64-linux.top", "kind": "dependency",
                    "blocker": SLOW, "until": null,
                }],
                "moreBuilding": 0, "moreWaitingJobs": 0,
            })
        );
        // What another server carries out, or nobody any more, takes no slot of this one.
        database.give_back_run(run, Owner::new("sample")).await.unwrap();
        let answer = server.twin("/api/v1/queue").await;
        assert_eq!(answer["slots"]["building"], Value::Array(Vec::new()));
    }
}

#[tokio::test]
async fn who_may_not_see_a_run_sees_nothing_of_its_builds() {
    for test in databases().await {
        let database = test.open().await;
        let live = Live::default();
        for name in ["concealed", "displayed"] {
            let mut filling = Filling::new(&database, name, "/srv/git/bread").await;
            filling.push("heads/main").await;
            builds(&live, filling.begin().await, now());
            database.note_public(filling.project, name == "displayed").await.unwrap();
        }
        let server = Browsing::by_nobody(&database, live).await;
        let answer = server.twin("/api/v1/queue").await;
        let shown = answer["running"][0]["run"]["id"].clone();
        assert_eq!(answer["running"].as_array().unwrap().len(), 1);
        let build = &answer["slots"]["building"][0];
        assert_eq!((&build["runs"], &build["waitingJobs"]), (&json!([shown]), &json!(1)));
        let waiting = answer["slots"]["waitingJobs"].as_array().unwrap();
        assert!(waiting.iter().all(|job| job["run"] == shown), "{waiting:?}");
        let page = server.page("/queue").await;
        assert!(page.contains("displayed") && !page.contains("concealed"), "{page}");
    }
}
