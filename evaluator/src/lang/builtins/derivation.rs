//! Derivations: from a set of attributes to a `.drv` file and output paths.
//!
//! `derivationStrict` does the work; `derivation` (in `derivation.nix`) makes of its result what users
//! see. The attributes are looked at in the order of their names, so that errors come in the order in
//! which Nix has them. Start at [`strict`].

mod imported;
mod inputs;

use std::collections::BTreeSet;
use std::rc::Rc;

use levain_store::{
    Derivation, DerivationOutput, Digest, Finished, HashAlgorithm, HashFormat, StoreDir, StorePath,
};

pub(super) use imported::import;

use super::state::KnownDerivation;
use super::{Builtin, Scope, json, outside, store_path};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt, Warning};
use crate::lang::eval::{Coerce, Evaluator};
use crate::lang::source::Span;
use crate::lang::value::{Attr, AttrsBuilder, Context, ContextElement, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "derivationStrict",
        arity: 1,
        parameters: &["attributes"],
        scope: Scope::Global,
        run: strict,
        about: "Makes a derivation and returns its path and those of its outputs.",
    },
    Builtin {
        name: "placeholder",
        arity: 1,
        parameters: &["output"],
        scope: Scope::Global,
        run: placeholder,
        about: "Returns what stands for an output's path in its own derivation.",
    },
];

/// The function `derivation`.
pub(super) const DERIVATION: &str = include_str!("derivation.nix");

fn placeholder(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let output = ev.force_plain_string(&args[0], at)?;
    Ok(Value::string(levain_store::content_address::placeholder(output.bytes())))
}

/// What the attributes have said so far.
struct Draft {
    name: String,
    at: Span,
    derivation: Derivation,
    /// The variables of the builder in the order of their names, which makes a map of them at once.
    env: Vec<(Vec<u8>, Vec<u8>)>,
    context: Context,
    /// The attributes as JSON, if they are passed that way.
    structured: Option<Vec<u8>>,
    outputs: BTreeSet<String>,
    hash: Option<String>,
    algorithm: Option<HashAlgorithm>,
    recursive: bool,
}

/// Makes a derivation.
fn strict(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let attrs = ev.force_attrs(&args[0], at)?;
    let name = ev.required(&attrs, "name", at)?;
    let name = ev.force_plain_string(&name, at);
    let name = name.context(at, || "while evaluating the attribute `name`".into())?;
    let name = name.text().into_owned();
    // Of all places, that of the name tells best which derivation it is; the call itself is ours.
    let written = attrs.iter().find(|attr| attr.name == ev.known.name);
    let at = written.map(Attr::span).filter(|span| span.is_some()).unwrap_or(at);
    if let Err(error) = StorePath::new([0; 20], name.as_str()) {
        let message = format!("{error}; choose another `name`");
        return Err(Error::new(ErrorKind::Derivation { name, message }, at));
    }
    if name.ends_with(".drv") {
        let message = "derivation names are not allowed to end in `.drv`".to_owned();
        return Err(Error::new(ErrorKind::Derivation { name, message }, at));
    }
    let mut flag = |name: &str| {
        let value = ev.symbols.find(name).and_then(|name| attrs.value(name)).cloned();
        let flag = value.map_or(Ok(false), |value| ev.force_bool(&value, at));
        flag.context(at, || format!("while evaluating the attribute `{name}`"))
    };
    let structured = flag("__structuredAttrs")?;
    let ignore_nulls = flag("__ignoreNulls")?;
    let mut draft = Draft {
        name,
        at,
        derivation: Derivation::default(),
        env: Vec::with_capacity(attrs.len()),
        context: Context::new(),
        structured: structured.then(|| b"{".to_vec()),
        outputs: BTreeSet::from(["out".to_owned()]),
        hash: None,
        algorithm: None,
        recursive: false,
    };
    let sorted: Vec<Attr> = attrs.sorted(&ev.symbols).into_iter().cloned().collect();
    for attr in &sorted {
        let attribute = ev.symbols.shared_name(attr.name);
        let place = if attr.span().is_some() { attr.span() } else { at };
        if *attribute == *b"__ignoreNulls" {
            continue;
        }
        draft.attribute(ev, &attribute, &attr.value, place, ignore_nulls).context(place, || {
            let attribute = String::from_utf8_lossy(&attribute);
            format!("while evaluating attribute `{attribute}` of derivation `{}`", draft.name)
        })?;
    }
    draft.finish(ev)
}

