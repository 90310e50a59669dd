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
    check(&format!("builtins.length ({})", deep("[ a ]")), "1");
    check(&format!("builtins.attrNames ({})", deep("{ inherit a; }")), r#"[ "a" ]"#);
    check(&format!("builtins.isFunction ({})", deep("y: a")), "true");
    check(&format!("builtins.isFunction ({})", deep("builtins.seq (x: a)")), "true");
    // Nobody asks for what these would come to.
    check(&format!("builtins.isList [ ({}) ]", deep("builtins.seq x (a + 1)")), "true");
    check(&format!("builtins.length [ {} ]", deep("[ (a ++ [ x ]) ]")), "1");
    check(&format!("builtins.length ({})", deep("[ { inherit a; b = y: a; } ]")), "1");
}

#[test]
fn thunks_that_wait_for_a_million_others_are_freed() {
    let last = "builtins.elemAt (builtins.foldl' (l: x: [ (builtins.head l + 1) ]) [ 0 ] (builtins.genList (x: x) 1000000)) 0";
    check(&format!("builtins.length [ ({last}) ]"), "1");
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
    assert!(error.contains("expected a string") || error.contains("an integer"), "{error}");
    let error = evaluate(r#""a" + throw "first" + throw "second""#);
    assert!(error.contains("first") && !error.contains("second"), "{error}");
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
        "let names = builtins.genList (x: \"a${toString x}\") 20000; \
         text = builtins.foldl' (a: x: a + builtins.toFile x \"\") \"\" names; in \
         builtins.length (builtins.attrNames (builtins.getContext text))",
        "20000",
    );
}

#[test]
fn texts_are_split_without_asking_for_their_ends_again() {
    let text = "let s = builtins.concatStringsSep \"\" (builtins.genList (x: \"a\") 100000); in ";
    check(&format!("{text} builtins.length (builtins.split \"(a*b)?\" s)"), "200003");
    check(&format!("{text} builtins.length (builtins.split \"a|a.*b\" s)"), "200001");
    check(&format!("{text} builtins.match \"((a*)*)*b\" s"), "null");
}
