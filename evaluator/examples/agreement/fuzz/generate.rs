//! Makes random expressions of the Nix language that mostly evaluate.
//!
//! Generation is led by types: asked for a number, it writes an expression whose value is a number,
//! so that long expressions reach their end instead of failing at the first operator. Now and then
//! it breaks the rule on purpose, because errors must agree too. Start at [`expression`].

use std::rc::Rc;

use super::generate_more::{
    attrs_builtin, list_builtin, number_builtin, string_builtin, truth_builtin,
};
use super::literals;
use crate::random::Random;

/// The type that an expression is meant to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Float,
    Bool,
    Null,
    Str,
    Path,
    List(Rc<Type>),
    Attrs(Rc<Vec<(String, Type)>>),
    Function(Rc<Type>, Rc<Type>),
}

/// What the expression being written may refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope(Vec<(String, Type)>);

impl Scope {
    pub(super) fn with(&self, name: &str, of: Type) -> Self {
        let mut inner = self.clone();
        inner.0.retain(|(known, _)| known != name);
        inner.0.push((name.to_owned(), of));
        inner
    }

    fn names_of(&self, wanted: &Type) -> Vec<&str> {
        self.0.iter().filter(|(_, of)| of == wanted).map(|(name, _)| name.as_str()).collect()
    }
}

/// Names of variables and attributes; few, so that they meet and shadow each other.
pub(super) const NAMES: [&str; 12] =
    ["a", "b", "c", "d", "x", "y", "z", "foo", "a-b", "c'", "_u", "or'"];

/// Returns a random expression.
pub(crate) fn expression(random: &mut Random) -> String {
    let of = any_type(random, 2);
    let depth = 1 + random.below(5);
    write(random, &of, depth, &Scope::default())
}

pub(super) fn any_type(random: &mut Random, depth: usize) -> Type {
    match random.below(if depth == 0 { 10 } else { 16 }) {
        0..=2 => Type::Int,
        3 => Type::Float,
        4 | 5 => Type::Bool,
        6 => Type::Null,
        7 | 8 => Type::Str,
        9 => Type::Path,
        10..=12 => Type::List(Rc::new(any_type(random, depth - 1))),
        13 | 14 => attrs_type(random, depth - 1),
        _ => Type::Function(
            Rc::new(any_type(random, depth - 1)),
            Rc::new(any_type(random, depth - 1)),
        ),
    }
}

pub(super) fn attrs_type(random: &mut Random, depth: usize) -> Type {
    let mut fields: Vec<(String, Type)> = Vec::new();
    for _ in 0..random.below(4) {
        let name = *random.pick(&NAMES);
        if fields.iter().all(|(known, _)| known != name) {
            fields.push((name.to_owned(), any_type(random, depth)));
        }
    }
    Type::Attrs(Rc::new(fields))
}

/// Writes an expression of a type, in parentheses wherever it could be torn apart.
pub(super) fn atom(random: &mut Random, of: &Type, depth: usize, scope: &Scope) -> String {
    let inner = write(random, of, depth, scope);
    let simple = inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if simple { inner } else { format!("({inner})") }
}

/// Writes an operand, mostly in parentheses; without them precedence decides.
pub(super) fn operand(random: &mut Random, of: &Type, depth: usize, scope: &Scope) -> String {
    if random.chance(6) { write(random, of, depth, scope) } else { atom(random, of, depth, scope) }
}

/// Writes an expression of a type.
pub(super) fn write(random: &mut Random, wanted: &Type, depth: usize, scope: &Scope) -> String {
    let wrong;
    let of = if random.below(400) == 0 {
        wrong = any_type(random, 1);
        &wrong
    } else {
        wanted
    };
    let known = scope.names_of(of);
    if !known.is_empty() && random.chance(if depth == 0 { 70 } else { 25 }) {
        return (*random.pick(&known)).to_owned();
    }
    if depth == 0 {
        return literal(random, of);
    }
    match random.below(22) {
        0..=11 => particular(random, of, depth - 1, scope),
        12 | 13 => literal_of(random, of, depth - 1, scope),
        _ => general(random, of, depth - 1, scope),
    }
}

