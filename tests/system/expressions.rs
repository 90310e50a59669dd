//! `levain eval` of expressions and files, by either evaluator.

use std::path::Path;

use serde_json::{Value, json};

use crate::environment::{Environment, Ran};

const EVALUATORS: [&str; 2] = ["embedded", "nix"];

/// Evaluates in a directory.
fn eval(environment: &Environment, evaluator: &str, at: &Path, args: &[&str]) -> Ran {
    let args = [&["eval", "--evaluator", evaluator], args].concat();
    environment.levain(at, &args)
}

/// Returns an environment and a directory in it with some files.
fn files() -> (Environment, std::path::PathBuf) {
    let environment = Environment::new();
    let at = environment.path("files");
    std::fs::create_dir_all(at.join("sub")).unwrap();
    for (name, text) in [
        ("default.nix", "{ number = 1 + 1; list = [ (1 + 2) \"x\" ]; }"),
        ("other.nix", "import ./sub/value.nix + 1"),
        ("sub/value.nix", "41"),
        (
            "sub/up.nix",
            "import ../sub/value.nix + builtins.length (builtins.attrNames (builtins.readDir ../.))",
        ),
        ("syntax.nix", "{\n  a = 1;\n  b = [ 1 2 }\n"),
        ("type.nix", "let\n  f = x: x + 1;\nin\nf \"a\""),
    ] {
        std::fs::write(at.join(name), text).unwrap();
    }
    (environment, at)
}

#[test]
fn both_evaluators_print_the_same() {
    let (environment, at) = files();
    for (args, expected) in [
        (&["--expr", "1 + 1"][..], "2\n"),
        (&["--expr", "[ 1 (1 + 1) ]", "--strict"], "[ 1 2 ]\n"),
        (&["--expr", "{ a = \"x\\n\"; }", "--strict"], "{ a = \"x\\n\"; }\n"),
        (&["--expr", "x: x"], "<LAMBDA>\n"),
        (
            &["--expr", "{ a.b = [ 1 null true ]; c = 1.5; }", "--json"],
            "{\"a\":{\"b\":[1,null,true]},\"c\":1.5}\n",
        ),
        (&["--expr", "\"a\\nb\"", "--raw"], "a\nb"),
        (&["--expr", "\"a\"", "--json"], "\"a\"\n"),
        (&["--expr", "import ./other.nix"], "42\n"),
        (&["--file", "other.nix"], "42\n"),
        (&["--file", ".", "--strict"], "{ list = [ 3 \"x\" ]; number = 2; }\n"),
        (&["--file", "sub/value.nix", "--json"], "41\n"),
        (&["--expr", "(import ./.).number"], "2\n"),
    ] {
        for evaluator in EVALUATORS {
            let ran = eval(&environment, evaluator, &at, args).ok();
            assert_eq!(ran.stdout, expected, "{evaluator} {args:?}");
        }
    }
    for evaluator in EVALUATORS {
        let ran = eval(&environment, evaluator, &at, &["--expr", "{ a = 1 + 1; b = 2; }"]).ok();
        assert!(ran.stdout.contains("<CODE>") && ran.stdout.contains("b = 2;"), "{}", ran.stdout);
        let ran = eval(&environment, evaluator, &at, &["--expr", "builtins.trace \"said\" 1"]).ok();
        assert_eq!(ran.stdout, "1\n");
        ran.says("trace: said");
    }
}

#[test]
fn files_elsewhere_cannot_be_read_without_leave() {
    let (environment, at) = files();
    std::fs::write(environment.path("secret.nix"), "7").unwrap();
    for evaluator in EVALUATORS {
        for args in [
            &["--expr", "import ../secret.nix"][..],
            &["--expr", "builtins.readFile ../secret.nix"],
        ] {
            let ran = eval(&environment, evaluator, &at, args).code(1);
            assert!(ran.stderr.contains("forbidden"), "{evaluator} {args:?}: {}", ran.stderr);
            assert_eq!(ran.stdout, "");
        }
        // Newer versions of Nix let it see the way to its own directory, and nothing beside that. A file sees what is
        // below its own directory: beside `sub` are five more.
        for (args, own_way) in [
            (["--expr", "builtins.readDir ../."], "{ files = \"directory\"; }\n"),
            (["--file", "sub/up.nix"], "42\n"),
        ] {
            let ran = eval(&environment, evaluator, &at, &args);
            let is_refused = ran.stderr.contains("forbidden") && ran.stdout.is_empty();
            assert!(ran.stdout == own_way || is_refused, "{evaluator} {args:?}: {ran:?}");
        }
        let args = ["--impure", "--expr", "import ../secret.nix"];
        assert_eq!(eval(&environment, evaluator, &at, &args).ok().stdout, "7\n");
        let args = ["--expr", "builtins.pathExists ../secret.nix"];
        assert_eq!(eval(&environment, evaluator, &at, &args).ok().stdout, "false\n");
    }
}

