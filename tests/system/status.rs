//! Statuses: what a forge is told, and what happens when it cannot be told.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

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

    /// Returns the declaration of this forge, to stand after another setting.
    pub(crate) fn declared(&self, kind: &str, repository: &str) -> String {
        let url = self.server.uri();
        format!(
            "; forge = {{ kind = \"{kind}\"; apiUrl = \"{url}\"; repository = \"{repository}\"; }}"
        )
    }

    /// Returns what was sent so far, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.runtime.block_on(self.server.received_requests()).unwrap()
    }

    /// Returns the bodies of what was sent so far.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.requests()
            .iter()
            .map(|request| serde_json::from_slice(&request.body).unwrap())
            .collect()
    }
}
