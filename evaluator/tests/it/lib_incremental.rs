//! `levain.lib.incremental` and its settings: what they make of a derivation, and what they refuse.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use levain_evaluator::Pointer;
use serde_json::{Value, json};

use crate::lib_nix::{add, entry, evaluate, library};
use crate::support::World;

/// Returns the value of an expression with `incremental`, which has all the arguments it needs but
/// those given, `plain` and `phases`, two derivations.
fn with_derivations(world: &World, expression: &str) -> Result<Value, String> {
    let stdenv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/system/stdenv");
    let file = world.path("cache.nix");
    if !file.exists() {
        fs::write(&file, "null").unwrap();
    }
    evaluate(
        world,
        &format!(
            r#"
            let
              attrs = {{
                name = "app";
                system = "x86_64-linux";
                src = {stdenv};
                passthru = {{ levain.key = "mine"; }};
                other = "kept";
              }};
              stdenv = import {stdenv};
              plain = derivation (removeAttrs attrs [ "passthru" ] // {{
                builder = "/bin/sh"; args = [ "-c" "make" ];
              }}) // {{ inherit (attrs) passthru; meta.description = "it"; }};
              phases = stdenv.mkDerivation attrs;
              incremental = arguments: lib.incremental (
                {{
                  cache = {cache}; job = "x86_64-linux.app"; tool = "/tool";
                  persist.objects = [ "build" ];
                }} // arguments
              );
            in {expression}"#,
            stdenv = stdenv.display(),
            cache = file.display(),
        ),
    )
}

#[track_caller]
fn refused(world: &World, expression: &str, expected: &str) {
    // Nix indents the lines of a message.
    let error =
        with_derivations(world, expression).expect_err(expression).replace("\n       ", "\n");
    assert!(error.contains(expected), "{expression}: {error}");
}

#[test]
fn a_plain_derivation_is_built_by_the_tool() {
    let world = World::new();
    let given = r#"
        let d = incremental { settings = lib.settings.go { }; } plain; in {
          inherit (d) builder outputs other GOFLAGS passthru;
          inherit (d.meta) description;
          placeholder = builtins.placeholder "cache";
          args = map (builtins.replaceStrings [ "${d.src}" ] [ "SOURCE" ]) d.args;
        }"#;
    let mut found = with_derivations(&world, given).unwrap();
    let args: Vec<String> = serde_json::from_value(found["args"].take()).unwrap();
    let to = format!("--to={}", found["placeholder"].as_str().unwrap());
    let (key, args): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with("--key="));
    assert_eq!(key.len(), 2);
    assert_eq!(key[0], key[1]);
    #[rustfmt::skip]
    assert_eq!(args, [
        "build", "--unpack=SOURCE", "--directory-variable=GOCACHE=.go-cache",
        "--restore", "objects", "--from=",
        "--persist", "objects", "build", &to, "--origin=job=x86_64-linux.app",
        "--", "/bin/sh", "-c", "make",
    ]);
    assert_eq!(found["builder"], "/tool/bin/levain-cache");
    assert_eq!(found["outputs"], json!(["out", "cache"]));
    assert_eq!(found["other"], "kept");
    assert_eq!(found["GOFLAGS"], "-trimpath");
    assert_eq!(found["passthru"], json!({ "levain": { "key": "mine" } }));
    assert_eq!(found["description"], "it");
}

#[test]
fn phases_are_added_to_those_there_are() {
    let world = World::new();
    let given = r#"
        let
          more = phases.overrideAttrs (_: {
            preConfigurePhases = "minePhase";
            postPhases = [ "myPhase" ];
            outputs = [ "out" "dev" ];
            env.GOFLAGS = "-mod=vendor";
          });
          d = incremental { output = "intermediates"; settings = lib.settings.go { }; } more;
        in {
          inherit (d) outputs passthru preConfigurePhases preBuildPhases postPhases GOFLAGS;
          restore = d.levainRestorePhase;
          persist = d.levainPersistPhase;
          placeholder = builtins.placeholder "intermediates";
        }"#;
    let found = with_derivations(&world, given).unwrap();
    assert_eq!(found["outputs"], json!(["out", "dev", "intermediates"]));
    assert_eq!(found["passthru"]["levain"]["key"], "mine");
    assert_eq!(found["preConfigurePhases"], "minePhase levainRestorePhase");
    assert_eq!(found["preBuildPhases"], json!(["levainDirectoriesPhase"]));
    assert_eq!(found["postPhases"], json!(["myPhase", "levainPersistPhase"]));
    assert_eq!(found["GOFLAGS"], "-mod=vendor");
    let (restore, persist) =
        (found["restore"].as_str().unwrap(), found["persist"].as_str().unwrap());
    assert!(restore.contains("'/tool/bin/levain-cache' restore 'objects' '--from='"), "{restore}");
    assert!(restore.ends_with("export GOCACHE=\"$levainSource\"/'.go-cache'"), "{restore}");
    let to = found["placeholder"].as_str().unwrap();
    assert!(persist.starts_with("env outputs='out dev intermediates' '/tool/bin"), "{persist}");
    assert!(persist.contains(&format!("'--to={to}'")), "{persist}");
}

