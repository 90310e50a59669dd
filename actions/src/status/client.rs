//! The one thing that writes to a forge: sends a status, and tries again where that can help.
//!
//! Read-only mode makes no client; nothing else in levain can post a status.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::retry::asked_wait;
use super::{Clock, Delivered, DeliveryError, RetryPolicy, Status, SystemClock, shorten};
use crate::forge::{self, Check, Endpoint, ForgeConfig, ForgeError, Masks, StatusRequest, Token};

/// How much of an answer is shown.
const EXCERPT_LIMIT: usize = 200;

/// How long to wait, times the number of the attempt, when a forge limits the rate without saying
/// for how long.
const UNSAID_WAIT: Duration = Duration::from_secs(60);

/// Posts statuses of one repository to its forge.
#[derive(Debug)]
pub struct StatusClient {
    endpoint: Endpoint,
    token: Token,
    masks: Masks,
    http: reqwest::Client,
    policy: RetryPolicy,
    clock: Arc<dyn Clock>,
    /// Nothing is sent before this time: the forge asked for it, and it counts for all statuses.
    not_before: Mutex<Option<SystemTime>>,
    /// The last status was given up. Until one gets through, each gets a single attempt, so that
    /// a forge that is down does not cost its full patience once per job.
    down: AtomicBool,
}

/// A failed attempt.
enum Failure {
    /// Another attempt would fail alike.
    Lasting(DeliveryError),
    /// Another attempt may succeed, after a wait if the forge asked for one.
    Passing { error: DeliveryError, wait: Option<Duration> },
}

impl StatusClient {
    /// Makes a client; asks the forge nothing yet.
    pub fn new(
        config: &ForgeConfig,
        token: Token,
        policy: RetryPolicy,
    ) -> Result<Self, ForgeError> {
        Self::with_clock(config, token, policy, Arc::new(SystemClock))
    }

    /// Makes a client that takes its time from `clock`.
    pub fn with_clock(
        config: &ForgeConfig,
        token: Token,
        policy: RetryPolicy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ForgeError> {
        let endpoint = config.endpoint()?;
        let http = forge::client(&endpoint)?;
        Ok(Self {
            endpoint,
            masks: Masks::new([&token]),
            token,
            http,
            policy,
            clock,
            not_before: Mutex::new(None),
            down: AtomicBool::new(false),
        })
    }

    /// Delivers a status, or says why it could not be delivered.
    pub async fn send(&self, status: &Status) -> Result<Delivered, DeliveryError> {
        let result = self.send_as_is(status).await;
        let other = match &result {
            Err(DeliveryError::Rejected { status: code, message }) => {
                forge::instead_of(self.endpoint.kind, status.state(), *code, message)
            }
            Ok(_) | Err(_) => None,
        };
        match other {
            Some(state) => self.send_as_is(&status.clone().with_state(state)).await,
            None => result,
        }
    }

    /// Delivers a status as a check run, or says why it could not be delivered.
    pub async fn send_check(&self, check: &Check) -> Result<Delivered, DeliveryError> {
        match forge::check_request(&self.endpoint, check) {
            Some(request) => self.deliver(&check.status, request).await,
            None => self.send(&check.status).await,
        }
    }

    async fn send_as_is(&self, status: &Status) -> Result<Delivered, DeliveryError> {
        self.deliver(status, forge::status_request(&self.endpoint, status)).await
    }

    async fn deliver(
        &self,
        status: &Status,
        mut request: StatusRequest,
    ) -> Result<Delivered, DeliveryError> {
        forge::mask(&self.masks, &mut request.body);
        let allowed =
            if self.down.load(Ordering::Relaxed) { 1 } else { self.policy.attempts.max(1) };
        let mut attempts = 0;
        loop {
            if let Err(error) = self.wait_as_asked().await {
                return Err(self.give_up(attempts, error));
            }
            attempts += 1;
            let (error, wait) = match self.attempt(status, &request, attempts).await {
                Ok(delivered) => {
                    self.down.store(false, Ordering::Relaxed);
                    tracing::debug!(context = status.context(), state = ?status.state(), "status delivered");
                    return Ok(delivered);
                }
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing { error, wait }) => (error, wait),
            };
            if let Some(wait) = wait {
                self.hold(wait);
            }
            if attempts >= allowed || wait.is_some_and(|wait| wait > self.policy.patience) {
                return Err(self.give_up(attempts, error));
            }
            tracing::warn!(context = status.context(), attempts, %error, "status not delivered yet");
            if wait.is_none() {
                self.clock.sleep(self.policy.backoff(attempts)).await;
            }
        }
    }

    fn give_up(&self, attempts: u32, last: DeliveryError) -> DeliveryError {
        self.down.store(true, Ordering::Relaxed);
        DeliveryError::GivingUp { attempts, last: Box::new(last) }
    }

    /// Notes that the forge asked for silence.
    fn hold(&self, wait: Duration) {
        let Some(until) = self.clock.now().checked_add(wait) else { return };
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = (*not_before).max(Some(until));
    }

