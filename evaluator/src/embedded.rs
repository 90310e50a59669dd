//! One expression, evaluated by our own evaluator: question in, text out.
//!
//! The surface for programs that want a result and no values: each question gets a thread with a
//! large stack and an evaluator of its own, and either a text or a rendered error comes back.
//! Whoever needs values uses [`crate::lang`] itself. Start at [`evaluate`].

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use levain_store::StoreDir;

use crate::lang::error::Error;
use crate::lang::eval::{Coerce, Evaluator, Options};
use crate::lang::io::{Io, Message};
use crate::lang::settings::Settings;
use crate::lang::source::{Origin, Span};
use crate::lang::value::{Context, NixPath, Value};
use crate::lang::{print, stack};
use crate::outside::{Access, Files};

/// What is evaluated.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, or a directory with a `default.nix`.
    File(PathBuf),
    /// An expression.
    Text {
        /// The expression.
        text: Vec<u8>,
        /// Where its relative paths start.
        directory: PathBuf,
    },
}

/// How the value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// As far as it is evaluated anyway, like `nix-instantiate --eval`.
    Lazy,
    /// Evaluated to the bottom, like `nix-instantiate --eval --strict`.
    Strict,
    /// The bytes of a string.
    Raw,
    /// JSON.
    Json,
    /// XML, without places.
    Xml,
    /// Not evaluated at all: how the text was understood, like `nix-instantiate --parse`.
    Parsed,
}

/// What to evaluate, and what it may depend on.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is evaluated.
    pub source: Source,
    /// How the value is shown.
    pub output: Output,
    /// Whether the result must not depend on environment, clock and search path.
    pub pure: bool,
    /// Which files may be read.
    pub access: Access,
    /// The directory of the store.
    pub store: StoreDir,
    /// What `currentSystem` is.
    pub system: Option<String>,
    /// Where `<name>` is looked for: `DIRECTORY` or `PREFIX=PATH`.
    pub search_path: Vec<String>,
    /// What `getEnv` finds.
    pub environment: BTreeMap<String, Vec<u8>>,
    /// What `currentTime` is.
    pub time: i64,
    /// Settings of the language.
    pub settings: Settings,
    /// Whether outputs of derivations may be read; only those in the store can.
    pub import_from_derivation: bool,
}

impl Question {
    /// Makes a question that may depend on this machine's files.
    pub fn new(source: Source, output: Output) -> Self {
        Self {
            source,
            output,
            pure: false,
            access: Access::Everything,
            store: StoreDir::default(),
            system: None,
            search_path: Vec::new(),
            environment: BTreeMap::new(),
            time: 0,
            settings: Settings::default(),
            import_from_derivation: true,
        }
    }

    fn options(&self) -> Options {
        let entry = |entry: &String| match entry.split_once('=') {
            Some((prefix, path)) => (prefix.to_owned(), path.to_owned()),
            None => (String::new(), entry.clone()),
        };
        Options {
            pure: self.pure,
            store_dir: self.store.as_str().to_owned(),
            current_system: self.system.clone(),
            nix_path: self.search_path.iter().map(entry).collect(),
            settings: self.settings.clone(),
            directory: match &self.source {
                Source::File(_) => b"/".to_vec(),
                Source::Text { directory, .. } => directory.as_os_str().as_bytes().to_vec(),
            },
            import_from_derivation: self.import_from_derivation,
            home: self.environment.get("HOME").filter(|_| !self.pure).cloned(),
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The evaluation failed; the text has place, excerpt and hint, and ends with a newline.
    #[error("{rendered}")]
    Evaluation {
        /// The stable code of the error's kind.
        code: &'static str,
        /// The whole text.
        rendered: String,
    },
    /// The files that may be read cannot be found.
    #[error("cannot find what the evaluation may read")]
    Access(#[source] std::io::Error),
    /// The evaluation's thread could not be started.
    #[error("cannot start a thread for the evaluation")]
    Thread(#[source] std::io::Error),
}

/// Evaluates, on a thread of its own; what the evaluation made stays in memory until the process ends.
///
/// `listener` is told of messages of `trace`, `warn` and lints.
pub fn evaluate(
    question: Question,
    listener: impl Fn(Message) + Send + 'static,
) -> Result<Vec<u8>, EmbeddedError> {
    evaluate_with(question, listener, |files| files)
}

/// Evaluates like [`evaluate`]; `equip` may give the evaluation what files alone do not have, such as
/// trees from repositories.
pub fn evaluate_with(
    question: Question,
    listener: impl Fn(Message) + Send + 'static,
    equip: impl FnOnce(Files) -> Files + Send + 'static,
) -> Result<Vec<u8>, EmbeddedError> {
    let answered = stack::on_large_stack(move |stack| {
        let files = Files::new(question.access.clone(), question.store.clone(), question.time)
            .map_err(EmbeddedError::Access)?
            .environment(question.environment.clone())
            .listener(Box::new(move |message, _| listener(message)));
        let io: Rc<dyn Io> = Rc::new(equip(files));
        let mut evaluator = Evaluator::new(io, question.options(), stack);
        let answer = answer(&mut evaluator, &question).map_err(|error| EmbeddedError::Evaluation {
            code: error.kind().code(),
            rendered: error.render(&evaluator.sources),
        });
        // Recursive values are never freed; taking all others apart one by one would cost a tenth
        // of the time and win little.
        std::mem::forget(evaluator);
        answer
    });
    answered.map_err(EmbeddedError::Thread)?
}

fn answer(evaluator: &mut Evaluator, question: &Question) -> Result<Vec<u8>, Error> {
    let value = match (&question.source, question.output) {
        (Source::Text { text, .. }, Output::Parsed) => {
            return evaluator.print_parsed(Origin::Expression, text);
        }
        (Source::File(path), Output::Parsed) => {
            return evaluator.print_parsed_file(&NixPath::canonical(path.as_os_str().as_bytes()));
        }
        (Source::Text { text, .. }, _) => evaluator.evaluate_text(Origin::Expression, text)?,
        (Source::File(path), _) => {
            evaluator.evaluate_file(&NixPath::canonical(path.as_os_str().as_bytes()))?
        }
    };
    show(evaluator, &value, question.output)
}

fn show(evaluator: &mut Evaluator, value: &Value, output: Output) -> Result<Vec<u8>, Error> {
    match output {
        Output::Lazy => print::print_ambiguous(evaluator, value),
        Output::Strict => {
            evaluator.deep_force(value, Span::NONE)?;
            print::print_ambiguous(evaluator, value)
        }
        Output::Raw => {
            let mut context = Context::default();
            let coerce = Coerce::PLAIN;
            let text = evaluator.coerce_to_string(value, Span::NONE, coerce, &mut context)?;
            Ok(text.bytes().to_vec())
        }
        Output::Json => apply(evaluator, "builtins.toJSON", value),
        Output::Xml => apply(evaluator, "builtins.toXML", value),
        // Answered before there was a value.
        Output::Parsed => Ok(Vec::new()),
    }
}

/// Applies a builtin that returns a string.
fn apply(evaluator: &mut Evaluator, builtin: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let builtin = evaluator.evaluate_internal("show", builtin)?;
    let text = evaluator.call1(&builtin, value.clone(), Span::NONE)?;
    Ok(evaluator.force_string(&text, Span::NONE)?.bytes().to_vec())
}
