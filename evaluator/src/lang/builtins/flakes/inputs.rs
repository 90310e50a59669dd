//! Whether a lock file is of the inputs that a flake wants.
//!
//! Nix would lock anew what is missing or has changed. Here that is an error, because the wrong tree
//! would be worse than none. Start at [`check`].

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::lang::builtins::flake_references::part;
use crate::lang::builtins::{argument, types};
use crate::lang::error::{Error, Result};
use crate::lang::eval::Evaluator;
use crate::lang::flake_reference::{self, Attribute, Attributes};
use crate::lang::source::Span;
use crate::lang::value::{Attrs, Value};

/// Attributes of an input that are no parts of its reference.
const NO_PARTS: [&str; 3] = ["flake", "follows", "inputs"];

/// Makes sure that the lock file's root has every input that the flake wants, and no other in its place.
pub(super) fn check(ev: &mut Evaluator, flake: &Attrs, lock: &Value, at: Span) -> Result<()> {
    let lock = ev.force_attrs(lock, at)?;
    let root = ev.required(&lock, "root", at)?;
    let root = ev.force_plain_string(&root, at)?.text().into_owned();
    let nodes = ev.required(&lock, "nodes", at)?;
    let nodes = ev.force_attrs(&nodes, at)?;
    let node = ev.required(&nodes, &root, at)?;
    let node = ev.force_attrs(&node, at)?;
    let locked = match attribute(ev, &node, "inputs") {
        Some(inputs) => Some(ev.force_attrs(&inputs, at)?),
        None => None,
    };
    for (name, input) in wanted(ev, flake, at)? {
        let found = locked.as_ref().and_then(|locked| attribute(ev, locked, &name));
        let Some(found) = found else {
            return Err(stale(&name, "is not in the lock file", at));
        };
        let found = ev.force(&found, at)?;
        if !is_locked(ev, &name, input.as_deref(), &found, &nodes, at)? {
            return Err(stale(&name, "is another one in the lock file", at));
        }
    }
    Ok(())
}

fn stale(input: &str, what: &str, at: Span) -> Error {
    argument(at, format!("input `{input}` {what}; `nix flake lock` mends that"))
}

fn attribute(ev: &Evaluator, attrs: &Attrs, name: &str) -> Option<Value> {
    attrs.value(ev.symbols.find(name)?).cloned()
}

/// Returns the inputs that a flake wants, with what it says about them.
fn wanted(
    ev: &mut Evaluator,
    flake: &Attrs,
    at: Span,
) -> Result<BTreeMap<String, Option<Rc<Attrs>>>> {
    let mut wanted = BTreeMap::new();
    // The arguments of `outputs` are inputs, too.
    let outputs = ev.required(flake, "outputs", at)?;
    let arguments = types::function_args(ev, &[outputs], at)?;
    for argument in ev.force_attrs(&arguments, at)?.iter() {
        let name = ev.symbols.text(argument.name);
        if name != "self" {
            wanted.insert(name, None);
        }
    }
    if let Some(inputs) = attribute(ev, flake, "inputs") {
        for input in ev.force_attrs(&inputs, at)?.iter() {
            let attrs = ev.force_attrs(&input.value, at)?;
            wanted.insert(ev.symbols.text(input.name), Some(attrs));
        }
    }
    Ok(wanted)
}

/// Returns whether an input is what the lock file took it for; `found` is what the root has for it.
fn is_locked(
    ev: &mut Evaluator,
    name: &str,
    input: Option<&Attrs>,
    found: &Value,
    nodes: &Attrs,
    at: Span,
) -> Result<bool> {
    if let Some(follows) = input.and_then(|input| attribute(ev, input, "follows")) {
        let follows = ev.force_plain_string(&follows, at)?.text().into_owned();
        let Value::List(path) = found else { return Ok(false) };
        let mut parts = Vec::with_capacity(path.len());
        for part in path.iter() {
            parts.push(ev.force_plain_string(part, at)?.text().into_owned());
        }
        return Ok(follows.split('/').filter(|part| !part.is_empty()).eq(parts));
    }
    let Value::String(node) = found else { return Ok(false) };
    let node = ev.required(nodes, &node.text(), at)?;
    let node = ev.force_attrs(&node, at)?;
    // Without it nothing can be said.
    let Some(original) = attribute(ev, &node, "original") else { return Ok(true) };
    let original = ev.force_attrs(&original, at)?;
    let original = parts(ev, &original, at)?;
    Ok(reference(ev, name, input, at)?.is_none_or(|reference| reference == original))
}

/// Returns the reference of an input; nothing if it is relative to the flake.
fn reference(
    ev: &mut Evaluator,
    name: &str,
    input: Option<&Attrs>,
    at: Span,
) -> Result<Option<Attributes>> {
    if let Some(input) = input {
        // With a type, the address is one part among others.
        if attribute(ev, input, "type").is_some() {
            return parts(ev, input, at).map(Some);
        }
        if let Some(url) = attribute(ev, input, "url") {
            let url = ev.force(&url, at)?;
            let Value::String(url) = &url else { return Ok(None) };
            return Ok(flake_reference::parse(&url.text()).ok());
        }
    }
    let text = |text: &str| Attribute::String(text.to_owned());
    let indirect = [("id".to_owned(), text(name)), ("type".to_owned(), text("indirect"))];
    Ok(Some(indirect.into()))
}

/// Returns those attributes of a set that are parts of a reference.
fn parts(ev: &mut Evaluator, attrs: &Attrs, at: Span) -> Result<Attributes> {
    let mut parts = Attributes::new();
    for attr in attrs.iter() {
        let name = ev.symbols.text(attr.name);
        if NO_PARTS.contains(&name.as_str()) {
            continue;
        }
        let value = ev.force(&attr.value, at)?;
        let value = part(ev, &name, &value, at)?;
        parts.insert(name, value);
    }
    Ok(parts)
}
