//! Lists.
//!
//! Elements stay unevaluated unless a function or a comparison has to look at them.

use std::rc::Rc;

use super::{Builtin, Scope, argument};
use crate::lang::error::{Error, ErrorKind, Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::source::Span;
use crate::lang::symbol::Symbol;
use crate::lang::value::{AttrsBuilder, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "all",
        arity: 2,
        parameters: &["predicate", "list"],
        scope: Scope::Prefixed,
        run: |ev, args, at| quantify(ev, args, at, false),
        about: "Returns whether a predicate holds for all elements.",
    },
    Builtin {
        name: "any",
        arity: 2,
        parameters: &["predicate", "list"],
        scope: Scope::Prefixed,
        run: |ev, args, at| quantify(ev, args, at, true),
        about: "Returns whether a predicate holds for some element.",
    },
    Builtin {
        name: "concatLists",
        arity: 1,
        parameters: &["lists"],
        scope: Scope::Prefixed,
        run: concat_lists,
        about: "Returns the elements of all lists in a list.",
    },
    Builtin {
        name: "concatMap",
        arity: 2,
        parameters: &["f", "list"],
        scope: Scope::Prefixed,
        run: concat_map,
        about: "Returns the elements of the lists that a function makes of the elements.",
    },
    Builtin {
        name: "elem",
        arity: 2,
        parameters: &["x", "list"],
        scope: Scope::Prefixed,
        run: elem,
        about: "Returns whether some element equals a value.",
    },
    Builtin {
        name: "elemAt",
        arity: 2,
        parameters: &["list", "index"],
        scope: Scope::Prefixed,
        run: elem_at,
        about: "Returns the element at an index, counted from zero.",
    },
    Builtin {
        name: "filter",
        arity: 2,
        parameters: &["predicate", "list"],
        scope: Scope::Prefixed,
        run: filter,
        about: "Returns the elements for which a predicate holds.",
    },
    Builtin {
        name: "foldl'",
        arity: 3,
        parameters: &["op", "initial", "list"],
        scope: Scope::Prefixed,
        run: foldl,
        about: "Combines the elements from the left, evaluating every intermediate value.",
    },
    Builtin {
        name: "genList",
        arity: 2,
        parameters: &["generator", "length"],
        scope: Scope::Prefixed,
        run: gen_list,
        about: "Returns the values of a function for the first numbers from zero.",
    },
    Builtin {
        name: "groupBy",
        arity: 2,
        parameters: &["f", "list"],
        scope: Scope::Prefixed,
        run: group_by,
        about: "Returns the elements by the string that a function gives for them.",
    },
    Builtin {
        name: "head",
        arity: 1,
        parameters: &["list"],
        scope: Scope::Prefixed,
        run: head,
        about: "Returns the first element.",
    },
    Builtin {
        name: "length",
        arity: 1,
        parameters: &["list"],
        scope: Scope::Prefixed,
        run: length,
        about: "Returns the number of elements.",
    },
    Builtin {
        name: "map",
        arity: 2,
        parameters: &["f", "list"],
        scope: Scope::Global,
        run: map,
        about: "Applies a function to every element.",
    },
    Builtin {
        name: "partition",
        arity: 2,
        parameters: &["predicate", "list"],
        scope: Scope::Prefixed,
        run: partition,
        about: "Splits into the elements for which a predicate holds, `right`, and the others, `wrong`.",
    },
    Builtin {
        name: "sort",
        arity: 2,
        parameters: &["comparator", "list"],
        scope: Scope::Prefixed,
        run: sort,
        about: "Returns the elements in the order of a comparator, equal ones as they were.",
    },
    Builtin {
        name: "tail",
        arity: 1,
        parameters: &["list"],
        scope: Scope::Prefixed,
        run: tail,
        about: "Returns all elements but the first.",
    },
];

/// A list longer than this cannot be meant.
const MAX_LENGTH: i64 = 1 << 32;

fn quantify(ev: &mut Evaluator, args: &[Value], at: Span, wanted: bool) -> Result<Value> {
    let predicate = ev.force_function(&args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    for element in list.iter() {
        if holds(ev, &predicate, element, at)? == wanted {
            return Ok(Value::Bool(wanted));
        }
    }
    Ok(Value::Bool(!wanted))
}

fn holds(ev: &mut Evaluator, predicate: &Value, element: &Value, at: Span) -> Result<bool> {
    let result = ev.call1(predicate, element.clone(), at)?;
    ev.force_bool(&result, at).context(at, || "while evaluating what the predicate returned".into())
}

fn concat_lists(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let lists = ev.force_list(&args[0], at)?;
    let mut parts = Vec::with_capacity(lists.len());
    for list in lists.iter() {
        parts.push(ev.force_list(list, at)?);
    }
    Ok(concatenate(&parts))
}

/// Concatenates lists; a single one that is not empty is shared.
fn concatenate(parts: &[Rc<Vec<Value>>]) -> Value {
    let length = parts.iter().map(|part| part.len()).sum();
    if let Some(whole) = parts.iter().find(|part| part.len() == length) {
        return Value::List(Rc::clone(whole));
    }
    let mut elements = Vec::with_capacity(length);
    parts.iter().for_each(|part| elements.extend_from_slice(part));
    Value::list(elements)
}

fn concat_map(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let function = ev.force_function(&args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    let mut parts = Vec::with_capacity(list.len());
    for element in list.iter() {
        let part = ev.call1(&function, element.clone(), at)?;
        let part = ev.force_list(&part, at);
        parts.push(part.context(at, || "while evaluating what the function returned".into())?);
    }
    Ok(concatenate(&parts))
}

fn elem(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[1], at)?;
    ev.contains(&list, &args[0], at).map(Value::Bool)
}

fn elem_at(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let index = ev.force_int(&args[1], at)?;
    let list = ev.force_list(&args[0], at)?;
    let element = usize::try_from(index).ok().and_then(|index| list.get(index));
    let missing = || Error::new(ErrorKind::OutOfBounds { index, length: list.len() }, at);
    element.cloned().ok_or_else(missing)
}

fn filter(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[1], at)?;
    if list.is_empty() {
        return Ok(Value::List(list));
    }
    let predicate = ev.force_function(&args[0], at)?;
    let mut kept = Vec::new();
    for element in list.iter() {
        if holds(ev, &predicate, element, at)? {
            kept.push(element.clone());
        }
    }
    if kept.len() == list.len() { Ok(Value::List(list)) } else { Ok(Value::list(kept)) }
}

