//! Attribute sets.
//!
//! Values stay unevaluated. Where an order shows, it is that of the names' bytes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::{Builtin, Scope};
use crate::lang::error::{Result, ResultExt};
use crate::lang::eval::Evaluator;
use crate::lang::source::{Origin, Span};
use crate::lang::symbol::Symbol;
use crate::lang::value::{Attr, Attrs, AttrsBuilder, Value};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "attrNames",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: attr_names,
        about: "Returns the names of the attributes, sorted.",
    },
    Builtin {
        name: "attrValues",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: attr_values,
        about: "Returns the values of the attributes, sorted by name.",
    },
    Builtin {
        name: "catAttrs",
        arity: 2,
        parameters: &["name", "list"],
        scope: Scope::Prefixed,
        run: cat_attrs,
        about: "Returns the values of one attribute in a list of sets, where they have it.",
    },
    Builtin {
        name: "genericClosure",
        arity: 1,
        parameters: &["set"],
        scope: Scope::Prefixed,
        run: generic_closure,
        about: "Returns all that `operator` leads to from `startSet`, each `key` once.",
    },
    Builtin {
        name: "getAttr",
        arity: 2,
        parameters: &["name", "set"],
        scope: Scope::Prefixed,
        run: get_attr,
        about: "Returns the value of an attribute.",
    },
    Builtin {
        name: "hasAttr",
        arity: 2,
        parameters: &["name", "set"],
        scope: Scope::Prefixed,
        run: has_attr,
        about: "Returns whether there is an attribute.",
    },
    Builtin {
        name: "intersectAttrs",
        arity: 2,
        parameters: &["a", "b"],
        scope: Scope::Prefixed,
        run: intersect_attrs,
        about: "Returns the attributes of the second set whose names are in the first.",
    },
    Builtin {
        name: "listToAttrs",
        arity: 1,
        parameters: &["list"],
        scope: Scope::Prefixed,
        run: list_to_attrs,
        about: "Makes a set of a list of sets with `name` and `value`; of equal names the first counts.",
    },
    Builtin {
        name: "mapAttrs",
        arity: 2,
        parameters: &["f", "set"],
        scope: Scope::Prefixed,
        run: map_attrs,
        about: "Applies a function to the name and value of every attribute.",
    },
    Builtin {
        name: "removeAttrs",
        arity: 2,
        parameters: &["set", "names"],
        scope: Scope::Global,
        run: remove_attrs,
        about: "Returns the attributes whose names are not in a list.",
    },
    Builtin {
        name: "unsafeGetAttrPos",
        arity: 2,
        parameters: &["name", "set"],
        scope: Scope::Prefixed,
        run: get_attr_pos,
        about: "Returns where an attribute was written.",
    },
    Builtin {
        name: "zipAttrsWith",
        arity: 2,
        parameters: &["f", "list"],
        scope: Scope::Prefixed,
        run: zip_attrs_with,
        about: "Applies a function to every name in a list of sets and the values that it has there.",
    },
];

fn attr_names(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let set = ev.force_attrs(&args[0], at)?;
    let sorted = set.sorted(&ev.symbols);
    Ok(Value::list(sorted.iter().map(|attr| Value::string(ev.symbols.name(attr.name))).collect()))
}

fn attr_values(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let set = ev.force_attrs(&args[0], at)?;
    let sorted = set.sorted(&ev.symbols);
    Ok(Value::list(sorted.iter().map(|attr| attr.value.clone()).collect()))
}

/// Returns the symbol of a name, a new one if nobody has used it yet.
///
/// Evaluating the set in which it will be looked for may be what uses it first.
fn force_name(ev: &mut Evaluator, name: &Value, at: Span) -> Result<Symbol> {
    let name = ev.force_plain_string(name, at)?;
    Ok(ev.symbols.intern(name.bytes()))
}

fn cat_attrs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let name = force_name(ev, &args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    let mut values = Vec::new();
    for element in list.iter() {
        let set = ev.force_attrs(element, at)?;
        values.extend(set.value(name).cloned());
    }
    Ok(Value::list(values))
}

