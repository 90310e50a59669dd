//! Strings: parts, replacing, regular expressions.
//!
//! Strings are bytes: lengths and indices count bytes, as in Nix.

use std::rc::Rc;

use super::{Builtin, Scope, argument};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt};
use crate::lang::eval::{Coerce, Evaluator};
use crate::lang::regex::Regex;
use crate::lang::source::Span;
use crate::lang::value::{Context, NixString, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "baseNameOf",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Global,
        run: base_name_of,
        about: "Returns what follows the last slash.",
    },
    Builtin {
        name: "concatStringsSep",
        arity: 2,
        parameters: &["separator", "list"],
        scope: Scope::Prefixed,
        run: concat_strings_sep,
        about: "Returns the strings of a list with a separator between them.",
    },
    Builtin {
        name: "dirOf",
        arity: 1,
        parameters: &["path"],
        scope: Scope::Global,
        run: dir_of,
        about: "Returns what is before the last slash.",
    },
    Builtin {
        name: "match",
        arity: 2,
        parameters: &["regex", "string"],
        scope: Scope::Prefixed,
        run: match_regex,
        about: "Returns the groups of a regular expression that matches a whole string, or null.",
    },
    Builtin {
        name: "replaceStrings",
        arity: 3,
        parameters: &["from", "to", "string"],
        scope: Scope::Prefixed,
        run: replace_strings,
        about: "Replaces every occurrence of some strings by others.",
    },
    Builtin {
        name: "split",
        arity: 2,
        parameters: &["regex", "string"],
        scope: Scope::Prefixed,
        run: split,
        about: "Returns the parts between the matches of a regular expression, and the groups of the matches.",
    },
    Builtin {
        name: "stringLength",
        arity: 1,
        parameters: &["string"],
        scope: Scope::Prefixed,
        run: string_length,
        about: "Returns the number of bytes.",
    },
    Builtin {
        name: "substring",
        arity: 3,
        parameters: &["start", "length", "string"],
        scope: Scope::Prefixed,
        run: substring,
        about: "Returns part of a string; a negative length reaches to its end.",
    },
    Builtin {
        name: "toString",
        arity: 1,
        parameters: &["value"],
        scope: Scope::Global,
        run: to_string,
        about: "Makes a string of a value.",
    },
];

/// Makes strings of strings, paths (copied into the store) and derivations.
pub(super) const COPYING: Coerce = Coerce { more: false, copy_to_store: true };
/// Makes strings of strings, paths as they are, and derivations.
pub(super) const PLAIN: Coerce = Coerce { more: false, copy_to_store: false };

fn base_name_of(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let mut context = Context::new();
    let text = ev.coerce_to_string(&args[0], at, PLAIN, &mut context)?;
    Ok(Value::string_with_context(base_name(text.bytes()), context))
}

/// Returns what follows the last slash; one slash at the end does not count.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    let path = match path.strip_suffix(b"/") {
        Some(rest) if !rest.is_empty() => rest,
        Some(_) | None => path,
    };
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    &path[start..]
}

fn dir_of(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    if let Value::Path(path) = ev.force(&args[0], at)? {
        return Ok(Value::path(path.parent().bytes()));
    }
    let mut context = Context::new();
    let text = ev.coerce_to_string(&args[0], at, PLAIN, &mut context)?;
    let dir: &[u8] = match text.bytes().iter().rposition(|byte| *byte == b'/') {
        None => b".",
        Some(0) => b"/",
        Some(slash) => &text.bytes()[..slash],
    };
    Ok(Value::string_with_context(dir, context))
}

fn concat_strings_sep(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let separator = ev.force_string(&args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    let mut context = Context::new();
    separator.context().into_iter().for_each(|of| context.extend(of));
    let mut text = Vec::new();
    for (index, element) in list.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(separator.bytes());
        }
        let part = ev.coerce_to_string(element, at, COPYING, &mut context);
        let part = part.context(at, || format!("while evaluating element {index} of the list"))?;
        text.extend_from_slice(part.bytes());
    }
    Ok(Value::string_with_context(text, context))
}

fn string_length(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.coerce_to_string(&args[0], at, COPYING, &mut Context::new())?;
    Ok(Value::Int(text.bytes().len() as i64))
}

fn substring(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let start = ev.force_int(&args[0], at)?;
    let start = usize::try_from(start);
    let Ok(start) = start else {
        return Err(argument(at, "negative start position in `builtins.substring`"));
    };
    let length = ev.force_int(&args[1], at)?;
    let value = ev.force(&args[2], at)?;
    let text = if let Value::String(text) = value {
        text
    } else {
        let mut context = Context::new();
        let text = ev.coerce_to_string(&value, at, COPYING, &mut context)?;
        Rc::new(NixString::with_context(text.bytes(), context))
    };
    let rest = text.bytes().get(start..).unwrap_or_default();
    // A negative length means all the rest.
    let length = usize::try_from(length).unwrap_or(rest.len()).min(rest.len());
    let part = NixString::with_context(&rest[..length], text.shared_context());
    Ok(Value::String(Rc::new(part)))
}

