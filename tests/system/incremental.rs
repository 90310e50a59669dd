//! `levain.lib.incremental` with `levain-cache` and make: only what an edit concerns is compiled, and
//! every result is that of a clean build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::environment::{Environment, Repository, copy_tree};

const JOBS: [&str; 2] = ["x86_64-linux.phases", "x86_64-linux.plain"];

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      levain.lib = import ./lib;
      incremental = job: levain.lib.incremental {
        inherit job;
        cache = ./cache.nix;
        tool = "@tool@";
        settings = levain.lib.settings.make { };
      };
      src = levain.lib.source ./src;
    in {
      levainProject = levain.lib.mkProject {
        incremental = { enable = true; defaultBranch = true; };
      };
      levainJobs.x86_64-linux = {
        plain = incremental "x86_64-linux.plain" (derivation {
          name = "plain";
          system = "x86_64-linux";
          builder = "/bin/sh";
          args = [ ./build.sh ];
          inherit src;
        });
        phases = incremental "x86_64-linux.phases" ((import ./stdenv).mkDerivation {
          name = "phases";
          configurePhase = "mkdir -p build; cd build";
          buildPhase = "make -C .. --no-print-directory $(cat ${./flags})";
          installPhase = "cp app $out";
          inherit src;
        });
      };
    };
}
"#;

const BUILD: &str =
    "export PATH=/usr/bin:/bin\nmkdir -p build\nmake || exit\ncp build/app $out\nexit 0\n";

const MAKEFILE: &str = "\
objects := $(patsubst %.c,build/%.o,$(wildcard *.c))

build/app: $(objects)
\t@echo linking
\t@$(CC) -o $@ $(objects)

build/%.o: %.c
\t@echo compiling $<
\t@$(CC) -O1 -MMD -c -o $@ $<

-include $(objects:.o=.d)
";

/// Returns a directory with `bin/levain-cache`, built from this very source.
pub(crate) fn tool(environment: &Environment) -> PathBuf {
    let levain = Path::new(env!("CARGO_BIN_EXE_levain"));
    let profile = levain.parent().unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests start the real programs")]
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "levain-cache", "--bin", "levain-cache"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let tool = environment.path("tool");
    fs::create_dir_all(tool.join("bin")).unwrap();
    // A copy: another test may be building.
    fs::copy(profile.join("levain-cache"), tool.join("bin/levain-cache")).unwrap();
    tool
}

fn project(environment: &Environment) -> Repository<'_> {
    let repository = environment.repository("project");
    let tool = tool(environment);
    repository.write("flake.nix", &FLAKE.replace("@tool@", tool.to_str().unwrap()));
    for name in ["default.nix", "setup.sh"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/system/stdenv").join(name);
        repository.write(&format!("stdenv/{name}"), &fs::read_to_string(file).unwrap());
    }
    repository.write("build.sh", BUILD);
    repository.write("flags", "");
    repository.write("src/Makefile", MAKEFILE);
    repository.write("src/value.h", "#define VALUE 1\nint f(void);\n");
    repository.write("src/main.c", "#include \"value.h\"\nint main(void) { return f(); }\n");
    repository.write("src/f.c", "#include \"value.h\"\nint f(void) { return VALUE; }\n");
    repository.write("src/g.c", "int g(void) { return 2; }\n");
    repository
}

