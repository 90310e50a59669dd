//! Order, concurrency, and what is left over.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::*;

fn outbox(client: StatusClient) -> Outbox {
    Outbox::new(StatusSink::Forge(Box::new(client)), tokio::runtime::Handle::current())
}

/// Returns what arrived, as pairs of context and state.
async fn arrived(server: &MockServer) -> Vec<(String, String)> {
    let text = |body: &Value, key: &str| body[key].as_str().unwrap().to_owned();
    requests(server)
        .await
        .iter()
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap())
        .map(|body| (text(&body, "context"), text(&body, "state")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_status_never_overtakes_an_earlier_one() {
    // The first answers are failures, so that whoever could overtake would.
    let server =
        forge(vec![says(500, "oops"), says(500, "oops"), says(500, "oops"), created()]).await;
    let (client, _) = client(ForgeKind::GitHub, &server.uri());
    let outbox = outbox(client);
    for job in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        outbox.post(status(job, State::Pending));
        outbox.post(status(job, State::Failure));
        outbox.post(status(job, State::Success));
    }
    assert!(outbox.flush().await.is_empty());
    let arrived = arrived(&server).await;
    for job in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let mut states: Vec<&str> = arrived
            .iter()
            .filter(|(context, _)| context == job)
            .map(|(_, state)| state.as_str())
            .collect();
        states.dedup();
        assert_eq!(states, ["pending", "failure", "success"], "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_handed_back() {
    let server = MockServer::start().await;
    let answer = |request: &Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        match (body["context"].as_str(), body["state"].as_str()) {
            (Some("bad"), _) | (Some("mended"), Some("pending")) => says(422, "no"),
            _ => created(),
        }
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let (client, _) = client(ForgeKind::GitHub, &server.uri());
    let outbox = outbox(client);
    assert!(outbox.sends());
    for job in ["good", "bad", "mended"] {
        outbox.post(status(job, State::Pending));
        outbox.post(status(job, State::Success));
    }
    let undelivered = outbox.flush().await;
    let shown: Vec<String> = undelivered.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["cannot deliver the status `bad`: the forge rejected the status with 422: no"]
    );
    assert_eq!(undelivered[0].status.state(), State::Success);
    assert!(outbox.flush().await.is_empty(), "they are taken");
}

#[tokio::test]
async fn a_long_queue_tells_only_how_things_are() {
    // On one thread nothing is sent before the flush, so all of it queues up.
    let server = forge(vec![created()]).await;
    let (client, _) = client(ForgeKind::GitHub, &server.uri());
    let outbox = outbox(client);
    for state in [State::Pending, State::Failure, State::Success] {
        for job in 0..200 {
            outbox.post(status(&format!("job{job}"), state));
        }
    }
    assert!(outbox.flush().await.is_empty());
    let arrived = arrived(&server).await;
    assert!((200..250).contains(&arrived.len()), "{}", arrived.len());
    for job in 0..200 {
        let last = arrived.iter().rfind(|(context, _)| *context == format!("job{job}"));
        assert_eq!(last.map(|(_, state)| state.as_str()), Some("success"), "job{job}");
    }
}

/// A clock whose sleeps end when four of them have begun, and which counts the sleepers.
#[derive(Debug)]
struct Gate {
    barrier: tokio::sync::Barrier,
    asleep: AtomicUsize,
    most: AtomicUsize,
}

impl Clock for Gate {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let asleep = self.asleep.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(asleep, Ordering::SeqCst);
            self.barrier.wait().await;
            self.asleep.fetch_sub(1, Ordering::SeqCst);
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_at_once_and_no_more() {
    // Each status fails once, so each sleeps once: with fewer than four at once the gate would
    // stay shut for ever, with more than four the count would tell.
    let server = MockServer::start().await;
    let seen = Mutex::new(std::collections::BTreeSet::new());
    let answer = move |request: &Request| {
        if seen.lock().unwrap().insert(request.body.clone()) {
            says(500, "oops")
        } else {
            created()
        }
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let gate = Arc::new(Gate {
        barrier: tokio::sync::Barrier::new(4),
        asleep: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let shared = Arc::clone(&gate) as Arc<dyn Clock>;
    let client = StatusClient::with_clock(
        &config(ForgeKind::GitHub, &server.uri()),
        Token::from_value(SECRET).unwrap(),
        RetryPolicy::default(),
        shared,
    )
    .unwrap();
    let outbox = outbox(client);
    for job in 0..16 {
        outbox.post(status(&format!("job{job}"), State::Success));
    }
    assert!(outbox.flush().await.is_empty());
    assert_eq!(gate.most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn without_a_client_nothing_is_sent_and_nothing_fails() {
    let outbox = Outbox::new(StatusSink::Nowhere, tokio::runtime::Handle::current());
    assert!(!outbox.sends());
    outbox.post(status("levain", State::Success));
    assert!(outbox.flush().await.is_empty());
}

#[test]
fn a_runtime_that_ends_leaves_no_status_unaccounted_for() {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    };
    let (first, second) = (runtime(1).unwrap(), runtime(1).unwrap());
    let (client, _) = client(ForgeKind::GitHub, "http://127.0.0.1:9");
    let outbox = Outbox::new(StatusSink::Forge(Box::new(client)), first.handle().clone());
    drop(first);
    for job in 0..100 {
        outbox.post(status(&format!("job{job}"), State::Success));
    }
    let undelivered = second.block_on(outbox.flush());
    assert_eq!(undelivered.len(), 100);
    assert!(undelivered.iter().all(|one| matches!(one.error, DeliveryError::Interrupted)));
}
