//! Rules for each file of code by itself.

use crate::{none, sources};

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = sources(&[".rs"])
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    none("every file opens with `//!` and what it is", &silent);
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for (ending, limit) in [(".rs", 800), (".nix", 200)] {
        for source in sources(&[ending]) {
            let lines = source.text.lines().count();
            if lines > limit && !source.path.ends_with("tests.rs") {
                long.push(format!("{} has {lines} lines, more than {limit}", source.path));
            }
        }
    }
    none("long files are taken apart", &long);
}

/// Words that say nothing, and words that compete with one of the glossary's.
const BANNED: [&str; 8] =
    ["helper", "helpers", "manager", "pipeline", "task", "util", "utils", "workflow"];

#[test]
fn names_are_the_glossarys() {
    let mut found = Vec::new();
    for source in sources(&[".rs", ".nix", ".sh"]) {
        for part in source.path.split(['/', '.']) {
            if words(part).iter().any(|word| BANNED.contains(&word.as_str())) {
                found.push(format!("{}: the path says `{part}`", source.path));
            }
        }
    }
    for source in sources(&[".rs"]) {
        for (index, line) in source.text.lines().enumerate() {
            let Some(name) = declared(line) else { continue };
            if words(name).iter().any(|word| BANNED.contains(&word.as_str())) {
                found.push(format!("{}:{}: `{name}`", source.path, index + 1));
            }
        }
    }
    none("names use the words of docs/glossary.md", &found);
}

/// Returns the name that a line declares, if it declares an item.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "pub" | "async" | "unsafe" | "extern" => {}
            _ if word.starts_with("pub(") => {}
            "fn" | "struct" | "enum" | "trait" | "type" | "mod" | "const" | "static" | "union" => {
                // As in `const fn name`.
                if words.peek() == Some(&"fn") {
                    continue;
                }
                let rest = words.next()?;
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                return Some(&rest[..end.unwrap_or(rest.len())]);
            }
            _ => return None,
        }
    }
    None
}

/// Returns the words of an identifier or file name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if c == '_' || c == '-' || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if let Some(last) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            last.extend(c.to_lowercase());
        }
    }
    words
}

#[test]
fn no_static_holds_state() {
    const CELLS: [&str; 8] =
        ["mut ", "Atomic", "Cell<", "LazyLock", "Mutex", "OnceLock", "RefCell", "RwLock"];
    let mut found = Vec::new();
    for source in sources(&[".rs"]) {
        for (index, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            let is_static = line
                .strip_prefix("static ")
                .is_some_and(|rest| CELLS.iter().any(|cell| rest.contains(cell)));
            if is_static || line.starts_with(concat!("thread_", "local!")) {
                found.push(format!("{}:{}: {line}", source.path, index + 1));
            }
        }
    }
    none("no `static` holds state", &found);
}

/// What levain shows was mostly written by others, and may be a secret: one file sees to both.
#[test]
fn the_program_writes_in_one_place() {
    const WAYS: [&str; 6] = ["io::stdout", "io::stderr", "println!", "print!(", "Stdout", "Stderr"];
    let mut found = Vec::new();
    for source in sources(&[".rs"]) {
        // Out of memory, nothing can be masked any more: what is said then is fixed text.
        if !source.path.starts_with("cli/src/")
            || ["cli/src/terminal.rs", "cli/src/memory.rs"].contains(&source.path.as_str())
        {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            if WAYS.iter().any(|way| line.contains(way)) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none("all that is shown goes through cli/src/terminal.rs", &found);
}

#[test]
fn declarations_are_understood() {
    for (line, name) in [
        ("pub(crate) async fn read_all(", Some("read_all")),
        ("    const LIMIT: usize = 1;", Some("LIMIT")),
        ("pub const fn new() -> Self {", Some("new")),
        ("struct Run<'a> {", Some("Run")),
        ("let run = 1;", None),
    ] {
        assert_eq!(declared(line), name, "{line}");
    }
    assert_eq!(words("JobReport"), ["job", "report"]);
    assert_eq!(words("read_all"), ["read", "all"]);
}
