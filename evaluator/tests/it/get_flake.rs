//! `getFlake` beside the real Nix: trees of this machine, with lock files.

use levain_evaluator::outside::Access;

use crate::outside::{answer, ours, question, same, theirs, write};
use crate::support::World;

/// A flake with another one, with a tree that is none, and with one below itself.
fn world() -> World {
    let world = World::new();
    let files = world.path("files");
    write(&files, "lib/flake.nix", "{ outputs = { self }: { double = x: x * 2; }; }");
    write(&files, "data/value.nix", "21");
    let root = |name: &str| files.join(name).display().to_string();
    let flake = format!(
        r#"{{
          inputs = {{
            lib.url = "path:{}";
            data = {{ url = "path:{}"; flake = false; }};
            again.follows = "lib";
          }};
          outputs = {{ self, lib, data, again }}: {{
            answer = lib.double (import (data + "/value.nix"));
            names = builtins.attrNames self;
            inputs = builtins.attrNames self.inputs;
            same = again.outPath == lib.outPath;
            text = builtins.readFile "${{self}}/sub/text";
            hash = self.narHash;
          }};
        }}"#,
        root("lib"),
        root("data")
    );
    write(&files, "main/flake.nix", &flake);
    write(&files, "main/sub/text", "inside");
    write(
        &files,
        "main/part/flake.nix",
        "{ outputs = { self }: { here = ./.; out = self.outPath; }; }",
    );
    let locked = world.nix("nix", &["flake", "lock", &format!("path:{}", root("main"))]);
    assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    world
}

fn flake(world: &World, name: &str, query: &str) -> String {
    format!("(builtins.getFlake \"path:{}{query}\")", world.path("files").join(name).display())
}

#[test]
fn a_directory_with_a_lock_file_is_a_flake() {
    let world = world();
    let root = flake(&world, "main", "");
    for attribute in ["answer", "inputs", "same", "text", "hash", "outPath", "lastModifiedDate"] {
        same(&world, &format!("{root}.{attribute}"));
    }
    assert_eq!(ours(&world, &format!("{root}.answer")), Ok("42".to_owned()));
    same(&world, &format!("{root}.inputs.data.outPath"));
    same(&world, &format!("{root}.inputs.lib.sourceInfo.narHash"));
    // A flake in a directory of its tree.
    assert_eq!(
        ours(
            &world,
            &format!("let f = {}; in f.here == f.out", flake(&world, "main", "?dir=part"))
        ),
        Ok("false".to_owned())
    );
}

#[test]
fn an_input_may_lie_in_the_tree_that_has_it() {
    let world = world();
    let files = world.path("files");
    let flake = "{ inputs.sub.url = \"path:./sub\"; outputs = { self, sub }: { inherit (sub) answer; inside = sub.sourceInfo.narHash == self.narHash; }; }";
    write(&files, "nested/flake.nix", flake);
    write(
        &files,
        "nested/sub/flake.nix",
        "{ outputs = { self }: { answer = import ./value.nix; }; }",
    );
    write(&files, "nested/sub/value.nix", "42");
    let lock = r#"{ "nodes": {
      "root": { "inputs": { "sub": "sub" } },
      "sub": { "locked": { "path": "./sub", "type": "path" }, "original": { "path": "./sub", "type": "path" }, "parent": [] }
    }, "root": "root", "version": 7 }"#;
    write(&files, "nested/flake.lock", lock);
    let nested = crate::get_flake::flake(&world, "nested", "");
    assert_eq!(ours(&world, &format!("{nested}.answer")), Ok("42".to_owned()));
    assert_eq!(ours(&world, &format!("{nested}.inside")), Ok("true".to_owned()));
}

#[test]
fn pure_evaluation_takes_locked_flakes_only() {
    let world = world();
    let hash = theirs(&world, &format!("{}.narHash", flake(&world, "main", ""))).unwrap();
    let hash = hash.trim_matches('"').replace('+', "%2B").replace('=', "%3D");
    let ask = |query: &str| {
        let mut question = question(&world, &format!("{}.answer", flake(&world, "main", query)));
        question.pure = true;
        question.access = Access::Below(vec![world.path("files")]);
        answer(&world, question)
    };
    assert_eq!(ask(&format!("?narHash={hash}")), Ok("42".to_owned()));
    let error = ask("").unwrap_err();
    assert!(error.contains("is not allowed in pure evaluation mode"), "{error}");
    write(&world.path("files"), "main/sub/text", "changed");
    // What has that hash is in the store of the real one.
    assert_eq!(ask(&format!("?narHash={hash}")), Ok("42".to_owned()));
    let error =
        ask("?narHash=sha256-47DEQpj8HBSa%2B/TImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D").unwrap_err();
    assert!(error.contains("it has the hash `sha256-"), "{error}");
}

#[test]
fn a_lock_file_of_other_inputs_is_refused() {
    let world = world();
    let files = world.path("files");
    let main = flake(&world, "main", "");
    let written = std::fs::read_to_string(files.join("main/flake.nix")).unwrap();
    for (from, to) in [
        ("follows = \"lib\"", "follows = \"data\""),
        ("again.follows = \"lib\"", "again.url = \"nixpkgs\""),
        ("files/lib\"", "files/other\""),
        ("lib.url = \"path:", "lib.follows = \"data\"; unused.url = \"path:"),
        ("self, lib, data, again }", "self, lib, data, again, nixpkgs }"),
    ] {
        assert!(written.contains(from), "{from}");
        write(&files, "main/flake.nix", &written.replace(from, to));
        let error = ours(&world, &main).unwrap_err();
        assert!(error.contains("in the lock file; `nix flake lock` mends that"), "{to}: {error}");
    }
    // Attributes say the same as a text.
    let attributes =
        format!("lib = {{ type = \"path\"; path = \"{}\"; }};", files.join("lib").display());
    let text = format!("lib.url = \"path:{}\";", files.join("lib").display());
    assert!(written.contains(&text));
    write(&files, "main/flake.nix", &written.replace(&text, &attributes));
    assert_eq!(ours(&world, &format!("{main}.answer")), Ok("42".to_owned()));
}

#[test]
fn what_cannot_be_fetched_is_said() {
    let world = world();
    let says = |expression: &str, part: &str| {
        let error = ours(&world, expression).unwrap_err();
        assert!(error.contains(part), "{expression}: {error}");
    };
    std::fs::remove_file(world.path("files/main/flake.lock")).unwrap();
    let root = flake(&world, "main", "");
    says(&root, "input `again` is not in the lock file; `nix flake lock` mends that");
    says(&root, "while fetching the flake `path:");
    says("builtins.getFlake \"nixpkgs\"", "without `narHash` it cannot be found in the store");
    says("builtins.getFlake \"./main\"", "is not a flake reference");
    says(&flake(&world, "data", ""), "flake.nix` does not exist");
    write(&world.path("files"), "main/flake.lock", r#"{ "version": 99 }"#);
    says(&root, "has version 99; versions 5 to 7 are known");
    write(&world.path("files"), "main/flake.lock", "{");
    says(&root, "while reading the lock file");
}