/// Writes a form that fits every type: conditions, bindings, calls, selections.
fn general(random: &mut Random, of: &Type, depth: usize, scope: &Scope) -> String {
    match random.below(17) {
        0 => {
            let condition = write(random, &Type::Bool, depth, scope);
            let yes = write(random, of, depth, scope);
            let no = write(random, of, depth, scope);
            format!("if {condition} then {yes} else {no}")
        }
        1 | 2 => {
            let (bindings, inner) = bindings(random, depth, scope);
            format!("let {bindings} in {}", write(random, of, depth, &inner))
        }
        3 => {
            let set = attrs_type(random, 1);
            let value = atom(random, &set, depth, scope);
            let Type::Attrs(fields) = &set else { return value };
            // A variable of the surroundings wins over `with`, so only new names are added.
            let mut inner = scope.clone();
            for (name, field) in fields.iter() {
                if scope.0.iter().all(|(known, _)| known != name) {
                    inner = inner.with(name, field.clone());
                }
            }
            format!("with {value}; {}", write(random, of, depth, &inner))
        }
        4 => {
            let condition = if random.chance(95) {
                "true".to_owned()
            } else {
                write(random, &Type::Bool, depth, scope)
            };
            format!("assert {condition}; {}", write(random, of, depth, scope))
        }
        5 | 6 => {
            let argument = any_type(random, 1);
            let name = *random.pick(&NAMES);
            let body = write(random, of, depth, &scope.with(name, argument.clone()));
            let value = atom(random, &argument, depth, scope);
            format!("({name}: {body}) {value}")
        }
        7 => call_with_pattern(random, of, depth, scope),
        8 => {
            let name = literals::attribute_name(random);
            let value = write(random, of, depth, scope);
            let rec = if random.chance(20) { "rec " } else { "" };
            format!("{rec}{{ {name} = {value}; }}.{name}")
        }
        9 => {
            let name = literals::attribute_name(random);
            let set = attrs_type(random, 1);
            let set = atom(random, &set, depth, scope);
            let other = atom(random, of, depth, scope);
            // The attribute is there or not; names outside NAMES mostly are not.
            format!(
                "({set}.q{name} or {other})",
                name = name.replace(['"', '$', '{', '}', ' '], "")
            )
        }
        10 => {
            let list = Type::List(Rc::new(of.clone()));
            let first = atom(random, of, depth, scope);
            let rest = atom(random, &list, depth, scope);
            format!("builtins.head ([ {first} ] ++ {rest})")
        }
        11 => {
            let before = any_type(random, 1);
            let before = atom(random, &before, depth, scope);
            let after = atom(random, of, depth, scope);
            let force = random.pick(&["seq", "deepSeq", "trace"]);
            format!("builtins.{force} {before} {after}")
        }
        12 => {
            let value = atom(random, of, depth, scope);
            let other = atom(random, of, depth, scope);
            let tried = if random.chance(30) { "(throw \"no\")".to_owned() } else { value };
            format!("(let t = builtins.tryEval {tried}; in if t.success then t.value else {other})")
        }
        13 => {
            let argument = any_type(random, 1);
            let function = Type::Function(Rc::new(argument.clone()), Rc::new(of.clone()));
            let function = atom(random, &function, depth, scope);
            format!("{function} {}", atom(random, &argument, depth, scope))
        }
        14 => {
            let argument = any_type(random, 1);
            let name = *random.pick(&NAMES);
            let body = write(random, of, depth, &scope.with(name, argument.clone()));
            let value = atom(random, &argument, depth, scope);
            format!("{{ __functor = self: {name}: {body}; }} {value}")
        }
        15 => {
            let set = Type::Attrs(Rc::new(vec![("foo".to_owned(), of.clone())]));
            let set = atom(random, &set, depth, scope);
            (*random.pick(&[
                format!("builtins.getAttr \"foo\" {set}"),
                format!("{set}.foo"),
                format!("{set}.${{\"f\" + \"oo\"}}"),
                format!("let inherit ({set}) foo; in foo"),
                format!("({set} // {{ q = 1; }}).foo"),
            ]))
            .clone()
        }
        _ => format!("({})", write(random, of, depth, scope)),
    }
}

fn call_with_pattern(random: &mut Random, of: &Type, depth: usize, scope: &Scope) -> String {
    let mut formals = Vec::new();
    let mut arguments = Vec::new();
    let mut inner = scope.clone();
    for name in ["a", "b", "x"] {
        if random.chance(30) {
            continue;
        }
        let field = any_type(random, 1);
        if random.chance(40) {
            let default = write(random, &field, depth, &inner);
            formals.push(format!("{name} ? {default}"));
            if random.chance(50) {
                arguments.push(format!("{name} = {};", write(random, &field, depth, scope)));
            }
        } else {
            formals.push(name.to_owned());
            arguments.push(format!("{name} = {};", write(random, &field, depth, scope)));
        }
        inner = inner.with(name, field);
    }
    if random.chance(30) {
        formals.push("...".to_owned());
        arguments.push("more = 1;".to_owned());
    }
    let formals = formals.join(", ");
    let pattern = match random.below(4) {
        0 => format!("all@{{ {formals} }}"),
        1 => format!("{{ {formals} }}@all"),
        _ => format!("{{ {formals} }}"),
    };
    let body = write(random, of, depth, &inner);
    format!("({pattern}: {body}) {{ {} }}", arguments.join(" "))
}

