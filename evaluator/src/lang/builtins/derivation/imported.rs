//! Importing a `.drv` file of the store: the derivation that it describes, as `derivation` gives it.

use std::rc::Rc;

use levain_store::Derivation;

use crate::lang::builtins::{outside, store_path};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, ContextElement, NixPath, Value};

/// Makes of paths what users see of a derivation.
const DERIVATION: &str = include_str!("imported.nix");

/// Returns the derivation in a file, if the file is a derivation of the store.
pub(in crate::lang::builtins) fn import(
    ev: &mut Evaluator,
    path: &NixPath,
    at: Span,
) -> Result<Option<Value>> {
    let whole = path.text();
    let is_derivation = store_path::parse(ev, &whole).is_some_and(|path| path.is_derivation());
    if !is_derivation || !ev.io.is_valid_path(&whole).map_err(|error| outside(error, at))? {
        return Ok(None);
    }
    let whole: Rc<str> = whole.into();
    let text = ev.io.read_derivation(&whole).map_err(|error| outside(error, at))?;
    let dir = store_path::dir(ev);
    let wrong = |message: String| {
        Error::new(ErrorKind::Derivation { name: whole.to_string(), message }, at)
    };
    let derivation =
        Derivation::parse_aterm(&dir, &text).map_err(|error| wrong(error.to_string()))?;
    let mut paths = AttrsBuilder::with_capacity(derivation.outputs.len());
    let mut names = Vec::with_capacity(derivation.outputs.len());
    for (name, output) in &derivation.outputs {
        let path = output.path.as_ref();
        let path =
            path.ok_or_else(|| wrong(format!("the path of output `{name}` is not known")))?;
        let element =
            ContextElement::Output { derivation: Rc::clone(&whole), output: name.as_str().into() };
        let context = [element].into_iter().collect();
        let path = Value::string_with_context(dir.display(path), context);
        paths.push(ev.symbols.intern(name), path);
        names.push(Value::string(name));
    }
    let deep = [ContextElement::DerivationDeep(Rc::clone(&whole))].into_iter().collect();
    let name = derivation.env.get(b"name".as_slice()).cloned().unwrap_or_default();
    let mut attrs = AttrsBuilder::with_capacity(4);
    attrs.push(ev.known.name, Value::string(name));
    attrs.push(ev.known.drv_path, Value::string_with_context(whole.as_bytes(), deep));
    attrs.push(ev.known.outputs, Value::list(names));
    attrs.push(ev.symbols.intern("paths"), Value::attrs(paths.finish()));
    let function = ev.evaluate_internal("imported.nix", DERIVATION)?;
    ev.call1(&function, Value::attrs(attrs.finish()), at).map(Some)
}