#[test]
fn the_cache_is_an_input_exactly_when_there_is_one() {
    let world = World::new();
    let path = add(&world, "cache");
    let dir = &world.evaluator.store.dir;
    let pointer = BTreeMap::from([("x86_64-linux.app".into(), Ok(entry(&path)))]);
    let pointer = Pointer::Entries(pointer).print(dir);
    let path = dir.display(&path);
    for (text, expected) in [("null", json!([])), (pointer.as_str(), json!([path]))] {
        fs::write(world.path("cache.nix"), text).unwrap();
        for (derivation, place) in [
            ("plain", "builtins.concatStringsSep \" \" d.args"),
            ("phases", "d.levainRestorePhase"),
        ] {
            let found = with_derivations(
                &world,
                &format!(
                    "let d = incremental {{ }} {derivation}; in builtins.filter (p: p == \"{path}\") (builtins.attrNames (builtins.getContext ({place})))"
                ),
            );
            assert_eq!(found.as_ref(), Ok(&expected), "{derivation}");
        }
    }
}

#[test]
fn sets_have_settings_of_their_own() {
    let world = World::new();
    let found = with_derivations(
        &world,
        r#"builtins.filter (word: builtins.match "--(key|to|from|unpack|origin|hiding)=.*" word == null)
          (incremental {
            settings = lib.settings.make { } // { budget = 7; strict = true; };
            persist = {
              a = [ "x" "y z" ];
              b = { paths = [ "w" ]; gone = "keep"; definitions = [ "D" ]; optional = true; };
            };
          } plain).args"#,
    );
    let found: Vec<String> = serde_json::from_value(found.unwrap()).unwrap();
    let text = found.join("|");
    assert!(text.contains("--restore|a|--definition=Makefile*|"), "{text}");
    assert!(text.contains("--restore|b|--definition=D|--gone=keep|--strict|"), "{text}");
    assert!(text.contains("--persist|a|x|y z|--budget=7|"), "{text}");
    assert!(text.contains("--persist|b|w|--budget=7|--optional|--|"), "{text}");
}

#[test]
fn sets_that_exclude_each_others_paths_do_not_overlap() {
    let world = World::new();
    let found = with_derivations(
        &world,
        r#"builtins.length (incremental { persist = {
             a = { paths = [ "." ]; exclude = [ "x/y" "z" ]; }; b = [ "./x/y/" ]; c = [ "z" ];
           }; } plain).args > 0"#,
    );
    assert_eq!(found, Ok(Value::Bool(true)));
}

