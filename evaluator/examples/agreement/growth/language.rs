//! Families of source texts: what is written again and again, or nested.

use super::{Family, Reader};

/// Joins what a function makes of the numbers below `n`.
fn each(n: usize, piece: impl Fn(usize) -> String) -> String {
    (0..n).map(piece).collect()
}

/// Nests a text.
fn nest(n: usize, open: &str, middle: &str, close: &str) -> String {
    format!("{}{middle}{}", open.repeat(n), close.repeat(n))
}

const fn value(name: &'static str, most: usize, text: fn(usize) -> String) -> Family {
    Family { name, reader: Reader::Value, most, text }
}

const fn failure(name: &'static str, most: usize, text: fn(usize) -> String) -> Family {
    Family { name, reader: Reader::Failure, most, text }
}

/// Nesting deeper than this is refused.
const DEPTH: usize = 3_000;
/// Longer chains of operators are refused.
const CHAIN: usize = 190_000;
/// Everything else.
const MANY: usize = 4_000_000;

/// The families.
pub(super) const FAMILIES: &[Family] = &[
    value("nested parentheses", DEPTH, |n| nest(n, "(", "1", ")")),
    value("nested lists", DEPTH, |n| nest(n, "[", "1", "]")),
    value("nested sets", DEPTH, |n| nest(n, "{a=", "1", ";}")),
    value("nested functions", DEPTH, |n| format!("({} 1) 2", "x: ".repeat(n))),
    value("nested functions before blanks", DEPTH, |n| {
        format!("({} 1{}) 2", "x: ".repeat(n), " ".repeat(100 * n))
    }),
    value("nested strings", DEPTH / 2, |n| nest(n, "\"${", "\"\"", "}\"")),
    value("nested `with`, one name each", DEPTH, |n| {
        format!("{}a0", each(n, |i| format!("with {{ a{i} = 1; }}; ")))
    }),
    value("nested `let`, the outermost name", DEPTH, |n| {
        format!("{}a0", each(n, |i| format!("let a{i} = 1; in ")))
    }),
    value("nested `let`, each uses the one before", DEPTH, |n| {
        format!("let a0 = 1; in {}a{n}", each(n, |i| format!("let a{} = a{i}; in ", i + 1)))
    }),
    value("`if … else if …`", DEPTH, |n| {
        format!("let x = 1; in {}0", each(n, |i| format!("if x == -{i} then {i} else ")))
    }),
    value("`a.a.a…`", 9_000, |n| format!("{{}}.{}b or 1", "a.".repeat(n))),
    failure("`1.e1.e1.e…`", MANY, |n| "1.e".repeat(n)),
    failure("`a.a.a…` without an end", 9_000, |n| "a.".repeat(n)),
    failure("`a-a-a-…` without an end", MANY, |n| format!("({}", "a-".repeat(n))),
    failure("`1.1.1…`", MANY, |n| "1.".repeat(n)),
    failure("`a+a+a+…:`", CHAIN, |n| format!("{}: 1", "a+".repeat(n))),
    failure("`a/a/a…//`", MANY, |n| format!("{}/", "a/".repeat(n))),
    failure("`<a/a/a…`", MANY, |n| format!("<{}", "a/".repeat(n))),
    failure("`<a<a<a…`", MANY, |n| "<a".repeat(n)),
    value("comments", MANY, |n| format!("{}1", "# comment\n/* another */ ".repeat(n))),
    value("comments before each `{`", DEPTH, |n| {
        format!("{}{}1{}", "(", "{a=/* one comment */".repeat(n), ";}".repeat(n) + ")")
    }),
    value("elements of a list", MANY, |n| {
        format!("builtins.length [{}]", each(n, |i| format!("{i} ")))
    }),
    value("`1 + 1 + …`", CHAIN, |n| format!("{}1", "1 + ".repeat(n))),
    value("`\"a\" + \"a\" + …`", CHAIN, |n| {
        format!("builtins.stringLength ({}\"a\")", "\"abcdefgh\" + ".repeat(n))
    }),
    value("`[1] ++ [1] ++ …`", DEPTH, |n| {
        format!("builtins.length ({}[1])", "[1] ++ ".repeat(n))
    }),
    value("`{a0=0;} // {a1=0;} // …`", DEPTH, |n| {
        format!("({}{{}}).a0", each(n, |i| format!("{{a{i}=0;}} // ")))
    }),
    value("`true && true && …`", CHAIN, |n| format!("{}true", "true && ".repeat(n))),
    value("`true -> true -> …`", DEPTH, |n| format!("{}true", "true -> ".repeat(n))),
    value("arguments of one call", DEPTH, |n| {
        format!("({} 1) {}", "x: ".repeat(n), "1 ".repeat(n))
    }),
    value("a long string", MANY, |n| format!("builtins.stringLength \"{}\"", "abcdefgh".repeat(n))),
    value("`${…}` in a string", MANY, |n| {
        format!("builtins.stringLength \"{}\"", "${\"a\"} b ".repeat(n))
    }),
    value("escapes in a string", MANY, |n| {
        format!("builtins.stringLength \"{}\"", "\\n\\${$$".repeat(n))
    }),
    value("lines of an indented string", MANY, |n| {
        format!("builtins.stringLength ''\n{}''", "    some text\n".repeat(n))
    }),
    value("`${…}` in an indented string", MANY, |n| {
        format!("builtins.stringLength ''\n{}''", "    some ${\"text\"} ''$\n".repeat(n))
    }),
    value("`/a${…}` in a path", MANY, |n| {
        format!("builtins.stringLength (toString (/a{}))", "/${\"a\"}b".repeat(n))
    }),
    value("attributes of a set", MANY, |n| {
        format!("{{ {} }}.a0", each(n, |i| format!("a{i} = {i}; ")))
    }),
    value("attributes of a recursive set", MANY, |n| {
        format!("rec {{ a0 = 0; {} }}.a{n}", each(n, |i| format!("a{} = a{}; ", i + 1, i / 2)))
    }),
    value("names of a `let`", MANY, |n| {
        format!("let a0 = 0; {} in a{n}", each(n, |i| format!("a{} = a{}; ", i + 1, i / 2)))
    }),
    value("`a.b.c0 = …; a.b.c1 = …`", MANY, |n| {
        format!("{{ {} }}.a.b.c0", each(n, |i| format!("a.b.c{i} = {i}; ")))
    }),
    value("`a = { c0 = …; }; a = { c1 = …; };`", MANY, |n| {
        format!("{{ {} }}.a.c0", each(n, |i| format!("a = {{ c{i} = {i}; }}; ")))
    }),
    value("dynamic attributes", MANY, |n| {
        format!("{{ {} }}.a0", each(n, |i| format!("${{\"a\" + \"{i}\"}} = {i}; ")))
    }),
    value("names of one `inherit`", MANY, |n| {
        format!(
            "let s = {{ {} }}; in {{ inherit (s) {}; }}.a0",
            each(n, |i| format!("a{i} = 0; ")),
            each(n, |i| format!("a{i} "))
        )
    }),
    value("many `inherit`", MANY, |n| {
        format!(
            "let s = {{ {} }}; in rec {{ {} }}.a0",
            each(n, |i| format!("a{i} = 0; ")),
            each(n, |i| format!("inherit (s) a{i}; "))
        )
    }),
    value("formals of a function", MANY, |n| {
        format!(
            "({{ {} }}: a0) {{}}",
            each(n, |i| format!("{}a{i} ? {i}", if i == 0 { "" } else { ", " }))
        )
    }),
    failure("formals of a function, one twice", MANY, |n| {
        format!("({{ {} a0 }}: a0) {{}}", each(n, |i| format!("a{i}, ")))
    }),
    failure("arguments that are missing", MANY, |n| {
        format!("({{ b{} }}: b) {{}}", each(n, |i| format!(", a{i}")))
    }),
    value("places of attributes", MANY, |n| {
        format!(
            "let s = {{\n{}}}; p = map (n: (builtins.unsafeGetAttrPos n s).line) (builtins.attrNames s); in builtins.foldl' builtins.add 0 p",
            each(n, |i| format!("a{i} = 0;\n"))
        )
    }),
    value("`__curPos` on lines", MANY, |n| {
        format!("builtins.length (map (p: builtins.seq p.line 1) [\n{}])", "__curPos\n".repeat(n))
    }),
    failure("an error at the end of a line", MANY, |n| format!("[ {} ] + 1", "1 ".repeat(n))),
    failure("an error behind lines", MANY, |n| format!("[ {} ] + 1", "1\n".repeat(n))),
    failure("an unknown name among", MANY, |n| {
        format!("let {} in b1", each(n, |i| format!("name{i} = 0; ")))
    }),
    failure("a missing attribute among", MANY, |n| {
        format!("{{ {} }}.b1", each(n, |i| format!("name{i} = 0; ")))
    }),
    failure("a long unknown name", MANY, |n| "a".repeat(n)),
    failure("a token that does not fit", MANY, |n| format!("[ {} = ]", "1 ".repeat(n))),
];
