//! Signatures of deliveries: over the raw bytes, compared in constant time.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use reqwest::header::HeaderMap;
use ring::hmac;

/// The shortest secret that is accepted.
const SHORTEST: usize = 16;

/// What a forge and levain both know, and nobody else.
#[derive(Clone)]
pub struct WebhookSecret(String);

/// Why a text is no secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WebhookSecretError {
    /// Too easily guessed.
    #[error("a webhook secret has at least {SHORTEST} characters\nhint: openssl rand -hex 32")]
    Short,
    /// Would be changed on its way.
    #[error("a webhook secret is made of visible ASCII characters\nhint: openssl rand -hex 32")]
    Characters,
}

impl WebhookSecret {
    /// Takes a secret, if it is one.
    pub fn new(text: &str) -> Result<Self, WebhookSecretError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WebhookSecretError::Characters);
        }
        if text.len() < SHORTEST {
            return Err(WebhookSecretError::Short);
        }
        Ok(Self(text.to_owned()))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes())
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// Why a delivery is not accepted. Whoever sent it is told none of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no secret to compare with.
    #[error("there is no secret for deliveries")]
    NoSecret,
    /// It is not signed.
    #[error("the signature is missing")]
    Missing,
    /// The signature is no signature.
    #[error("the signature cannot be read")]
    Malformed,
    /// It was signed with something else, or changed since.
    #[error("the signature is of another secret or another body")]
    Wrong,
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(SignatureError::Missing)?;
    if values.next().is_some() {
        return Err(SignatureError::Malformed);
    }
    match value.to_str() {
        // Gitea sends an empty one if it has no secret.
        Ok("") => Err(SignatureError::Missing),
        Ok(text) => Ok(text),
        Err(_) => Err(SignatureError::Malformed),
    }
}

/// Checks a header with the hexadecimal HMAC-SHA256 of the body behind a prefix.
pub(in crate::forge) fn hmac_of_body(
    headers: &HeaderMap,
    name: &str,
    prefix: &str,
    body: &[u8],
    secret: &WebhookSecret,
) -> Result<(), SignatureError> {
    let text = header(headers, name)?;
    let hex = text.strip_prefix(prefix).ok_or(SignatureError::Malformed)?;
    if hex.is_empty() {
        return Err(SignatureError::Missing);
    }
    let Ok(tag) = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()) else {
        return Err(SignatureError::Malformed);
    };
    hmac::verify(&secret.key(), body, &tag).map_err(wrong)
}

/// Checks a header with the secret itself.
pub(in crate::forge) fn token(
    headers: &HeaderMap,
    name: &str,
    secret: &WebhookSecret,
) -> Result<(), SignatureError> {
    let text = header(headers, name)?;
    // Comparing what was made of both takes the same time wherever they differ.
    let key = secret.key();
    let ours = hmac::sign(&key, secret.0.as_bytes());
    hmac::verify(&key, text.as_bytes(), ours.as_ref()).map_err(wrong)
}

/// Checks the signatures of the Standard Webhooks specification: several, each with a version, of identifier, time and body.
///
/// The time is not compared with ours: what was accepted once is recognised by its identifier, which is signed.
pub(in crate::forge) fn standard_webhook(
    headers: &HeaderMap,
    body: &[u8],
    secret: &WebhookSecret,
) -> Result<(), SignatureError> {
    let signatures = header(headers, "webhook-signature")?;
    let id = header(headers, "webhook-id")?;
    let timestamp = header(headers, "webhook-timestamp")?;
    let encoded = secret.0.strip_prefix("whsec_").ok_or(SignatureError::Wrong)?;
    let Ok(key) = BASE64.decode(encoded.as_bytes()) else { return Err(SignatureError::Wrong) };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let tags: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?.as_bytes()).ok())
        .collect();
    if tags.is_empty() {
        return Err(SignatureError::Malformed);
    }
    match tags.iter().any(|tag| hmac::verify(&key, &signed, tag).is_ok()) {
        true => Ok(()),
        false => Err(SignatureError::Wrong),
    }
}

fn wrong(_: ring::error::Unspecified) -> SignatureError {
    SignatureError::Wrong
}
