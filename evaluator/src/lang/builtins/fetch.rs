//! Fetchers: what comes from elsewhere.
//!
//! Nothing is fetched here: [`Io::fetch`](crate::lang::io::Io::fetch) does, or says why not. A file or
//! archive whose hash is given has a known store path, and is not asked for if it is there.

use std::rc::Rc;

use levain_store::content_address::make_fixed_output_path;
use levain_store::{Digest, HashAlgorithm};

use super::files::depending_on;
use super::strings::{PLAIN, base_name};
use super::{Builtin, Scope, argument, outside, store_path};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::io::{Fetch, FetchValue, Fetched};
use crate::lang::source::Span;
use crate::lang::value::{Attr, AttrsBuilder, Context, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "fetchClosure",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: |ev, args, at| tree(ev, "fetchClosure", "fromPath", args, at),
        about: "Takes a store object from another store.",
    },
    Builtin {
        name: "fetchGit",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Global,
        run: |ev, args, at| tree(ev, "fetchGit", "url", args, at),
        about: "Fetches a commit of a Git repository.",
    },
    Builtin {
        name: "fetchMercurial",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Global,
        run: |ev, args, at| tree(ev, "fetchMercurial", "url", args, at),
        about: "Fetches a commit of a Mercurial repository.",
    },
    Builtin {
        name: "fetchTarball",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Global,
        run: |ev, args, at| download(ev, "fetchTarball", args, at),
        about: "Fetches an archive and unpacks it.",
    },
    Builtin {
        name: "fetchTree",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Global,
        run: |ev, args, at| tree(ev, "fetchTree", "url", args, at),
        about: "Fetches a tree by the attributes of a flake input.",
    },
    Builtin {
        name: "fetchurl",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Prefixed,
        run: |ev, args, at| download(ev, "fetchurl", args, at),
        about: "Fetches a file.",
    },
    Builtin {
        name: "getFlake",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Prefixed,
        run: get_flake,
        about: "Fetches a flake and returns its outputs.",
    },
];

fn get_flake(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let reference = ev.force_plain_string(&args[0], at)?;
    let what = format!("`builtins.getFlake \"{}\"`", reference.text());
    Err(Error::new(ErrorKind::NotImplemented { what }, at))
}

/// Returns the attributes of a request in the order of their names; a string stands for one attribute.
fn request(
    ev: &mut Evaluator,
    builtin: &'static str,
    single: &str,
    value: &Value,
    at: Span,
) -> Result<Fetch> {
    let value = ev.force(value, at)?;
    let mut attributes = Vec::new();
    if let Value::Attrs(attrs) = &value {
        let sorted: Vec<Attr> = attrs.sorted(&ev.symbols).into_iter().cloned().collect();
        for attr in sorted {
            let name = ev.symbols.text(attr.name);
            let place = if attr.span().is_some() { attr.span() } else { at };
            let found = attribute(ev, &attr.value, place);
            let within = || {
                format!("while evaluating the attribute `{name}` passed to `builtins.{builtin}`")
            };
            let found = found.context(place, within)?;
            attributes.push((name, found));
        }
    } else {
        let text = ev.coerce_to_string(&value, at, PLAIN, &mut Context::new())?;
        attributes.push((single.to_owned(), FetchValue::String(text.text().into_owned())));
    }
    Ok(Fetch { builtin, attributes })
}

fn attribute(ev: &mut Evaluator, value: &Value, at: Span) -> Result<FetchValue> {
    let value = ev.force(value, at)?;
    Ok(match &value {
        Value::Int(int) => FetchValue::Int(*int),
        Value::Bool(value) => FetchValue::Bool(*value),
        Value::String(_) | Value::Path(_) | Value::Attrs(_) => {
            let text = ev.coerce_to_string(&value, at, PLAIN, &mut Context::new())?;
            FetchValue::String(text.text().into_owned())
        }
        Value::Null
        | Value::Float(_)
        | Value::List(_)
        | Value::Closure(_)
        | Value::Builtin(_)
        | Value::Partial(_)
        | Value::Thunk(_) => {
            return Err(ev.type_error("a string, a Boolean or an integer", &value, at));
        }
    })
}