fn to_string(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    if let Value::String(text) = ev.force(&args[0], at)? {
        return Ok(Value::String(text));
    }
    let mut context = Context::new();
    let text = ev.coerce_to_string(&args[0], at, Coerce::TO_STRING, &mut context)?;
    if context.is_empty() {
        return Ok(Value::String(text));
    }
    Ok(Value::string_with_context(text.bytes(), context))
}

fn replace_strings(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let from = ev.force_list(&args[0], at)?;
    let to = ev.force_list(&args[1], at)?;
    if from.len() != to.len() {
        let message =
            "`from` and `to` arguments passed to `builtins.replaceStrings` have different lengths";
        return Err(argument(at, message));
    }
    let mut patterns = Vec::with_capacity(from.len());
    for pattern in from.iter() {
        patterns.push(ev.force_string(pattern, at)?);
    }
    let text = ev.force_string(&args[2], at)?;
    // A replacement is evaluated, and its context counts, only if it is used.
    let mut replacements: Vec<Option<Rc<NixString>>> = vec![None; to.len()];
    let mut context = Context::new();
    text.context().into_iter().for_each(|of| context.extend(of));
    let bytes = text.bytes();
    let mut result = Vec::with_capacity(bytes.len());
    let firsts = FirstBytes::of(&patterns);
    let mut place = 0;
    while place <= bytes.len() {
        let rest = &bytes[place..];
        let found = firsts
            .may_match(rest.first())
            .then(|| patterns.iter().position(|pattern| rest.starts_with(pattern.bytes())))
            .flatten();
        if let Some(index) = found {
            let replacement = match &replacements[index] {
                Some(replacement) => Rc::clone(replacement),
                None => {
                    let replacement = ev.force_string(&to[index], at)?;
                    replacement.context().into_iter().for_each(|of| context.extend(of));
                    replacements[index] = Some(Rc::clone(&replacement));
                    replacement
                }
            };
            result.extend_from_slice(replacement.bytes());
            place += patterns[index].bytes().len();
            if !patterns[index].bytes().is_empty() {
                continue;
            }
        }
        // Nothing matches here, or only the empty string, which does not move on by itself.
        result.extend(rest.first());
        place += 1;
    }
    Ok(Value::string_with_context(result, context))
}

/// The bytes with which any of some strings begins.
struct FirstBytes {
    bytes: [bool; 256],
    empty: bool,
}

impl FirstBytes {
    fn of(patterns: &[Rc<NixString>]) -> Self {
        let mut firsts = FirstBytes { bytes: [false; 256], empty: false };
        for pattern in patterns {
            match pattern.bytes().first() {
                Some(byte) => firsts.bytes[usize::from(*byte)] = true,
                None => firsts.empty = true,
            }
        }
        firsts
    }

    fn may_match(&self, next: Option<&u8>) -> bool {
        self.empty || next.is_some_and(|byte| self.bytes[usize::from(*byte)])
    }
}

/// Compiles a regular expression, or finds it among those that were compiled before.
fn regex(ev: &mut Evaluator, pattern: &Value, at: Span) -> Result<Rc<Regex>> {
    let pattern = ev.force_plain_string(pattern, at)?;
    if let Some(regex) = ev.state.regexes.get(pattern.bytes()) {
        return Ok(Rc::clone(regex));
    }
    let wrong = |error: crate::lang::regex::RegexError| {
        let pattern = pattern.text().into_owned();
        Error::new(ErrorKind::Regex { pattern, reason: error.to_string() }, at)
    };
    let regex = Rc::new(Regex::new(pattern.bytes()).map_err(wrong)?);
    ev.state.regexes.insert(pattern.bytes().into(), Rc::clone(&regex));
    Ok(regex)
}

fn groups(text: &[u8], groups: &[Option<(usize, usize)>]) -> Value {
    let group = |group: &Option<(usize, usize)>| match *group {
        Some((begin, end)) => Value::string(&text[begin..end]),
        None => Value::Null,
    };
    Value::list(groups.iter().skip(1).map(group).collect())
}

fn match_regex(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let regex = regex(ev, &args[0], at)?;
    let text = ev.force_string(&args[1], at)?;
    let found = regex.match_whole(text.bytes());
    Ok(found.map_or(Value::Null, |found| groups(text.bytes(), &found)))
}

fn split(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let regex = regex(ev, &args[0], at)?;
    let whole = ev.force(&args[1], at)?;
    let text = ev.force_string(&whole, at)?;
    let found = regex.find_all(text.bytes());
    if found.is_empty() {
        return Ok(Value::list(vec![whole]));
    }
    let mut parts = Vec::with_capacity(found.len() * 2 + 1);
    let mut last = 0;
    for found in found {
        let (begin, end) = found[0].unwrap_or((last, last));
        parts.push(Value::string(&text.bytes()[last..begin]));
        parts.push(groups(text.bytes(), &found));
        last = end;
    }
    parts.push(Value::string(&text.bytes()[last..]));
    Ok(Value::list(parts))
}
