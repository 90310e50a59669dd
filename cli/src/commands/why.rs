//! `levain why`: why a job would be built, and with which cache.

use std::process::ExitCode;

use levain_engine::project::{Place, WriteAccess};
use levain_engine::run::{self, Options, Why};
use levain_engine::{BuildLimits, Standing};
use levain_store::{BuildOptions, visible_line, visible_name};
use tokio::runtime::Handle;

use crate::args::{Format, Global, Why as Args};
use crate::exit::Failure;
use crate::place;
use crate::progress::Shown;
use crate::setup;
use crate::table::{age, short};
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn why(
    global: &Global,
    args: &Args,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let selection = setup::selection(&args.select);
    let surroundings = setup::surroundings(global, setup::trust(&selection), runtime)?;
    setup::end_on_signals(runtime, &surroundings);
    let options = Options {
        place: Place::Directory(global.directory.clone()),
        selection,
        declaration: place::of_declaration(args.select.declaration.as_deref())?,
        access: WriteAccess::ReadOnly,
        push: false,
        rebuild: false,
        outputs: false,
        build: BuildOptions::default(),
        limits: BuildLimits::default(),
        standing: Standing::default(),
        tells_forge: false,
    };
    let shown = Shown::new(terminal);
    let result = run::why(&surroundings, &options, &args.job, &|event| shown.hear(&event));
    drop(shown);
    let why = result.map_err(|error| Failure::error(&error))?;
    match args.format {
        Format::Json => terminal.print_json(&why)?,
        Format::Text => terminal.print(&text(&why))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(why: &Why) -> String {
    let mut text = format!(
        "{} on {} at {}\nbase derivation: {}\n",
        visible_name(why.attr_path.as_str()),
        visible_name(why.jobset.as_str()),
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
            cache.shadow,
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
        let from = match considered.shadow.as_str() {
            "" => String::new(),
            shadow => format!(" on {shadow}"),
        };
        text.push_str(&format!(
            "looked at the {} entry{from}: {}\n",
            considered.origin, considered.refusal
        ));
    }
    for change in &why.key_changes {
        let value = |value: &Option<String>| match value {
            Some(value) => visible_line(value).into_owned(),
            None => "(absent)".to_owned(),
        };
        text.push_str(&format!(
            "key changed: {}\n  before: {}\n  now:    {}\n",
            visible_line(&change.component),
            value(&change.before),
            value(&change.after)
        ));
    }
    text
}
