//! Small programs and their values.

use std::rc::Rc;

use crate::lang::eval::{Evaluator, Options};
use crate::lang::io::{AddError, AddPath, Fetch, Fetched, FileType, Io, IoError, Message};
use crate::lang::print::print_ambiguous;
use crate::lang::source::{Origin, Span};
use crate::lang::stack::on_large_stack;
use crate::lang::value::NixPath;

/// An outside without anything in it.
struct Nothing;

fn nothing<T>(path: impl Into<String>) -> Result<T, IoError> {
    Err(IoError::NotFound { path: path.into() })
}

impl Io for Nothing {
    fn file_type(&self, _: &NixPath) -> Result<Option<FileType>, IoError> {
        Ok(None)
    }
    fn read_file(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        nothing(path.text())
    }
    fn read_directory(&self, path: &NixPath) -> Result<Vec<(Vec<u8>, FileType)>, IoError> {
        nothing(path.text())
    }
    fn read_link(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        nothing(path.text())
    }
    fn add_path(&self, request: AddPath<'_>) -> Result<Rc<str>, AddError> {
        nothing(request.path.text()).map_err(AddError::Io)
    }
    fn add_text(&self, _: &str, _: &[u8], _: &[Rc<str>]) -> Result<(), IoError> {
        Ok(())
    }
    fn is_valid_path(&self, _: &str) -> Result<bool, IoError> {
        Ok(false)
    }
    fn references(&self, _: &str) -> Result<Vec<Rc<str>>, IoError> {
        Ok(Vec::new())
    }
    fn read_derivation(&self, path: &str) -> Result<Vec<u8>, IoError> {
        nothing(path)
    }
    fn realise(&self, derivation: &str, _: &str) -> Result<Rc<str>, IoError> {
        nothing(derivation)
    }
    fn fetch(&self, request: &Fetch) -> Result<Fetched, IoError> {
        nothing(request.builtin)
    }
    fn variable(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn time(&self) -> i64 {
        0
    }
    fn message(&self, _: Message, _: Span) {}
}

/// Evaluates a program strictly; returns its value or its rendered error.
pub(super) fn evaluate(program: &str) -> String {
    let program = program.to_owned();
    on_large_stack(move |stack| {
        let mut evaluator = Evaluator::new(Rc::new(Nothing), Options::default(), stack);
        let result = evaluator
            .evaluate_text(Origin::Expression, program.as_bytes())
            .and_then(|value| evaluator.deep_force(&value, Span::NONE))
            .and_then(|value| print_ambiguous(&evaluator, &value));
        match result {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => error.render(&evaluator.sources),
        }
    })
    .unwrap()
}

#[track_caller]
pub(super) fn check(program: &str, value: &str) {
    assert_eq!(evaluate(program), value, "{program}");
}

#[track_caller]
fn check_error(program: &str, part: &str) {
    let text = evaluate(program);
    assert!(text.starts_with("error[") && text.contains(part), "{program}: {text}");
}

#[test]
fn operators_bind_as_in_nix() {
    check("1 + 2 * 3", "7");
    check("-2 + 3", "1");
    check("!false && true", "true");
    check("[1] ++ [2] ++ [3]", "[ 1 2 3 ]");
    check("{ a = 1; } // { b = 2; } // { a = 3; }", "{ a = 3; b = 2; }");
    check("1 < 2 && 2.5 >= 2", "true");
    check("true -> false", "false");
    check("{ a.b = 1; } ? a.b", "true");
    check("7 / 2", "3");
    check("let __sub = a: b: 42; in 5 - 1", "42");
    check_error("1 == 2 == 3", "comparisons do not chain");
}

#[test]
fn scopes_win_over_with_and_the_inner_with_over_the_outer() {
    check("let a = 1; in with { a = 2; b = 3; }; [ a b ]", "[ 1 3 ]");
    check("with { a = 1; }; with { a = 2; }; a", "2");
    check("let x = 1; in { inherit x; }", "{ x = 1; }");
    check("let s = { x = 1; y = 2; }; in { inherit (s) x y; }", "{ x = 1; y = 2; }");
    check("rec { inherit (s) x; s = { x = 1; }; }.x", "1");
    check("let inherit (s) x; s = { x = 1; }; in x", "1");
    check_error("let foo = 1; in fooo", "did you mean `foo`?");
}

#[test]
fn sets_are_merged_and_recursive_when_they_say_so() {
    check("{ a.b = 1; a.c = 2; }", "{ a = { b = 1; c = 2; }; }");
    check("{ a = { b = 1; }; a.c = 2; }", "{ a = { b = 1; c = 2; }; }");
    check("rec { a = b + 1; b = 1; }", "{ a = 2; b = 1; }");
    check("let n = \"x\"; in { ${n} = 1; ${null} = 2; }", "{ x = 1; }");
    check("let { body = x; x = 3; }", "3");
    check("rec { a = 1; b = a; __overrides.a = 2; }.b", "2");
    check_error("{ a = 1; a = 2; }", "attribute `a` already defined");
    check_error("{ a.b = 1; }.a.bb", "did you mean `b`?");
    check_error("rec { x = x; }.x", "infinite recursion");
}

#[test]
fn functions_match_patterns() {
    check("(x: y: x + y) 1 2", "3");
    check("({ a, b ? a + 1, ... }@args: [ a b args.c ]) { a = 1; c = 5; }", "[ 1 2 5 ]");
    check("{ __functor = self: x: self.a + x; a = 1; } 2", "3");
    check_error("({ a }: a) { }", "required argument `a`");
    check_error("({ a }: a) { a = 1; ab = 2; }", "unexpected argument `ab`");
    check_error("let f = n: f (n + 1); in f 0", "max-call-depth");
}

#[test]
fn strings_have_escapes_interpolation_and_indentation() {
    check(r#""a\n${"b"}$${c}\${d}""#, r#""a\nb$\${c}\${d}""#);
    check("''\n  a\n    b\n  ''", r#""a\n  b\n""#);
    check("''a''$b''\\nc'''d''", r#""a$b\nc''d""#);
    check("let x = \"1\"; in ''\n    ${x}\n  y''", r#""  1\ny""#);
    check("http://example.org/a", r#""http://example.org/a""#);
    check("/a/b/../c", "/a/c");
    check("/a + \"/b\"", "/a/b");
    check("let x = \"b\"; in /a/${x}/c", "/a/b/c");
    check("let x = \"b\"; in /a/${x}//c", "/a/b/c");
    check_error("/a//b", "after the two slashes");
    check_error("\"${1}\"", "cannot coerce an integer");
}

#[test]
fn deep_recursion_is_an_error_and_not_a_crash() {
    let deep = format!("{}1{}", "(".repeat(50_000), ")".repeat(50_000));
    check_error(&deep, "nested too deeply");
    let chain = format!("1{}", " + 1".repeat(100_000));
    check(&chain, "100001");
    let chain = format!("1{}", " + 1".repeat(300_000));
    check_error(&chain, "too many operators");
    check_error(&format!("{{ {}a = 1; }}", "a . ".repeat(20_000)), "nested too deeply");
}

#[test]
fn data_without_end_is_an_error_and_not_a_crash() {
    let nested = "builtins.foldl' (a: _: [ a ]) [ ] (builtins.genList (x: x) 300000)";
    for program in [
        "let a = { b = a; }; c = { b = c; }; in a == c".to_owned(),
        "let a = { outPath = a; }; in \"${a}\"".to_owned(),
        "let a = { __toString = _: a; }; in \"${a}\"".to_owned(),
        "let f = n: { outPath = f (n + 1); }; in \"${f 0}\"".to_owned(),
        "let a = { b = a; }; in builtins.toJSON a".to_owned(),
        "let a = { b = a; }; in builtins.toXML a".to_owned(),
        "let a = { __functor = self: self; }; in a 1".to_owned(),
        "(rec { f = n: [ (f (n + 1)) ]; }).f 0".to_owned(),
        nested.to_owned(),
        format!("{nested} == {nested}"),
        format!("{nested} < {nested}"),
        format!("toString ({nested})"),
        format!("builtins.toJSON ({nested})"),
        format!("builtins.deepSeq ({nested}) 1"),
        format!("builtins.trace ({nested}) 1"),
    ] {
        check_error(&program, "max-call-depth");
    }
    // Made, looked at and thrown away, it is no trouble.
    check(&format!("builtins.length ({nested})"), "1");
    check("let a = { b = a; }; in a.b.b.b == a", "true");
    check("let a = { b = a; }; in builtins.deepSeq a 1", "1");
}

#[test]
fn numbers_at_the_edge_are_errors_and_not_crashes() {
    let least = "(-9223372036854775807 - 1)";
    check_error(&format!("{least} / (-1)"), "integer overflow");
    check_error(&format!("- {least}"), "integer overflow");
    check_error("builtins.genList (x: x) 4611686018427387904", "cannot create list");
    check_error(&format!("builtins.genList (x: x) {least}"), "cannot create list");
    check_error(&format!("builtins.elemAt [ 1 ] {least}"), "out of bounds");
    check_error(&format!("builtins.substring {least} 1 \"a\""), "negative start");
    check(&format!("builtins.substring 1 {least} \"abc\""), "\"bc\"");
    check("builtins.substring 9223372036854775807 9223372036854775807 \"a\"", "\"\"");
    check(
        "builtins.match \"(a*)*(a*)*(a*)*b\" \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        "null",
    );
    check_error("builtins.match \"((a{0,200}){0,200}){0,200}\" \"a\"", "regular expression");
}
