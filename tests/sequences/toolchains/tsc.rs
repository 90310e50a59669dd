//! TypeScript. All that the compiler wrote is compared, not only what the program prints.

use super::Toolchain;
use crate::project::{LINKED_DIRECTORY, LINKED_FILE, Project, TARGETS, Tree};

/// tsc, with `incremental`.
pub(crate) const TSC: Toolchain = Toolchain {
    name: "tsc",
    short: 5,
    programs: &["tsc", "node"],
    settings: "levain.lib.settings.tsc { }",
    // What the compiler notes for itself may differ.
    build: "node=@node@\n\
        case $(head -n 1 $compiler) in *node*) set -- $node $compiler ;; *) set -- $compiler ;; esac\n\
        declaration=$((recipe % 2))\n\
        test $declaration = 0 || set -- \"$@\" --declaration\n\
        \"$@\" -p .\n\
        $node dist/main.js > $out/printed\n\
        cp -r dist $out/dist\nchmod -R u+w $out/dist\nrm $out/dist/.tsbuildinfo",
    write,
    wrapper: |compiler, number| {
        format!("exec @node@ {compiler} --target ES{} \"$@\"", 2015 + 2 * number)
    },
    // Flags and compilers change what is written, not what it prints.
    printed: |project| format!("settings {}", project.dependency),
};

fn write(project: &Project, tree: &mut Tree) {
    tree.file("dependency/unused", "");
    let comments = project.flag.is_multiple_of(2);
    let end = if project.flag > 2 { "lf" } else { "crlf" };
    tree.file(
        "src/tsconfig.json",
        format!(
            "{{\n  \"compilerOptions\": {{\n    \"incremental\": true,\n    \"tsBuildInfoFile\": \"dist/.tsbuildinfo\",\n    \"outDir\": \"dist\",\n    \"rootDir\": \"src\",\n    \"target\": \"ES2022\",\n    \"module\": \"commonjs\",\n    \"strict\": true,\n    \"types\": [],\n    \"removeComments\": {comments},\n    \"newLine\": \"{end}\"\n  }},\n  \"include\": [\"src\"]\n}}\n"
        ),
    );
    let package = "src/node_modules/dependency";
    tree.file(
        format!("{package}/package.json"),
        format!(
            "{{ \"name\": \"dependency\", \"version\": \"{}.0.0\", \"main\": \"index.js\", \"types\": \"index.d.ts\" }}\n",
            project.dependency
        ),
    );
    tree.file(
        format!("{package}/index.d.ts"),
        format!("export declare const version: {};\n", project.dependency),
    );
    tree.file(
        format!("{package}/index.js"),
        format!("exports.version = {};\n", project.dependency),
    );

    for (index, value) in project.interfaces.iter().enumerate() {
        if project.missing == Some(index) {
            continue;
        }
        // The type says the value, too: whoever takes it has to be checked again.
        let text = match index {
            0 => format!("export const value = {value};\n"),
            _ => format!(
                "import {{ current }} from \"./current\";\nimport {{ place }} from \"./place/place\";\nexport const value: number = {value} + current + place;\n"
            ),
        };
        tree.file(format!("src/src/interface{index}.ts"), text);
    }
    for (number, target) in (1..).zip(TARGETS) {
        let text = |name: &str, value: u64| format!("export const {name} = {};\n", value * number);
        tree.file(format!("src/src/variants/{target}.ts"), text("current", LINKED_FILE));
        tree.file(format!("src/src/places/{target}/place.ts"), text("place", LINKED_DIRECTORY));
    }
    tree.link("src/src/current.ts", format!("variants/{}.ts", TARGETS[project.links[0]]));
    tree.link("src/src/place", format!("places/{}", TARGETS[project.links[1]]));

    let mut main = String::from(
        "import { version } from \"dependency\";\nimport { value as value0 } from \"./interface0\";\nimport { value as value1 } from \"./interface1\";\ndeclare const console: { log(...words: unknown[]): void };\nconst needed: number = value0 + value1;\nconsole.log(\"settings\", version ?? needed);\n",
    );
    for (name, module) in &project.modules {
        let comments = "// A comment.\n".repeat(module.lines as usize);
        let (value, interface) = (module.value, module.interface);
        let (up, base) =
            name.split_once('/').map_or(("./", name.as_str()), |(_, base)| ("../", base));
        let text = format!(
            "{comments}import {{ value }} from \"{up}interface{interface}\";\n/* kept */\nexport const line = [{value}, value ?? 0] as const;\n"
        );
        tree.file(format!("src/src/{name}.ts"), text);
        main += &format!(
            "import {{ line as {base} }} from \"./{name}\";\nconsole.log(\"{base}\", ...{base});\n"
        );
    }
    tree.file("src/src/main.ts", main);
}
