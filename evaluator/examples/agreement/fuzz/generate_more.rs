//! Random operators and builtins, by the type of their result.
//!
//! Templates rather than code: `{i}` stands for a random integer expression, `{f}` a float, `{b}` a
//! truth value, `{s}` a string, `{t}` the element type of the list that is wanted, and so on; see [`fill`].

use std::rc::Rc;

use super::generate::{Scope, Type, any_type, atom, attrs_type, operand, write};
use super::literals;
use crate::random::Random;

const INTS: [&str; 34] = [
    "{i} + {i}",
    "{i} + {i}",
    "{i} - {i}",
    "{i} * {i}",
    "{i} / {p}",
    "- {i}",
    "builtins.length {L}",
    "builtins.stringLength {s}",
    "builtins.add {i} {i}",
    "builtins.sub {i} {i}",
    "builtins.mul {i} {i}",
    "builtins.div {i} {p}",
    "builtins.bitAnd {i} {i}",
    "builtins.bitOr {i} {i}",
    "builtins.bitXor {i} {i}",
    "builtins.floor {f}",
    "builtins.ceil {f}",
    "builtins.compareVersions {v} {v}",
    "builtins.foldl' builtins.add {i} {LI}",
    "builtins.foldl' (x: y: x - y) {i} {LI}",
    "builtins.fromJSON \"{n}\"",
    "builtins.length (builtins.attrNames {A})",
    "builtins.elemAt ({LI} ++ [ {i} ]) 0",
    "builtins.head ({LI} ++ [ {i} ])",
    "(let f = n: if n <= 0 then {i} else 1 + f (n - 1); in f {n})",
    "builtins.stringLength (builtins.hashString \"sha256\" {s})",
    "(x: x + {i}) {i}",
    "builtins.length (builtins.match \"(a*)(b)?(.*)\" \"aab\")",
    "(builtins.functionArgs ({{ a, b ? {i} }}: a)).b or true == true && {b}",
    "(if {b} then {i} else {i})",
    "builtins.length (builtins.split {r} {s})",
    "(builtins.mapAttrs (n: v: {i}) {{ a = 1; }}).a",
    "builtins.ceil {i}",
    "builtins.length (builtins.genericClosure {{ startSet = [ {{ key = {i}; }} ]; operator = e: if e.key > 3 || e.key < 0 then [ ] else [ {{ key = e.key + 1; }} {{ key = 2; }} ]; }})",
];

const FLOATS: [&str; 14] = [
    "{f} + {f}",
    "{f} + {i}",
    "{i} + {f}",
    "{f} - {i}",
    "{f} * {f}",
    "{f} / 4",
    "{i} / 2.5",
    "- {f}",
    "builtins.add {f} {i}",
    "builtins.div {i} 3.0",
    "builtins.fromJSON \"{n}.5\"",
    "builtins.fromJSON \"{n}e2\"",
    "builtins.foldl' builtins.add {f} {LI}",
    "builtins.mul {i} {f}",
];

const TRUTHS: [&str; 44] = [
    "{i} == {i}",
    "{i} < {i}",
    "{i} <= {f}",
    "{f} > {i}",
    "{i} >= {i}",
    "{s} == {s}",
    "{s} < {s}",
    "{s} != {s}",
    "{b} && {b}",
    "{b} || {b}",
    "{b} -> {b}",
    "! {b}",
    "{A} ? foo",
    "{A} ? a.b",
    "{A} ? \"x\"",
    "{A} ? ${{\"a\"}}",
    "{L} == {L}",
    "{A} == {A}",
    "{x} == {x}",
    "{x} != {x}",
    "{LI} < {LI}",
    "{LI} <= {LI}",
    "/a < /b",
    "{f} == {i}",
    "builtins.isAttrs {x}",
    "builtins.isList {x}",
    "builtins.isFunction {x}",
    "builtins.isString {x}",
    "builtins.isInt {x}",
    "builtins.isFloat {x}",
    "builtins.isBool {x}",
    "builtins.isPath {x}",
    "isNull {x}",
    "builtins.elem {i} {LI}",
    "builtins.hasAttr {s} {A}",
    "builtins.any (x: x > {i}) {LI}",
    "builtins.all (x: x == {i}) {LI}",
    "builtins.hasContext {s}",
    "builtins.match {r} {s} == null",
    "(builtins.tryEval {x}).success",
    "(builtins.tryEval (throw {s})).success",
    "(builtins.tryEval (assert {b}; {x})).success",
    "builtins.lessThan {i} {f}",
    "builtins.lessThan {s} {s}",
];