fn get_attr(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let name = force_name(ev, &args[0], at)?;
    let set = ev.force_attrs(&args[1], at)?;
    ev.required_symbol(&set, name, at)
}

fn has_attr(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let name = force_name(ev, &args[0], at)?;
    let set = ev.force_attrs(&args[1], at)?;
    Ok(Value::Bool(set.contains(name)))
}

fn intersect_attrs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let left = ev.force_attrs(&args[0], at)?;
    let right = ev.force_attrs(&args[1], at)?;
    // The smaller one says where to look: `intersectAttrs (functionArgs f) pkgs` is common.
    let entries: Vec<Attr> = if left.len() < right.len() {
        left.iter().filter_map(|attr| right.get(attr.name)).cloned().collect()
    } else {
        right.iter().filter(|attr| left.contains(attr.name)).cloned().collect()
    };
    Ok(Value::attrs(Attrs::from_sorted(entries)))
}

fn list_to_attrs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let list = ev.force_list(&args[0], at)?;
    let (name_symbol, value_symbol) = (ev.known.name, ev.known.value);
    let mut entries = Vec::with_capacity(list.len());
    let mut seen = BTreeSet::new();
    for element in list.iter() {
        let element = ev.force_attrs(element, at);
        let element = element.context(at, || "while evaluating an element of the list".into())?;
        let name = ev.required_symbol(&element, name_symbol, at)?;
        let name = ev.force_plain_string(&name, at);
        let name = name.context(at, || "while evaluating the attribute `name`".into())?;
        let name = ev.symbols.intern(name.bytes());
        if seen.insert(name) {
            let value = ev.required_symbol(&element, value_symbol, at)?;
            let position = element.get(value_symbol).map_or(0, |attr| attr.position);
            entries.push(Attr { name, position, value });
        }
    }
    Ok(Value::attrs(Attrs::from_unsorted(entries)))
}

fn map_attrs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let set = ev.force_attrs(&args[1], at)?;
    let function = args[0].clone();
    let entries = set.iter().map(|attr| {
        let name = Value::string(ev.symbols.name(attr.name));
        let value = Value::apply2(function.clone(), name, attr.value.clone());
        // Nobody has written the new values, so they have no place.
        Attr::new(attr.name, value)
    });
    Ok(Value::attrs(Attrs::from_sorted(entries.collect())))
}

fn remove_attrs(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let set = ev.force_attrs(&args[0], at)?;
    let names = ev.force_list(&args[1], at)?;
    let mut removed = BTreeSet::new();
    for name in names.iter() {
        removed.insert(force_name(ev, name, at)?);
    }
    if !removed.iter().any(|name| set.contains(*name)) {
        return Ok(Value::Attrs(set));
    }
    let kept = set.iter().filter(|attr| !removed.contains(&attr.name)).cloned();
    Ok(Value::attrs(Attrs::from_sorted(kept.collect())))
}

fn get_attr_pos(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let name = force_name(ev, &args[0], at)?;
    let set = ev.force_attrs(&args[1], at)?;
    let Some(attr) = set.get(name) else { return Ok(Value::Null) };
    Ok(position(ev, attr.span()))
}

/// Returns a place in a file as a set, or null if it is in no file.
pub(super) fn position(ev: &mut Evaluator, span: Span) -> Value {
    let (Some(source), Some(position)) = (ev.sources.source(span), ev.sources.position(span))
    else {
        return Value::Null;
    };
    let Origin::File(file) = &source.origin else { return Value::Null };
    let file = Value::string(file);
    let mut attrs = AttrsBuilder::with_capacity(3);
    attrs.push(ev.symbols.intern("file"), file);
    attrs.push(ev.symbols.intern("line"), Value::Int(i64::from(position.line)));
    attrs.push(ev.symbols.intern("column"), Value::Int(i64::from(position.column)));
    Value::attrs(attrs.finish())
}

