//! C, built by make, ninja, cmake and meson.

use super::{Toolchain, settings_line};
use crate::project::{LINKED_DIRECTORY, LINKED_FILE, Project, TARGETS, Tree};

/// make, with wildcards and an archive.
pub(crate) const MAKE: Toolchain = Toolchain {
    name: "make",
    short: 12,
    programs: &["cc", "make", "ar"],
    settings: r#"levain.lib.settings.make { paths = [ "build" ]; }"#,
    // The list of objects shows what stays of sources that are gone.
    build: "make -s CC=$compiler\n(cd build; find . | sort) > $out/files\ncp build/app $out\n./build/app > $out/printed",
    write: write_make,
    wrapper,
    printed: settings_line,
};

/// ninja, with an archive.
pub(crate) const NINJA: Toolchain = Toolchain {
    name: "ninja",
    short: 6,
    programs: &["cc", "ninja", "ar"],
    settings: "levain.lib.settings.ninja { }",
    build: "ninja --quiet\ncp build/app $out\n./build/app > $out/printed",
    write: write_ninja,
    wrapper,
    printed: settings_line,
};

/// cmake with ninja and wildcards.
pub(crate) const CMAKE: Toolchain = Toolchain {
    name: "cmake",
    short: 5,
    programs: &["cc", "cmake", "ninja"],
    settings: "levain.lib.settings.cmake { }",
    build: "export CC=$compiler\ncmake -S . -B build -G Ninja -DRECIPE=$recipe -DDEPENDENCY=$dependency > /dev/null\ncmake --build build > /dev/null\ncp build/app $out\n./build/app > $out/printed",
    write: write_cmake,
    wrapper,
    printed: settings_line,
};

/// meson.
pub(crate) const MESON: Toolchain = Toolchain {
    name: "meson",
    short: 5,
    programs: &["cc", "meson", "ninja"],
    settings: "levain.lib.settings.meson { }",
    build: "export CC=$compiler\nmeson setup --buildtype plain -Drecipe=$recipe -Ddependency=$dependency build > log || { cat log; exit 1; }\nninja -C build --quiet\ncp build/app $out\n./build/app > $out/printed",
    write: write_meson,
    wrapper,
    printed: settings_line,
};

fn wrapper(compiler: &str, number: u64) -> String {
    format!("exec {compiler} -DTOOLCHAIN={number} \"$@\"")
}

/// Writes everything but the build tool's own files.
fn write(project: &Project, tree: &mut Tree) {
    for (index, value) in project.interfaces.iter().enumerate() {
        if project.missing == Some(index) {
            continue;
        }
        let text = match index {
            0 => format!("#define INTERFACE0 {value}\n"),
            _ => format!(
                "#include \"current.h\"\n#include \"place/place.h\"\n#define INTERFACE1 ({value} + CURRENT + PLACE)\n"
            ),
        };
        tree.file(format!("src/interface{index}.h"), text);
    }
    for (number, target) in (1..).zip(TARGETS) {
        let text = format!("#define CURRENT {}\n", LINKED_FILE * number);
        tree.file(format!("src/variants/{target}.h"), text);
        let text = format!("#define PLACE {}\n", LINKED_DIRECTORY * number);
        tree.file(format!("src/places/{target}/place.h"), text);
    }
    tree.link("src/current.h", format!("variants/{}.h", TARGETS[project.links[0]]));
    tree.link("src/place", format!("places/{}", TARGETS[project.links[1]]));
    tree.file("src/module.h", MODULE);
    tree.file("src/main.c", MAIN);
    for (name, module) in &project.modules {
        let comments = "/* A comment. */\n".repeat(module.lines as usize);
        let interface = module.interface;
        let value = module.value;
        // No name in it, so that a renamed module keeps its content.
        let text = format!(
            "{comments}#include \"module.h\"\n#include \"interface{interface}.h\"\nMODULE({value}, INTERFACE{interface})\n"
        );
        tree.file(format!("src/{name}.c"), text);
    }
    tree.file("dependency/dependency.h", format!("#define DEPENDENCY {}\n", project.dependency));
}

const MODULE: &str = "\
struct entry { const char *name; long value, interface; struct entry *next; };
extern struct entry *entries;
#define MODULE(v, i) \\
  static struct entry entry = { __FILE__, v, i, 0 }; \\
  __attribute__((constructor)) static void add(void) { entry.next = entries; entries = &entry; }
";

