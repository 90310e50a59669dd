//! `levain why`: why a job would be built, and with which cache.

use std::process::ExitCode;

use levain_actions::status::RetryPolicy;
use levain_engine::project::{Access, Place};
use levain_engine::run::{self, Options, Why};
use levain_store::BuildOptions;
use tokio::runtime::Handle;

use super::{print, print_json};
use crate::args::{Format, Global, Why as Args};
use crate::exit::Failure;
use crate::progress::Shown;
use crate::setup;
use crate::table::{age, short};

/// Runs the command.
pub(crate) fn why(global: &Global, args: &Args, runtime: &Handle) -> Result<ExitCode, Failure> {
    let (selection, trust) = setup::selection(&args.select);
    let surroundings = setup::surroundings(global, trust)?;
    setup::end_on_signals(runtime, &surroundings);
    let options = Options {
        place: Place::Directory(global.directory.clone()),
        selection,
        declaration: args.select.declaration.clone(),
        access: Access::ReadOnly,
        push: false,
        build: BuildOptions::default(),
        token: None,
        retries: RetryPolicy::default(),
        runtime: runtime.clone(),
    };
    let mut progress = Shown::new();
    let result = run::why(&surroundings, &options, &args.job, &mut progress);
    drop(progress);
    let why = result.map_err(|error| Failure::error(&error))?;
    match args.format {
        Format::Json => print_json(&why)?,
        Format::Text => print(&text(&why))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(why: &Why) -> String {
    let mut text = format!(
        "{} on {} at {}\nbase derivation: {}\n",
        why.attr_path,
        why.jobset,
        short(&why.original_commit),
        why.base_drv_path
    );
    match (&why.unchanged_since, why.would_build) {
        (Some(since), _) => {
            text.push_str(&format!("fresh: unchanged since {}\n", short(since)));
        }
        (None, false) => text.push_str("fresh: its outputs are in the store\n"),
        (None, true) => {
            text.push_str("would be built: this base derivation has not succeeded yet\n")
        }
    }
    if let Some(key) = &why.key {
        text.push_str(&format!("key: {key}\n"));
    }
    if let Some(cache) = &why.cache {
        text.push_str(&format!(
            "cache: {} ({}, recorded on {} for {} {} ago, depth {}, {})\n",
            cache.path,
            cache.origin,
            cache.jobset,
            short(&cache.commit),
            age(cache.time),
            cache.depth,
            cache.nar_hash
        ));
    }
    if let Some(refusal) = &why.refusal {
        text.push_str(&format!("no cache: {refusal}\n"));
    }
    for considered in &why.considered {
        let from = match considered.jobset.as_str() {
            "" => String::new(),
            jobset => format!(" on {jobset}"),
        };
        text.push_str(&format!(
            "looked at the {} entry{from}: {}\n",
            considered.origin, considered.refusal
        ));
    }
    for change in &why.key_changes {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".into());
        text.push_str(&format!(
            "key changed: {}\n  before: {}\n  now:    {}\n",
            change.component,
            value(&change.before),
            value(&change.after)
        ));
    }
    text
}
