//! The tutorial, followed to the letter by a stranger with an empty directory:
//! what stands there must work.

use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::{Environment, copy_tree};
use crate::incremental::tool;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a section of the tutorial.
#[track_caller]
fn section(title: &str) -> String {
    let tutorial = fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let (_, text) = tutorial.split_once(&format!("\n## {title}\n")).unwrap();
    text.split("\n##").next().unwrap().to_owned()
}

/// The code blocks in that language, one after the other.
fn code(text: &str, language: &str) -> String {
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|block| block.split("```\n").next().unwrap()).collect()
}

/// A checkout of levain at a place of its own, committed, whose templates know where the tool is:
/// the machine's `/usr/local` is not the test's to write to.
fn checkout(environment: &Environment) -> String {
    let levain = environment.repository("levain");
    for name in ["lib", "nix", "templates"] {
        copy_tree(&root().join(name), &levain.path.join(name));
    }
    fs::copy(root().join("flake.nix"), levain.path.join("flake.nix")).unwrap();
    let tool = tool(environment);
    for template in ["make", "cargo"] {
        let place = format!("templates/{template}/flake.nix");
        let flake = fs::read_to_string(levain.path.join(&place)).unwrap();
        assert_eq!(flake.matches("tool = \"/usr/local\"").count(), 1, "{flake}");
        levain.write(&place, &flake.replace("/usr/local", tool.to_str().unwrap()));
    }
    levain.commit("levain");
    format!("git+file://{}", levain.path.display())
}

/// Does what a section says, in an empty directory; returns what was printed.
fn follow(title: &str) -> String {
    let environment = Environment::new();
    let levain = checkout(&environment);
    let programs = environment.path("programs");
    fs::create_dir(&programs).unwrap();
    let program = env!("CARGO_BIN_EXE_levain");
    std::os::unix::fs::symlink(program, programs.join("levain")).unwrap();
    // Without rustup's own `rustc`, which needs a home with its settings.
    let rust = Path::new(env!("CARGO")).parent().unwrap().display().to_string();
    let path = format!("{}:{rust}:{}", programs.display(), std::env::var("PATH").unwrap());
    let environment = environment.with("levain", &levain).with("PATH", &path);
    let empty = environment.path("empty");
    fs::create_dir(&empty).unwrap();
    let script = code(&section(title), "sh");
    assert!(script.matches("levain run").count() == 2, "{script}");
    let ran = environment.run("bash", &empty, &["-euc", &script]).ok();
    format!("{}{}", ran.stdout, ran.stderr)
}

#[track_caller]
fn second_build_is_incremental(said: &str, unchanged: &str) {
    let first = said.find("0 fresh, 0 incremental, 1 clean, 0 failed").unwrap_or_else(|| {
        panic!("the first build is not clean:\n{said}");
    });
    assert!(said[first..].contains("0 fresh, 1 incremental, 0 clean, 0 failed"), "{said}");
    assert!(said.contains(&format!("sources {unchanged} unchanged, 1 changed, 0 new")), "{said}");
    assert!(said.contains("same as a clean build"), "{said}");
}

#[test]
fn a_stranger_makes_a_job_of_make_incremental() {
    let said = follow("make");
    second_build_is_incremental(&said, "3");
}

#[test]
fn a_stranger_makes_a_job_of_cargo_incremental() {
    let said = follow("cargo");
    second_build_is_incremental(&said, "5");
}

/// As much of nixpkgs as the tutorial's flake uses, with the stand-in for its `stdenv`.
const NIXPKGS: &str = r#"{
  outputs = { self }:
    let
      levain = { lib = import ./lib; package = import ./nix/levain-cache.nix; };
      pkgs = {
        stdenv = import ./stdenv;
        callPackage = package: _: package {
          lib = { cleanSource = path: path; licenses = { mit = "mit"; asl20 = "asl20"; }; };
          rustPlatform.buildRustPackage = arguments: builtins.deepSeq (builtins.removeAttrs arguments [ "src" ]) "@tool@";
        };
      };
    in {
      levainProject = levain.lib.mkProject {
        incremental = { enable = true; defaultBranch = true; };
      };
      @job@
    };
}
"#;

const MAKEFILE: &str = "\
app: main.o part.o
\t$(CC) -o $@ main.o part.o
%.o: %.c
\t@echo compiling $<
\t$(CC) -DPREFIX='\"$(PREFIX)\"' -c -o $@ $<
";

