//! Rules about what must not stand in any file: traces of one machine, hosts of registries.

use crate::{none, sources};

/// Returns whether a line has a path that begins with `path`, and not only in the middle of another.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"/._-".contains(c))
    })
}

#[test]
fn no_file_knows_one_machine() {
    // In two parts, so that this file keeps its own rule.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/runner")];
    let hosts = [
        concat!("crates", ".io"),
        concat!("rust-lang", ".org"),
        concat!("np", "mjs"),
        concat!("py", "pi.org"),
        concat!("proxy.gol", "ang.org"),
    ];
    let mut found = Vec::new();
    for source in sources(&[]) {
        if source.path == "Cargo.lock" {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            if paths.iter().any(|path| names(line, path))
                || hosts.iter().any(|host| line.contains(host))
            {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none("no file names a registry's host or a path of one machine", &found);
}

#[test]
fn the_lock_file_names_the_usual_registry_only() {
    let usual = concat!("\"registry+https://git", "hub.com/rust-lang/crates", ".io-index\"");
    let lock = sources(&["Cargo.lock"]);
    let other: Vec<String> = lock
        .iter()
        .flat_map(|source| source.text.lines())
        .filter(|line| line.starts_with("source = ") && !line.ends_with(usual))
        .map(str::to_owned)
        .collect();
    none("every dependency comes from the usual registry", &other);
}
