//! What the embedded evaluator reads outside of its files, beside the real Nix with a store of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use levain_evaluator::embedded::{self, EmbeddedError, Output, Question, Source};
use levain_evaluator::lang::eval::{Evaluator, Options};
use levain_evaluator::lang::io::IoError;
use levain_evaluator::lang::print::print_ambiguous;
use levain_evaluator::lang::source::{Origin, Span};
use levain_evaluator::lang::{Io, on_large_stack};
use levain_evaluator::outside::{Access, Files, Read, Recorded, References};

use crate::lang::nix_version;
use crate::support::{World, text};

/// Asks the real Nix what a store object refers to.
struct Asked(Vec<(String, String)>);

impl References for Asked {
    fn references(&self, path: &str) -> Result<Option<Vec<String>>, IoError> {
        let mut command = Command::new("nix-store");
        command.args(["--query", "--references", path]).env_clear().envs(self.0.clone());
        let output = command.output().unwrap();
        let lines = text(&output.stdout).lines().map(str::to_owned).collect();
        Ok(output.status.success().then_some(lines))
    }
}

pub(crate) fn question(world: &World, expression: &str) -> Question {
    let directory = world.path("files");
    let source = Source::Text { text: expression.into(), directory };
    let mut question = Question::new(source, Output::Json);
    question.store = world.evaluator.store.dir.clone();
    question
}

