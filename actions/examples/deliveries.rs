//! Prints what levain takes from deliveries that were kept as files.
//!
//! `cargo run -p levain-actions --example deliveries -- github FILE…`: the name of a file begins with the event and a dot,
//! as in `push.payload.json`. Ends with 1 if one of them cannot be read.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::Path;
use std::process::ExitCode;

use levain_actions::forge::webhook::{self, Hint, Sender};
use reqwest::header::{HeaderMap, HeaderValue};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let sender: Sender = arguments.next().unwrap_or_default().parse()?;
    let mut unreadable = 0;
    for file in arguments {
        let path = Path::new(&file);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let event = name.split('.').next().unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(sender.event_header(), HeaderValue::from_str(event)?);
        match webhook::read(sender, &headers, &std::fs::read(path)?) {
            Ok(delivery) => {
                let repository = delivery.repository.map(|repository| repository.full_name);
                let hint = if let Hint::Nothing { why } = &delivery.hint {
                    format!("nothing: {why}")
                } else {
                    format!("{:?}", delivery.hint)
                };
                println!("{name}: {} {hint}", repository.unwrap_or_default());
            }
            Err(error) => {
                unreadable += 1;
                println!("{name}: UNREADABLE: {error}");
            }
        }
    }
    Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
