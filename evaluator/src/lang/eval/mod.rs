//! The evaluator: forces values as far as somebody asks.
//!
//! `expression` walks over resolved code, `call` applies functions, `force` updates thunks;
//! `attributes`, `operators`, `compare` and `coerce` are the operations of the language, and
//! `import` brings in files. Start at [`Evaluator::force`].

mod attributes;
mod call;
mod coerce;
mod compare;
mod env;
mod expression;
mod force;
mod import;
mod known;
#[cfg(test)]
mod large;
mod operators;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use coerce::Coerce;
pub use env::{Closure, Env};
pub use known::KnownSymbols;

use super::builtins::{self, BuiltinState};
use super::error::{Error, ErrorKind, Result, Warning};
use super::io::{Io, Message};
use super::settings::{Lints, Settings};
use super::source::{Origin, Source, Sources, Span};
use super::stack::Stack;
use super::symbol::{Symbol, Symbols};
use super::syntax::{self, ParseOptions};
use super::value::{NixPath, Value};

/// More warnings of one text than these help nobody; finding the place of each costs time.
const MAX_WARNINGS: usize = 1000;

/// What an evaluation depends on besides its expression and the outside.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the result must depend on nothing but the input.
    pub pure: bool,
    /// The directory of the store.
    pub store_dir: String,
    /// The value of `builtins.currentSystem`, which pure evaluation does not have.
    pub current_system: Option<String>,
    /// Prefixes and paths of `<…>`.
    pub nix_path: Vec<(String, String)>,
    /// Settings of the language that Nix knows, too.
    pub settings: Settings,
    /// Whether outputs may be built in order to read them.
    pub import_from_derivation: bool,
    /// The directory against which relative paths in texts are taken.
    pub directory: Vec<u8>,
    /// The home directory, if `~/…` may be used.
    pub home: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pure: true,
            store_dir: "/nix/store".to_owned(),
            current_system: None,
            nix_path: Vec::new(),
            settings: Settings::default(),
            import_from_derivation: false,
            directory: b"/".to_vec(),
            home: None,
        }
    }
}

/// An evaluation: everything that its values share.
pub struct Evaluator {
    /// What it depends on.
    pub options: Options,
    /// The outside.
    pub io: Rc<dyn Io>,
    /// All names.
    pub symbols: Symbols,
    /// Names that the evaluator looks for.
    pub known: KnownSymbols,
    /// All sources.
    pub sources: Sources,
    /// What builtins remember.
    pub state: BuiltinState,
    stack: Stack,
    globals: BTreeMap<Symbol, Value>,
    /// The values of files that have been imported.
    files: BTreeMap<NixPath, Value>,
    /// Where paths were copied to.
    copied: BTreeMap<NixPath, Rc<str>>,
    depth: usize,
}

impl Evaluator {
    /// Makes an evaluation that looks at the outside through `io`.
    pub fn new(io: Rc<dyn Io>, options: Options, stack: Stack) -> Self {
        let mut symbols = Symbols::new();
        let known = KnownSymbols::new(&mut symbols);
        let mut evaluator = Evaluator {
            options,
            io,
            symbols,
            known,
            sources: Sources::default(),
            state: BuiltinState::default(),
            stack,
            globals: BTreeMap::new(),
            files: BTreeMap::new(),
            copied: BTreeMap::new(),
            depth: 0,
        };
        for (name, value) in builtins::globals(&mut evaluator) {
            let name = evaluator.symbols.intern(name);
            evaluator.globals.insert(name, value);
        }
        evaluator
    }

    /// Evaluates an expression that is given as a text.
    pub fn evaluate_text(&mut self, origin: Origin, text: &[u8]) -> Result<Value> {
        let directory = self.options.directory.clone();
        self.evaluate_source(origin, text.into(), directory, None)
    }

    /// Evaluates an expression that comes with the evaluator.
    pub fn evaluate_internal(&mut self, name: &'static str, text: &str) -> Result<Value> {
        self.evaluate_source(Origin::Internal(name), text.as_bytes().into(), b"/".to_vec(), None)
    }

    /// Parses a text and returns its tree as Nix prints it.
    pub fn print_parsed(&mut self, origin: Origin, text: &[u8]) -> Result<Vec<u8>> {
        let directory = self.options.directory.clone();
        let expr = self.parse(origin, text.into(), directory)?;
        // Nix finds out about undefined variables while it parses.
        super::resolve::resolve(expr.clone(), &self.globals, &mut self.symbols, None)?;
        Ok(syntax::print(&expr, &self.symbols))
    }

    /// Parses a file and returns its tree as Nix prints it.
    pub fn print_parsed_file(&mut self, file: &NixPath) -> Result<Vec<u8>> {
        let text = self.io.read_file(file).map_err(|error| Error::new(error.into(), Span::NONE))?;
        let directory = file.parent().bytes().to_vec();
        let expr = self.parse(Origin::File(file.bytes().into()), text.into(), directory)?;
        super::resolve::resolve(expr.clone(), &self.globals, &mut self.symbols, None)?;
        Ok(syntax::print(&expr, &self.symbols))
    }

    fn parse(
        &mut self,
        origin: Origin,
        text: Box<[u8]>,
        directory: Vec<u8>,
    ) -> Result<syntax::ast::Expr> {
        let internal = matches!(origin, Origin::Internal(_));
        let Some(source) = self.sources.add(origin, text) else {
            let message = "more than four gigabytes of sources".to_owned();
            return Err(Error::new(ErrorKind::Syntax { message }, Span::NONE));
        };
        let settings = &self.options.settings;
        let options = ParseOptions {
            directory,
            home: self.options.home.clone(),
            pipe_operators: settings.pipe_operators,
            // Nobody can change what comes with the evaluator.
            lints: if internal { Lints::default() } else { settings.lints },
        };
        let mut warnings = Vec::new();
        let Source { text, base, .. } = source;
        let parsed = syntax::parse(text, *base, &mut self.symbols, &options, &mut warnings);
        for warning in warnings.iter().take(MAX_WARNINGS) {
            self.notice(warning);
        }
        if let Some(rest) = warnings.len().checked_sub(MAX_WARNINGS).filter(|rest| *rest > 0) {
            let message = format!("and {rest} more warnings of the same text");
            self.notice(&Warning { message, advice: None, span: Span::NONE });
        }
        parsed
    }

    /// Tells the outside of something that changes no value.
    pub(in crate::lang) fn notice(&self, warning: &Warning) {
        self.io.message(Message::Notice(warning.render(&self.sources)), warning.span);
    }

    /// Parses, resolves and evaluates a source; `scope` is an environment around it.
    fn evaluate_source(
        &mut self,
        origin: Origin,
        text: Box<[u8]>,
        directory: Vec<u8>,
        scope: Option<(Vec<Symbol>, Rc<Env>)>,
    ) -> Result<Value> {
        let expr = self.parse(origin, text, directory)?;
        let (names, env) = match scope {
            Some((names, env)) => (Some(names), env),
            None => (None, Rc::new(Env::many(None, 0))),
        };
        let code =
            super::resolve::resolve(expr, &self.globals, &mut self.symbols, names.as_deref())?;
        // Thunks and functions point into the code for as long as the process lives.
        self.eval(Box::leak(Box::new(code)), &env)
    }

    /// Fails if the native stack is used up.
    pub(in crate::lang) fn check_stack(&self, at: Span) -> Result<()> {
        if self.stack.is_exhausted() {
            return Err(Error::new(ErrorKind::CallDepth, at));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").field("options", &self.options).finish_non_exhaustive()
    }
}