const STRINGS: [&str; 46] = [
    "{s} + {s}",
    "{s} + {s}",
    "\"${{{s}}}-${{{s}}}\"",
    "toString {i}",
    "toString {f}",
    "toString {b}",
    "toString {LI}",
    "toString {LS}",
    "toString {path}",
    "toString null",
    "builtins.concatStringsSep {s} {LS}",
    "builtins.substring {n} {n} {s}",
    "builtins.substring {n} (-1) {s}",
    "builtins.replaceStrings [ {s} {s} ] [ {s} {s} ] {s}",
    "builtins.replaceStrings [ \"a\" \"\" ] [ \"b\" \"-\" ] {s}",
    "builtins.toJSON {j}",
    "builtins.toJSON {J}",
    "builtins.toJSON {i}",
    "builtins.toXML {x}",
    "builtins.typeOf {x}",
    "builtins.hashString \"md5\" {s}",
    "builtins.hashString \"sha1\" {s}",
    "builtins.hashString \"sha512\" {s}",
    "builtins.hashString \"sha256\" {s}",
    "baseNameOf {s}",
    "dirOf {s}",
    "baseNameOf {path}",
    "toString (dirOf {path})",
    "builtins.unsafeDiscardStringContext {s}",
    "(builtins.parseDrvName {v}).name",
    "(builtins.parseDrvName {v}).version",
    "builtins.head (builtins.splitVersion (\"1\" + {v}))",
    "builtins.concatStringsSep \",\" (builtins.attrNames {A})",
    "builtins.concatStringsSep \",\" (builtins.splitVersion {v})",
    "(derivation {{ name = \"n\"; system = \"x\"; builder = {s}; foo = {x0}; }}).outPath",
    "(derivation {{ name = \"n\"; system = \"x\"; builder = \"b\"; args = {LS}; outputs = [ \"out\" \"dev\" ]; }}).dev.outPath",
    "builtins.toFile \"f\" {s}",
    "builtins.placeholder {s}",
    "toString {{ __toString = self: {s}; }}",
    "\"${{{{ outPath = {s}; }}}}\"",
    "\"${{{{ __toString = self: {s}; a = 1; }}}}\"",
    "builtins.toJSON (builtins.match {r} {s})",
    "builtins.toJSON (builtins.split {r} {s})",
    "builtins.toJSON (builtins.getContext {s})",
    "builtins.concatStringsSep \" \" (map toString {LI})",
    "builtins.toJSON (builtins.tryEval {j})",
];

const LISTS: [&str; 28] = [
    "{l} ++ {l}",
    "{l} ++ {l}",
    "[ {t} ] ++ {l}",
    "map (x: {t}) {L}",
    "map ({t2t}) {l}",
    "builtins.filter (x: {b}) {l}",
    "builtins.genList (n: {t}) {n}",
    "builtins.tail ([ {t} ] ++ {l})",
    "builtins.concatLists [ {l} {l} ]",
    "builtins.concatMap (x: {l}) {LI}",
    "(builtins.partition (x: {b}) {l}).right",
    "(builtins.partition (x: {b}) {l}).wrong",
    "builtins.attrValues {{ a = {t}; b = {t}; }}",
    "builtins.catAttrs \"a\" [ {{ a = {t}; }} {{ b = 1; }} {{ a = {t}; }} ]",
    "builtins.sort (x: y: false) {l}",
    "builtins.foldl' (x: y: [ y ] ++ x) [ ] {l}",
    "builtins.foldl' (x: y: x ++ [ y ]) [ ] {l}",
    "(let xs = {l}; in xs ++ xs)",
    "builtins.elemAt [ {l} {l} ] 1",
    "(if {b} then {l} else {l})",
    "builtins.attrValues (builtins.mapAttrs (n: v: v) {{ b = {t}; a = {t}; }})",
    "map (e: e.value) (builtins.genericClosure {{ startSet = map (k: {{ key = k; value = {t}; }}) {LI}; operator = e: [ ]; }})",
    "builtins.concatLists (builtins.attrValues {{ x = {l}; a = {l}; }})",
    "(builtins.groupBy (x: {s}) {l}).foo or {l}",
    "(builtins.zipAttrsWith (n: vs: vs) [ {{ a = {t}; }} {{ a = {t}; }} ]).a",
    "map (builtins.getAttr \"q\") [ {{ q = {t}; }} ]",
    "builtins.deepSeq {l} {l}",
    "map (x: x) {l}",
];