const MAIN: &str = "\
#include <stdio.h>
#include <string.h>
#include <dependency.h>
#include \"module.h\"
#include \"interface0.h\"
#include \"interface1.h\"
#ifndef TOOLCHAIN
#define TOOLCHAIN 0
#endif
struct entry *entries;
int main(void) {
  printf(\"settings %d %d %d %d\\n\", FLAG, RECIPE, TOOLCHAIN, DEPENDENCY);
  for (struct entry *e = entries; e; e = e->next) {
    const char *slash = strrchr(e->name, '/'), *base = slash ? slash + 1 : e->name;
    printf(\"%.*s %ld %ld\\n\", (int)strcspn(base, \".\"), base, e->value, e->interface);
  }
  return 0;
}
";

fn write_make(project: &Project, tree: &mut Tree) {
    write(project, tree);
    let flag = project.flag;
    tree.file("src/Makefile", format!("FLAG := {flag}\n{MAKEFILE}"));
}

const MAKEFILE: &str = "\
objects := $(patsubst %.c,build/%.o,$(sort $(wildcard *.c)))
members := $(patsubst %.c,build/%.o,$(sort $(wildcard lib/*.c)))

build/app: $(objects) build/lib.a
\t$(CC) -o $@ $(objects) -Wl,--whole-archive build/lib.a -Wl,--no-whole-archive

build/lib.a: $(members)
\t@mkdir -p build
\trm -f $@
\tar rcsD $@ $(members)

build/%.o: %.c
\t@mkdir -p $(@D)
\t$(CC) -O1 -I. -I$(dependency) -DFLAG=$(FLAG) -DRECIPE=$(recipe) -MMD -c -o $@ $<

-include $(objects:.o=.d) $(members:.o=.d)
";

fn write_ninja(project: &Project, tree: &mut Tree) {
    write(project, tree);
    let mut text = format!(
        "builddir = build\n\
         rule cc\n  command = $$compiler -O1 -I. -I$$dependency -DFLAG={} -DRECIPE=$$recipe -MMD -MF $out.d -c -o $out $in\n  depfile = $out.d\n  deps = gcc\n\
         rule ar\n  command = rm -f $out && ar rcsD $out $in\n\
         rule link\n  command = $$compiler -o $out $objects -Wl,--whole-archive build/lib.a -Wl,--no-whole-archive\n",
        project.flag
    );
    let mut objects = vec!["build/main.o".to_owned()];
    let mut members = Vec::new();
    text += "build build/main.o: cc main.c\n";
    for name in project.modules.keys() {
        text += &format!("build build/{name}.o: cc {name}.c\n");
        let list = if name.starts_with("lib/") { &mut members } else { &mut objects };
        list.push(format!("build/{name}.o"));
    }
    let (objects, members) = (objects.join(" "), members.join(" "));
    text += &format!(
        "build build/lib.a: ar {members}\nbuild build/app: link {objects} build/lib.a\n  objects = {objects}\ndefault build/app\n"
    );
    tree.file("src/build.ninja", text);
}

fn write_cmake(project: &Project, tree: &mut Tree) {
    write(project, tree);
    let text = format!(
        "cmake_minimum_required(VERSION 3.20)\n\
         project(app C)\n\
         add_compile_definitions(FLAG={} RECIPE=${{RECIPE}})\n\
         include_directories(. ${{DEPENDENCY}})\n\
         file(GLOB objects CONFIGURE_DEPENDS *.c)\n\
         file(GLOB members CONFIGURE_DEPENDS lib/*.c)\n\
         add_library(members OBJECT empty.c ${{members}})\n\
         list(REMOVE_ITEM objects ${{CMAKE_SOURCE_DIR}}/empty.c)\n\
         add_executable(app ${{objects}} $<TARGET_OBJECTS:members>)\n",
        project.flag
    );
    tree.file("src/CMakeLists.txt", text);
    // A library of no files is an error.
    tree.file("src/empty.c", "typedef int nothing;\n");
}

fn write_meson(project: &Project, tree: &mut Tree) {
    write(project, tree);
    let list = |in_library: bool| {
        let names = project.modules.keys().filter(|name| name.starts_with("lib/") == in_library);
        names.map(|name| format!(", '{name}.c'")).collect::<String>()
    };
    let text = format!(
        "project('app', 'c')\n\
         add_project_arguments('-DFLAG={}', '-DRECIPE=' + get_option('recipe'), '-I' + get_option('dependency'), language: 'c')\n\
         members = static_library('members', 'empty.c'{})\n\
         executable('app', 'main.c'{}, link_whole: members)\n",
        project.flag,
        list(true),
        list(false)
    );
    tree.file("src/meson.build", text);
    tree.file("src/empty.c", "typedef int nothing;\n");
    tree.file(
        "src/meson_options.txt",
        "option('recipe', type: 'string')\noption('dependency', type: 'string')\n",
    );
}
