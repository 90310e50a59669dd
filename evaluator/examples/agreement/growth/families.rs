//! Families of data: what builtins and readers of formats are given.

use super::{Family, Reader};

const fn value(name: &'static str, most: usize, text: fn(usize) -> String) -> Family {
    Family { name, reader: Reader::Value, most, text }
}

const fn failure(name: &'static str, most: usize, text: fn(usize) -> String) -> Family {
    Family { name, reader: Reader::Failure, most, text }
}

/// Puts an expression behind the names that most of them want.
fn with(n: usize, expression: &str) -> String {
    format!(
        "with builtins; let n = {n}; numbers = genList (x: x) n; strings = map toString numbers; \
         names = map (x: \"a${{toString x}}\") numbers; \
         set = listToAttrs (map (name: {{ inherit name; value = 1; }}) names); \
         repeat = s: concatStringsSep \"\" (genList (x: s) n); \
         deep = foldl' (a: x: [ a ]) 1 numbers; deepSet = foldl' (a: x: {{ inherit a; }}) 1 numbers; \
         context = name: toFile name \"\"; \
         in {expression}"
    )
}

/// What recurses as deeply as the data is refused from some depth on.
const DEPTH: usize = 4_600;
/// Everything else.
const MANY: usize = 4_000_000;
/// What is bad enough to be stopped early.
const SOME: usize = 100_000;