const LISTS_OF_INTS: [&str; 3] = [
    "builtins.sort builtins.lessThan {LI}",
    "builtins.sort (x: y: x > y) {LI}",
    "builtins.genList (x: x * x) {n}",
];
const LISTS_OF_STRINGS: [&str; 6] = [
    "builtins.attrNames {A}",
    "builtins.splitVersion {v}",
    "builtins.sort builtins.lessThan {LS}",
    "builtins.filter builtins.isString (builtins.split {r} {s})",
    "map (x: x + {s}) {LS}",
    "builtins.sort (x: y: x < y) (builtins.attrNames {A})",
];

const SETS: [&str; 20] = [
    "{m} // {m}",
    "{m} // {m}",
    "{m} // {A}",
    "builtins.intersectAttrs {A} {m} // {m}",
    "builtins.removeAttrs ({m} // {{ q = 1; }}) [ \"q\" ]",
    "builtins.mapAttrs (n: v: v) {m}",
    "builtins.listToAttrs (map (n: {{ name = n; value = {m}.${{n}}; }}) (builtins.attrNames {m}))",
    "(let s = {m}; in s // {{ r = s; }})",
    "builtins.foldl' (x: y: x // y) {{ }} [ {m} {m} ]",
    "(if {b} then {m} else {m})",
    "rec {{ m = {m}; q = m; }}.q",
    "builtins.intersectAttrs {m} {m}",
    "(x: x // {m}) {A} // {m}",
    "builtins.deepSeq {m} {m}",
    "builtins.mapAttrs (n: v: builtins.seq n v) ({A} // {m})",
    "builtins.zipAttrsWith (n: builtins.head) [ {m} {m} ]",
    "{m} // builtins.fromJSON (builtins.toJSON {J})",
    "{m} // builtins.parseDrvName {v}",
    "{m} // builtins.groupBy toString {LI}",
    "{m} // builtins.functionArgs ({{ a, b ? {i} }}: {i})",
];

pub(super) fn number_builtin(
    random: &mut Random,
    depth: usize,
    scope: &Scope,
    of: &Type,
) -> String {
    let template = if *of == Type::Int { *random.pick(&INTS) } else { *random.pick(&FLOATS) };
    fill(random, template, depth, scope, of)
}

pub(super) fn truth_builtin(random: &mut Random, depth: usize, scope: &Scope) -> String {
    let template = *random.pick(&TRUTHS);
    fill(random, template, depth, scope, &Type::Bool)
}

pub(super) fn string_builtin(random: &mut Random, depth: usize, scope: &Scope) -> String {
    let template = *random.pick(&STRINGS);
    fill(random, template, depth, scope, &Type::Str)
}

pub(super) fn list_builtin(
    random: &mut Random,
    element: &Rc<Type>,
    depth: usize,
    scope: &Scope,
) -> String {
    let template = match **element {
        Type::Int if random.chance(30) => *random.pick(&LISTS_OF_INTS),
        Type::Str if random.chance(40) => *random.pick(&LISTS_OF_STRINGS),
        Type::Int
        | Type::Float
        | Type::Bool
        | Type::Null
        | Type::Str
        | Type::Path
        | Type::List(_)
        | Type::Attrs(_)
        | Type::Function(..) => *random.pick(&LISTS),
    };
    fill(random, template, depth, scope, element)
}

pub(super) fn attrs_builtin(
    random: &mut Random,
    fields: &Rc<Vec<(String, Type)>>,
    depth: usize,
    scope: &Scope,
) -> String {
    let template = *random.pick(&SETS);
    fill(random, template, depth, scope, &Type::Attrs(Rc::clone(fields)))
}