#[test]
fn only_impure_evaluation_sees_the_machine() {
    let (environment, at) = files();
    let environment = environment.with("LEVAIN_TEST", "seen");
    let embedded = |args: &[&str]| eval(&environment, "embedded", &at, args);
    let variable = ["--raw", "--expr", "builtins.getEnv \"LEVAIN_TEST\""];
    assert_eq!(embedded(&variable).ok().stdout, "");
    let impure = [&["--impure"], &variable[..]].concat();
    for evaluator in EVALUATORS {
        assert_eq!(eval(&environment, evaluator, &at, &impure).ok().stdout, "seen");
    }
    for (expression, says) in [
        ("builtins.currentTime", "`builtins.currentTime` is not allowed in pure evaluation mode"),
        ("builtins.currentSystem", "hint: pass `--impure`"),
        ("<nixpkgs>", "nixpkgs"),
        ("builtins.storePath ./.", "not allowed in pure evaluation mode"),
    ] {
        let ran = embedded(&["--expr", expression]).code(1).says(says);
        assert!(ran.stderr.starts_with("error[E"), "{}", ran.stderr);
    }
    let environment = environment.with("NIX_PATH", &format!("mine={}", at.join("sub").display()));
    for evaluator in EVALUATORS {
        let args = ["--impure", "--expr", "import <mine/value.nix>"];
        assert_eq!(eval(&environment, evaluator, &at, &args).ok().stdout, "41\n");
    }
    let embedded = |args: &[&str]| eval(&environment, "embedded", &at, args);
    let args = ["--impure", "--expr", "builtins.currentTime > 1700000000"];
    assert_eq!(embedded(&args).ok().stdout, "true\n");
    let args =
        ["--impure", "--system", "riscv64-linux", "--raw", "--expr", "builtins.currentSystem"];
    assert_eq!(embedded(&args).ok().stdout, "riscv64-linux");
}

#[test]
fn errors_show_the_place() {
    let (environment, at) = files();
    for evaluator in EVALUATORS {
        let ran = eval(&environment, evaluator, &at, &["--file", "syntax.nix"]).code(1);
        for part in ["syntax error", "syntax.nix:3:13", "  b = [ 1 2 }", "^"] {
            assert!(ran.stderr.contains(part), "{evaluator}: `{part}` is not in {}", ran.stderr);
        }
        eval(&environment, evaluator, &at, &["--file", "missing.nix"])
            .code(1)
            .says("missing.nix")
            .says("No such file");
        eval(&environment, evaluator, &at, &["--expr", "{ abc = 1; }.abd"]).code(1).says("abd");
        eval(&environment, evaluator, &at, &["--expr", "throw \"mine\""]).code(1).says("mine");
    }
    let ran = eval(&environment, "embedded", &at, &["--file", "syntax.nix"]).code(1);
    let file = at.join("syntax.nix");
    let expected = format!(
        "error[E001]: syntax error: unexpected `}}`, expected an expression or `]`\n  --> {}:3:13\n   |\n 3 |   b = [ 1 2 }}\n   |             ^\n",
        file.display()
    );
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    eval(&environment, "embedded", &at, &["--expr", "{ abc = 1; }.abd"])
        .says("hint: did you mean `abc`?");
    let type_error = eval(&environment, "embedded", &at, &["--file", "type.nix"]).code(1);
    type_error.says("type.nix:2:14").says("while calling");
}