/// The families.
pub(super) const FAMILIES: &[Family] = &[
    // Lists.
    value("genList, map, filter, length", MANY, |n| {
        with(n, "length (filter (x: x > 1) (map (x: x + 1) numbers))")
    }),
    value("foldl', sum", MANY, |n| with(n, "foldl' (a: b: a + b) 0 numbers")),
    value("foldl' `a ++ [ x ]`", SOME, |n| {
        with(n, "length (foldl' (a: x: a ++ [ x ]) [ ] numbers)")
    }),
    value("foldl' `[ x ] ++ a`", SOME, |n| {
        with(n, "length (foldl' (a: x: [ x ] ++ a) [ ] numbers)")
    }),
    value("foldl' `a + x` of strings", SOME, |n| {
        with(n, "stringLength (foldl' (a: x: a + x) \"\" strings)")
    }),
    value("foldl' `\"${a}${x}\"`", SOME, |n| {
        with(n, "stringLength (foldl' (a: x: \"${a}${x}\") \"\" strings)")
    }),
    value("foldl' `a // { ${x} = 1; }`", SOME, |n| {
        with(n, "length (attrNames (foldl' (a: x: a // { ${x} = 1; }) { } names))")
    }),
    value("tail, step by step", DEPTH, |n| {
        with(n, "let sum = l: if l == [ ] then 0 else head l + sum (tail l); in sum numbers")
    }),
    value("concatLists, concatMap", MANY, |n| {
        with(
            n,
            "length (concatLists (map (x: [ x ]) numbers)) + length (concatMap (x: [ x x ]) numbers)",
        )
    }),
    value("elemAt", MANY, |n| with(n, "foldl' (a: x: a + elemAt numbers x) 0 numbers")),
    value("elem of the last", MANY, |n| with(n, "elem (n - 1) numbers")),
    value("all, any, partition", MANY, |n| {
        with(n, "all (x: x >= 0) numbers && length (partition (x: x < 10) numbers).wrong > 0")
    }),
    value("sort of sorted numbers", MANY, |n| with(n, "length (sort (a: b: a < b) numbers)")),
    value("sort of reversed numbers", MANY, |n| with(n, "length (sort (a: b: a > b) numbers)")),
    value("sort lessThan of strings", MANY, |n| with(n, "length (sort lessThan strings)")),
    value("sort of equal ones", MANY, |n| with(n, "length (sort (a: b: false) numbers)")),
    value("genericClosure, a chain", MANY, |n| {
        with(
            n,
            "length (genericClosure { startSet = [ { key = 0; } ]; operator = x: if x.key == n then [ ] else [ { key = x.key + 1; } ]; })",
        )
    }),
    value("genericClosure of strings", MANY, |n| {
        with(
            n,
            "length (genericClosure { startSet = map (key: { inherit key; }) names; operator = x: [ x ]; })",
        )
    }),
    value("groupBy, many groups", MANY, |n| {
        with(n, "length (attrNames (groupBy toString numbers))")
    }),
    value("groupBy, one group", MANY, |n| with(n, "length (groupBy (x: \"a\") numbers).a")),
    value("comparing lists", MANY, |n| {
        with(n, "numbers == genList (x: x) n && !(numbers < genList (x: x) n)")
    }),
    value("comparing deep lists", DEPTH, |n| with(n, "deep == foldl' (a: x: [ a ]) 1 numbers")),
    // Sets.
    value("listToAttrs, attrNames, mapAttrs", MANY, |n| {
        with(n, "length (attrNames (mapAttrs (name: value: value) set))")
    }),
    value("listToAttrs of one name", MANY, |n| {
        with(n, "listToAttrs (map (value: { name = \"a\"; inherit value; }) numbers)")
    }),
    value("attributes, looked up one by one", MANY, |n| {
        with(n, "foldl' (a: name: a + set.${name}) 0 names")
    }),
    value("hasAttr, getAttr", MANY, |n| {
        with(n, "length (filter (name: hasAttr name set && getAttr name set == 1) names)")
    }),
    value("removeAttrs of half", MANY, |n| {
        with(n, "length (attrNames (removeAttrs set (filter (name: stringLength name < 6) names)))")
    }),
    value("intersectAttrs", MANY, |n| with(n, "length (attrNames (intersectAttrs set set))")),
    value("intersectAttrs with few, often", MANY, |n| {
        with(n, "foldl' (a: x: a + length (attrNames (intersectAttrs set { a1 = 1; }))) 0 numbers")
    }),
    value("`//` with few, some times", MANY, |n| {
        with(n, "length (filter (x: (set // { a1 = x; }).a1 == x) (genList (x: x) 10))")
    }),
    value("catAttrs", MANY, |n| {
        with(n, "length (catAttrs \"a\" (map (a: { inherit a; }) numbers))")
    }),
    value("zipAttrsWith, many names", MANY, |n| {
        with(
            n,
            "length (attrNames (zipAttrsWith (name: values: length values) (map (name: { ${name} = 1; }) names)))",
        )
    }),
    value("zipAttrsWith, one name", MANY, |n| {
        with(n, "zipAttrsWith (name: values: length values) (map (a: { inherit a; }) numbers)")
    }),
    value("functionArgs", MANY, |n| {
        let formals: String = (0..n).map(|i| format!("a{i} ? 1, ")).collect();
        format!(
            "builtins.length (builtins.attrNames (builtins.functionArgs ({{ {formals}... }}: 1)))"
        )
    }),
    value("comparing sets", MANY, |n| with(n, "set == mapAttrs (name: value: 1) set")),
    value("comparing deep sets", DEPTH, |n| {
        with(n, "deepSet == foldl' (a: x: { inherit a; }) 1 numbers")
    }),
    // Depth that nothing limits.
    value("lists in lists, freed", MANY, |n| with(n, "length deep")),
    value("sets in sets, freed", MANY, |n| with(n, "length (attrNames deepSet)")),
    value("functions around functions, freed", MANY, |n| {
        with(n, "isFunction (foldl' (f: x: y: f) (x: x) numbers)")
    }),
    // Strings.
    value("concatStringsSep", MANY, |n| with(n, "stringLength (concatStringsSep \", \" strings)")),
    value("concatMapStrings by `+`, in halves", MANY, |n| {
        with(
            n,
            "let half = from: to: if to - from < 2 then toString from else half from ((from + to) / 2) + half ((from + to) / 2) to; in stringLength (half 0 n)",
        )
    }),
    value("substring at every place", MANY, |n| {
        with(n, "let s = repeat \"a\"; in length (filter (x: substring x 1 s == \"a\") numbers)")
    }),
    value("replaceStrings, one pattern", MANY, |n| {
        with(n, "stringLength (replaceStrings [ \"b\" ] [ \"ccc\" ] (repeat \"ab\"))")
    }),
    value("replaceStrings, the empty pattern", MANY, |n| {
        with(n, "stringLength (replaceStrings [ \"\" ] [ \"-\" ] (repeat \"ab\"))")
    }),
    value("replaceStrings, many patterns", SOME, |n| {
        with(n, "stringLength (replaceStrings names names (repeat \"a1 \"))")
    }),
    value("replaceStrings, long patterns", MANY, |n| {
        with(n, "stringLength (replaceStrings [ (repeat \"a\" + \"b\") ] [ \"\" ] (repeat \"a\"))")
    }),
    value("toString of a list", MANY, |n| with(n, "stringLength (toString numbers)")),
    value("hashString", MANY, |n| with(n, "hashString \"sha256\" (repeat \"abcdefgh\")")),
    value("splitVersion, compareVersions", MANY, |n| {
        with(n, "let s = repeat \"1.\"; in length (splitVersion s) + compareVersions s (s + \"1\")")
    }),
    value("parseDrvName", MANY, |n| with(n, "stringLength (parseDrvName (repeat \"a-\")).name")),
    value("baseNameOf, dirOf", MANY, |n| {
        with(n, "stringLength (baseNameOf (repeat \"a/\") + dirOf (repeat \"a/\"))")
    }),
    value("a long path", MANY, |n| with(n, "stringLength (toString (/. + repeat \"/a/../b\"))")),
    value("contexts, concatStringsSep", MANY, |n| {
        with(n, "length (attrNames (getContext (concatStringsSep \" \" (map context names))))")
    }),
    value("contexts, foldl' `a + x`", SOME, |n| {
        with(n, "length (attrNames (getContext (foldl' (a: x: a + x) \"\" (map context names))))")
    }),
    value("contexts, the same ones n times", MANY, |n| {
        with(
            n,
            "let s = concatStringsSep \" \" (map context (genList toString 100)); in stringLength (concatStringsSep \" \" (map (x: substring 0 1 s) numbers))",
        )
    }),
    value("appendContext of many", MANY, |n| {
        with(
            n,
            "stringLength (appendContext \"a\" (getContext (concatStringsSep \" \" (map context names))))",
        )
    }),
    // Regular expressions.
    value("match `.*` of a long text", MANY, |n| with(n, "match \".*\" (repeat \"a\") == [ ]")),
    value("match `(a|b)*` of a long text", MANY, |n| {
        with(n, "length (match \"(a|b)*\" (repeat \"a\"))")
    }),
    value("match `(.*)-(.*)` of a long text", MANY, |n| {
        with(n, "length (match \"(.*)-(.*)\" (repeat \"ab-\"))")
    }),
    value("match `((a*)*)*b` of a long text", MANY, |n| {
        with(n, "match \"((a*)*)*b\" (repeat \"a\")")
    }),
    value("match `(a|aa)*b` of a long text", MANY, |n| {
        with(n, "match \"(a|aa)*b\" (repeat \"a\")")
    }),
    value("split at a byte", MANY, |n| with(n, "length (split \",\" (repeat \"ab,\"))")),
    value("split, nothing matches", MANY, |n| with(n, "length (split \"b\" (repeat \"a\"))")),
    value("split at the empty string", MANY, |n| with(n, "length (split \"\" (repeat \"a\"))")),
    value("split at `(a*b)?`, never `b`", MANY, |n| {
        with(n, "length (split \"(a*b)?\" (repeat \"a\"))")
    }),
    value("split at `a*b`, never `b`", MANY, |n| with(n, "length (split \"a*b\" (repeat \"a\"))")),
    value("split at `a|a.*b`, never `b`", MANY, |n| {
        with(n, "length (split \"a|a.*b\" (repeat \"a\"))")
    }),
    value("split at `([[:alnum:]_-]+)`", MANY, |n| {
        with(n, "length (split \"([[:alnum:]_-]+)\" (repeat \"ab_c- \"))")
    }),
    value("match, empty alternatives", 32_000, |n| with(n, "match (repeat \"|\") \"\"")),
    value("split, empty alternatives", 32_000, |n| {
        with(n, "length (split (repeat \"|\") \"abcdefgh\")")
    }),
    value("match, many alternatives", 8_000, |n| {
        with(n, "match (concatStringsSep \"|\" names) \"a0\"")
    }),
    value("split, many alternatives, a text of 100", 8_000, |n| {
        with(
            n,
            "length (split (concatStringsSep \"|\" names) (concatStringsSep \"a\" (genList toString 50)))",
        )
    }),
    value("match, many groups", 16_000, |n| {
        with(n, "length (match (repeat \"(a)\") (repeat \"a\"))")
    }),
    value("match, `a{n}`", 64_000, |n| with(n, "match \"a{${toString n}}\" (repeat \"a\")")),
    value("match, `(a?){n}a*`", 8_000, |n| {
        with(n, "length (match \"(a?){${toString n}}a*\" (repeat \"a\"))")
    }),
    value("match, a long expression", 64_000, |n| with(n, "match (repeat \"a\") (repeat \"a\")")),
    value("match, a big bracket", MANY, |n| with(n, "match \"[${repeat \"ab\"}]*\" \"ab\"")),
    value("match, the same expression often", MANY, |n| {
        with(n, "length (filter (x: match \"([0-9]+)\" x != null) strings)")
    }),
    failure("match, nested repetitions", MANY, |n| {
        with(n, "match \"((a{${toString n}}){1000}){1000}\" \"\"")
    }),
    // Formats.
    value("toJSON of a list", MANY, |n| with(n, "stringLength (toJSON numbers)")),
    value("toJSON of a set", MANY, |n| with(n, "stringLength (toJSON set)")),
    value("toJSON of a string", MANY, |n| with(n, "stringLength (toJSON (repeat \"a\\n\\\"é\"))")),
    value("toJSON of deep lists", DEPTH, |n| with(n, "stringLength (toJSON deep)")),
    value("toXML of a list", MANY, |n| with(n, "stringLength (toXML numbers)")),
    value("toXML of a set", MANY, |n| with(n, "stringLength (toXML set)")),
    value("toXML of deep sets", 1_000, |n| with(n, "stringLength (toXML deepSet)")),
    value("fromJSON of a list", MANY, |n| with(n, "length (fromJSON (toJSON numbers))")),
    value("fromJSON of an object", MANY, |n| with(n, "length (attrNames (fromJSON (toJSON set)))")),
    value("fromJSON of a string", MANY, |n| {
        with(n, "stringLength (fromJSON (toJSON (repeat \"a\\n\\\"é\")))")
    }),
    value("fromJSON of a deep list", MANY, |n| {
        with(n, "length (fromJSON (repeat \"[\" + repeat \"]\"))")
    }),
    value("fromJSON of a long number", MANY, |n| {
        with(n, "fromJSON (\"0.\" + repeat \"1234567890\")")
    }),
    value("fromJSON of a very small number", MANY, |n| {
        with(n, "fromJSON (\"0.\" + repeat \"0\" + \"1e${toString n}\")")
    }),
    value("fromTOML of keys", MANY, |n| {
        with(
            n,
            "length (attrNames (fromTOML (concatStringsSep \"\\n\" (map (x: \"${x} = 1\") names))))",
        )
    }),
    value("fromTOML of tables", MANY, |n| {
        with(
            n,
            "length (attrNames (fromTOML (concatStringsSep \"\\n\" (map (x: \"[${x}]\\nb = 1\") names))))",
        )
    }),
    value("fromTOML of `[[a]]`", MANY, |n| {
        with(n, "length (fromTOML (repeat \"[[a]]\\nb = 1\\n\")).a")
    }),
    value("fromTOML of `a.b.c0 = …`", MANY, |n| {
        with(
            n,
            "length (attrNames (fromTOML (concatStringsSep \"\\n\" (map (x: \"a.b.${x} = 1\") names))).a.b)",
        )
    }),
    value("fromTOML of `[a.b]` within `[[a]]`", MANY, |n| {
        with(n, "length (fromTOML (repeat \"[[a]]\\n[a.b]\\n\")).a")
    }),
    value("fromTOML of an array", MANY, |n| {
        with(n, "length (fromTOML \"a = [ ${repeat \"1, \"} ]\").a")
    }),
    value("fromTOML of an inline table", MANY, |n| {
        with(
            n,
            "length (attrNames (fromTOML \"a = { ${concatStringsSep \", \" (map (x: \"${x} = 1\") names)} }\").a)",
        )
    }),
    value("fromTOML of a string", MANY, |n| {
        with(n, "stringLength (fromTOML \"a = '''${repeat \"a\\n\"}'''\").a")
    }),
    failure("fromTOML, an error behind lines", MANY, |n| {
        with(n, "fromTOML (repeat \"# a\\n\" + \"=\")")
    }),
    // Derivations.
    value("derivation with an environment", MANY, |n| {
        with(n, "(derivation (set // { name = \"x\"; builder = \"b\"; system = \"s\"; })).drvPath")
    }),
    value("derivation with arguments", MANY, |n| {
        with(
            n,
            "(derivation { name = \"x\"; builder = \"b\"; system = \"s\"; args = strings; }).drvPath",
        )
    }),
    value("derivation with outputs", MANY, |n| {
        with(
            n,
            "(derivation { name = \"x\"; builder = \"b\"; system = \"s\"; outputs = names; }).drvPath",
        )
    }),
    value("derivation with inputs", MANY, |n| {
        with(
            n,
            "let d = name: derivation { inherit name; builder = \"b\"; system = \"s\"; }; in (derivation { name = \"x\"; builder = \"b\"; system = \"s\"; args = map d names; }).drvPath",
        )
    }),
    value("a chain of derivations", SOME, |n| {
        with(
            n,
            "(foldl' (a: x: let d = derivation { name = \"x\"; builder = \"b\"; system = \"s\"; inherit a; }; in seq d.drvPath d) \"\" numbers).drvPath",
        )
    }),
    value("derivations that are all inputs of the next", 4_000, |n| {
        with(
            n,
            "(foldl' (a: x: let d = derivation { name = \"x${toString x}\"; builder = \"b\"; system = \"s\"; inputs = [ a a ]; }; in seq d.drvPath d) \"\" numbers).drvPath",
        )
    }),
    value("derivation from attributes as JSON", MANY, |n| {
        with(
            n,
            "(derivation { name = \"x\"; builder = \"b\"; system = \"s\"; __structuredAttrs = true; inherit set; }).drvPath",
        )
    }),
    value("toFile", MANY, |n| with(n, "toFile \"x\" (repeat \"abcdefgh\")")),
    // Control.
    value("tryEval", MANY, |n| with(n, "length (filter (x: (tryEval (throw x)).success) strings)")),
    value("deepSeq of what is shared", MANY, |n| {
        with(n, "deepSeq (map (x: numbers) (genList (x: x) 20)) 1")
    }),
    value("recursion", DEPTH, |n| {
        with(n, "let f = x: if x == 0 then 0 else 1 + f (x - 1); in f n")
    }),
    failure("contexts of an error", 9_000, |n| {
        with(
            n,
            "let f = x: if x == 0 then throw \"a\" else addErrorContext \"b\" (1 + f (x - 1)); in f (n / 4)",
        )
    }),
    failure("a long message", MANY, |n| with(n, "throw (repeat \"a\")")),
    failure("a wrong type that is long", MANY, |n| with(n, "1 + numbers")),
    // Other readers.
    Family {
        name: "a derivation with an environment, read and written",
        reader: Reader::Derivation,
        most: MANY,
        text: |n| {
            let mut variables: Vec<String> =
                (0..n).map(|i| format!("(\"a{i}\",\"\\n1\")")).collect();
            variables.sort();
            format!(
                "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"s\",\"b\",[],[{}])",
                variables.join(",")
            )
        },
    },
    Family {
        name: "plain data, a list",
        reader: Reader::Data,
        most: 60_000,
        text: |n| format!("[ {}]", "\"a\\n\" ".repeat(n)),
    },
    Family {
        name: "plain data, a set",
        reader: Reader::Data,
        most: 60_000,
        text: |n| {
            let entries: String = (0..n).map(|i| format!("a{i} = 1; ")).collect();
            format!("{{ {entries}}}")
        },
    },
];
