//! A repository without a forge: what a `post-receive` hook of its own sends.
//!
//! The hook sends the secret itself, since a shell script cannot sign without showing the secret to other users of its
//! machine. What was pushed is not read: the refs are.

use reqwest::header::HeaderMap;

use super::webhook::{
    Hint, SignatureError, UnreadableDelivery, WebhookDelivery, WebhookSecret, Webhooks, token,
};

/// How a `post-receive` hook delivers.
pub(super) const WEBHOOKS: Webhooks =
    Webhooks { verify, event: "x-levain-event", key: "x-levain-delivery", read };

fn verify(headers: &HeaderMap, _: &[u8], secret: &WebhookSecret) -> Result<(), SignatureError> {
    token(headers, "x-levain-token", secret)
}

fn read(_: &str, _: &[u8]) -> Result<WebhookDelivery, UnreadableDelivery> {
    Ok(WebhookDelivery { repository: None, sender: None, installation: None, hint: Hint::Refs })
}
