//! XML: writing values.
//!
//! The format that `nix-instantiate --xml --strict --no-location` prints.

use std::collections::BTreeSet;

use super::{Builtin, Scope};
use crate::lang::error::{Error, ErrorKind, Result};
use crate::lang::eval::{Closure, Evaluator};
use crate::lang::print;
use crate::lang::source::Span;
use crate::lang::value::{Attr, Attrs, Context, Value};

pub(super) const BUILTINS: &[Builtin] = &[Builtin {
    name: "toXML",
    arity: 1,
    parameters: &["value"],
    scope: Scope::Prefixed,
    run: to_xml_builtin,
    about: "Writes a value as XML.",
}];

/// Values nested more deeply than this have no end.
const MAX_DEPTH: usize = 10_000;

fn to_xml_builtin(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let (text, context) = write(ev, &args[0], at)?;
    Ok(Value::string_with_context(text, context))
}

/// Returns a value as XML, evaluated to the bottom.
pub fn to_xml(ev: &mut Evaluator, value: &Value) -> Result<Vec<u8>> {
    Ok(write(ev, value, Span::NONE)?.0)
}

fn write(ev: &mut Evaluator, value: &Value, at: Span) -> Result<(Vec<u8>, Context)> {
    let text = b"<?xml version='1.0' encoding='utf-8'?>\n".to_vec();
    let mut writer =
        Writer { at, text, context: Context::new(), depth: 0, derivations: BTreeSet::new() };
    writer.open("expr", &[]);
    writer.value(ev, value)?;
    writer.close("expr");
    Ok((writer.text, writer.context))
}

struct Writer {
    at: Span,
    text: Vec<u8>,
    context: Context,
    depth: usize,
    /// The paths of derivations whose attributes have been written.
    derivations: BTreeSet<Box<[u8]>>,
}

impl Writer {
    fn tag(&mut self, tag: &str, attributes: &[(&str, &[u8])], end: &str) {
        self.text.extend(std::iter::repeat_n(b' ', self.depth * 2));
        self.text.push(b'<');
        self.text.extend_from_slice(tag.as_bytes());
        for (name, value) in attributes {
            self.text.push(b' ');
            self.text.extend_from_slice(name.as_bytes());
            self.text.extend_from_slice(b"=\"");
            escape(value, &mut self.text);
            self.text.push(b'"');
        }
        self.text.extend_from_slice(end.as_bytes());
    }

    fn empty(&mut self, tag: &str, attributes: &[(&str, &[u8])]) {
        self.tag(tag, attributes, " />\n");
    }

    fn open(&mut self, tag: &str, attributes: &[(&str, &[u8])]) {
        self.tag(tag, attributes, ">\n");
        self.depth += 1;
    }

    fn close(&mut self, tag: &str) {
        self.depth -= 1;
        self.tag(&format!("/{tag}"), &[], ">\n");
    }

    fn value(&mut self, ev: &mut Evaluator, value: &Value) -> Result<()> {
        if self.depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::CallDepth, self.at));
        }
        match ev.force(value, self.at)? {
            Value::Null => self.empty("null", &[]),
            Value::Bool(value) => {
                self.empty("bool", &[("value", if value { b"true" } else { b"false" })]);
            }
            Value::Int(value) => self.empty("int", &[("value", value.to_string().as_bytes())]),
            Value::Float(value) => {
                self.empty("float", &[("value", print::float(value).as_bytes())]);
            }
            Value::String(text) => {
                text.context().into_iter().for_each(|of| self.context.extend(of));
                self.empty("string", &[("value", text.bytes())]);
            }
            Value::Path(path) => self.empty("path", &[("value", path.bytes())]),
            Value::List(list) => {
                self.open("list", &[]);
                for element in list.iter() {
                    self.value(ev, element)?;
                }
                self.close("list");
            }
            Value::Attrs(attrs) if ev.is_derivation(&attrs, self.at)? => {
                self.derivation(ev, &attrs)?;
            }
            Value::Attrs(attrs) => {
                self.open("attrs", &[]);
                self.attrs(ev, &attrs)?;
                self.close("attrs");
            }
            Value::Closure(closure) => self.function(ev, &closure),
            Value::Builtin(_) | Value::Partial(_) | Value::Thunk(_) => {
                self.empty("unevaluated", &[])
            }
        }
        Ok(())
    }

    fn attrs(&mut self, ev: &mut Evaluator, attrs: &Attrs) -> Result<()> {
        let sorted: Vec<Attr> = attrs.sorted(&ev.symbols).into_iter().cloned().collect();
        for attr in sorted {
            self.open("attr", &[("name", ev.symbols.name(attr.name))]);
            self.value(ev, &attr.value)?;
            self.close("attr");
        }
        Ok(())
    }

    /// Writes a derivation; the attributes of each are written once.
    fn derivation(&mut self, ev: &mut Evaluator, attrs: &Attrs) -> Result<()> {
        let path = |ev: &mut Evaluator, name| match attrs.value(name).cloned() {
            Some(value) => match ev.force(&value, self.at)? {
                Value::String(text) => Ok(Some(text)),
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::Path(_)
                | Value::List(_)
                | Value::Attrs(_)
                | Value::Closure(_)
                | Value::Builtin(_)
                | Value::Partial(_)
                | Value::Thunk(_) => Ok(None),
            },
            None => Ok(None),
        };
        let derivation = path(ev, ev.known.drv_path)?;
        let output = path(ev, ev.known.out_path)?;
        let mut attributes = Vec::new();
        attributes.extend(derivation.iter().map(|text| ("drvPath", text.bytes())));
        attributes.extend(output.iter().map(|text| ("outPath", text.bytes())));
        self.open("derivation", &attributes);
        let first = derivation.as_ref().is_some_and(|text| {
            !text.bytes().is_empty() && self.derivations.insert(text.bytes().into())
        });
        if first {
            self.attrs(ev, attrs)?;
        } else {
            self.empty("repeated", &[]);
        }
        self.close("derivation");
        Ok(())
    }

    fn function(&mut self, ev: &Evaluator, closure: &Closure) {
        self.open("function", &[]);
        let argument = closure.lambda.argument.map(|name| ev.symbols.name(name));
        let Some(formals) = &closure.lambda.formals else {
            self.empty("varpat", &[("name", argument.unwrap_or_default())]);
            self.close("function");
            return;
        };
        let mut attributes: Vec<(&str, &[u8])> = Vec::new();
        if formals.ellipsis {
            attributes.push(("ellipsis", b"1"));
        }
        attributes.extend(argument.map(|name| ("name", name)));
        self.open("attrspat", &attributes);
        let names = formals.formals.iter().map(|formal| ev.symbols.name(formal.name));
        for name in names.collect::<BTreeSet<_>>() {
            self.empty("attr", &[("name", name)]);
        }
        self.close("attrspat");
        self.close("function");
    }
}

/// Writes the value of an attribute. A line feed would otherwise be read as a blank.
fn escape(text: &[u8], xml: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' => xml.extend_from_slice(b"&quot;"),
            b'<' => xml.extend_from_slice(b"&lt;"),
            b'>' => xml.extend_from_slice(b"&gt;"),
            b'&' => xml.extend_from_slice(b"&amp;"),
            b'\n' => xml.extend_from_slice(b"&#xA;"),
            other => xml.push(*other),
        }
    }
}
