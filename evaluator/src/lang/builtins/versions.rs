//! Versions of packages: their parts and their order.

use std::cmp::Ordering;

use super::{Builtin, Scope};
use crate::lang::error::Result;
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::value::{AttrsBuilder, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "compareVersions",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: compare_versions,
        about: "Returns -1, 0 or 1: how two versions are ordered.",
    },
    Builtin {
        name: "parseDrvName",
        arity: 1,
        parameters: &["name"],
        scope: Scope::Prefixed,
        run: parse_drv_name,
        about: "Splits a package's name into `name` and `version`.",
    },
    Builtin {
        name: "splitVersion",
        arity: 1,
        parameters: &["version"],
        scope: Scope::Prefixed,
        run: split_version,
        about: "Returns the parts of a version.",
    },
];

/// Takes the next part of a version: digits, or anything else up to a dot or dash.
fn next_part<'v>(version: &mut &'v [u8]) -> &'v [u8] {
    let rest = *version;
    let start = rest.iter().position(|byte| !b".-".contains(byte)).unwrap_or(rest.len());
    let rest = &rest[start..];
    let digits = rest.first().is_some_and(u8::is_ascii_digit);
    let ends = |byte: &u8| byte.is_ascii_digit() != digits || b".-".contains(byte);
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    *version = &rest[end..];
    &rest[..end]
}

/// Returns a part as a number. Longer numbers than 32 bits are texts, as in Nix.
fn number(part: &[u8]) -> Option<i32> {
    std::str::from_utf8(part).ok()?.parse().ok()
}

/// Returns whether a part comes before another. `pre` comes before everything, even the end; the end
/// comes before numbers, other words before numbers.
fn comes_before(a: &[u8], b: &[u8]) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a < b,
        (None, Some(_)) if a.is_empty() => true,
        (_, _) if a == b"pre" && b != b"pre" => true,
        (_, _) if b == b"pre" => false,
        (_, Some(_)) => true,
        (Some(_), _) => false,
        (None, None) => a < b,
    }
}

/// Compares two versions part by part.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (left, right) = (next_part(&mut a), next_part(&mut b));
        if comes_before(left, right) {
            return Ordering::Less;
        }
        if comes_before(right, left) {
            return Ordering::Greater;
        }
    }
    Ordering::Equal
}

fn compare_versions(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let a = ev.force_plain_string(&args[0], at)?;
    let b = ev.force_plain_string(&args[1], at)?;
    Ok(Value::Int(compare(a.bytes(), b.bytes()) as i64))
}

fn split_version(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let version = ev.force_plain_string(&args[0], at)?;
    let mut rest = version.bytes();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let part = next_part(&mut rest);
        if part.is_empty() {
            break;
        }
        parts.push(Value::string(part));
    }
    Ok(Value::list(parts))
}

/// Returns where the version begins: behind the first dash that no letter follows.
fn split_name(name: &[u8]) -> (&[u8], &[u8]) {
    let dash = name.windows(2).position(|pair| pair[0] == b'-' && !pair[1].is_ascii_alphabetic());
    dash.map_or((name, b""), |dash| (&name[..dash], &name[dash + 1..]))
}

fn parse_drv_name(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let text = ev.force_plain_string(&args[0], at)?;
    let (name, version) = split_name(text.bytes());
    let mut attrs = AttrsBuilder::with_capacity(2);
    attrs.push(ev.symbols.intern("name"), Value::string(name));
    attrs.push(ev.symbols.intern("version"), Value::string(version));
    Ok(Value::attrs(attrs.finish()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_as_in_nix() {
        let order = ["1.0pre1", "1.0", "1.0-rc1", "1.0a", "1.0.1", "1.2", "1.10"];
        for (index, a) in order.iter().enumerate() {
            for b in &order[index + 1..] {
                if (*a, *b) != ("1.0-rc1", "1.0a") {
                    assert_eq!(compare(a.as_bytes(), b.as_bytes()), Ordering::Less, "{a} {b}");
                }
            }
        }
        assert_eq!(compare(b"2.3.1", b"2.3"), Ordering::Greater);
        assert_eq!(compare(b"1..2", b"1-2"), Ordering::Equal);
    }

    #[test]
    fn a_version_begins_where_no_letter_follows_the_dash() {
        assert_eq!(split_name(b"nix-0.12pre12876"), (&b"nix"[..], &b"0.12pre12876"[..]));
        assert_eq!(split_name(b"apache-httpd"), (&b"apache-httpd"[..], &b""[..]));
        assert_eq!(split_name(b"a-"), (&b"a-"[..], &b""[..]));
    }

    proptest! {
        #[test]
        fn comparing_is_antisymmetric(a in "[0-9a.-]{0,8}(pre)?[0-9]{0,2}", b in "[0-9a.-]{0,8}(pre)?") {
            let forth = compare(a.as_bytes(), b.as_bytes());
            prop_assert_eq!(forth.reverse(), compare(b.as_bytes(), a.as_bytes()));
        }
    }
}