    /// Waits until the forge wants to hear from us again, unless that is too far away.
    async fn wait_as_asked(&self) -> Result<(), DeliveryError> {
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = not_before.and_then(|time| time.duration_since(self.clock.now()).ok());
        match wait {
            Some(wait) if wait > self.policy.patience => {
                let message = "asked for by an earlier answer".to_owned();
                Err(DeliveryError::RateLimited { wait, message })
            }
            Some(wait) if !wait.is_zero() => {
                self.clock.sleep(wait).await;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn attempt(
        &self,
        status: &Status,
        request: &StatusRequest,
        number: u32,
    ) -> Result<Delivered, Failure> {
        let request = self
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(forge::headers(self.endpoint.kind, &self.token))
            .json(&request.body);
        let response =
            forge::send(&self.endpoint, request).await.map_err(|error| self.unreachable(error))?;
        let code = response.status();
        let headers = response.headers().clone();
        let body = forge::read(response).await.map_err(|error| self.unreachable(error))?;
        self.judge(status, code, &headers, &body, UNSAID_WAIT * number)
    }

    /// Says what an answer means.
    fn judge(
        &self,
        status: &Status,
        code: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        unsaid_wait: Duration,
    ) -> Result<Delivered, Failure> {
        let kind = self.endpoint.kind;
        let json = serde_json::from_slice::<Value>(body).ok();
        let excerpt = || self.show(&String::from_utf8_lossy(body));
        let message = match json.as_ref().and_then(message) {
            Some(message) => self.show(&message),
            None => excerpt(),
        };
        let number = code.as_u16();
        if code.is_success() {
            return match json {
                Some(Value::Object(fields)) => {
                    Ok(Delivered::Created { id: fields.get("id").and_then(Value::as_u64) })
                }
                Some(_) | None => {
                    let url = self.endpoint.base.to_string();
                    let error = DeliveryError::Garbage { url, status: number, excerpt: excerpt() };
                    Err(Failure::Lasting(error))
                }
            };
        }
        if forge::is_rate_limit(code, headers, &message) {
            let wait = asked_wait(headers, self.clock.now()).unwrap_or(unsaid_wait);
            let error = DeliveryError::RateLimited { wait, message };
            return Err(Failure::Passing { error, wait: Some(wait) });
        }
        if code.is_server_error() || code == StatusCode::REQUEST_TIMEOUT {
            // Only `Retry-After` counts here: the reset of a limit that is not used up is no wish.
            let wait = headers
                .contains_key("retry-after")
                .then(|| asked_wait(headers, self.clock.now()))
                .flatten();
            let error = DeliveryError::Unavailable { status: number, message, wait };
            return Err(Failure::Passing { error, wait });
        }
        if forge::shows_it_already(kind, status, code, &message) {
            return Ok(Delivered::ShownAlready);
        }
        let repository = self.endpoint.repository.clone();
        let rights = kind.token_rights();
        Err(Failure::Lasting(if code.is_redirection() {
            let location = headers.get("location").map(HeaderValue::as_bytes).unwrap_or_default();
            let location = self.show(&String::from_utf8_lossy(location));
            DeliveryError::Moved { status: number, location }
        } else if code == StatusCode::UNAUTHORIZED || code == StatusCode::FORBIDDEN {
            DeliveryError::Refused { status: number, repository, message, rights }
        } else if code == StatusCode::NOT_FOUND {
            DeliveryError::NotFound { repository, message, rights }
        } else {
            DeliveryError::Rejected { status: number, message }
        }))
    }

    /// Makes a text from outside fit to be shown. Masked before it is cut: half a token is not
    /// recognised any more.
    fn show(&self, text: &str) -> String {
        shorten(&self.masks.apply(text), EXCERPT_LIMIT)
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let url = self.endpoint.base.to_string();
        if let Some(refusal) = certificate_refusal(&error) {
            return Failure::Lasting(DeliveryError::Certificate { url, message: refusal });
        }
        let error = DeliveryError::Unreachable { url, source: error.without_url() };
        Failure::Passing { error, wait: None }
    }
}

/// Finds out whether a request failed because of the server's certificate, which will be the same
/// the next time.
fn certificate_refusal(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(refusal)) = error.downcast_ref() {
        return Some(refusal.to_string());
    }
    // An I/O error does not give what it holds as its source.
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    held.and_then(|held| certificate_refusal(held))
        .or_else(|| error.source().and_then(certificate_refusal))
}

/// Finds what a forge says in an error: `message` or `error`, a text or a structure, and the
/// list of details that some add in `errors`.
fn message(answer: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let message = answer.get("message").or_else(|| answer.get("error")).map(text)?;
    match answer.get("errors") {
        Some(Value::Array(errors)) if !errors.is_empty() => {
            let details: Vec<String> =
                errors.iter().map(|error| text(error.get("message").unwrap_or(error))).collect();
            Some(format!("{message}: {}", details.join(", ")))
        }
        Some(_) | None => Some(message),
    }
}