fn zip_attrs_with(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let function = ev.force_function(&args[0], at)?;
    let list = ev.force_list(&args[1], at)?;
    let mut values: BTreeMap<Symbol, Vec<Value>> = BTreeMap::new();
    for element in list.iter() {
        for attr in ev.force_attrs(element, at)?.iter() {
            values.entry(attr.name).or_default().push(attr.value.clone());
        }
    }
    let mut attrs = AttrsBuilder::with_capacity(values.len());
    for (name, values) in values {
        let text = Value::string(ev.symbols.name(name));
        attrs.push(name, Value::apply2(function.clone(), text, Value::list(values)));
    }
    Ok(Value::attrs(attrs.finish()))
}

fn generic_closure(ev: &mut Evaluator, args: &[Value], at: Span) -> Result<Value> {
    let set = ev.force_attrs(&args[0], at)?;
    let start = ev.required(&set, "startSet", at)?;
    let start = ev.force_list(&start, at);
    let start = start.context(at, || "while evaluating the attribute `startSet`".into())?;
    if start.is_empty() {
        return Ok(Value::List(start));
    }
    let operator = ev.required(&set, "operator", at)?;
    let operator = ev.force_function(&operator, at);
    let operator = operator.context(at, || "while evaluating the attribute `operator`".into())?;
    let mut known = Keys::None;
    let mut found: Vec<Value> = Vec::new();
    // What is yet to be looked at, list by list, so that nothing is copied twice.
    let mut waiting: VecDeque<(Rc<Vec<Value>>, usize)> = [(start, 0)].into();
    while let Some((list, index)) = waiting.front_mut() {
        let Some(element) = list.get(*index).cloned() else {
            waiting.pop_front();
            continue;
        };
        *index += 1;
        let element = Value::Attrs(ev.force_attrs(&element, at)?);
        let Value::Attrs(attrs) = &element else { continue };
        let key = ev.required(attrs, "key", at).context(at, || {
            "while evaluating an element that `builtins.genericClosure` has to look at".into()
        })?;
        let key = ev.force(&key, at)?;
        if known.insert(ev, key, at)? {
            found.push(element.clone());
            let more = ev.call1(&operator, element.clone(), at)?;
            let more = ev.force_list(&more, at);
            let more = more.context(at, || "while evaluating what `operator` returned".into())?;
            waiting.push_back((more, 0));
        }
    }
    Ok(Value::list(found))
}

/// The keys that have been seen. Comparing values may fail, which sorted sets of the standard library
/// cannot, so that only the common kinds of keys have a fast set.
enum Keys {
    None,
    Ints(BTreeSet<i64>),
    Strings(BTreeSet<Box<[u8]>>),
    Others(Vec<Value>),
}

impl Keys {
    fn insert(&mut self, ev: &mut Evaluator, key: Value, at: Span) -> Result<bool> {
        match (&mut *self, &key) {
            (Keys::None, Value::Int(int)) => {
                *self = Keys::Ints([*int].into());
                Ok(true)
            }
            (Keys::None, Value::String(text)) => {
                *self = Keys::Strings([Box::from(text.bytes())].into());
                Ok(true)
            }
            (Keys::Ints(known), Value::Int(int)) => Ok(known.insert(*int)),
            (Keys::Strings(known), Value::String(text)) => {
                Ok(!known.contains(text.bytes()) && known.insert(Box::from(text.bytes())))
            }
            (Keys::Others(known), _) => {
                let (mut low, mut high) = (0, known.len());
                while low < high {
                    let middle = (low + high) / 2;
                    match ev.compare(&known[middle], &key, at)? {
                        Some(Ordering::Less) => low = middle + 1,
                        // What has no order is the same, as in the sets that Nix uses.
                        Some(Ordering::Equal) | None => return Ok(false),
                        Some(Ordering::Greater) => high = middle,
                    }
                }
                known.insert(low, key);
                Ok(true)
            }
            (Keys::None | Keys::Ints(_) | Keys::Strings(_), _) => {
                let known = match std::mem::replace(self, Keys::None) {
                    Keys::None => Vec::new(),
                    Keys::Ints(known) => known.into_iter().map(Value::Int).collect(),
                    Keys::Strings(known) => known.iter().map(Value::string).collect(),
                    Keys::Others(known) => known,
                };
                *self = Keys::Others(known);
                self.insert(ev, key, at)
            }
        }
    }
}
