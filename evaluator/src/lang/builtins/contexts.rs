//! String contexts: looking at them, taking them away, putting them back.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::strings::COPYING;
use super::{Builtin, Scope, argument, store_path};
use crate::lang::error::{Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, Context, ContextElement, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "addDrvOutputDependencies",
        arity: 1,
        parameters: &["string"],
        scope: Scope::Prefixed,
        run: add_outputs,
        about: "Makes a string that depends on a derivation depend on its outputs as well.",
    },
    Builtin {
        name: "appendContext",
        arity: 2,
        parameters: &["string", "context"],
        scope: Scope::Prefixed,
        run: append_context,
        about: "Adds to the context of a string.",
    },
    Builtin {
        name: "getContext",
        arity: 1,
        parameters: &["string"],
        scope: Scope::Prefixed,
        run: get_context,
        about: "Returns the context of a string as a set.",
    },
    Builtin {
        name: "hasContext",
        arity: 1,
        parameters: &["string"],
        scope: Scope::Prefixed,
        run: has_context,
        about: "Returns whether a string depends on store objects.",
    },
    Builtin {
        name: "unsafeDiscardOutputDependency",
        arity: 1,
        parameters: &["string"],
        scope: Scope::Prefixed,
        run: discard_outputs,
        about: "Makes a string that depends on the outputs of derivations depend on the derivations alone.",
    },
    Builtin {
        name: "unsafeDiscardStringContext",
        arity: 1,
        parameters: &["string"],
        scope: Scope::Prefixed,
        run: discard_context,
        about: "Returns a string without its context.",
    },
];

fn has_context(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    Ok(Value::Bool(ev.force_string(&args[0], at)?.context().is_some()))
}

fn discard_context(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.coerce_to_string(&args[0], at, COPYING, &mut Context::new())?;
    Ok(Value::string(text.bytes()))
}

fn discard_outputs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut context = Context::new();
    let text = ev.coerce_to_string(&args[0], at, COPYING, &mut context)?;
    let context = context.iter().map(|element| match element {
        ContextElement::DerivationDeep(path) => ContextElement::Path(Rc::clone(path)),
        ContextElement::Path(_) | ContextElement::Output { .. } => element.clone(),
    });
    Ok(Value::string_with_context(text.bytes(), context.collect()))
}

fn add_outputs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut context = Context::new();
    let text = ev.coerce_to_string(&args[0], at, COPYING, &mut context)?;
    let mut elements = context.iter();
    let (Some(element), None) = (elements.next(), elements.next()) else {
        let message = format!(
            "context of string `{}` must have exactly one element, but has {}",
            text.text(),
            context.len()
        );
        return Err(argument(at, message));
    };
    let path = match element {
        ContextElement::DerivationDeep(path) => path,
        ContextElement::Path(path) if path.ends_with(".drv") => path,
        ContextElement::Path(path) => {
            return Err(argument(at, format!("path `{path}` is not a derivation")));
        }
        ContextElement::Output { output, .. } => {
            let message = format!(
                "`addDrvOutputDependencies` can only act on derivations, not on a derivation output such as `{output}`"
            );
            return Err(argument(at, message));
        }
    };
    let context = [ContextElement::DerivationDeep(Rc::clone(path))].into_iter().collect();
    Ok(Value::string_with_context(text.bytes(), context))
}

/// What a context says about one store path.
#[derive(Default)]
struct Entry {
    path: bool,
    all_outputs: bool,
    outputs: Vec<Rc<str>>,
}

fn get_context(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_string(&args[0], at)?;
    let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
    for element in text.context().into_iter().flat_map(Context::iter) {
        match element {
            ContextElement::Path(path) => entries.entry(path).or_default().path = true,
            ContextElement::DerivationDeep(path) => {
                entries.entry(path).or_default().all_outputs = true;
            }
            ContextElement::Output { derivation, output } => {
                entries.entry(derivation).or_default().outputs.push(Rc::clone(output));
            }
        }
    }
    let mut attrs = AttrsBuilder::with_capacity(entries.len());
    for (path, entry) in entries {
        let mut parts = AttrsBuilder::with_capacity(3);
        if entry.path {
            parts.push(ev.symbols.intern("path"), Value::Bool(true));
        }
        if entry.all_outputs {
            parts.push(ev.symbols.intern("allOutputs"), Value::Bool(true));
        }
        if !entry.outputs.is_empty() {
            let outputs = entry.outputs.iter().map(|output| Value::string(output.as_bytes()));
            parts.push(ev.symbols.intern("outputs"), Value::list(outputs.collect()));
        }
        attrs.push(ev.symbols.intern(path), Value::attrs(parts.finish()));
    }
    Ok(Value::attrs(attrs.finish()))
}

fn append_context(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_string(&args[0], at)?;
    let added = ev.force_attrs(&args[1], at)?;
    let mut context = text.context().cloned().unwrap_or_default();
    for attr in added.iter() {
        let place = attr.span();
        let path = ev.symbols.text(attr.name);
        if store_path::parse(ev, &path).is_none() {
            return Err(argument(place, format!("context key `{path}` is not a store path")));
        }
        let path: Rc<str> = path.into();
        if !ev.io.is_valid_path(&path).map_err(|error| super::outside(error, place))? {
            return Err(argument(place, format!("path `{path}` is not valid")));
        }
        let parts = ev.force_attrs(&attr.value, place)?;
        let within =
            |what: &str| format!("while evaluating the `{what}` attribute of a string context");
        if let Some(value) = ev.symbols.find("path").and_then(|name| parts.value(name))
            && ev.force_bool(value, place).context(place, || within("path"))?
        {
            context.insert(ContextElement::Path(Rc::clone(&path)));
        }
        let not_derivation = |what: &str| {
            let message = format!(
                "tried to add {what} context of `{path}`, which is not a derivation, to a string"
            );
            argument(place, message)
        };
        if let Some(value) = ev.symbols.find("allOutputs").and_then(|name| parts.value(name))
            && ev.force_bool(value, place).context(place, || within("allOutputs"))?
        {
            if !path.ends_with(".drv") {
                return Err(not_derivation("all-outputs"));
            }
            context.insert(ContextElement::DerivationDeep(Rc::clone(&path)));
        }
        if let Some(value) = ev.symbols.find("outputs").and_then(|name| parts.value(name)) {
            let outputs = ev.force_list(value, place).context(place, || within("outputs"))?;
            if !outputs.is_empty() && !path.ends_with(".drv") {
                return Err(not_derivation("derivation output"));
            }
            for output in outputs.iter() {
                let output = ev.force_plain_string(output, place);
                let output = output.context(place, || within("outputs"))?;
                let output = output.text().into();
                context.insert(ContextElement::Output { derivation: Rc::clone(&path), output });
            }
        }
    }
    Ok(Value::string_with_context(text.bytes(), context))
}
