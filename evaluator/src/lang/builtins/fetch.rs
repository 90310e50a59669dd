//! Fetchers: what comes from elsewhere.
//!
//! Nothing is fetched here: [`Io::fetch`](crate::lang::io::Io::fetch) does, or says why not. A file or
//! archive whose hash is given has a known store path, and is not asked for if it is there.

use std::rc::Rc;

use levain_store::content_address::make_fixed_output_path;
use levain_store::{Digest, HashAlgorithm};

use super::files::depending_on;
use super::strings::{PLAIN, base_name};
use super::{Builtin, Scope, argument, flakes, outside, store_path};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::flake_reference;
use crate::lang::io::{Fetch, FetchValue, Fetched};
use crate::lang::source::Span;
use crate::lang::value::{Attr, AttrsBuilder, Context, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "fetchClosure",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: closure,
        about: "Takes a store object from another store.",
    },
    Builtin {
        name: "fetchGit",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Global,
        run: git,
        about: "Fetches a commit of a Git repository.",
    },
    Builtin {
        name: "fetchMercurial",
        arity: 1,
        parameters: &["reference"],
        scope: Scope::Global,
        run: mercurial,
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
        run: |ev, args, at| tree(ev, "fetchTree", args, at),
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
];

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

/// Takes a store object of another store that is in this one already.
fn closure(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let value = ev.force_attrs(&args[0], at)?;
    let fetch = request(ev, "fetchClosure", "fromPath", &Value::Attrs(value), at)?;
    for needed in ["fromPath", "fromStore"] {
        if text(&fetch, needed).is_none() {
            let message = format!("`builtins.fetchClosure` needs the attribute `{needed}`");
            return Err(argument(at, message));
        }
    }
    fetched(ev, &fetch, at).map(|fetched| depending_on(fetched.path))
}

fn mercurial(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let fetch = request(ev, "fetchMercurial", "url", &args[0], at)?;
    if text(&fetch, "url").is_none() {
        return Err(argument(at, "`url` argument required by `builtins.fetchMercurial`"));
    }
    fetched_tree(ev, &fetch, at)
}

fn git(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut fetch = request(ev, "fetchGit", "url", &args[0], at)?;
    if text(&fetch, "type").is_some() {
        return Err(argument(at, "unexpected argument `type` to `builtins.fetchGit`"));
    }
    if text(&fetch, "url").is_none() {
        return Err(argument(at, "`url` argument required by `builtins.fetchGit`"));
    }
    fetch.attributes.push(("type".to_owned(), FetchValue::String("git".to_owned())));
    fetched_tree(ev, &fetch, at)
}

/// Fetches what a reference or its attributes name.
fn tree(ev: &mut Evaluator, builtin: &'static str, args: &[Value], at: Span) -> Result<Value> {
    let value = ev.force(&args[0], at)?;
    let mut fetch = request(ev, builtin, "url", &value, at)?;
    if let Value::Attrs(_) = &value {
        if text(&fetch, "type").is_none() {
            let message = format!("argument `type` is missing in the call to `builtins.{builtin}`");
            return Err(argument(at, message));
        }
        if text(&fetch, "name").is_some() {
            let message = format!("argument `name` is not supported by `builtins.{builtin}`");
            return Err(argument(at, message));
        }
    } else {
        let reference = flake_reference::parse(text(&fetch, "url").unwrap_or_default());
        let reference = reference.map_err(|error| argument(at, error.to_string()))?;
        fetch.attributes = flakes::attributes(reference);
    }
    fetched_tree(ev, &fetch, at)
}

/// Fetches the tree of an input of a lock file.
pub(super) fn locked_input(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    tree(ev, "fetchTree", args, at)
}

/// Fetches a tree, and returns it with what is known about it.
pub(super) fn fetched_tree(ev: &mut Evaluator, fetch: &Fetch, at: Span) -> Result<Value> {
    let locked = ["rev", "narHash"].iter().any(|name| text(fetch, name).is_some());
    if ev.options.pure && !locked {
        let what = format!("`builtins.{}` without `rev` or `narHash`", fetch.builtin);
        return Err(Error::new(ErrorKind::Impure { what }, at));
    }
    let Fetched { path, attributes } = fetched(ev, fetch, at)?;
    let string = |wanted: &str| {
        attributes.iter().find_map(|(name, value)| match value {
            FetchValue::String(text) if name == wanted => Some(text.clone()),
            FetchValue::String(_) | FetchValue::Int(_) | FetchValue::Bool(_) => None,
        })
    };
    let number = |wanted: &str| {
        attributes.iter().find_map(|(name, value)| match value {
            FetchValue::Int(number) if name == wanted => Some(*number),
            FetchValue::String(_) | FetchValue::Int(_) | FetchValue::Bool(_) => None,
        })
    };
    let is_git = text(fetch, "type") == Some("git");
    let mut attrs = AttrsBuilder::with_capacity(8);
    attrs.push(ev.known.out_path, depending_on(path));
    let mut push = |name: &str, value: Value| {
        attrs.push(ev.symbols.intern(name), value);
    };
    if let Some(hash) = string("narHash") {
        push("narHash", Value::string(hash));
    }
    if is_git {
        push("submodules", Value::Bool(flag(fetch, "submodules")));
    }
    // A work tree with changes has no revision, which `fetchGit` has always called zero.
    let none = (fetch.builtin == "fetchGit").then(|| "0".repeat(40));
    if let Some(revision) = string("rev").or(none) {
        push("shortRev", Value::string(revision.chars().take(7).collect::<String>()));
        push("rev", Value::string(revision));
    }
    let none = (fetch.builtin == "fetchGit").then_some(0);
    if let Some(count) = number("revCount").or(none) {
        push("revCount", Value::Int(count));
    }
    if let Some(time) = number("lastModified") {
        push("lastModified", Value::Int(time));
        push("lastModifiedDate", Value::string(date(time)));
    }
    Ok(Value::attrs(attrs.finish()))
}

fn flag(fetch: &Fetch, wanted: &str) -> bool {
    fetch.attributes.iter().any(|(name, value)| name == wanted && *value == FetchValue::Bool(true))
}

/// Writes a time as `YYYYMMDDhhmmss`, without a time zone.
fn date(time: i64) -> String {
    let (days, second) = (time.div_euclid(86_400), time.rem_euclid(86_400));
    // Years that begin in March have their odd day at the end; 400 of them always have as many days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // As `date -u -d @TIME +%Y%m%d%H%M%S` says.
        for (time, expected) in [
            (0, "19700101000000"),
            (951_782_399, "20000228235959"),
            (951_868_800, "20000301000000"),
            (1_700_000_000, "20231114221320"),
            (4_107_542_399, "21000228235959"),
            (-1, "19691231235959"),
        ] {
            assert_eq!(date(time), expected);
        }
    }
}