impl Draft {
    fn error(&self, message: impl Into<String>) -> Error {
        let kind = ErrorKind::Derivation { name: self.name.clone(), message: message.into() };
        Error::new(kind, self.at)
    }

    /// Takes one attribute.
    fn attribute(
        &mut self,
        ev: &mut Evaluator,
        name: &[u8],
        value: &Value,
        at: Span,
        ignore_nulls: bool,
    ) -> Result<()> {
        if ignore_nulls && matches!(ev.force(value, at)?, Value::Null) {
            return Ok(());
        }
        match name {
            b"args" => {
                for arg in ev.force_list(value, at)?.iter() {
                    let arg =
                        ev.coerce_to_string(arg, at, Coerce::ENVIRONMENT, &mut self.context)?;
                    self.derivation.args.push(arg.bytes().to_vec());
                }
                return Ok(());
            }
            // Neither is a variable of the builder, even if it is false.
            b"__contentAddressed" | b"__impure" if !ev.force_bool(value, at)? => return Ok(()),
            b"__contentAddressed" => {
                let message =
                    "`__contentAddressed` needs the experimental feature `ca-derivations`";
                return Err(self.error(message));
            }
            b"__impure" => {
                let message = "`__impure` needs the experimental feature `impure-derivations`";
                return Err(self.error(message));
            }
            _ => {}
        }
        if self.structured.is_some() {
            return self.structured_attribute(ev, name, value, at);
        }
        let text = ev.coerce_to_string(value, at, Coerce::ENVIRONMENT, &mut self.context)?;
        self.special(name, text.bytes())?;
        if name == b"outputs" {
            let blank = |byte: &u8| b" \t\n\r".contains(byte);
            let names = text.bytes().split(blank).filter(|name| !name.is_empty());
            let names = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            self.set_outputs(names)?;
        }
        let mut text = text.bytes().to_vec();
        if name == b"__json" {
            // Attributes that were made into JSON by hand are written again in Nix's own way.
            let parsed = json::read(ev, &text, at)?;
            text.clear();
            json::write(ev, &parsed, at, false, &mut Context::new(), &mut text)?;
        }
        self.env.push((name.to_vec(), text));
        Ok(())
    }