fn text<'f>(fetch: &'f Fetch, wanted: &str) -> Option<&'f str> {
    let found = fetch.attributes.iter().find(|(name, _)| name == wanted);
    match found.map(|(_, value)| value) {
        Some(FetchValue::String(text)) => Some(text),
        Some(FetchValue::Int(_) | FetchValue::Bool(_)) | None => None,
    }
}

/// Fetches a file or an archive.
fn download(ev: &mut Evaluator, builtin: &'static str, args: &[Value], at: Span) -> Result<Value> {
    let fetch = request(ev, builtin, "url", &args[0], at)?;
    if let Some((name, _)) = fetch
        .attributes
        .iter()
        .find(|(name, _)| !matches!(name.as_str(), "url" | "sha256" | "name"))
    {
        return Err(argument(at, format!("unsupported argument `{name}` to `builtins.{builtin}`")));
    }
    let Some(url) = text(&fetch, "url") else {
        return Err(argument(at, format!("`url` argument required by `builtins.{builtin}`")));
    };
    let unpacks = builtin == "fetchTarball";
    let default =
        if unpacks { "source".into() } else { String::from_utf8_lossy(base_name(url.as_bytes())) };
    let name = text(&fetch, "name").unwrap_or(&default);
    let Some(hash) = text(&fetch, "sha256") else {
        if ev.options.pure {
            let what = format!("`builtins.{builtin}` without `sha256`");
            return Err(Error::new(ErrorKind::Impure { what }, at));
        }
        return fetched(ev, &fetch, at).map(|fetched| depending_on(fetched.path));
    };
    let digest = match hash {
        "" => Ok(Digest::zero(HashAlgorithm::Sha256)),
        hash => Digest::parse(hash, Some(HashAlgorithm::Sha256)),
    };
    let digest = digest.map_err(|error| argument(at, error.to_string()))?;
    let dir = store_path::dir(ev);
    let path = make_fixed_output_path(&dir, name, unpacks, &digest);
    let path: Rc<str> = dir.display(&path.map_err(|error| argument(at, error.to_string()))?).into();
    if ev.io.is_valid_path(&path).map_err(|error| outside(error, at))? {
        return Ok(depending_on(path));
    }
    let found = fetched(ev, &fetch, at)?.path;
    if found == path {
        Ok(depending_on(path))
    } else {
        let message =
            format!("`{url}` has another hash than expected: it became `{found}`, not `{path}`");
        Err(argument(at, message))
    }
}

fn fetched(ev: &Evaluator, fetch: &Fetch, at: Span) -> Result<Fetched> {
    ev.io.fetch(fetch).map_err(|error| outside(error, at))
}

/// Fetches a tree with what is known about it.
fn tree(
    ev: &mut Evaluator,
    builtin: &'static str,
    single: &str,
    args: &[Value],
    at: Span,
) -> Result<Value> {
    let fetch = request(ev, builtin, single, &args[0], at)?;
    let locked =
        ["rev", "narHash", "toPath", "fromPath"].iter().any(|name| text(&fetch, name).is_some());
    if ev.options.pure && !locked {
        let what = format!("`builtins.{builtin}` without `rev` or `narHash`");
        return Err(Error::new(ErrorKind::Impure { what }, at));
    }
    let fetched = fetched(ev, &fetch, at)?;
    if builtin == "fetchClosure" {
        return Ok(depending_on(fetched.path));
    }
    let mut attrs = AttrsBuilder::with_capacity(fetched.attributes.len() + 1);
    attrs.push(ev.known.out_path, depending_on(fetched.path));
    for (name, value) in fetched.attributes {
        let value = match value {
            FetchValue::String(text) => Value::string(text),
            FetchValue::Int(int) => Value::Int(int),
            FetchValue::Bool(value) => Value::Bool(value),
        };
        attrs.push(ev.symbols.intern(name), value);
    }
    Ok(Value::attrs(attrs.finish()))
}
