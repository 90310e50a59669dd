//! The builtins as a document: one table for each topic, written from the code.
//!
//! A test compares `docs/builtins.md` with [`markdown`]. Start there.

use std::fmt::Write as _;

use super::{Builtin, LANG_VERSION, NIX_VERSION, Scope, TOPICS};

/// Names in `builtins` that are values and no functions: name, scope, value.
pub(super) const CONSTANTS: &[(&str, Scope, &str)] = &[
    ("builtins", Scope::Global, "The set of all builtins, itself among them."),
    ("currentSystem", Scope::Prefixed, "The system of this machine; absent in pure evaluation."),
    ("currentTime", Scope::Prefixed, "The seconds since 1970; absent in pure evaluation."),
    ("derivation", Scope::Global, "A function: a derivation with its outputs, from attributes."),
    ("false", Scope::Global, "The Boolean `false`."),
    ("langVersion", Scope::Prefixed, "The version of the language."),
    ("nixPath", Scope::Prefixed, "The search path as a list; empty in pure evaluation."),
    ("nixVersion", Scope::Prefixed, "The version of Nix whose language this is."),
    ("null", Scope::Global, "The value `null`."),
    ("storeDir", Scope::Prefixed, "The directory of the store."),
    ("true", Scope::Global, "The Boolean `true`."),
];

/// What Nix has and this evaluator has not, with the reason.
const ABSENT: &[(&str, &str)] = &[
    ("exec", "runs programs; Nix has it only with `allow-unsafe-native-code-during-evaluation`"),
    ("importNative", "loads machine code; Nix has it only with the same setting"),
    ("outputOf", "only with the experimental feature `dynamic-derivations`"),
    ("fetchFinalTree", "internal to Nix; calling a flake uses our own, which no program can name"),
];

/// Builtins that do less than Nix's, with what is left.
const LIMITS: &[(&str, &str)] = &[
    ("fetchClosure", "from the store only"),
    ("fetchGit", "from the store, or a commit of a repository on this machine"),
    ("fetchMercurial", "refused: nothing tells where in the store it would be"),
    ("fetchTarball", "from the store only, by its hash"),
    ("fetchTree", "from the store by its `narHash`, or from this machine"),
    ("fetchurl", "from the store only, by its hash"),
    ("getFlake", "on this machine, with a lock file; nothing is locked anew"),
    ("import", "outputs of derivations only if they are in the store"),
];

/// Returns the whole document.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Builtins\n\n\
         This page is written by the code; `UPDATE_EXPECT=1 cargo test -p levain-evaluator --test it` writes it again.\n",
    );
    let _always = write!(
        text,
        "The embedded evaluator has the language of Nix {NIX_VERSION} (version {LANG_VERSION} of the language), \
         with every builtin that needs no experimental feature.\n\
         A builtin is an attribute of `builtins`; the column \"variable\" says under which name it can be used without.\n\
         The status \"as Nix\" means that no difference is known; `docs/evaluator.md` says how that is tested.\n\
         Reading an output of a derivation, by `readFile` and the like, is limited as `import` is.\n"
    );
    for (topic, builtins) in TOPICS {
        heading(&mut text, topic, &["builtin", "variable", "meaning", "status"]);
        let mut sorted: Vec<&Builtin> = builtins.iter().collect();
        sorted.sort_by_key(|builtin| builtin.name);
        for builtin in sorted {
            let call = format!("{} {}", builtin.name, builtin.parameters.join(" "));
            let variable = variable(builtin.name, builtin.scope);
            row(&mut text, &[&code(&call), &code(&variable), builtin.about, status(builtin.name)]);
        }
    }
    heading(&mut text, "Constants", &["constant", "variable", "meaning"]);
    for (name, scope, about) in CONSTANTS {
        row(&mut text, &[&code(name), &code(&variable(name, *scope)), about]);
    }
    heading(&mut text, "Absent", &["builtin", "reason"]);
    for (name, reason) in ABSENT {
        row(&mut text, &[&code(name), reason]);
    }
    text
}

/// Returns the name under which a builtin is in scope everywhere.
pub(super) fn variable(name: &str, scope: Scope) -> String {
    match scope {
        Scope::Global => name.to_owned(),
        Scope::Prefixed => format!("__{name}"),
    }
}

fn status(name: &str) -> &'static str {
    LIMITS.iter().find(|(limited, _)| *limited == name).map_or("as Nix", |(_, limit)| limit)
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn heading(text: &mut String, title: &str, columns: &[&str]) {
    let _always = write!(text, "\n## {title}\n\n");
    row(text, columns);
    let rules: Vec<&str> = columns.iter().map(|_| "---").collect();
    row(text, &rules);
}

fn row(text: &mut String, cells: &[&str]) {
    let _always = writeln!(text, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_of_builtins_that_exist() {
        let known: Vec<&str> =
            TOPICS.iter().flat_map(|(_, builtins)| *builtins).map(|builtin| builtin.name).collect();
        for (name, _) in LIMITS {
            assert!(known.contains(name), "`{name}` is no builtin");
        }
        for (name, _) in ABSENT {
            assert!(!known.contains(name), "`{name}` is a builtin after all");
        }
        for builtin in TOPICS.iter().flat_map(|(_, builtins)| *builtins) {
            assert_eq!(builtin.arity, builtin.parameters.len(), "`{}`", builtin.name);
            assert!(
                builtin.about.ends_with('.') && !builtin.about.contains('|'),
                "{}",
                builtin.name
            );
        }
    }
}