    /// Takes one attribute of a derivation whose attributes are passed as JSON.
    fn structured_attribute(
        &mut self,
        ev: &mut Evaluator,
        name: &[u8],
        value: &Value,
        at: Span,
    ) -> Result<()> {
        if name == b"__structuredAttrs" {
            return Ok(());
        }
        let mut text = Vec::new();
        json::write_key(&mut text, name, at)?;
        json::write(ev, value, at, true, &mut self.context, &mut text)?;
        if let Some(all) = &mut self.structured {
            if all.len() > 1 {
                all.push(b',');
            }
            all.extend_from_slice(&text);
        }
        match name {
            b"builder" => {
                let text = ev.force_string(value, at)?;
                text.context().into_iter().for_each(|of| self.context.extend(of));
                self.special(name, text.bytes())
            }
            b"system" | b"outputHash" | b"outputHashAlgo" | b"outputHashMode" => {
                let text = ev.force_plain_string(value, at)?;
                self.special(name, text.bytes())
            }
            b"outputs" => {
                let mut names = Vec::new();
                for name in ev.force_list(value, at)?.iter() {
                    names.push(ev.force_plain_string(name, at)?.text().into_owned());
                }
                self.set_outputs(names)
            }
            b"allowedReferences"
            | b"allowedRequisites"
            | b"disallowedReferences"
            | b"disallowedRequisites"
            | b"maxSize"
            | b"maxClosureSize" => {
                let shown = String::from_utf8_lossy(name);
                let message = format!(
                    "attribute `{shown}` of derivation `{}` has no effect beside `__structuredAttrs`",
                    self.name
                );
                let advice = Some(format!("use `outputChecks.OUTPUT.{shown}`"));
                ev.notice(&Warning { message, advice, span: at });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the text of an attribute that means something to Nix itself.
    fn special(&mut self, name: &[u8], text: &[u8]) -> Result<()> {
        let utf8 = || String::from_utf8_lossy(text).into_owned();
        match name {
            b"builder" => self.derivation.builder = text.to_vec(),
            b"system" => self.derivation.system = utf8(),
            b"outputHash" => self.hash = Some(utf8()),
            // An algorithm that nobody knows matters only if the hash does not name its own.
            b"outputHashAlgo" => self.algorithm = utf8().parse().ok(),
            b"outputHashMode" => {
                self.recursive = match text {
                    b"recursive" | b"nar" => true,
                    b"flat" => false,
                    _ => {
                        let message =
                            format!("invalid value `{}` for `outputHashMode` attribute", utf8());
                        return Err(self.error(message));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn set_outputs(&mut self, names: Vec<String>) -> Result<()> {
        self.outputs.clear();
        for name in names {
            // The result has an attribute `drvPath` besides those of the outputs. Versions of Nix before
            // 2.26 refused `drv` in its stead.
            if name == "drvPath" {
                return Err(self.error(format!("invalid derivation output name `{name}`")));
            }
            if self.outputs.contains(&name) {
                return Err(self.error(format!("duplicate derivation output `{name}`")));
            }
            self.outputs.insert(name);
        }
        if self.outputs.is_empty() {
            return Err(self.error("derivation cannot have an empty set of outputs"));
        }
        Ok(())
    }

    fn finish(mut self, ev: &mut Evaluator) -> Result<Value> {
        self.derivation.env = std::mem::take(&mut self.env).into_iter().collect();
        if let Some(mut json) = self.structured.take() {
            json.push(b'}');
            self.derivation.env.insert(b"__json".to_vec(), json);
        }
        if self.derivation.builder.is_empty() {
            return Err(self.error("required attribute `builder` missing"));
        }
        if self.derivation.system.is_empty() {
            return Err(self.error("required attribute `system` missing"));
        }
        let context = std::mem::take(&mut self.context);
        inputs::add(ev, &mut self.derivation, &context, self.at)?;
        self.add_outputs()?;
        let dir = store_path::dir(ev);
        let known = &ev.state.derivations;
        let hash_of = |path: &_| known.get(path).map(|known: &KnownDerivation| &known.hash);
        let finished = self.derivation.finish(&dir, &self.name, hash_of);
        let finished = finished.map_err(|error| self.error(error.to_string()))?;
        self.keep(ev, &dir, finished)
    }

    /// Adds the outputs, their paths yet unknown.
    fn add_outputs(&mut self) -> Result<()> {
        let mut output = DerivationOutput::default();
        if let Some(hash) = &self.hash {
            if !self.outputs.iter().eq(["out"]) {
                return Err(
                    self.error("multiple outputs are not supported in fixed-output derivations")
                );
            }
            let digest = match (hash.as_str(), self.algorithm) {
                ("", Some(algorithm)) => Digest::zero(algorithm),
                ("", None) => return Err(self.error("empty hash requires explicit hash algorithm")),
                (text, algorithm) => {
                    Digest::parse(text, algorithm).map_err(|error| self.error(error.to_string()))?
                }
            };
            let method = if self.recursive { "r:" } else { "" };
            output.hash_algorithm = format!("{method}{}", digest.algorithm());
            output.hash = digest.encode(HashFormat::Base16);
        }
        for name in &self.outputs {
            self.derivation.env.insert(name.clone().into_bytes(), Vec::new());
            self.derivation.outputs.insert(name.clone(), output.clone());
        }
        Ok(())
    }

    /// Writes the derivation, remembers it, and returns its paths.
    fn keep(self, ev: &mut Evaluator, dir: &StoreDir, finished: Finished) -> Result<Value> {
        let Finished { path, text, hash } = finished;
        let whole: Rc<str> = dir.display(path.as_ref()).into();
        let references = inputs::references(ev, &self.derivation, dir);
        ev.io.add_text(&whole, &text, &references).map_err(|error| outside(error, self.at))?;
        ev.state.derivations.entry(path).or_insert_with(|| {
            let outputs = self.outputs.iter().cloned().collect();
            KnownDerivation { path: Rc::clone(&whole), hash, outputs, references }
        });
        let mut attrs = AttrsBuilder::with_capacity(self.outputs.len() + 1);
        for (output, entry) in &self.derivation.outputs {
            let Some(path) = &entry.path else { continue };
            let element = ContextElement::Output {
                derivation: Rc::clone(&whole),
                output: output.as_str().into(),
            };
            let path =
                Value::string_with_context(dir.display(path), [element].into_iter().collect());
            attrs.push(ev.symbols.intern(output), path);
        }
        let deep = ContextElement::DerivationDeep(Rc::clone(&whole));
        let path = Value::string_with_context(whole.as_bytes(), [deep].into_iter().collect());
        attrs.push(ev.symbols.intern("drvPath"), path);
        Ok(Value::attrs(attrs.finish()))
    }
}