#[test]
fn the_key_covers_all_but_the_sources() {
    let world = World::new();
    for (change, same) in [
        ("plain", true),
        ("(derivation (plain.drvAttrs // { src = ./other; }))", true),
        ("(derivation (plain.drvAttrs // { other = \"changed\"; }))", false),
        ("(derivation (plain.drvAttrs // { args = [ \"-c\" \"make CFLAGS=-O3\" ]; }))", false),
        ("(derivation (plain.drvAttrs // { args = [ ./recipe ]; }))", false),
    ] {
        fs::create_dir_all(world.path("other")).unwrap();
        fs::write(world.path("recipe"), "x").unwrap();
        let change = change.replace("./", world.path("").to_str().unwrap());
        let given = format!(
            "let key = d: builtins.elemAt (incremental {{ }} d).args 5; in key plain == key {change}"
        );
        assert_eq!(with_derivations(&world, &given), Ok(Value::Bool(same)), "{change}");
    }
    // What reads the store's copy of the sources is compared by nobody, nor is a second source.
    for change in
        ["args = [ \"-c\" \"make -C ${s}\" ]; src = s", "args = [ \"${s}/build.sh\" ]; src = s"]
    {
        let given = format!(
            "let d = s: derivation (plain.drvAttrs // {{ {change}; }});
                 key = s: builtins.elemAt (incremental {{ }} (d s)).args 5; in key {} == key {}",
            world.path("other").display(),
            world.path("recipe").display(),
        );
        assert_eq!(with_derivations(&world, &given), Ok(Value::Bool(false)), "{change}");
    }
    for (sources, same) in [("[ s ]", true), ("[ s \"/other\" ]", false)] {
        let given = format!(
            "let d = s: phases.overrideAttrs (_: {{ src = null; srcs = {sources}; }});
                 key = s: (incremental {{ }} (d s)).levainRestorePhase; in key {} == key {}",
            world.path("other").display(),
            world.path("recipe").display(),
        );
        assert_eq!(with_derivations(&world, &given), Ok(Value::Bool(same)), "{sources}");
    }
    // What the job itself says about its key counts here, too.
    let options = [
        ("ignoreEnv = [ \"other\" ]", "{ other = v; }"),
        (
            "maskInputs = [ \"d+1\" ]",
            "{ d = derivation (plain.drvAttrs // { name = \"d+1\"; other = v; }); }",
        ),
    ];
    for (option, attrs) in options {
        let given = format!(
            "let d = v: derivation (plain.drvAttrs // {attrs}) // {{ levain = {{ {option}; }}; }};
                 key = v: builtins.elemAt (incremental {{ }} (d v)).args 5; in key \"1\" == key \"2\""
        );
        assert_eq!(with_derivations(&world, &given), Ok(Value::Bool(true)), "{option}");
    }
}

#[test]
fn errors_name_the_job_and_the_fix() {
    let world = World::new();
    for (expression, expected) in [
        ("(lib.incremental { } plain).args", "`job` is missing"),
        ("(lib.incremental { job = 1; } plain).args", "expected a string, found an integer"),
        (
            "(lib.incremental { job = \"a.b\"; cache = ./c; persist.a = [ ]; } plain).args",
            "job `a.b`: arguments.tool: missing\nhint: give what has `bin/levain-cache`",
        ),
        (
            "(incremental { tool = 1; } plain).args",
            "arguments.tool: expected a derivation or a path",
        ),
        (
            "(incremental { persists = { }; } plain).args",
            "job `x86_64-linux.app`: arguments.persists: unknown key, expected one of `cache`",
        ),
        (
            "(incremental { persist = { a = [ \"x/y/\" \"z\" ]; b = [ \"./x\" ]; }; } plain).args",
            "persist: `x/y/` of the set `a` lies in `./x` of the set `b`, and would come back",
        ),
        (
            "(incremental { persist = { a = [ \".\" ]; b = [ \"xy\" ]; c = [ \"x\" ]; }; } plain).args",
            "`xy` of the set `b` lies in `.` of the set `a`",
        ),
        (
            "(incremental { persist = { }; } plain).args",
            "arguments.persist: nothing to keep\nhint: name what the next build can use",
        ),
        (
            "(incremental { persist.a = \"x\"; } plain).args",
            "arguments.persist.a: expected a list of paths, found a string",
        ),
        (
            "(incremental { persist.a = { path = \"x\"; }; } plain).args",
            "arguments.persist.a.path: unknown key",
        ),
        (
            "(incremental { settings = lib.settings.make; } plain).args",
            "expected an attribute set, found a function\nhint: call it",
        ),
        (
            "(incremental { settings.gone = \"delete\"; } plain).args",
            "arguments.settings.gone: expected one of `keep`, `drop`, `outputs`, found `delete`",
        ),
        (
            "(incremental { settings.variables.A = 1; } plain).args",
            "settings.variables.A: expected a",
        ),
        (
            "(incremental { output = \"out\"; } plain).args",
            "the derivation already has an output `out`\nhint: choose another name with `output`",
        ),
        (
            "(incremental { } 1).args",
            "job `x86_64-linux.app`: expected a derivation, found an integer",
        ),
        (
            "(incremental { } (derivation (removeAttrs plain.drvAttrs [ \"src\" ]))).args",
            "has no `src` to unpack\nhint: give it `src",
        ),
        (
            "(incremental { } (derivation (plain.drvAttrs // { __structuredAttrs = true; }))).args",
            "hint: remove `__structuredAttrs`",
        ),
        (
            "(incremental { } (phases.overrideAttrs (_: { phases = [ ]; }))).args",
            "the derivation sets `phases`, so that none can be added\nhint: remove `phases`",
        ),
    ] {
        refused(&world, expression, expected);
    }
}