fn bindings(random: &mut Random, depth: usize, scope: &Scope) -> (String, Scope) {
    let mut inner = scope.clone();
    let mut text = Vec::new();
    let mut used: Vec<&str> = Vec::new();
    for _ in 0..=random.below(3) {
        let name = *random.pick(&NAMES);
        if used.contains(&name) {
            continue;
        }
        used.push(name);
        let of = any_type(random, 2);
        // A binding sees those before it, not itself: recursion is for the cases written by hand.
        // What it shadows would be itself, so the name is not known while its value is written.
        let mut before = inner.clone();
        before.0.retain(|(known, _)| known != name);
        let value = write(random, &of, depth, &before);
        text.push(format!("{name} = {value};"));
        inner = inner.with(name, of);
    }
    (text.join(" "), inner)
}

/// Writes a form that only this type has: operators and builtins.
fn particular(random: &mut Random, of: &Type, depth: usize, scope: &Scope) -> String {
    match of {
        Type::Int => number_builtin(random, depth, scope, &Type::Int),
        Type::Float => number_builtin(random, depth, scope, &Type::Float),
        Type::Bool => truth_builtin(random, depth, scope),
        Type::Str => string_builtin(random, depth, scope),
        Type::List(element) => list_builtin(random, element, depth, scope),
        Type::Attrs(fields) => attrs_builtin(random, fields, depth, scope),
        Type::Null | Type::Path => general(random, of, depth, scope),
        Type::Function(argument, result) => {
            if random.chance(20) && argument == result {
                return "(x: x)".to_owned();
            }
            let name = *random.pick(&NAMES);
            let (argument, result) = (argument.as_ref().clone(), result.as_ref());
            format!("{name}: {}", write(random, result, depth, &scope.with(name, argument)))
        }
    }
}

/// Writes a literal, with expressions inside where the type has an inside.
fn literal_of(random: &mut Random, of: &Type, depth: usize, scope: &Scope) -> String {
    match of {
        Type::Int | Type::Float | Type::Bool | Type::Null | Type::Path => literal(random, of),
        Type::Function(..) => particular(random, of, depth, scope),
        Type::Str => {
            let inside = (random.below(3) > 0).then(|| write(random, &Type::Str, depth, scope));
            literals::string(random, inside.as_deref())
        }
        Type::List(element) => {
            let count = random.below(4);
            let elements: Vec<String> =
                (0..count).map(|_| atom(random, element, depth, scope)).collect();
            format!("[ {} ]", elements.join(" "))
        }
        Type::Attrs(fields) => attrs_literal(random, fields, depth, scope),
    }
}

fn attrs_literal(
    random: &mut Random,
    fields: &[(String, Type)],
    depth: usize,
    scope: &Scope,
) -> String {
    let mut text = Vec::new();
    for (name, of) in fields {
        if scope.0.contains(&(name.clone(), of.clone())) && random.chance(20) {
            text.push(format!("inherit {name};"));
            continue;
        }
        if let Type::Attrs(inner) = of
            && !inner.is_empty()
            && random.chance(40)
        {
            // The same set, one dotted path at a time, in an order of its own.
            for (field, of) in inner.iter() {
                text.push(format!("{name}.{field} = {};", write(random, of, depth, scope)));
            }
            continue;
        }
        let spelled = match random.below(8) {
            0 => format!("\"{name}\""),
            1 => format!("${{\"{name}\"}}"),
            _ => name.clone(),
        };
        text.push(format!("{spelled} = {};", write(random, of, depth, scope)));
    }
    if random.chance(30) {
        text.reverse();
    }
    format!("{{ {} }}", text.join(" "))
}

/// Writes a literal without any expression inside.
fn literal(random: &mut Random, of: &Type) -> String {
    match of {
        Type::Int => literals::integer(random),
        Type::Float => literals::float(random),
        Type::Bool => (*random.pick(&["true", "false"])).to_owned(),
        Type::Null => "null".to_owned(),
        Type::Str => literals::string(random, None),
        Type::Path => literals::path(random),
        Type::List(element) => {
            if random.chance(30) {
                "[ ]".to_owned()
            } else {
                format!("[ ({}) ]", literal(random, element))
            }
        }
        Type::Attrs(fields) => {
            let text: Vec<String> = fields
                .iter()
                .map(|(name, of)| format!("{name} = {};", literal(random, of)))
                .collect();
            format!("{{ {} }}", text.join(" "))
        }
        Type::Function(_, result) => format!("_: {}", literal(random, result)),
    }
}
