//! The builtins: a table of names and functions, one file per topic.
//!
//! A new builtin is one function in the file of its topic and one line in that file's table. Its
//! arguments arrive unforced, as many as it takes; its result may be unforced as well.

mod arithmetic;
mod attrs;
mod contexts;
mod control;
mod derivation;
mod fetch;
mod files;
mod flake_references;
mod flakes;
mod hashes;
mod json;
mod lists;
mod state;
mod store_path;
mod strings;
mod table;
mod toml;
mod types;
mod versions;
mod xml;

pub use json::to_json;
pub use state::BuiltinState;
pub use table::markdown;
pub use xml::to_xml;

use super::error::{Error, ErrorKind, Result};
use super::eval::Evaluator;
use super::io::IoError;
use super::source::Span;
use super::value::{AttrsBuilder, Value};

/// The version of Nix whose language this is.
pub const NIX_VERSION: &str = "2.34.0";
/// The version of the language itself.
pub const LANG_VERSION: i64 = 6;

/// Where a builtin can be seen, besides the set `builtins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere, by its name.
    Global,
    /// Everywhere, by its name after two underscores.
    Prefixed,
}

/// A builtin function.
pub struct Builtin {
    /// Its name in `builtins`.
    pub name: &'static str,
    /// The number of its arguments, from one to three.
    pub arity: usize,
    /// The names of its arguments, for the documentation.
    pub parameters: &'static [&'static str],
    /// Where it can be seen.
    pub scope: Scope,
    /// What it does.
    pub run: fn(&mut Evaluator, &[Value], Span) -> Result<Value>,
    /// What it does, in a sentence.
    pub about: &'static str,
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Builtin").field(&self.name).finish()
    }
}

/// The builtins of every topic.
pub const TOPICS: &[(&str, &[Builtin])] = &[
    ("Numbers", arithmetic::BUILTINS),
    ("Lists", lists::BUILTINS),
    ("Attribute sets", attrs::BUILTINS),
    ("Strings", strings::BUILTINS),
    ("Versions", versions::BUILTINS),
    ("Types", types::BUILTINS),
    ("Control", control::BUILTINS),
    ("String contexts", contexts::BUILTINS),
    ("JSON", json::BUILTINS),
    ("XML", xml::BUILTINS),
    ("TOML", toml::BUILTINS),
    ("Hashes", hashes::BUILTINS),
    ("Files", files::BUILTINS),
    ("Derivations", derivation::BUILTINS),
    ("Fetchers", fetch::BUILTINS),
    ("Flakes", flakes::BUILTINS),
    ("Flake references", flake_references::BUILTINS),
];

/// Makes the values of the global scope: names as they are written, and the set `builtins` itself.
pub(super) fn globals(evaluator: &mut Evaluator) -> Vec<(String, Value)> {
    let mut globals: Vec<(String, Value)> = Vec::new();
    let mut set = AttrsBuilder::default();
    for builtin in TOPICS.iter().flat_map(|(_, builtins)| builtins.iter()) {
        let value = Value::Builtin(builtin);
        set.push(evaluator.symbols.intern(builtin.name), value.clone());
        globals.push((table::variable(builtin.name, builtin.scope), value));
    }
    let nix_path = nix_path(evaluator);
    let constants = constants(evaluator).into_iter();
    for (name, scope, value) in constants.chain([("nixPath", Scope::Prefixed, nix_path)]) {
        set.push(evaluator.symbols.intern(name), value.clone());
        globals.push((table::variable(name, scope), value));
    }
    let builtins = recursive(evaluator, set);
    globals.push(("builtins".to_owned(), builtins));
    globals
}

/// Returns the constants among the builtins.
fn constants(evaluator: &Evaluator) -> Vec<(&'static str, Scope, Value)> {
    let options = &evaluator.options;
    let mut constants = vec![
        ("true", Scope::Global, Value::Bool(true)),
        ("false", Scope::Global, Value::Bool(false)),
        ("null", Scope::Global, Value::Null),
        ("nixVersion", Scope::Prefixed, Value::string(NIX_VERSION)),
        ("langVersion", Scope::Prefixed, Value::Int(LANG_VERSION)),
        ("storeDir", Scope::Prefixed, Value::string(&options.store_dir)),
        (
            "derivation",
            Scope::Global,
            Value::lazy(|ev: &mut Evaluator| {
                ev.evaluate_internal("derivation.nix", derivation::DERIVATION)
            }),
        ),
    ];
    // Reading the clock or the system's name would make the result depend on the machine.
    if !options.pure {
        constants.push(("currentTime", Scope::Prefixed, Value::Int(evaluator.io.time())));
    }
    if let Some(system) = options.current_system.as_ref().filter(|_| !options.pure) {
        constants.push(("currentSystem", Scope::Prefixed, Value::string(system)));
    }
    constants
}

/// Makes `builtins` contain itself.
fn recursive(evaluator: &mut Evaluator, mut set: AttrsBuilder) -> Value {
    let name = evaluator.symbols.intern("builtins");
    let itself = super::value::Thunk::unset();
    let itself = std::rc::Rc::new(itself);
    set.push(name, Value::Thunk(std::rc::Rc::clone(&itself)));
    let value = Value::attrs(set.finish());
    itself.set(value.clone());
    value
}

/// Returns the value of `nixPath`; pure evaluation finds nothing in it.
fn nix_path(evaluator: &mut Evaluator) -> Value {
    let entries =
        if evaluator.options.pure { Vec::new() } else { evaluator.options.nix_path.clone() };
    let entry = |(prefix, path): (String, String)| {
        let mut attrs = AttrsBuilder::with_capacity(2);
        attrs.push(evaluator.symbols.intern("path"), Value::string(path));
        attrs.push(evaluator.symbols.intern("prefix"), Value::string(prefix));
        Value::attrs(attrs.finish())
    };
    Value::list(entries.into_iter().map(entry).collect())
}

/// Makes the error for an argument that is not accepted.
fn argument(at: Span, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Argument { message: message.into() }, at)
}

/// Makes the error for an answer that the outside did not give.
fn outside(error: IoError, at: Span) -> Error {
    Error::new(ErrorKind::Io(error), at)
}