#[test]
fn the_job_with_nixpkgs_names_its_own_output_whatever_was_restored() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let tool = tool(&environment);
    copy_tree(&root().join("nix"), &repository.path.join("nix"));
    copy_tree(&root().join("tests/system/stdenv"), &repository.path.join("stdenv"));
    fs::copy(root().join("Cargo.toml"), repository.path.join("Cargo.toml")).unwrap();
    fs::copy(root().join("Cargo.lock"), repository.path.join("Cargo.lock")).unwrap();
    let job = code(&section("With nixpkgs"), "nix");
    // The stand-in has phases of its own, and no flags.
    let phases = "buildPhase = \"make PREFIX=$out\"; installPhase = \"cp app $out\";";
    assert_eq!(job.matches("makeFlags = [ \"PREFIX=${placeholder \"out\"}\" ];").count(), 1);
    let job = job.replace("makeFlags = [ \"PREFIX=${placeholder \"out\"}\" ];", phases);
    let flake = NIXPKGS.replace("@job@", &job).replace("@tool@", tool.to_str().unwrap());
    repository.write("flake.nix", &flake);
    repository.write("src/Makefile", MAKEFILE);
    let main =
        "#include <stdio.h>\nint part(void);\nint main(void) { puts(PREFIX); return part(); }\n";
    repository.write("src/main.c", main);
    repository.write("src/part.c", "int part(void) { return 0; }\n");

    let step = |message: &str, status: &str| {
        repository.commit(message);
        let report = repository.report(&[]);
        let job = &report["jobs"][0];
        let log = job["log"].as_str().map(|log| fs::read_to_string(log).unwrap());
        let log = log.unwrap_or_default();
        assert_eq!(job["status"], status, "{report:#}\n{log}");
        let out = job["outputs"]["out"].as_str().unwrap();
        let said = environment.run(out, &repository.path, &[]).stdout;
        assert_eq!(said.trim_end(), out, "{log}");
        log.matches("compiling ").count()
    };
    let edit = |number: u32| {
        repository.write("src/part.c", &format!("int part(void) {{ return {number} - 1; }}\n"));
    };
    assert_eq!(step("first", "clean"), 2);
    edit(1);
    assert_eq!(step("edit", "clean"), 2);
    let make = "settings = levain.lib.settings.make { }";
    let allowed = flake.replace(make, &format!("{make} // {{ allowOwnPaths = true; }}"));
    assert_ne!(allowed, flake);
    repository.write("flake.nix", &allowed);
    assert_eq!(step("allowed", "clean"), 2);
    for number in 2..4 {
        edit(number);
        assert_eq!(step("edit", "incremental"), 1);
    }
}

#[test]
fn the_package_of_levain_cache_is_what_nixpkgs_is_asked_for() {
    let environment = Environment::new();
    let repository = environment.repository("levain");
    copy_tree(&root().join("nix"), &repository.path.join("nix"));
    fs::copy(root().join("Cargo.toml"), repository.path.join("Cargo.toml")).unwrap();
    let expression = r#"
      let
        arguments = import ./nix/levain-cache.nix {
          lib = { cleanSource = toString; licenses = { mit = "mit"; asl20 = "asl20"; }; };
          rustPlatform.buildRustPackage = arguments: arguments;
        };
      in
      arguments // { cargoLock.lockFile = toString arguments.cargoLock.lockFile; }
    "#;
    let args = ["eval", "--impure", "--json", "--expr", expression];
    let asked = environment.run("nix", &repository.path, &args).ok().json();
    let here = repository.path.to_str().unwrap();
    assert_eq!(asked["src"], here);
    assert_eq!(asked["cargoLock"]["lockFile"], format!("{here}/Cargo.lock"));
    assert_eq!(asked["version"], env!("CARGO_PKG_VERSION"));

    // What cargo says of the directory that is built.
    let subdirectory = root().join(asked["buildAndTestSubdir"].as_str().unwrap());
    let environment = environment.with("CARGO_NET_OFFLINE", "true");
    let args = ["metadata", "--format-version=1", "--no-deps", "--locked"];
    let metadata = environment.run(env!("CARGO"), &subdirectory, &args).ok().json();
    let manifest = subdirectory.canonicalize().unwrap().join("Cargo.toml");
    let packages = metadata["packages"].as_array().unwrap();
    let package =
        packages.iter().find(|package| package["manifest_path"] == manifest.to_str().unwrap());
    let package = package.unwrap();
    assert_eq!(package["name"], asked["pname"]);
    let programs: Vec<_> = package["targets"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|target| target["kind"][0] == "bin")
        .map(|target| &target["name"])
        .collect();
    assert_eq!(programs, [&asked["meta"]["mainProgram"]]);
    // Everything comes from a registry, so that nixpkgs needs no hashes besides the lock file.
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(
        !lock.contains("source = \"git+"),
        "a dependency from git needs its hash in the package"
    );
}