/// Returns what a successful evaluation warned of.
fn warnings(world: &World, job: &str, pointer: &str, derivation: &str) -> String {
    let file = world.path("warned.nix");
    fs::write(&file, pointer).unwrap();
    let expression = format!(
        "((import {}).incremental {{ cache = {}; job = \"{job}\"; tool = \"/t\"; persist.a = [ \"a\" ]; }} {derivation}).name",
        library().display(),
        file.display(),
    );
    let output = world.nix("nix", &["eval", "--impure", "--raw", "--expr", &expression]);
    let stderr = crate::support::text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    stderr
}

#[test]
fn what_may_be_wrong_is_a_warning() {
    let world = World::new();
    let path = world.evaluator.store.dir.display(&add(&world, "cache"));
    let derivation =
        "(derivation { name = \"n\"; system = \"x86_64-linux\"; builder = \"b\"; src = \"/s\"; })";
    let pointer = |job: &str| format!("{{ \"{job}\".path = \"{path}\"; }}");

    let said = warnings(&world, "app", &pointer("x86_64-linux.app"), derivation);
    assert!(
        said.contains("job `app`: `warned.nix` has no entry of this name, but one of `x86_64-")
    );
    assert!(said.contains("hint: `job` is the whole attribute path"), "{said}");

    let job = "aarch64-linux.app";
    let said = warnings(&world, job, &pointer(job), derivation);
    assert!(
        said.contains("is for `x86_64-linux`, its cache for `aarch64-linux`\nhint: "),
        "{said}"
    );

    for (job, pointer) in [
        ("x86_64-linux.app", pointer("x86_64-linux.app")),
        ("x86_64-linux.new", pointer("x86_64-linux.app")),
        ("aarch64-linux.app", "null".to_owned()),
    ] {
        let said = warnings(&world, job, &pointer, derivation);
        assert!(!said.contains("warning: levain"), "{job}: {said}");
    }
}

#[test]
fn examples_of_the_documentation_evaluate() {
    let world = World::new();
    let mut count = 0;
    for name in ["incremental.nix", "settings/default.nix"] {
        let text = fs::read_to_string(library().join(name)).unwrap();
        for example in text.split("```nix\n").skip(1) {
            let example = example.split("```").next().unwrap();
            let example = example.replace("./cache.nix", "/none.nix").replace(
                "./src",
                &Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("../templates/make/src")
                    .display()
                    .to_string(),
            );
            let checked = evaluate(
                &world,
                &format!(
                    "let levain.lib = lib; value = {example}; in builtins.seq (value.drvPath or value) true"
                ),
            );
            assert_eq!(checked, Ok(Value::Bool(true)), "{example}");
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

/// By hand: `file(GLOB …)` with a command for each, and `install(DIRECTORY …)`, installed what was
/// made from a file that was gone.
#[test]
fn tools_that_leave_old_outputs_have_a_rule_for_sources_that_are_gone() {
    let world = World::new();
    for tool in ["make", "cmake", "tsc", "ghc"] {
        let expression = format!("(lib.settings.{tool} {{ }}).gone");
        let found = with_derivations(&world, &expression).unwrap();
        assert!(found == "drop" || found == "outputs", "{tool}: {found}");
    }
}

#[test]
fn every_setting_is_accepted() {
    let world = World::new();
    let given = r#"builtins.mapAttrs
        (name: setting: (lib.incremental {
          cache = /none.nix; job = name; tool = "/tool"; settings = setting { };
        } phases).outputs) lib.settings"#;
    let found = with_derivations(&world, given).unwrap();
    let files = fs::read_dir(library().join("settings")).unwrap().count();
    assert_eq!(found.as_object().unwrap().len(), files - 1);
}
