//! `getFlake`: a flake that is here, called with the inputs that its lock file names.
//!
//! Nothing is locked: a lock file in which an input is missing, or is another one than the flake wants
//! by now, is an error. The trees come from [`Io::fetch`](crate::lang::io::Io::fetch). Start at [`get`].

mod inputs;

use super::{Builtin, Scope, argument, fetch, json, outside};
use crate::lang::error::{Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::flake_reference::{self, Attribute, Attributes};
use crate::lang::io::{Fetch, FetchValue, IoError};
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, NixPath, Value};

pub(super) const BUILTINS: &[Builtin] = &[Builtin {
    name: "getFlake",
    arity: 1,
    parameters: &["reference"],
    scope: Scope::Prefixed,
    run: get,
    about: "Fetches a flake and returns its outputs.",
}];

/// Fetches the input that a lock file names; no program can name this one.
const LOCKED_INPUT: &Builtin = &Builtin {
    name: "fetchLockedInput",
    arity: 1,
    parameters: &["input"],
    scope: Scope::Prefixed,
    run: fetch::locked_input,
    about: "Fetches the tree of an input of a lock file.",
};

/// Calls the flake.
const CALL: &str = include_str!("call_flake.nix");

/// What stands for the lock file of a flake without inputs.
const NO_INPUTS: &[u8] = br#"{"nodes":{"root":{}},"root":"root","version":7}"#;

/// Turns the attributes of a reference into those of a request.
pub(super) fn attributes(reference: Attributes) -> Vec<(String, FetchValue)> {
    let value = |value| match value {
        Attribute::String(text) => FetchValue::String(text),
        Attribute::Int(number) => FetchValue::Int(i64::try_from(number).unwrap_or(i64::MAX)),
        Attribute::Bool(value) => FetchValue::Bool(value),
    };
    reference.into_iter().map(|(name, attribute)| (name, value(attribute))).collect()
}

fn get(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_plain_string(&args[0], at)?.text().into_owned();
    let within = || format!("while fetching the flake `{text}`");
    let reference = flake_reference::parse(&text);
    let mut reference = reference.map_err(|error| argument(at, error.to_string()))?;
    let directory = match reference.remove("dir") {
        Some(Attribute::String(directory)) => directory,
        Some(Attribute::Int(_) | Attribute::Bool(_)) | None => String::new(),
    };
    let request = Fetch { builtin: "getFlake", attributes: attributes(reference) };
    let source = fetch::fetched_tree(ev, &request, at).context(at, within)?;
    let sources = ev.force_attrs(&source, at)?;
    let root = ev.required(&sources, "outPath", at)?;
    let (root, _) = ev.force_path(&root, at)?;
    let place = root.join(directory.as_bytes());
    let expression = ev.import(&place.join(b"flake.nix"), at).context(at, within)?;
    let expression = ev.force_attrs(&expression, at).context(at, within)?;
    let lock = lock_file(ev, &place, at).context(at, within)?;
    inputs::check(ev, &expression, &lock, at).context(at, within)?;
    let mut given = AttrsBuilder::with_capacity(4);
    given.push(ev.symbols.intern("lock"), lock);
    given.push(ev.symbols.intern("source"), source);
    given.push(ev.symbols.intern("directory"), Value::string(directory));
    given.push(ev.symbols.intern("fetch"), Value::Builtin(LOCKED_INPUT));
    let call = ev.evaluate_internal("call-flake.nix", CALL)?;
    ev.call1(&call, Value::attrs(given.finish()), at)
}

/// Returns the content of the flake's lock file.
fn lock_file(ev: &mut Evaluator, place: &NixPath, at: Span) -> Result<Value> {
    let file = place.join(b"flake.lock");
    let text = match ev.io.read_file(&file) {
        Ok(text) => text,
        Err(IoError::NotFound { .. }) => NO_INPUTS.to_vec(),
        Err(error) => return Err(outside(error, at)),
    };
    let wrong = |message: String| argument(at, format!("lock file `{}` {message}", file.text()));
    let lock = json::read(ev, &text, at)
        .context(at, || format!("while reading the lock file `{}`", file.text()))?;
    let attrs = ev.force_attrs(&lock, at)?;
    let version = ev.required(&attrs, "version", at)?;
    let version = ev.force_int(&version, at)?;
    if !(5..=7).contains(&version) {
        return Err(wrong(format!("has version {version}; versions 5 to 7 are known")));
    }
    Ok(lock)
}