/// Builds the commit, and everything clean beside it: the outputs must be equal byte for byte.
/// Returns what each job says of its build: its status, and which files were compiled.
#[track_caller]
fn step(repository: &Repository<'_>, message: &str) -> Vec<(String, Vec<String>)> {
    repository.commit(message);
    let report = repository.report(&[]);
    let jobs = report["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), JOBS.len(), "{report:#}");
    jobs.iter().map(|job| built(repository, job)).collect()
}

#[track_caller]
fn built(repository: &Repository<'_>, job: &Value) -> (String, Vec<String>) {
    // A fresh job has none.
    let log = job["log"].as_str().map(|log| fs::read_to_string(log).unwrap()).unwrap_or_default();
    let out = job["outputs"]["out"].as_str().unwrap_or_else(|| panic!("{job:#}\n{log}"));
    let base = format!("{}!out", job["baseDrvPath"].as_str().unwrap());
    let clean = repository.environment.run("nix-store", &repository.path, &["--realise", &base]);
    let clean = clean.ok().stdout;
    assert!(fs::read(out).unwrap() == fs::read(clean.trim()).unwrap(), "{job:#}\n{log}");
    let compiled = log.lines().filter_map(|line| line.strip_prefix("compiling "));
    let mut compiled: Vec<_> = compiled.map(str::to_owned).collect();
    compiled.sort();
    (job["status"].as_str().unwrap().to_owned(), compiled)
}

/// What both jobs say.
fn both(status: &str, compiled: &[&str]) -> Vec<(String, Vec<String>)> {
    let compiled: Vec<String> = compiled.iter().map(|&name| name.to_owned()).collect();
    vec![(status.to_owned(), compiled); JOBS.len()]
}

#[test]
fn only_what_an_edit_concerns_is_compiled() {
    let environment = Environment::new();
    let repository = project(&environment);
    assert_eq!(step(&repository, "first"), both("clean", &["f.c", "g.c", "main.c"]));

    repository.write("src/g.c", "int g(void) { return 3; }\n");
    assert_eq!(step(&repository, "same size"), both("incremental", &["g.c"]));

    repository.write("src/value.h", "#define VALUE 7\nint f(void);\n");
    assert_eq!(step(&repository, "header"), both("incremental", &["f.c", "main.c"]));

    repository.write("src/g.c", "int g(void) { return 2; }\n");
    assert_eq!(step(&repository, "older content"), both("incremental", &["g.c"]));

    repository.write("src/h.c", "int h(void) { return 4; }\n");
    assert_eq!(step(&repository, "new"), both("incremental", &["h.c"]));

    // The wildcard would go on linking its object.
    repository.git(&["rm", "--quiet", "src/g.c"]);
    assert_eq!(step(&repository, "gone"), both("clean", &["f.c", "h.c", "main.c"]));

    // make does not depend on its Makefile.
    repository.write("src/Makefile", &MAKEFILE.replace("-O1", "-O2"));
    assert_eq!(step(&repository, "flag"), both("clean", &["f.c", "h.c", "main.c"]));

    repository.write("src/main.c", "#include \"value.h\"\nint main(void) { return 1 + f(); }\n");
    assert_eq!(step(&repository, "after all that"), both("incremental", &["main.c"]));

    let audited = repository.levain(&["audit", "--format", "json"]).ok().json();
    let verdicts: Vec<_> = audited.as_array().unwrap().iter().map(|job| &job["verdict"]).collect();
    assert_eq!(verdicts, ["same", "same"], "{audited:#}");
}

/// Builds the commit as [`step`] does, and returns how many commands each job skipped.
#[track_caller]
fn skipped(repository: &Repository<'_>, message: &str) -> Vec<usize> {
    repository.commit(message);
    let report = repository.report(&[]);
    let jobs = report["jobs"].as_array().unwrap();
    let count = |job: &Value| {
        built(repository, job);
        let said = job["cacheSets"].as_array().unwrap().iter().filter_map(Value::as_str);
        let mut counts = said.filter_map(|line| line.strip_prefix("restored commands: "));
        let count = counts.next().and_then(|line| line.split(' ').next());
        count.map_or(0, |count| count.parse().unwrap())
    };
    jobs.iter().map(count).collect()
}

#[test]
fn jobs_without_settings_skip_commands() {
    let environment = Environment::new();
    let repository = project(&environment);
    let flake = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    let settings = "        settings = levain.lib.settings.make { };\n";
    assert!(flake.contains(settings));
    repository.write("flake.nix", &flake.replace(settings, ""));
    assert_eq!(skipped(&repository, "first"), [0, 0]);

    // Two of three files are compiled to what they were.
    repository.write("src/g.c", "int g(void) { return 3; }\n");
    assert_eq!(skipped(&repository, "same size"), [2, 2]);

    // The program does not use it.
    repository.write("src/g.c", "int g(void) { return 3; }\n\n");
    let counts = skipped(&repository, "same object");
    assert!(counts.iter().all(|count| *count >= 2), "{counts:?}");

    // With all that comes after it: nothing of the last build is there.
    repository.git(&["rm", "--quiet", "src/g.c"]);
    assert_eq!(skipped(&repository, "gone"), [2, 2]);

    // What includes it is compiled.
    repository.write("src/value.h", "#define VALUE 7\nint f(void);\n");
    assert_eq!(skipped(&repository, "header"), [0, 0]);

    // It hides the other.
    repository.write("src/h/value.h", "#define VALUE 9\nint f(void);\n");
    repository.write("src/Makefile", &MAKEFILE.replace("-O1", "-O1 -Ih"));
    skipped(&repository, "hidden");

    repository.write("src/main.c", "int main(void) { exit(\n");
    repository.commit("broken");
    let ran = repository.levain(&["run"]).code(1);
    assert!(ran.stdout.contains("2 failed"), "{ran:?}");
}

#[test]
fn a_job_that_restored_nothing_is_clean_and_says_why() {
    let environment = Environment::new();
    let repository = project(&environment);
    step(&repository, "first");
    repository.write("src/Makefile", &MAKEFILE.replace("-O1", "-O2"));
    repository.commit("flag");
    let ran = repository.levain(&["run"]).ok();
    let said = "nothing restored from the cache of ";
    assert!(ran.stdout.contains(said) && ran.stdout.contains("0 incremental, 2 clean"), "{ran:?}");
    repository.write("src/Makefile", &MAKEFILE.replace("-O1", "-O0"));
    repository.commit("another flag");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["incremental"], 0, "{report:#}");
    for job in report["jobs"].as_array().unwrap() {
        assert_eq!((&job["status"], &job["reason"]), (&"clean".into(), &"not-restored".into()));
        assert_eq!(job["reasonDetail"], "the definition file `Makefile` is changed");
        // A cache was among its inputs all the same, and the next one is deeper.
        assert_eq!(job["caches"][0]["depth"], 1);
    }
    let list = repository.levain(&["cache", "list", "--format", "json"]).ok().json();
    assert_eq!(list[0]["depth"], 2, "{list:#}");
}

#[test]
fn a_job_that_keeps_its_own_path_builds_clean_unless_it_may() {
    let environment = Environment::new();
    let repository = project(&environment);
    let flake = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    let flags = MAKEFILE.replace("-O1", "-O1 -DPREFIX='\"$(out)\"'");
    repository.write("src/Makefile", &flags);
    let show =
        "#include \"value.h\"\nint puts(const char *);\nint f(void) { return puts(PREFIX); }\n";
    repository.write("src/f.c", show);
    let run = |message: &str| {
        repository.commit(message);
        let report = repository.report(&[]);
        let of = |job: &Value| {
            let out = job["outputs"]["out"].as_str().unwrap().to_owned();
            let shown = environment.run(&out, &repository.path, &[]).stdout;
            assert_eq!(shown.trim(), out, "{job:#}");
            (job["status"].clone(), job["reasonDetail"].as_str().unwrap_or_default().to_owned())
        };
        report["jobs"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    run("first");
    repository.write("src/g.c", "int g(void) { return 3; }\n");
    for (status, detail) in run("edit") {
        assert_eq!(status, "clean");
        let names = "`build/app` names the build's own output `out`, and that path differs";
        assert!(detail.starts_with(names), "{detail}");
        assert!(
            detail.ends_with("`allowOwnPaths` in the job's settings would restore it all the same")
        );
    }
    let allowed = "levain.lib.settings.make { } // { allowOwnPaths = true; }";
    repository.write("flake.nix", &flake.replace("levain.lib.settings.make { }", allowed));
    run("allowed");
    repository.write("src/g.c", "int g(void) { return 4; }\n");
    assert_eq!(run("edit again"), vec![("incremental".into(), String::new()); 2]);
}

#[test]
fn a_recipe_of_the_project_is_no_source_to_compare() {
    let environment = Environment::new();
    let repository = project(&environment);
    repository.write("src/Makefile", &MAKEFILE.replace("-O1", "$(FLAGS)"));
    step(&repository, "first");
    repository.write("build.sh", &BUILD.replace("make", "make FLAGS=-DVALUES"));
    let jobs = step(&repository, "flag");
    assert_eq!(jobs[0], both("fresh", &[])[0]);
    assert_eq!(jobs[1], both("clean", &["f.c", "g.c", "main.c"])[1]);
    // Inside a text, which levain by itself would take for a source.
    repository.write("flags", "FLAGS=-DVALUES");
    let jobs = step(&repository, "flag of the phases");
    assert_eq!(jobs[0], both("clean", &["f.c", "g.c", "main.c"])[0]);
    assert_eq!(jobs[1], both("fresh", &[])[1]);
}

#[test]
fn sources_beside_the_directory_of_the_build_are_not_overlooked() {
    let environment = Environment::new();
    let repository = project(&environment);
    let flake = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    let flake =
        flake.replace("name = \"phases\";", "name = \"phases\"; sourceRoot = \"source/sub\";");
    let flake = flake.replace("src = levain.lib.source ./src;", "src = levain.lib.source ./.;");
    repository.write("flake.nix", &flake);
    repository.write("build.sh", &format!("cd src\n{BUILD}"));
    for name in ["Makefile", "main.c", "f.c", "g.c"] {
        let text = fs::read_to_string(repository.path.join("src").join(name)).unwrap();
        repository.write(&format!("sub/{name}"), &text.replace("value.h", "../src/value.h"));
    }
    step(&repository, "first");
    repository.write("sub/g.c", "int g(void) { return 3; }\n");
    assert_eq!(step(&repository, "inside")[0], both("incremental", &["g.c"])[0]);
    repository.write("src/value.h", "#define VALUE 7\nint f(void);\n");
    let jobs = step(&repository, "beside");
    assert_eq!(jobs[0], both("clean", &["f.c", "g.c", "main.c"])[0]);
    assert_eq!(jobs[1], both("incremental", &["f.c", "main.c"])[1]);
}

#[test]
fn a_recipe_in_the_sources_is_read_from_the_store_and_counts() {
    let environment = Environment::new();
    let repository = project(&environment);
    let flake = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    repository.write("flake.nix", &flake.replace("./build.sh", "\"${src}/build.sh\""));
    repository.write("src/Makefile", &MAKEFILE.replace("-O1", "$(FLAGS)"));
    repository.write("src/build.sh", BUILD);
    step(&repository, "first");
    repository.write("src/build.sh", &BUILD.replace("make", "make FLAGS=-DVALUES"));
    assert_eq!(step(&repository, "flag")[1], both("clean", &["f.c", "g.c", "main.c"])[1]);
}

#[test]
fn a_failing_program_is_a_failing_build() {
    let environment = Environment::new();
    let repository = project(&environment);
    step(&repository, "first");
    repository.write("src/g.c", "broken\n");
    repository.commit("broken");
    let report = repository.report(&[]);
    assert_eq!(report["counters"]["failed"], 2, "{report:#}");
    repository.write("src/g.c", "int g(void) { return 5; }\n");
    assert_eq!(step(&repository, "repaired"), both("incremental", &["g.c"]));
}

#[test]
fn the_template_is_a_project_that_works() {
    let environment = Environment::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let levain = environment.repository("levain");
    for name in ["lib", "nix", "templates"] {
        copy_tree(&root.join(name), &levain.path.join(name));
    }
    fs::copy(root.join("flake.nix"), levain.path.join("flake.nix")).unwrap();
    let revision = levain.commit("levain");
    let url = format!("git+file://{}?rev={revision}", levain.path.display());

    let path = environment.path("mine");
    fs::create_dir(&path).unwrap();
    let mine = Repository { environment: &environment, path };
    mine.git(&["init", "--quiet"]);
    environment.run("nix", &mine.path, &["flake", "init", "--template", &url]).ok();
    let tool = tool(&environment);
    let flake = fs::read_to_string(mine.path.join("flake.nix")).unwrap();
    for name in ["\"github:levain-ci/levain\"", "\"/usr/local\""] {
        assert!(flake.contains(name), "{flake}");
    }
    let flake = flake.replace("github:levain-ci/levain", &url);
    mine.write("flake.nix", &flake.replace("/usr/local", tool.to_str().unwrap()));
    mine.git(&["add", "--all"]);
    environment.run("nix", &mine.path, &["flake", "lock"]).ok();
    mine.commit("first");
    let report = mine.report(&[]);
    assert_eq!(report["counters"]["clean"], 1, "{report:#}");

    // By default the default branch builds clean, and every other starts from what it left.
    mine.git(&["checkout", "--quiet", "-b", "topic"]);
    let greeting = fs::read_to_string(mine.path.join("src/greeting.c")).unwrap();
    mine.write("src/greeting.c", &greeting.replace("dough", "bread"));
    mine.commit("edit");
    let report = mine.report(&[]);
    assert_eq!(report["counters"]["incremental"], 1, "{report:#}");
    let log = fs::read_to_string(report["jobs"][0]["log"].as_str().unwrap()).unwrap();
    assert!(log.contains("greeting.c") && !log.contains("main.c"), "{log}");
    let app = format!("{}/bin/app", report["jobs"][0]["outputs"]["out"].as_str().unwrap());
    assert_eq!(environment.run(&app, &mine.path, &[]).ok().stdout, "hello, bread\n");
    let audited = mine.levain(&["audit", "--format", "json"]).ok().json();
    assert_eq!(audited[0]["verdict"], "same", "{audited:#}");
}

/// Copies whatever program lies there, as those do who do not know the names.
const CARGO_FLAKE: &str = r#"{
  outputs = { self }:
    let levain.lib = import ./lib;
    in {
      levainProject = levain.lib.mkProject {
        incremental = { enable = true; defaultBranch = true; };
      };
      levainJobs.x86_64-linux.app = levain.lib.incremental
        {
          job = "x86_64-linux.app";
          cache = ./cache.nix;
          tool = "@tool@";
          settings = levain.lib.settings.cargo { };
        }
        (derivation {
          name = "cargo";
          system = "x86_64-linux";
          builder = "/bin/sh";
          args = [
            "-c"
            ''
              export PATH=@cargo@:/usr/bin:/bin CARGO_HOME=$NIX_BUILD_TOP/home CARGO_TERM_COLOR=never
              cargo build --offline || exit
              mkdir $out
              find target/debug -maxdepth 1 -type f -executable -exec cp {} $out ';'
              exit 0
            ''
          ];
          src = levain.lib.source ./src;
        });
    };
}
"#;

#[test]
fn cargo_compiles_what_changed_and_leaves_no_old_program() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let cargo = Path::new(env!("CARGO")).parent().unwrap().to_str().unwrap();
    let tool = tool(&environment);
    let flake = CARGO_FLAKE.replace("@cargo@", cargo).replace("@tool@", tool.to_str().unwrap());
    repository.write("flake.nix", &flake);
    let package = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    repository.write("src/Cargo.toml", "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n");
    repository
        .write("src/a/Cargo.toml", &(package("a") + "[dependencies]\nb = { path = \"../b\" }\n"));
    repository.write("src/a/src/main.rs", "fn main() { println!(\"{}\", b::one()); }\n");
    repository.write("src/a/src/bin/more.rs", "fn main() {}\n");
    repository.write("src/b/Cargo.toml", &package("b"));
    repository.write("src/b/src/lib.rs", "pub fn one() -> u32 { 1 }\n");

    let step = |message: &str| {
        repository.commit(message);
        let report = repository.report(&[]);
        let job = &report["jobs"][0];
        let log = fs::read_to_string(job["log"].as_str().unwrap()).unwrap();
        let out = job["outputs"]["out"].as_str().unwrap_or_else(|| panic!("{log}"));
        let names = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        (log.matches("Compiling ").count(), names)
    };
    assert_eq!(step("first"), (2, vec!["a".to_owned(), "more".to_owned()]));
    repository.write("src/a/src/main.rs", "fn main() { println!(\"{}\", b::one() + 1); }\n");
    assert_eq!(step("edit"), (1, vec!["a".to_owned(), "more".to_owned()]));
    repository.git(&["rm", "--quiet", "src/a/src/bin/more.rs"]);
    assert_eq!(step("gone").1, ["a"]);
    let audited = repository.levain(&["audit", "--format", "json"]).ok().json();
    assert_eq!(audited[0]["verdict"], "same", "{audited:#}");
}
