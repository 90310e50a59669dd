//! What is delivered, and what was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_server::projects::Added;
use serde_json::Value;

/// Something to deliver.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) project: usize,
    pub(crate) key: String,
    event: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Parcel {
    /// Says that a ref moved.
    pub(crate) fn push(project: usize, key: u64, reference: &str) -> Self {
        let body = format!(
            r#"{{"ref": "{reference}", "key": {key}, "repository": {{"id": 1, "full_name": "o/r"}}, "sender": {{"id": 2}}}}"#
        );
        Self { project, key: key.to_string(), event: "push", body: body.into_bytes() }
    }

    /// Says something of no interest, or nothing that can be read.
    pub(crate) fn noise(project: usize, key: u64, random: &mut fastrand::Rng) -> Self {
        match random.u32(0..3) {
            0 => Self::push(project, key, "refs/tags/v1"),
            1 => Self { event: "ping", ..Self::push(project, key, "refs/heads/main") },
            _ => Self {
                body: format!("{{ {key}").into_bytes(),
                ..Self::push(project, key, "refs/heads/main")
            },
        }
    }

    /// Says something else under the same key.
    pub(crate) fn contradicted(&self) -> Self {
        Self { body: [&self.body, &b" "[..]].concat(), ..self.clone() }
    }
}

/// A delivery that was acknowledged, and must be there from then on.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) id: i64,
    /// What it said, if it was the first of its key.
    pub(crate) body: Option<Vec<u8>>,
}

/// What was acknowledged, by project and key.
pub(crate) type Ledger = BTreeMap<(usize, String), Accepted>;

/// What a delivery is sent with.
#[derive(Clone)]
pub(crate) struct Post {
    client: reqwest::Client,
}

impl Post {
    pub(crate) fn new() -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        Self { client: client.build().unwrap() }
    }

    /// Delivers; returns what was acknowledged. Nothing if the server was killed meanwhile.
    pub(crate) async fn send(
        &self,
        port: u16,
        added: &Added,
        sender: Sender,
        parcel: &Parcel,
    ) -> Option<Accepted> {
        let url = format!("http://127.0.0.1:{port}/hooks/{}", added.hook.as_str());
        let request = self.client.post(url).header("content-type", "application/json");
        let request = match sender {
            Sender::Git => request
                .header("x-levain-token", &added.secret)
                .header("x-levain-delivery", &parcel.key),
            Sender::Forge(_) => request
                .header(sender.event_header(), parcel.event)
                .header("x-github-delivery", &parcel.key)
                .header("x-hub-signature-256", signed(&added.secret, &parcel.body)),
        };
        let answer = request.body(parcel.body.clone()).send().await.ok()?;
        let status = answer.status();
        let said: Value = answer.json().await.ok()?;
        assert!(status.is_success(), "{status}: {said}");
        let id = said["delivery"].as_i64().unwrap();
        let body = (status == reqwest::StatusCode::ACCEPTED).then(|| parcel.body.clone());
        Some(Accepted { id, body })
    }
}

fn signed(secret: &str, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
}
