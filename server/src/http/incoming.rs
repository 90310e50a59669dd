//! Reads what is delivered: within bounds of size, time and memory, whoever sends it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Forges deliver up to 25 MiB, and some count what is around it apart.
const LARGEST: usize = (25 << 20) + (64 << 10);
/// KiB that all deliveries together may take that are being received.
const ROOM: usize = 256 << 10;

/// The memory for what is being received.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }

    /// Waits until there is room for so many bytes.
    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let kibs = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0).acquire_many_owned(kibs).await;
        permit.map_err(|_closed| Refused::Broken)
    }
}

/// Why something is not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooLarge,
    TooSlow,
    Broken,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
        .into_response()
    }
}

/// Something that is being delivered.
pub(super) struct Incoming {
    body: Body,
    /// How long it says that it is; at most [`LARGEST`] if it does not.
    length: usize,
    limit: Duration,
}

impl Incoming {
    pub(super) fn new(headers: &HeaderMap, body: Body, limit: Duration) -> Result<Self, Refused> {
        let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = said.unwrap_or(LARGEST);
        if length > LARGEST { Err(Refused::TooLarge) } else { Ok(Self { body, length, limit }) }
    }

    /// Reads all of it. The memory is given back with what is returned beside it.
    pub(super) async fn read(
        self,
        room: &Room,
    ) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refused> {
        let limit = self.limit;
        let reading = async {
            let permit = room.take(self.length).await?;
            let mut whole = Vec::new();
            self.each(|part| whole.extend_from_slice(part)).await?;
            Ok((whole, permit))
        };
        tokio::time::timeout(limit, reading).await.unwrap_or(Err(Refused::TooSlow))
    }

    /// Passes on part by part, and keeps nothing.
    pub(super) async fn discard(self, part: impl FnMut(&[u8])) -> Result<(), Refused> {
        let limit = self.limit;
        tokio::time::timeout(limit, self.each(part)).await.unwrap_or(Err(Refused::TooSlow))
    }

    async fn each(mut self, mut part: impl FnMut(&[u8])) -> Result<(), Refused> {
        let mut length = 0;
        while let Some(data) = self.next().await? {
            length += data.len();
            if length > LARGEST {
                return Err(Refused::TooLarge);
            }
            part(&data);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(Refused::Broken),
                // Whatever is no data comes after it, and is of no use.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