/// Replaces each `{name}` of a template by a random expression; `{{` and `}}` are braces.
fn fill(random: &mut Random, template: &str, depth: usize, scope: &Scope, of: &Type) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else {
            let (name, after) = from[1..].split_once('}').unwrap_or(("", ""));
            text.push_str(&placed(random, name, depth, scope, of));
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// What a name in a template stands for.
fn placed(random: &mut Random, name: &str, depth: usize, scope: &Scope, of: &Type) -> String {
    let list = |of: Type| Type::List(Rc::new(of));
    match name {
        "i" => operand(random, &Type::Int, depth, scope),
        "f" => operand(random, &Type::Float, depth, scope),
        "b" => operand(random, &Type::Bool, depth, scope),
        "s" => atom(random, &Type::Str, depth, scope),
        "n" => random.below(9).to_string(),
        "p" => (1 + random.below(9)).to_string(),
        "path" => literals::path(random),
        "v" => version(random),
        "r" => pattern(random),
        "L" => {
            let element = any_type(random, 1);
            atom(random, &list(element), depth, scope)
        }
        "LI" => atom(random, &list(Type::Int), depth, scope),
        "LS" => atom(random, &list(Type::Str), depth, scope),
        "A" => {
            let set = attrs_type(random, 1);
            atom(random, &set, depth, scope)
        }
        "x" => {
            let any = any_type(random, 2);
            atom(random, &any, depth, scope)
        }
        // The same without floats, which JSON shows in another way in every few versions.
        "j" => {
            let any = without_floats(&any_type(random, 2));
            atom(random, &any, depth, scope)
        }
        "J" => {
            let set = without_floats(&attrs_type(random, 1));
            atom(random, &set, depth, scope)
        }
        // What an environment variable of a derivation may be.
        "x0" => {
            let any = (*random.pick(&[Type::Int, Type::Str, Type::Bool, Type::Null])).clone();
            atom(random, &any, depth, scope)
        }
        "t" => atom(random, of, depth, scope),
        "l" => atom(random, &list(of.clone()), depth, scope),
        "m" => atom(random, of, depth, scope),
        "t2t" => format!("x: {}", write(random, of, depth, &scope.with("x", of.clone()))),
        // A template with a misspelt name would otherwise go unnoticed.
        other => unreachable!("no such name in a template: {other}"),
    }
}

fn without_floats(of: &Type) -> Type {
    match of {
        Type::Float => Type::Int,
        Type::List(element) => Type::List(Rc::new(without_floats(element))),
        Type::Attrs(fields) => Type::Attrs(Rc::new(
            fields.iter().map(|(name, of)| (name.clone(), without_floats(of))).collect(),
        )),
        Type::Int | Type::Bool | Type::Null | Type::Str | Type::Path | Type::Function(..) => {
            of.clone()
        }
    }
}

fn version(random: &mut Random) -> String {
    (*random.pick(&[
        "\"1.0\"",
        "\"1.0.1\"",
        "\"1.0pre2\"",
        "\"2.3-rc1\"",
        "\"hello-2.10\"",
        "\"a-b-1.2-x\"",
        "\"\"",
        "\"foo\"",
        "\"1.10\"",
        "\"1.9\"",
        "\"2a\"",
        "\"1..2\"",
        "\"1.pre\"",
        "\"gcc-4.6.3-x\"",
        "\"-1\"",
        "\"x--2\"",
        "\"00123456789012345678901\"",
        "\"1-\"",
    ]))
    .to_owned()
}

fn pattern(random: &mut Random) -> String {
    if random.chance(50) {
        return (*random.pick(&[
            "\"(a)|b\"",
            "\"[[:space:]]+\"",
            "\"([a-z]+)([0-9.]*)\"",
            "\"a*\"",
            "\"\"",
            "\"(a|ab)(c|bcd)?(d*)\"",
            "\"x?\"",
            "\".*\"",
            "\"([^/]*)/(.*)\"",
            "\"[.]\"",
            "\"\\\\.\"",
            "\"(.)(.)?\"",
            "\"^a\"",
            "\"o$\"",
            "\"[[:alnum:]_-]+\"",
            "\"(foo|o)+\"",
            "\"(a*)*\"",
            "\"(a*)+\"",
            "\"l{2}\"",
            "\"o{1,2}\"",
        ]))
        .to_owned();
    }
    format!("\"{}\"", regex(random, 2))
}

/// Writes a small regular expression over the letters that random strings are made of.
fn regex(random: &mut Random, depth: usize) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(3) {
        match random.below(if depth == 0 { 5 } else { 8 }) {
            0 | 1 => text.push_str(random.word(&["a", "b", "o", "f", "l", "h", " ", "1"])),
            2 => text.push('.'),
            3 => text.push_str(random.word(&[
                "[ab]",
                "[^a]",
                "[a-o]",
                "[[:digit:]]",
                "[^[:space:]]",
                "[o.]",
                "[]a]",
                "[a-]",
            ])),
            4 => text.push_str(random.word(&["a", "fo", "\\\\."])),
            5 => text.push_str(&format!("({})", regex(random, depth - 1))),
            6 => text.push_str(&format!(
                "({}|{})",
                regex(random, depth - 1),
                regex(random, depth - 1)
            )),
            _ => text.push_str("(o)"),
        }
        if random.chance(35) {
            text.push_str(random.word(&["*", "+", "?", "{1}", "{0,2}", "{1,}"]));
        }
    }
    text
}
