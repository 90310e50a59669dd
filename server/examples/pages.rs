//! Serves the pages of a database that is filled with an example, to look at them.
//!
//! `cargo run -p levain-server --example pages` prints the address.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example that cannot go on should stop there"
)]

use std::sync::Arc;

use levain_server::Database;
use levain_server::database::DatabaseUrl;
use levain_server::http::{Readers, Site, serve};

#[path = "../tests/it/sample.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod sample;

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::file(&directory.path().join("levain.sqlite")).unwrap();
    let database = Database::open(&url).await.unwrap();
    sample::fill_with_trouble(&database).await;
    sample::fill(&database, directory.path()).await;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let site = Site { readers: Readers::Local, ..Site::new(database) };
    serve(listener, site, Arc::default()).await;
}
