//! The token reaches the forge and nothing else.

use std::fmt::Write;

use tracing::field::{Field, Visit};
use tracing::span;

use super::*;

/// Keeps everything that is traced, of every level.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<String>>);

impl Visit for Traces {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Traces {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Shows an error in every way there is, causes included.
fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        write!(text, "{error}\n{error:?}\n{error:#?}\n").unwrap();
        next = error.source();
    }
    text
}

#[tokio::test]
async fn the_token_is_never_shown() {
    let traces = Traces::default();
    // With a single subscriber, tracing asks only the thread that meets an event first whether
    // anyone wants it, and that may be another test's; with two it asks all subscribers.
    let _second = tracing::Dispatch::new(Traces::default());
    let _guard = tracing::subscriber::set_default(traces.clone());
    let echo = format!("token {SECRET} is bad");
    // Here a cut before the masking would leave half of the token.
    let edge = format!("{}{SECRET}{SECRET}", "x".repeat(190));
    let answers = [
        says(401, &echo),
        says(404, &echo),
        says(422, &edge),
        says(500, &echo),
        says(429, &echo).insert_header("retry-after", "1"),
        ResponseTemplate::new(200).set_body_string(edge.as_str()),
        ResponseTemplate::new(302).insert_header("location", format!("/login?token={SECRET}")),
        ResponseTemplate::new(400).set_body_json(json!({ "error": [echo.as_str()] })),
        created(),
    ];
    let mut text = String::new();
    for kind in ForgeKind::ALL {
        for answer in &answers {
            let server = forge(vec![answer.clone()]).await;
            let (client, _) = client(kind, &server.uri());
            if let Err(error) = client.send(&status("levain", State::Success)).await {
                text += &shown(&error);
            }
            write!(text, "{client:?}\n{client:#?}").unwrap();
            let sent = &requests(&server).await[0];
            assert!(
                sent.headers.values().any(|value| value.as_bytes().ends_with(SECRET.as_bytes()))
            );
        }
    }
    let refusing = Refusing::new();
    let (client, _) = client(ForgeKind::GitHub, &refusing.url());
    text += &shown(&client.send(&status("levain", State::Success)).await.unwrap_err());

    let traced = traces.0.lock().unwrap().clone();
    assert!(traced.contains("status not delivered yet"), "the traces are kept: {traced}");
    assert!(text.contains("[token]"), "{text}");
    for shown in [text, traced] {
        assert!(!shown.contains(&SECRET[..8]), "{shown}");
    }
}
