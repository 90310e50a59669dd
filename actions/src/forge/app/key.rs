//! The key of an App, and what is signed with it: a JSON Web Token with RS256.
//!
//! ring signs; the rest is three pieces of base64. Start at [`AppKey::sign`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::forge::Token;

/// Forges refuse what was signed in the future, by their clocks.
const EARLIER: Duration = Duration::from_secs(60);
/// How long it counts. Forges take at most ten minutes.
const LIFE: Duration = Duration::from_secs(9 * 60);

/// The key of an App, with the number by which its forge knows it.
///
/// Its `Debug` shows the number alone, and there is no way to get the key back out.
#[derive(Clone)]
pub struct AppKey {
    app: u64,
    pub(super) pair: Arc<KeyPair>,
}

/// Something is not the key of an App. What stands in it is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppKeyError {
    /// There is no private key in it.
    #[error(
        "there is no private key in it\nhint: it is the `.pem` file that the forge gave when the key was made: `-----BEGIN RSA PRIVATE KEY-----`"
    )]
    None,
    /// It is a key of another kind.
    #[error("it is not an RSA key\nhint: have the forge make a key for the App")]
    NotRsa,
    /// It is no usable RSA key.
    #[error("the RSA key cannot be used: {why}\nhint: have the forge make another key for the App")]
    Unusable {
        /// What the library said.
        why: &'static str,
    },
    /// Nothing could be signed.
    #[error("cannot sign with the App's key")]
    Signing,
}

impl AppKey {
    /// Reads the key of the App of that number.
    pub fn from_pem(app: u64, pem: &str) -> Result<Self, AppKeyError> {
        let rejected = |error: ring::error::KeyRejected| AppKeyError::Unusable { why: why(&error) };
        // What is wrong with it is not told: the message might quote it.
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok().ok_or(AppKeyError::None)?;
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(_) => return Err(AppKeyError::NotRsa),
            // The library may come to know others.
            _ => return Err(AppKeyError::NotRsa),
        };
        Ok(Self { app, pair: Arc::new(pair.map_err(rejected)?) })
    }

    /// Returns the App's number.
    pub fn app(&self) -> u64 {
        self.app
    }

    /// Returns what the App proves itself with, for some minutes from now on.
    pub(super) fn sign(&self, now: SystemTime) -> Result<Token, AppKeyError> {
        let seconds = |time: Option<SystemTime>| {
            time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |since| since.as_secs())
        };
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "iat": seconds(now.checked_sub(EARLIER)),
            "exp": seconds(now.checked_add(LIFE)),
            "iss": self.app,
        });
        let piece = |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", piece(header), piece(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let done = self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        );
        done.ok().ok_or(AppKeyError::Signing)?;
        let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
        Token::from_value(&token).ok().ok_or(AppKeyError::Signing)
    }
}

/// Returns what ring says about a key, which names no part of it.
fn why(error: &ring::error::KeyRejected) -> &'static str {
    // Its texts are short words such as `TooSmall`.
    match error.to_string().as_str() {
        "TooSmall" => "it has fewer than 2048 bits",
        "TooLarge" => "it has more than 4096 bits",
        "WrongAlgorithm" => "it is of another kind",
        _ => "it is damaged",
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppKey({})", self.app)
    }
}