#[test]
fn values_that_cannot_be_printed_so_are_errors() {
    let (environment, at) = files();
    for evaluator in EVALUATORS {
        for args in [
            ["--raw", "--expr", "1"],
            ["--raw", "--expr", "{ }"],
            ["--json", "--expr", "{ a = x: y: x; }"],
            ["--strict", "--expr", "[ (abort \"now\") ]"],
        ] {
            let ran = eval(&environment, evaluator, &at, &args).code(1);
            assert_eq!(ran.stdout, "", "{evaluator} {args:?}");
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        }
    }
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let (environment, at) = files();
    for args in [
        &["eval", "--expr", "1", "--file", "other.nix"][..],
        &["eval", "--expr", "1", "--jobset", "git+file:///x"],
        &["eval", "--expr", "1", "--json", "--raw"],
        &["eval", "--evaluator", "embedded"],
        &["eval", "--evaluator", "other", "--expr", "1"],
        &["eval", "--jobset", "git+file:///x", "--strict"],
        &["eval", "--jobset", "git+file:///x", "--impure"],
        &["eval", "--jobset", "git+file:///x", "--evaluator", "embedded"],
        &["eval", "--expr"],
        &["eval", "--expr", "1", "--option", "trace-verbose"],
        &["eval", "--jobset", "git+file:///x", "--option", "trace-verbose", "true"],
    ] {
        let ran = environment.levain(&at, args).code(2);
        assert!(
            ran.stdout.is_empty() && ran.stderr.starts_with("error: "),
            "{args:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn settings_are_changed_by_their_names_in_nix() {
    let (environment, at) = files();
    for evaluator in EVALUATORS {
        // An older Nix says that it does not know the setting.
        let deep = "let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 200";
        let args = ["--expr", deep, "--option", "max-call-depth", "100"];
        eval(&environment, evaluator, &at, &args).says("max-call-depth");
        for (name, value, says) in [
            ("max-call-depht", "1", "hint: did you mean `max-call-depth`?"),
            ("cores", "2", "the known ones are `abort-on-warn`,"),
            ("max-call-depth", "-2", "expected a number"),
            ("lint-url-literals", "on", "expected `ignore`, `warn` or `fatal`"),
            ("experimental-features", "flakes", "the known ones are `parse-toml-timestamps`,"),
        ] {
            let args = ["--expr", "1", "--option", name, value];
            let ran = eval(&environment, evaluator, &at, &args).code(1).says(says);
            assert_eq!(ran.stdout, "", "{evaluator} {name}");
        }
    }
    let embedded = |args: &[&str]| eval(&environment, "embedded", &at, args);
    let verbose = ["--expr", "builtins.traceVerbose \"said\" 1", "--option", "trace-verbose"];
    let ran = embedded(&[&verbose[..], &["true"]].concat()).ok().says("trace: said");
    assert_eq!(ran.stdout, "1\n");
    assert!(!embedded(&[&verbose[..], &["false"]].concat()).ok().stderr.contains("said"));
    let args = ["--expr", "[ x:y /a ]", "--option", "lint-url-literals", "warn"];
    let fatal = ["--option", "lint-absolute-path-literals", "fatal"];
    embedded(&[&args[..], &fatal].concat())
        .code(1)
        .says("warning: `x:y` is a URL without quotes (lint-url-literals)")
        .says("error[E027]: `/a` is an absolute path")
        .says("«string»:1:7");
    let args = ["--expr", "1 |> toString", "--option", "extra-experimental-features"];
    assert_eq!(embedded(&[&args[..], &["pipe-operators"]].concat()).ok().stdout, "\"1\"\n");
    let warn = ["--expr", "builtins.warn \"old\" 1"];
    embedded(&[&warn[..], &["--option", "abort-on-warn", "true"]].concat()).code(1).says("E028");
    // The environment changes nothing that is pure.
    let environment = environment.with("NIX_ABORT_ON_WARN", "1");
    let embedded = |args: &[&str]| eval(&environment, "embedded", &at, args);
    let ran = embedded(&warn).ok().says("evaluation warning: old");
    assert_eq!(ran.stdout, "1\n");
    embedded(&[&warn[..], &["--impure"]].concat()).code(1).says("`abort-on-warn` is set");
}

#[test]
fn escape_sequences_of_a_program_do_not_reach_a_file() {
    let (environment, at) = files();
    let text = r#"builtins.fromJSON "\"\\u001b[31mred\\u001b[0m\\u001b[2Jend\"""#;
    for evaluator in EVALUATORS {
        for expression in [
            format!("throw ({text})"),
            format!("builtins.addErrorContext ({text}) (abort \"x\")"),
            format!("builtins.trace ({text}) (throw \"x\")"),
        ] {
            let ran = eval(&environment, evaluator, &at, &["--expr", &expression]).code(1);
            assert!(!ran.stderr.contains('\u{1b}'), "{evaluator}: {:?}", ran.stderr);
        }
        let args = ["--expr", &format!("throw ({text})")];
        eval(&environment, evaluator, &at, &args).code(1).says("red");
        // A value is printed as it is.
        let ran = eval(&environment, evaluator, &at, &["--raw", "--expr", text]).ok();
        assert_eq!(ran.stdout, "\u{1b}[31mred\u{1b}[0m\u{1b}[2Jend");
    }
}

/// A repository of a flake in itself and in a directory, with everything that a tree can hold.
fn flake(environment: &Environment) -> (crate::environment::Repository<'_>, String) {
    let repository = environment.repository("r");
    repository.write(
        "flake.nix",
        r#"{ outputs = { self }: {
          info = { inherit (self) rev shortRev revCount lastModified lastModifiedDate narHash; path = self.outPath; };
          part = "${./sub}";
          filtered = builtins.path { path = ./.; name = "f"; filter = path: type: type != "symlink"; };
          read = builtins.readFile "${self}/sub/text";
          names = builtins.readDir ./.;
          derivation = (derivation { name = "d"; system = "s"; builder = "b"; src = self; }).drvPath;
        }; }"#,
    );
    repository.write("sub/flake.nix", "{ outputs = { self }: { here = toString ./.; }; }");
    repository.write("sub/text", "committed");
    repository.write("sub.txt", "");
    std::os::unix::fs::symlink("sub", repository.path.join("link")).unwrap();
    let script = repository.path.join("run");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let commit = repository.commit("first");
    (repository, commit)
}

