//! Programs and values of a size at which anything that takes quadratic time, or a native stack of
//! the usual size, would be found out: none of these ended within minutes, or at all, before.
//!
//! How the time grows is measured by `scripts/agreement --growth`.

use super::tests::{check, evaluate};

/// Makes a value a million levels deep with a function that puts one more around it.
fn deep(more: &str) -> String {
    format!("builtins.foldl' (a: x: {more}) 1 (builtins.genList (x: x) 1000000)")
}

#[test]
fn values_a_million_levels_deep_are_freed() {
    check(&format!("builtins.isList ({})", deep("[ { inherit a; b = y: a; } ]")), "true");
    check(&format!("builtins.isFunction ({})", deep("builtins.seq (y: a)")), "true");
    // Thunks in thunks: nobody asks for what is in these lists.
    let thunks = deep("[ (builtins.head a + x) ]").replace(") 1 (", ") [ 0 ] (");
    check(&format!("builtins.length ({thunks})"), "1");
}

#[test]
fn a_long_sum_of_strings_is_joined_once() {
    let long = "s + ".repeat(50_000);
    check(
        &format!(
            "let s = builtins.concatStringsSep \"\" (builtins.genList (x: \"a\") 1000); in builtins.stringLength ({long} s)"
        ),
        "50001000",
    );
}

#[test]
fn sums_of_strings_are_what_they_were() {
    check(r#""a" + "b" + "c""#, r#""abc""#);
    check(r#"1 + 2 + 3.5"#, "6.5");
    check(r#"/a + "/b" + "/../c""#, "/a/c");
    check(r#"/a + "/.." + "b""#, "/b");
    check(r#"("a" + "b") + ("c" + "d") + "e""#, r#""abcde""#);
    check(r#"{ __toString = s: "x"; } + "a" + "b""#, r#""xab""#);
    let error = evaluate(r#""a" + "b" + 1 + throw "never reached""#);
    assert!(error.contains("an integer") && !error.starts_with("error[E011]"), "{error}");
    let error = evaluate(r#""a" + (throw "first") + (throw "second")"#);
    assert!(error.starts_with("error[E011]: first\n"), "{error}");
}

#[test]
fn blanks_behind_many_levels_are_passed_once() {
    let functions = "x: ".repeat(2_000);
    let blanks = " \n".repeat(5_000_000);
    check(&format!("builtins.isFunction ({functions} 1{blanks})"), "true");
}

#[test]
fn thousands_of_contexts_are_joined() {
    check(
        "let names = builtins.genList (x: \"a${toString x}\") 5000; \
         text = builtins.foldl' (a: x: a + builtins.toFile x \"\") \"\" names; in \
         builtins.length (builtins.attrNames (builtins.getContext text))",
        "5000",
    );
}

#[test]
fn texts_are_split_without_asking_for_their_ends_again() {
    let text = "let s = builtins.concatStringsSep \"\" (builtins.genList (x: \"a\") 100000); in ";
    check(&format!("{text} builtins.length (builtins.split \"(a*b)?\" s)"), "200003");
    check(&format!("{text} builtins.length (builtins.split \"a|a.*b\" s)"), "200001");
    check(&format!("{text} builtins.match \"((a*)*)*b\" s"), "null");
}
