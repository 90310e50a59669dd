//! The table of builtins: it is complete, and the same as in the documentation.

use std::fs;
use std::path::Path;
use std::process::Command;

use levain_evaluator::embedded::{self, Output, Question, Source};
use levain_evaluator::lang::builtins::{self, Scope, TOPICS};

/// The variables of Nix 2.34 that are functions, by the number of their arguments; without those that
/// need an experimental setting for running code, `outputOf`, and what programs cannot name.
const NIX: [(usize, &str); 3] = [
    (
        1,
        "abort __addDrvOutputDependencies __attrNames __attrValues baseNameOf break __ceil __concatLists \
         __convertHash derivationStrict dirOf __fetchClosure fetchGit fetchMercurial fetchTarball \
         fetchTree __fetchurl __flakeRefToString __floor __fromJSON fromTOML __functionArgs \
         __genericClosure __getContext __getEnv __getFlake __hasContext __head import __isAttrs __isBool \
         __isFloat __isFunction __isInt __isList isNull __isPath __isString __length __listToAttrs \
         __parseDrvName __parseFlakeRef __path __pathExists placeholder __readDir __readFile \
         __readFileType __splitVersion __storePath __stringLength __tail throw __toJSON __toPath toString \
         __toXML __tryEval __typeOf __unsafeDiscardOutputDependency __unsafeDiscardStringContext",
    ),
    (
        2,
        "__add __addErrorContext __all __any __appendContext __bitAnd __bitOr __bitXor __catAttrs \
         __compareVersions __concatMap __concatStringsSep __deepSeq __div __elem __elemAt __filter \
         __filterSource __findFile __genList __getAttr __groupBy __hasAttr __hashFile __hashString \
         __intersectAttrs __lessThan map __mapAttrs __match __mul __partition removeAttrs scopedImport \
         __seq __sort __split __sub __toFile __trace __traceVerbose __unsafeGetAttrPos __warn \
         __zipAttrsWith",
    ),
    (3, "__foldl' __replaceStrings __substring"),
];

/// Evaluates, with all that pure evaluation does not have.
fn names(expression: &str) -> Vec<String> {
    let source = Source::Text { text: expression.as_bytes().to_vec(), directory: "/".into() };
    let mut question = Question::new(source, Output::Json);
    question.system = Some("x86_64-linux".to_owned());
    let json = embedded::evaluate(question, |_| {}).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn the_document_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/builtins.md");
    let written = builtins::markdown();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &written).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert_eq!(found, written, "`UPDATE_EXPECT=1` writes docs/builtins.md");
}

#[test]
fn every_builtin_is_in_the_document() {
    let document = builtins::markdown();
    let missing: Vec<String> = names("builtins.attrNames builtins")
        .into_iter()
        .filter(|name| {
            !document.contains(&format!("\n| `{name} "))
                && !document.contains(&format!("\n| `{name}` "))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nix_has_the_same_builtins() {
    let mut ours: Vec<(String, usize)> = TOPICS
        .iter()
        .flat_map(|(_, builtins)| *builtins)
        .map(|builtin| match builtin.scope {
            Scope::Global => (builtin.name.to_owned(), builtin.arity),
            Scope::Prefixed => (format!("__{}", builtin.name), builtin.arity),
        })
        .collect();
    let mut theirs: Vec<(String, usize)> = NIX
        .iter()
        .flat_map(|(arity, names)| names.split(' ').map(|name| (name.to_owned(), *arity)))
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn the_installed_nix_has_no_other_builtins() {
    let ours = names("builtins.attrNames builtins");
    let expression = "builtins.concatStringsSep \" \" (builtins.attrNames builtins)";
    let output = Command::new("nix-instantiate")
        .args(["--eval", "--expr", expression])
        .env("NIX_REMOTE", "dummy://")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<&str> = text.trim().trim_matches('"').split(' ').collect();
    assert!(theirs.len() > 90, "{theirs:?} {}", String::from_utf8_lossy(&output.stderr));
    let missing: Vec<_> =
        theirs.iter().filter(|name| !ours.iter().any(|ours| ours == *name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
