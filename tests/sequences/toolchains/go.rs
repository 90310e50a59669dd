//! Go, which decides by content: a module of a few packages.

use super::{Toolchain, settings_line};
use crate::project::{LINKED_DIRECTORY, LINKED_FILE, Project, TARGETS, Tree};

/// Go.
pub(crate) const GO: Toolchain = Toolchain {
    name: "go",
    short: 4,
    programs: &["go"],
    settings: "levain.lib.settings.go { }",
    // Without a single import even a clean build is quick: only the runtime is compiled.
    build: "export HOME=$PWD GOPROXY=off GOSUMDB=off GOTOOLCHAIN=local CGO_ENABLED=0\n\
        $compiler build -buildvcs=false -ldflags \"-X main.flag=$(cat flag) -X main.recipe=$recipe\" -o $out/app .\n\
        $out/app 2> $out/printed",
    write,
    wrapper: |compiler, number| {
        format!("verb=$1\nshift\nexec {compiler} $verb -tags toolchain{number} \"$@\"")
    },
    printed: settings_line,
};

fn write(project: &Project, tree: &mut Tree) {
    tree.file("dependency/unused", "");
    tree.file("src/flag", project.flag.to_string());
    tree.file(
        "src/go.mod",
        "module example.org/app\n\ngo 1.19\n\nrequire example.org/dependency v0.0.0\n\nreplace example.org/dependency => ./dependency\n",
    );
    tree.file("src/dependency/go.mod", "module example.org/dependency\n\ngo 1.19\n");
    tree.file(
        "src/dependency/dependency.go",
        format!("package dependency\n\nconst Version = \"{}\"\n", project.dependency),
    );
    tree.file("src/main.go", MAIN);
    for number in 0..3 {
        let constraint = match number {
            0 => "!toolchain1 && !toolchain2".to_owned(),
            number => format!("toolchain{number}"),
        };
        tree.file(
            format!("src/toolchain{number}.go"),
            format!("//go:build {constraint}\n\npackage main\n\nconst toolchain = \"{number}\"\n"),
        );
    }
    for (index, value) in project.interfaces.iter().enumerate() {
        if project.missing == Some(index) {
            continue;
        }
        let sum = if index == 1 { " + current + place" } else { "" };
        let text = format!("package interface{index}\n\nconst Value = {value}{sum}\n");
        tree.file(format!("src/interface{index}/value.go"), text);
    }
    for (number, target) in (1..).zip(TARGETS) {
        let text = |name: &str, value: u64| {
            format!("package interface1\n\nconst {name} = {}\n", value * number)
        };
        tree.file(format!("src/_variants/{target}.go"), text("current", LINKED_FILE));
        tree.file(format!("src/_places/{target}/place.go"), text("place", LINKED_DIRECTORY));
    }
    // Go follows no links to directories, but links through them.
    tree.link(
        "src/interface1/current.go",
        format!("../_variants/{}.go", TARGETS[project.links[0]]),
    );
    tree.link("src/interface1/place.go", "../_place/place.go");
    tree.link("src/_place", format!("_places/{}", TARGETS[project.links[1]]));

    tree.file("src/lib/lib.go", "package lib\n");
    for (name, module) in &project.modules {
        let comments = "// A comment.\n".repeat(module.lines as usize);
        let (value, interface) = (module.value, module.interface);
        let (package, base) =
            name.split_once('/').map_or(("main", name.as_str()), |(_, base)| ("lib", base));
        let text = format!(
            "{comments}\npackage {package}\n\nimport \"example.org/app/interface{interface}\"\n\nfunc init() {{\n\tprintln(\"{base}\", {value}, interface{interface}.Value)\n}}\n"
        );
        tree.file(format!("src/{name}.go"), text);
    }
}

const MAIN: &str = "\
package main

import (
\t\"example.org/app/interface0\"
\t\"example.org/app/interface1\"
\t_ \"example.org/app/lib\"
\t\"example.org/dependency\"
)

const needed = interface0.Value + interface1.Value

var flag, recipe string

func main() {
\tprintln(\"settings\", flag, recipe, toolchain, dependency.Version)
}
";
