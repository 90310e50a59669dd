//! OCaml, built by dune: a program and a library.

use super::{Toolchain, settings_line};
use crate::project::{LINKED_DIRECTORY, LINKED_FILE, Project, TARGETS, Tree};

/// dune, with optimisation across modules.
pub(crate) const DUNE: Toolchain = Toolchain {
    name: "dune",
    short: 4,
    programs: &["dune", "ocamlopt"],
    settings: "levain.lib.settings.dune { }",
    build: "export HOME=$PWD RECIPE=$recipe\n\
        $compiler build --root . --profile release --display quiet ./main.exe\n\
        (cd _build/default; find . | sort) > $out/files\n\
        cp _build/default/main.exe $out/app\n$out/app > $out/printed",
    write,
    wrapper: |compiler, number| format!("TOOLCHAIN={number} exec {compiler} \"$@\""),
    printed: settings_line,
};

fn write(project: &Project, tree: &mut Tree) {
    tree.file("dependency/dependency", format!("let version = {}\n", project.dependency));
    tree.file("src/dune-project", "(lang dune 2.0)\n");
    tree.file("src/dune", DUNE_FILE);
    tree.file("src/flag", format!("let flag = {}\n", project.flag));
    tree.file("src/lib/dune", LIBRARY);
    for (index, value) in project.interfaces.iter().enumerate() {
        if project.missing == Some(index) {
            continue;
        }
        let sum = if index == 1 { " + Current.value + Place.value" } else { "" };
        tree.file(format!("src/lib/interface{index}.ml"), format!("let value = {value}{sum}\n"));
    }
    for (number, target) in (1..).zip(TARGETS) {
        let text = |value: u64| format!("let value = {}\n", value * number);
        tree.file(format!("src/lib/variants/{target}.ml"), text(LINKED_FILE));
        tree.file(format!("src/lib/places/{target}/place.ml"), text(LINKED_DIRECTORY));
    }
    tree.link("src/lib/current.ml", format!("variants/{}.ml", TARGETS[project.links[0]]));
    tree.link("src/lib/place", format!("places/{}", TARGETS[project.links[1]]));

    let mut lines = Vec::new();
    for (name, module) in &project.modules {
        let comments = "(* A comment. *)\n".repeat(module.lines as usize);
        let (value, interface) = (module.value, module.interface);
        let (library, base) = match name.strip_prefix("lib/") {
            Some(base) => ("Library.", base),
            None => ("", name.as_str()),
        };
        let from = if library.is_empty() { "Library." } else { "" };
        // No name in it, so that a renamed module keeps its content.
        let text = format!("{comments}let line = {value}, {from}Interface{interface}.value\n");
        tree.file(format!("src/{name}.ml"), text);
        lines.push(format!("\"{base}\", {library}{}.line", base.to_uppercase()));
    }
    tree.file("src/main.ml", MAIN.replace("@lines@", &lines.join("; ")));
}

const DUNE_FILE: &str = "\
(executable (name main) (libraries library))
(rule
 (targets settings.ml)
 (deps flag (env_var RECIPE) (env_var TOOLCHAIN) (env_var dependency))
 (action (with-stdout-to settings.ml (progn
  (cat flag)
  (echo \"let recipe = %{env:RECIPE=0}\\nlet toolchain = %{env:TOOLCHAIN=0}\\n\")
  (cat %{env:dependency=}/dependency)))))
";

const LIBRARY: &str = "\
(include_subdirs unqualified)
(dirs :standard \\ variants places)
(library (name library))
";

const MAIN: &str = "\
let () =
  Printf.printf \"settings %d %d %d %d\\n\" Settings.flag Settings.recipe Settings.toolchain Settings.version;
  List.iter
    (fun (name, (value, interface)) -> Printf.printf \"%s %d %d\\n\" name value interface)
    [ @lines@ ]

let _needed = Library.Interface0.value + Library.Interface1.value
";