fn embedded(environment: &Environment, at: &Path, expression: &str) -> Value {
    eval(environment, "embedded", at, &["--json", "--expr", expression]).ok().json()
}

#[test]
fn a_commit_is_a_flake_without_a_checkout() {
    let environment = Environment::new();
    let (repository, commit) = flake(&environment);
    let url = format!("git+file://{}?rev={commit}", repository.path.display());
    let all = |url: &str| {
        format!(
            "let f = builtins.getFlake \"{url}\"; in {{ inherit (f) info part filtered read names derivation; }}"
        )
    };
    // The work tree does not matter.
    repository.write("sub/text", "changed");
    let ours = embedded(&environment, &repository.path, &all(&url));
    assert_eq!(ours["read"], "committed");
    assert!(!environment.path("store").exists(), "nothing is copied into the store");
    let theirs =
        environment.run("nix", &repository.path, &["eval", "--json", "--expr", &all(&url)]);
    assert_eq!(ours, theirs.ok().json());
    let metadata = environment.run("nix", &repository.path, &["flake", "metadata", "--json", &url]);
    let metadata = metadata.ok().json();
    assert_eq!(ours["info"]["path"], metadata["path"]);
    assert_eq!(ours["info"]["narHash"], metadata["locked"]["narHash"]);
    // A flake in a directory of the tree, and the tree alone.
    let part = format!("(builtins.getFlake \"{url}&dir=sub\").here");
    let theirs = environment.run("nix", &repository.path, &["eval", "--json", "--expr", &part]);
    assert_eq!(embedded(&environment, &repository.path, &part), theirs.ok().json());
    let fetched = format!(
        "builtins.fetchGit {{ url = \"file://{}\"; rev = \"{commit}\"; }}",
        repository.path.display()
    );
    let path = format!("({fetched}).outPath");
    let theirs = environment.run("nix", &repository.path, &["eval", "--json", "--expr", &path]);
    assert_eq!(embedded(&environment, &repository.path, &path), theirs.ok().json());
}

#[test]
fn what_a_commit_does_not_have_is_refused() {
    let environment = Environment::new();
    let (repository, commit) = flake(&environment);
    let at = repository.path.display();
    let says = |expression: &str, part: &str| {
        eval(&environment, "embedded", &repository.path, &["--expr", expression])
            .code(1)
            .says(part);
    };
    let url = format!("git+file://{at}?rev={commit}");
    says(&format!("builtins.getFlake \"{url}&submodules=1\""), "submodules are not read");
    says(&format!("builtins.getFlake \"git+file://{at}\""), "not allowed in pure evaluation mode");
    says(
        &format!("builtins.getFlake \"git+file://{at}/sub?rev={commit}\""),
        "is not the root of a repository",
    );
    let other = "1".repeat(40);
    says(&format!("builtins.getFlake \"git+file://{at}?rev={other}\""), "there is no commit");
    says(&format!("builtins.getFlake \"git+file://{at}/..?rev={commit}\""), "forbidden");
    let impure = |expression: &str| {
        let args = ["--impure", "--json", "--expr", expression];
        eval(&environment, "embedded", &repository.path, &args)
    };
    let head = format!("(builtins.getFlake \"git+file://{at}\").rev");
    assert_eq!(impure(&head).ok().json(), json!(commit));
    let branch = format!("(builtins.fetchGit {{ url = {at}; ref = \"main\"; }}).rev");
    assert_eq!(impure(&branch).ok().json(), json!(commit));
    repository.write("sub/text", "changed");
    impure(&head).code(1).says("its work tree has changes that are not committed");
    assert_eq!(impure(&branch).ok().json(), json!(commit));
    repository.write(".gitattributes", "sub export-ignore\n");
    repository.commit("attributes");
    impure(&branch).code(1).says("`export-ignore`");
    impure(&format!("(builtins.fetchTree {{ type = \"git\"; url = \"file://{at}\"; }}).outPath"))
        .ok();
}
