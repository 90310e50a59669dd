//! A client that costs little: requests are made beforehand, and of answers only the status is read.

use std::time::{Duration, Instant};

use levain_actions::forge::webhook::Sender;
use levain_server::projects::Added;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

/// Where the server is, and what it is asked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", target.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 1 << 16] })
    }

    /// Sends a request; returns the status of the answer, which is read to its end, and its size.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<(u16, usize), Failure> {
        self.stream.write_all(request).await?;
        let mut read = 0;
        let (head, length, status) = loop {
            if read == self.buffer.len() {
                return Err("the head of an answer is too long".into());
            }
            let count = self.stream.read(&mut self.buffer[read..]).await?;
            if count == 0 {
                return Err("the server closed a connection".into());
            }
            read += count;
            let text = &self.buffer[..read];
            if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = std::str::from_utf8(&text[..end])?.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.unwrap_or("0").parse()?;
                let status = head.get(9..12).unwrap_or_default().parse()?;
                break (end + 4, length, status);
            }
        };
        let mut left = (head + length).saturating_sub(read);
        while left > 0 {
            let room = left.min(self.buffer.len());
            let count = self.stream.read(&mut self.buffer[..room]).await?;
            if count == 0 {
                return Err("the server closed a connection".into());
            }
            left -= count;
        }
        Ok((status, length))
    }
}

/// Returns a request for a page or a document.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// Returns a delivery of a project with a body of a size.
pub(crate) fn delivery(added: &Added, key: &str, size: usize) -> Vec<u8> {
    delivery_to(added.hook.as_str(), added.secret.as_bytes(), key, size)
}

/// Returns a delivery with a body of a size, signed with a secret.
pub(crate) fn delivery_to(hook: &str, secret: &[u8], key: &str, size: usize) -> Vec<u8> {
    let said = format!(
        r#"{{"ref": "refs/heads/main", "key": "{key}", "repository": {{"id": 1, "full_name": "o/r"}}, "sender": {{"id": 2}}}}"#
    );
    let mut body = said.into_bytes();
    body.resize(size.max(body.len()), b' ');
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), &body);
    let head = format!(
        "POST /hooks/{hook} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{}: push\r\nx-github-delivery: {key}\r\n\
         x-hub-signature-256: sha256={}\r\n\r\n",
        body.len(),
        Sender::DEFAULT.event_header(),
        data_encoding::HEXLOWER.encode(tag.as_ref())
    );
    [head.into_bytes(), body].concat()
}

/// How long requests took.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Returns the time that so many of a thousand took at most, in milliseconds.
    pub(crate) fn at(&self, part: usize) -> f64 {
        let index = (self.0.len() * part / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Sends requests as fast as `clients` connections can, each waiting for the answer; all must have the status.
pub(crate) async fn as_fast_as_possible(
    target: &Target,
    requests: Vec<Vec<u8>>,
    clients: usize,
    expected: u16,
) -> Result<(Times, Duration), Failure> {
    let mut shares: Vec<Vec<Vec<u8>>> = (0..clients).map(|_| Vec::new()).collect();
    for (index, request) in requests.into_iter().enumerate() {
        shares[index % clients].push(request);
    }
    let mut connections = Vec::new();
    for share in shares {
        connections.push((Connection::open(target).await?, share));
    }
    let began = Instant::now();
    let mut sending = tokio::task::JoinSet::new();
    for (mut connection, share) in connections {
        sending.spawn(async move {
            let mut times = Vec::with_capacity(share.len());
            for request in share {
                let began = Instant::now();
                let (status, _) = connection.ask(&request).await?;
                times.push(began.elapsed());
                if status != expected {
                    return Err(Failure::from(format!("answered {status}, not {expected}")));
                }
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(result) = sending.join_next().await {
        times.extend(result??);
    }
    Ok((Times::new(times), began.elapsed()))
}

/// Sends so many requests a second, whether the server keeps up or not; a time counts from when it was due.
pub(crate) async fn at_a_rate(
    target: &Target,
    requests: Vec<Vec<u8>>,
    rate: u32,
    expected: u16,
) -> Result<Times, Failure> {
    let lanes = 64;
    let began = tokio::time::Instant::now() + Duration::from_millis(50);
    let mut shares: Vec<Vec<(Duration, Vec<u8>)>> = (0..lanes).map(|_| Vec::new()).collect();
    for (index, request) in requests.into_iter().enumerate() {
        let due = Duration::from_secs_f64(index as f64 / f64::from(rate));
        shares[index % lanes].push((due, request));
    }
    let mut sending = tokio::task::JoinSet::new();
    for share in shares {
        let mut connection = Connection::open(target).await?;
        sending.spawn(async move {
            let mut times = Vec::with_capacity(share.len());
            for (due, request) in share {
                tokio::time::sleep_until(began + due).await;
                let (status, _) = connection.ask(&request).await?;
                times.push(began.elapsed() - due);
                if status != expected {
                    return Err(Failure::from(format!("answered {status}, not {expected}")));
                }
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(result) = sending.join_next().await {
        times.extend(result??);
    }
    Ok(Times::new(times))
}
