//! What a derivation depends on, from the context of its strings.

use std::collections::BTreeSet;
use std::rc::Rc;

use levain_store::{Derivation, DerivationPath, StoreDir, StorePath, StorePathError};

use super::super::state::KnownDerivation;
use super::super::{outside, store_path};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::{Context, ContextElement};

/// Adds everything in a context to the inputs, and makes sure that the hash of each input is known.
pub(super) fn add(
    ev: &mut Evaluator,
    derivation: &mut Derivation,
    context: &Context,
    at: Span,
) -> Result<()> {
    for element in context.iter() {
        match element {
            ContextElement::Path(path) => {
                derivation.input_sources.insert(parse(ev, path, at)?);
            }
            ContextElement::Output { derivation: path, output } => {
                let path = parse_derivation(ev, path, at)?;
                know(ev, &path, at)?;
                derivation.input_derivations.entry(path).or_default().insert(output.to_string());
            }
            ContextElement::DerivationDeep(path) => add_closure(ev, derivation, path, at)?,
        }
    }
    Ok(())
}

/// Returns the whole paths of everything that a derivation refers to; those of derivations are shared.
pub(super) fn references(ev: &Evaluator, derivation: &Derivation, dir: &StoreDir) -> Vec<Rc<str>> {
    let known = &ev.state.derivations;
    let derivations = derivation.input_derivations.keys().map(|path| match known.get(path) {
        Some(known) => Rc::clone(&known.path),
        None => dir.display(path.as_ref()).into(),
    });
    let sources = derivation.input_sources.iter().map(|path| dir.display(path).into());
    derivations.chain(sources).collect()
}

/// Adds a derivation, all that it refers to, and all outputs of the derivations among them.
fn add_closure(
    ev: &mut Evaluator,
    derivation: &mut Derivation,
    path: &Rc<str>,
    at: Span,
) -> Result<()> {
    let mut seen: BTreeSet<Rc<str>> = BTreeSet::from([Rc::clone(path)]);
    let mut waiting = vec![Rc::clone(path)];
    while let Some(path) = waiting.pop() {
        let object = parse(ev, &path, at)?;
        let references = if object.is_derivation() {
            let path = parse_derivation(ev, &path, at)?;
            know(ev, &path, at)?;
            let known = ev.state.derivations.get(&path).cloned();
            let known = known.ok_or_else(|| unknown(&path.to_string(), at))?;
            derivation.input_derivations.entry(path).or_default().extend(known.outputs);
            known.references
        } else {
            ev.state.texts.get(&path).cloned().unwrap_or_default()
        };
        derivation.input_sources.insert(object);
        waiting.extend(references.into_iter().filter(|path| seen.insert(Rc::clone(path))));
    }
    Ok(())
}

fn unknown(path: &str, at: Span) -> Error {
    let message = format!("`{path}` is not a store path that a derivation can depend on");
    Error::new(ErrorKind::StorePath { message }, at)
}

fn parse(ev: &Evaluator, path: &str, at: Span) -> Result<StorePath> {
    store_path::parse(ev, path).ok_or_else(|| unknown(path, at))
}

fn parse_derivation(ev: &Evaluator, path: &str, at: Span) -> Result<DerivationPath> {
    let object = parse(ev, path, at)?;
    object.try_into().map_err(|error: StorePathError| {
        Error::new(ErrorKind::StorePath { message: error.to_string() }, at)
    })
}

/// Makes sure that a derivation is known, reading it and what it depends on if it was not made here.
fn know(ev: &mut Evaluator, path: &DerivationPath, at: Span) -> Result<()> {
    if ev.state.derivations.contains_key(path) {
        return Ok(());
    }
    let dir = store_path::dir(ev);
    let mut waiting: Vec<(DerivationPath, Option<Derivation>)> = vec![(path.clone(), None)];
    while let Some((path, read)) = waiting.pop() {
        if ev.state.derivations.contains_key(&path) {
            continue;
        }
        let wrong = |message: String| {
            Error::new(ErrorKind::Derivation { name: path.name().to_owned(), message }, at)
        };
        let Some(derivation) = read else {
            let whole = dir.display(path.as_ref());
            let text = ev.io.read_derivation(&whole).map_err(|error| outside(error, at))?;
            let derivation =
                Derivation::parse_aterm(&dir, &text).map_err(|error| wrong(error.to_string()))?;
            let inputs: Vec<_> = derivation.input_derivations.keys().cloned().collect();
            // First what it depends on, then itself.
            waiting.push((path.clone(), Some(derivation)));
            waiting.extend(inputs.into_iter().map(|input| (input, None)));
            continue;
        };
        let known = &ev.state.derivations;
        let hash = derivation
            .hash_modulo(&dir, |path| known.get(path).map(|known| &known.hash))
            .map_err(|error| wrong(error.to_string()))?;
        let references = references(ev, &derivation, &dir);
        let outputs = derivation.outputs.keys().cloned().collect();
        let whole = dir.display(path.as_ref()).into();
        let known = KnownDerivation { path: whole, hash, outputs, references };
        ev.state.derivations.insert(path, known);
    }
    Ok(())
}
