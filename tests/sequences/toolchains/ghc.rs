//! Haskell, built by `ghc --make`.

use super::{Toolchain, settings_line};
use crate::project::{LINKED_DIRECTORY, LINKED_FILE, Project, TARGETS, Tree};

/// GHC, with modules that are inlined into others, and one that the preprocessor puts together.
pub(crate) const GHC: Toolchain = Toolchain {
    name: "ghc",
    short: 4,
    programs: &["ghc", "nm"],
    settings: "levain.lib.settings.ghc { }",
    // Its programs are not the same bytes twice: tables of references come in an order that depends
    // on what was compiled in one go. What they do, and of which parts of which size they are, is.
    build: "export HOME=$PWD\nmkdir -p build\n\
        $compiler --make -v0 -O1 -outputdir build -o build/app $(cat flags) -DRECIPE=$recipe -i.:$dependency Main.hs\n\
        (cd build; find . | sort) > $out/files\n\
        nm -gS --defined-only build/app | cut -d ' ' -f 2- | sort > $out/symbols\n\
        ./build/app > $out/printed",
    write,
    wrapper: |compiler, number| format!("exec {compiler} -DTOOLCHAIN={number} \"$@\""),
    printed: settings_line,
};

fn write(project: &Project, tree: &mut Tree) {
    let module = |name: &str, value: u64| {
        format!("module {name} (value) where\n\nvalue :: Int\nvalue = {value}\n")
    };
    tree.file("dependency/Dependency.hs", module("Dependency", project.dependency));
    tree.file("src/flags", format!("-DFLAG={}\n", project.flag));
    for (index, value) in project.interfaces.iter().enumerate() {
        if project.missing == Some(index) {
            continue;
        }
        let text = match index {
            0 => module("Interface0", *value),
            _ => format!(
                "{{-# LANGUAGE CPP #-}}\nmodule Interface1 (value) where\n\nimport qualified Place.Place\n\n#include \"current.h\"\n\nvalue :: Int\nvalue = {value} + CURRENT + Place.Place.value\n"
            ),
        };
        tree.file(format!("src/Interface{index}.hs"), text);
    }
    for (number, target) in (1..).zip(TARGETS) {
        let text = format!("#define CURRENT {}\n", LINKED_FILE * number);
        tree.file(format!("src/variants/{target}.h"), text);
        let text = module("Place.Place", LINKED_DIRECTORY * number);
        tree.file(format!("src/places/{target}/Place.hs"), text);
    }
    tree.link("src/current.h", format!("variants/{}.h", TARGETS[project.links[0]]));
    tree.link("src/Place", format!("places/{}", TARGETS[project.links[1]]));

    let (mut imports, mut lines) = (String::new(), Vec::new());
    for (name, module) in &project.modules {
        let comments = "-- A comment.\n".repeat(module.lines as usize);
        let (value, interface) = (module.value, module.interface);
        let (place, base) = match name.strip_prefix("lib/") {
            Some(base) => ("Lib.", base),
            None => ("", name.as_str()),
        };
        // The language wants its name in it, so that a renamed module is another one.
        let full = format!("{place}{}", base.to_uppercase());
        let text = format!(
            "{comments}module {full} (line) where\n\nimport qualified Interface{interface}\n\nline :: (Int, Int)\nline = ({value}, Interface{interface}.value)\n"
        );
        tree.file(format!("src/{}.hs", full.replace('.', "/")), text);
        imports += &format!("import qualified {full}\n");
        lines.push(format!("(\"{base}\", {full}.line)"));
    }
    let main = MAIN.replace("@imports@", &imports).replace("@lines@", &lines.join(", "));
    tree.file("src/Main.hs", main);
}

const MAIN: &str = "\
{-# LANGUAGE CPP #-}
module Main (main) where

import qualified Dependency
import qualified Interface0
import qualified Interface1
@imports@
#ifndef TOOLCHAIN
#define TOOLCHAIN 0
#endif

needed :: Int
needed = min 0 (Interface0.value + Interface1.value)

main :: IO ()
main = do
  say (\"settings\", [FLAG, RECIPE, TOOLCHAIN + needed, Dependency.value])
  mapM_ (\\(name, (value, interface)) -> say (name, [value, interface])) [@lines@]
  where
    say :: (String, [Int]) -> IO ()
    say (name, numbers) = putStrLn (unwords (name : map show numbers))
";