fn foldl(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let operation = ev.force_function(&args[0], at)?;
    let list = ev.force_list(&args[2], at)?;
    // The initial value is evaluated only if the operation asks for it.
    let mut result = args[1].clone();
    for element in list.iter() {
        result = ev.call(&operation, &[result, element.clone()], at)?;
    }
    Ok(result)
}

fn gen_list(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let length = ev.force_int(&args[1], at)?;
    if !(0..=MAX_LENGTH).contains(&length) {
        return Err(argument(at, format!("cannot create list of size {length}")));
    }
    let generator = ev.force_function(&args[0], at)?;
    let elements = (0..length).map(|index| Value::apply(generator.clone(), Value::Int(index)));
    Ok(Value::list(elements.collect()))
}

fn group_by(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let function = ev.force_function(&args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    let mut groups: std::collections::BTreeMap<Symbol, Vec<Value>> =
        std::collections::BTreeMap::new();
    for element in list.iter() {
        let name = ev.call1(&function, element.clone(), at)?;
        let name = ev.force_plain_string(&name, at);
        let name = name.context(at, || "while evaluating what the function returned".into())?;
        let name = ev.symbols.intern(name.bytes());
        groups.entry(name).or_default().push(element.clone());
    }
    let mut attrs = AttrsBuilder::with_capacity(groups.len());
    for (name, group) in groups {
        attrs.push(name, Value::list(group));
    }
    Ok(Value::attrs(attrs.finish()))
}

fn head(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[0], at)?;
    let empty = || argument(at, "`builtins.head` was called with an empty list");
    list.first().cloned().ok_or_else(empty)
}

fn tail(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[0], at)?;
    match list.split_first() {
        Some((_, rest)) => Ok(Value::list(rest.to_vec())),
        None => Err(argument(at, "`builtins.tail` was called with an empty list")),
    }
}

fn length(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    Ok(Value::Int(ev.force_list(&args[0], at)?.len() as i64))
}

fn map(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[1], at)?;
    if list.is_empty() {
        return Ok(Value::List(list));
    }
    let function = ev.force_function(&args[0], at)?;
    let apply = |element: &Value| Value::apply(function.clone(), element.clone());
    Ok(Value::list(list.iter().map(apply).collect()))
}

fn partition(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let predicate = ev.force_function(&args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for element in list.iter() {
        // Nix evaluates the elements here, even if the predicate does not look at them.
        ev.force(element, at)?;
        if holds(ev, &predicate, element, at)? {
            right.push(element.clone());
        } else {
            wrong.push(element.clone());
        }
    }
    let mut attrs = AttrsBuilder::with_capacity(2);
    attrs.push(ev.symbols.intern("right"), Value::list(right));
    attrs.push(ev.symbols.intern("wrong"), Value::list(wrong));
    Ok(Value::attrs(attrs.finish()))
}

fn sort(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[1], at)?;
    if list.is_empty() {
        return Ok(Value::List(list));
    }
    let comparator = ev.force_function(&args[0], at)?;
    let natural = matches!(comparator, Value::Builtin(builtin) if builtin.name == "lessThan");
    let mut before = |ev: &mut Evaluator, a: &Value, b: &Value| {
        if natural {
            return ev.less(a, b, at);
        }
        let result = ev.call(&comparator, &[a.clone(), b.clone()], at)?;
        ev.force_bool(&result, at)
            .context(at, || "while evaluating what the comparator returned".into())
    };
    let mut elements = list.to_vec();
    // Nix evaluates the elements here, even if the comparator does not look at them.
    for element in &mut elements {
        *element = ev.force(element, at)?;
    }
    Ok(Value::list(merge_sort(ev, elements, &mut before)?))
}

/// Sorts so that equal elements keep their order. The standard library's sort cannot stop at an error.
fn merge_sort(
    ev: &mut Evaluator,
    mut elements: Vec<Value>,
    before: &mut impl FnMut(&mut Evaluator, &Value, &Value) -> Result<bool>,
) -> Result<Vec<Value>> {
    if elements.len() < 2 {
        return Ok(elements);
    }
    let right = elements.split_off(elements.len() / 2);
    let left = merge_sort(ev, elements, before)?;
    let right = merge_sort(ev, right, before)?;
    // Lists are often sorted already.
    if let (Some(last), Some(first)) = (left.last(), right.first())
        && !before(ev, first, last)?
    {
        let mut sorted = left;
        sorted.extend(right);
        return Ok(sorted);
    }
    let mut sorted = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
        let next = if before(ev, r, l)? { right.next() } else { left.next() };
        sorted.extend(next);
    }
    sorted.extend(left);
    sorted.extend(right);
    Ok(sorted)
}