pub(crate) fn answer(world: &World, question: Question) -> Result<String, String> {
    let environment = &world.evaluator.store.environment;
    let variables: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| (name.clone(), value.to_str().unwrap().to_owned()))
        .collect();
    let equip = move |files: Files| files.references(Box::new(Asked(variables)));
    match embedded::evaluate_with(question, |_| {}, equip) {
        Ok(value) => Ok(text(&value)),
        Err(EmbeddedError::Evaluation { rendered, .. }) => Err(rendered),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn ours(world: &World, expression: &str) -> Result<String, String> {
    answer(world, question(world, expression))
}

/// Evaluates with the real Nix, which may write to its store.
pub(crate) fn theirs(world: &World, expression: &str) -> Result<String, String> {
    let mut command = Command::new("nix-instantiate");
    command.args(["--eval", "--strict", "--json", "--read-write-mode", "--expr", expression]);
    command.env_clear().envs(&world.evaluator.store.environment);
    command.env("HOME", world.path("home")).env("XDG_CACHE_HOME", world.path("cache"));
    let output = command.current_dir(world.path("files")).output().unwrap();
    if output.status.success() {
        return Ok(text(&output.stdout).trim().to_owned());
    }
    Err(text(&output.stderr))
}

/// Returns a world with some files.
fn world() -> World {
    let world = World::new();
    let files = world.path("files");
    write(&files, "tree/default.nix", "{ sum = import ./one.nix + import ./sub/two.nix; }");
    write(&files, "tree/one.nix", "1");
    write(&files, "tree/sub/two.nix", "2");
    write(&files, "tree/sub/skipped.txt", "no");
    symlink("sub/two.nix", files.join("tree/link.nix")).unwrap();
    symlink("sub", files.join("tree/way")).unwrap();
    symlink("../secret", files.join("tree/out")).unwrap();
    write(&files, "secret", "s");
    world
}

pub(crate) fn write(directory: &Path, name: &str, content: &str) {
    let file = directory.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

/// Requires the same value of both.
#[track_caller]
pub(crate) fn same(world: &World, expression: &str) -> String {
    let value = ours(world, expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(Ok(&value), theirs(world, expression).as_ref(), "{expression}");
    value
}

/// Requires errors of both; ours says what is wrong.
#[track_caller]
fn fails(world: &World, expression: &str, part: &str) {
    let error = ours(world, expression).expect_err(expression);
    assert!(error.contains(part), "{expression}: {error}");
    assert!(theirs(world, expression).is_err(), "{expression}");
}

#[test]
fn a_copied_tree_can_be_read_at_its_store_path() {
    let world = world();
    same(&world, r#"(import "${./tree}").sum"#);
    same(&world, r#"import (./tree + "/link.nix") + import "${./tree}/link.nix""#);
    same(&world, r#"import "${./tree}/way/two.nix""#);
    same(&world, r#"builtins.readDir "${./tree}""#);
    same(&world, r#"builtins.readFile "${./tree/one.nix}""#);
    same(&world, r#"builtins.pathExists "${./tree}/missing""#);
    // A part of a copy is copied again; the link out of the tree leads nowhere.
    same(&world, r#"builtins.path { path = "${./tree}/sub"; name = "again"; }"#);
    fails(&world, r#"builtins.readFile "${./tree}/out""#, "does not exist");
    fails(&world, r#"import "${./tree}/missing.nix""#, "does not exist");
}

#[test]
fn a_filtered_copy_has_only_what_was_taken() {
    let world = world();
    let filtered = r#"let src = builtins.path { path = ./tree; name = "f"; filter = path: type: type != "symlink" && builtins.match ".*txt" path == null; }; in"#;
    same(&world, &format!(r#"{filtered} builtins.readDir "${{src}}/sub""#));
    same(&world, &format!(r#"{filtered} [ "${{src}}" (import src).sum ]"#));
    same(&world, &format!(r#"{filtered} builtins.pathExists "${{src}}/link.nix""#));
    same(&world, &format!(r#"{filtered} builtins.filterSource (p: t: true) "${{src}}/sub""#));
    fails(
        &world,
        &format!(r#"{filtered} builtins.readFile "${{src}}/sub/skipped.txt""#),
        "does not exist",
    );
}

#[test]
fn a_file_of_the_store_brings_its_references() {
    let world = world();
    let texts = r#"let a = builtins.toFile "a" "x"; b = builtins.toFile "b" "see ${a}"; in"#;
    same(&world, &format!("{texts} builtins.getContext (builtins.readFile b)"));
    same(&world, &format!("{texts} builtins.getContext (builtins.readFile a)"));
    // An object that only the store knows.
    let path = theirs(&world, &format!("{texts} b")).unwrap();
    same(&world, &format!("builtins.getContext (builtins.readFile (builtins.storePath {path}))"));
    let copied = r#"builtins.getContext (builtins.readFile "${./tree}/one.nix")"#;
    assert_eq!(same(&world, copied), "{}");
}

const DERIVATION: &str = r#"derivation { name = "d"; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ]; args = [ "-c" "echo '{ x = 7; }' > $out; echo > $dev" ]; }"#;

#[test]
fn a_derivation_can_be_imported_from_its_file() {
    let world = world();
    let shown = |expression: &str| {
        let mut question = question(&world, expression);
        question.system = Some("x86_64-linux".to_owned());
        let ours = answer(&world, question).unwrap_or_else(|error| panic!("{error}"));
        let expression = expression.replace("builtins.currentSystem", "\"x86_64-linux\"");
        assert_eq!(Ok(ours), theirs(&world, &expression), "{expression}");
    };
    let import = format!("let d = {DERIVATION}; i = import d.drvPath; in");
    shown(&format!("{import} builtins.attrNames i"));
    shown(&format!("{import} [ i.name i.outputName i.outPath i.dev.outPath i.drvPath i.type ]"));
    shown(&format!("{import} builtins.getContext (i.drvPath + i.dev)"));
    shown(&format!("{import} map (output: output.outputName) i.all"));
    shown(&format!("{import} i.out.dev.out.outPath == i.outPath"));
}

#[test]
fn outputs_are_read_if_they_are_in_the_store() {
    let world = world();
    let read = format!("(import ({DERIVATION})).x");
    let ask = |pure: bool| {
        let mut question =
            question(&world, &read.replace("builtins.currentSystem", "\"x86_64-linux\""));
        question.pure = pure;
        if pure {
            question.access = Access::Below(vec![world.path("files")]);
        }
        answer(&world, question)
    };
    let error = ask(false).unwrap_err();
    assert!(error.contains("is not in the store, and this evaluation builds nothing"), "{error}");
    // The real one builds it.
    assert_eq!(theirs(&world, &read), Ok("7".to_owned()));
    assert_eq!(ask(false), Ok("7".to_owned()));
    // What may be read is known from the derivation.
    assert_eq!(ask(true), Ok("7".to_owned()));
    let mut forbidden = question(&world, &read);
    forbidden.system = Some("x86_64-linux".to_owned());
    forbidden.import_from_derivation = false;
    let error = answer(&world, forbidden).unwrap_err();
    assert!(error.contains("this evaluation must not depend on builds"), "{error}");
}

#[test]
fn a_link_to_a_store_path_is_followed() {
    let world = world();
    let object = theirs(&world, r#""${./tree}""#).unwrap();
    let object = object.trim_matches('"');
    symlink(object, world.path("files/result")).unwrap();
    symlink("result", world.path("files/again")).unwrap();
    let of =
        |below: &str| format!("builtins.storePath {}{below}", world.path("files/again").display());
    assert_eq!(same(&world, &of("")), format!("\"{object}\""));
    same(&world, &of("/sub/two.nix"));
    same(&world, &format!("builtins.getContext ({})", of("/sub")));
    fails(
        &world,
        &format!("builtins.storePath {}", world.path("files/secret").display()),
        "is not in the Nix store",
    );
}

#[test]
fn fetchers_are_served_from_the_store() {
    let world = world();
    let object = theirs(&world, r#"builtins.path { path = ./tree; name = "source"; }"#).unwrap();
    let hash = world.nix("nix-hash", &["--type", "sha256", "--base32", object.trim_matches('"')]);
    let hash = text(&hash.stdout).trim().to_owned();
    let sri = world.nix("nix", &["hash", "to-sri", "--type", "sha256", &hash]);
    let sri = text(&sri.stdout).trim().to_owned();
    // From 2.26 on Nix downloads a tarball even if its content is in the store.
    let downloads = nix_version() >= vec![2, 26];
    let served = |expression: &str| match downloads {
        true => ours(&world, expression).unwrap(),
        false => same(&world, expression),
    };
    let url = "https://forge.invalid/x.tar.gz";
    let tarball = format!(r#"builtins.fetchTarball {{ url = "{url}"; sha256 = "{hash}"; }}"#);
    assert_eq!(served(&tarball), object);
    served(&format!(r#"(import ({tarball})).sum"#));
    let tree =
        format!(r#"builtins.fetchTree {{ type = "tarball"; url = "{url}"; narHash = "{sri}"; }}"#);
    served(&format!("({tree}).outPath"));
    served(&format!("({tree}).narHash"));
    let github = format!(
        r#"builtins.fetchTree {{ type = "github"; owner = "a"; repo = "b"; rev = "{}"; narHash = "{sri}"; lastModified = 951868800; }}"#,
        "1".repeat(40)
    );
    served(&github);
    let other = hash.replace(hash.chars().next().unwrap(), "0").replacen('0', "1", 1);
    fails(&world, &tarball.replace(&hash, &other), "nothing is downloaded");
    // A directory, by its attributes and by its reference.
    let directory = world.path("files/tree").display().to_string();
    let tree = format!(r#"builtins.fetchTree {{ type = "path"; path = "{directory}"; }}"#);
    for attribute in ["outPath", "narHash", "lastModified", "lastModifiedDate"] {
        same(&world, &format!("({tree}).{attribute}"));
    }
    same(&world, &format!("(import ({tree})).sum"));
    // The Nix of old takes a text for the address of a Git repository.
    let reference = format!(r#"builtins.fetchTree "path:{directory}""#);
    assert_eq!(ours(&world, &format!("{reference} == {tree}")), Ok("true".to_owned()));
    // This one needs an experimental feature of the real one.
    let path = object.trim_matches('"');
    let closure = |path: &str| {
        let store = "https://cache.invalid";
        ours(
            &world,
            &format!(r#"builtins.fetchClosure {{ fromStore = "{store}"; fromPath = {path}; }}"#),
        )
    };
    assert_eq!(closure(path).as_ref(), Ok(&object));
    let error = closure(&path.replace("-source", "-other")).unwrap_err();
    assert!(error.contains("is not in the store, and nothing is downloaded"), "{error}");
    let unlocked = |expression: &str, part: &str| {
        let error = ours(&world, expression).unwrap_err();
        assert!(error.contains(part), "{expression}: {error}");
    };
    unlocked(&format!(r#"builtins.fetchurl "{url}""#), "without `sha256`");
    unlocked(&format!(r#"builtins.fetchGit "{url}""#), "without `narHash`");
    unlocked(&format!(r#"builtins.fetchMercurial "{url}""#), "nothing says where");
    unlocked(&format!(r#"builtins.fetchTree {{ url = "{url}"; }}"#), "`type` is missing");
}

/// Evaluates with everything remembered; returns the value and what was remembered.
fn recorded(world: &World, expression: &str) -> (String, Vec<Read>, Vec<bool>) {
    let (expression, files) = (expression.to_owned(), world.path("files"));
    let store = world.evaluator.store.dir.clone();
    let open = move || {
        let files = Files::new(Access::Everything, store.clone(), 0).unwrap();
        files.environment([("A".to_owned(), b"1".to_vec())].into())
    };
    let changes = world.path("files");
    on_large_stack(move |stack| {
        let io = Rc::new(Recorded::new(Rc::new(open())));
        let directory = files.to_str().unwrap().as_bytes().to_vec();
        let options = Options { pure: false, directory, ..Options::default() };
        let mut evaluator = Evaluator::new(Rc::clone(&io) as Rc<dyn Io>, options, stack);
        let value = evaluator.evaluate_text(Origin::Expression, expression.as_bytes()).unwrap();
        let value = evaluator.deep_force(&value, Span::NONE).unwrap();
        let value = text(&print_ambiguous(&evaluator, &value).unwrap());
        let same = io.changed(&open()).is_none();
        write(&changes, "tree/sub/skipped.txt", "other");
        let unrelated = io.changed(&open()).is_none();
        write(&changes, "tree/sub/two.nix", "3");
        let related = io.changed(&open()).is_none();
        (value, io.reads(), vec![same, unrelated, related])
    })
    .unwrap()
}

#[test]
fn recorded_reads_tell_whether_a_result_still_holds() {
    let filter = r#"builtins.path { path = ./tree; name = "f"; filter = p: t: builtins.match ".*txt" p == null; }"#;
    for expression in [
        "(import ./tree).sum",
        "import ./tree/link.nix",
        r#"builtins.hashFile "sha256" ./tree/sub/two.nix"#,
        filter,
        &format!(r#"builtins.readFile "${{{filter}}}/way/two.nix""#),
        r#"builtins.readFile (builtins.toFile "a" (builtins.readFile ./tree/sub/two.nix))"#,
    ] {
        let (_, reads, holds) = recorded(&world(), expression);
        assert_eq!(holds, [true, true, false], "{expression}: {reads:?}");
    }
    let (value, reads, _) =
        recorded(&world(), r#"builtins.getEnv "A" + toString (builtins.pathExists ./nothing)"#);
    assert_eq!(value, "\"1\"");
    assert!(reads.iter().any(|read| matches!(read, Read::Variable(name) if name == "A")));
    assert!(
        reads
            .iter()
            .any(|read| matches!(read, Read::FileType(path) if path.text().ends_with("/nothing")))
    );
    // A copy without a filter takes everything, and a directory that was listed has every name.
    for expression in [r#""${./tree}""#, "import ./tree + toString (builtins.readDir ./tree/sub)"] {
        let expression = expression.replace("import ./tree + toString (", "builtins.attrNames (");
        let (_, reads, holds) = recorded(&world(), &expression);
        assert!(holds[0], "{expression}: {reads:?}");
        assert_eq!(holds[1], expression.contains("readDir"), "{expression}: {reads:?}");
    }
}
