//! What can go wrong, with a stable code for each.

use crate::lang::io::IoError;
use crate::lang::syntax::Literal;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not an expression.
    #[error("{message}")]
    Syntax {
        /// What was expected or found.
        message: String,
    },
    /// A literal that a lint does not let pass.
    #[error("`{text}` is {literal} ({})", literal.setting())]
    Lint {
        /// What sort of literal it is.
        literal: Literal,
        /// The literal, or the part of it before the first `${`.
        text: String,
    },
    /// A variable that is bound nowhere.
    #[error("undefined variable `{name}`")]
    UndefinedVariable {
        /// The variable.
        name: String,
        /// A similar name that is bound.
        suggestion: Option<String>,
    },
    /// A value of another type than is needed here.
    #[error("expected {expected} but found {found}")]
    Type {
        /// The type that is needed, with its article.
        expected: String,
        /// The type that was found, with its article; and the value if it is short.
        found: String,
    },
    /// A value that cannot become a string.
    #[error("cannot coerce {found} to a string")]
    Coercion {
        /// The type that was found, with its article; and the value if it is short.
        found: String,
    },
    /// An attribute that is not there.
    #[error("attribute `{name}` missing")]
    MissingAttribute {
        /// The attribute.
        name: String,
        /// A similar name that is there.
        suggestion: Option<String>,
    },
    /// A function was called without one of its arguments.
    #[error("function `{function}` called without required argument `{name}`")]
    MissingArgument {
        /// The function, or `anonymous lambda`.
        function: String,
        /// The argument.
        name: String,
        /// A similar argument that it was given and does not take.
        suggestion: Option<String>,
    },
    /// A function was called with an argument that it does not take.
    #[error("function `{function}` called with unexpected argument `{name}`")]
    UnexpectedArgument {
        /// The function, or `anonymous lambda`.
        function: String,
        /// The argument.
        name: String,
        /// A similar name that it takes.
        suggestion: Option<String>,
    },
    /// A dynamic attribute has the name of another.
    #[error("dynamic attribute `{name}` already defined")]
    DuplicateAttribute {
        /// The attribute.
        name: String,
    },
    /// A value needs itself.
    #[error("infinite recursion encountered")]
    InfiniteRecursion,
    /// Calls are nested too deeply.
    #[error("stack overflow; max-call-depth exceeded")]
    CallDepth,
    /// The program called `throw`.
    #[error("{message}")]
    Thrown {
        /// Its message.
        message: String,
    },
    /// A file was not found in the search path; `tryEval` catches it as it catches `throw`.
    #[error("file `{name}` was not found in the Nix search path (add it using $NIX_PATH or -I)")]
    SearchPath {
        /// The name between `<` and `>`.
        name: String,
    },
    /// An assertion is false.
    #[error("assertion `{assertion}` failed")]
    Assertion {
        /// The condition, as it is written.
        assertion: String,
    },
    /// The program called `abort`.
    #[error("evaluation aborted with the following error message: `{message}`")]
    Aborted {
        /// Its message.
        message: String,
    },
    /// The program warned, and that is an error by the settings.
    #[error("ended at a warning, because `abort-on-warn` is set")]
    Warned,
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A number that does not fit in 64 bits.
    #[error("integer overflow in {operation}")]
    IntegerOverflow {
        /// The operation with its operands.
        operation: String,
    },
    /// Two values have no order.
    #[error("cannot compare {left} with {right}")]
    Incomparable {
        /// The left operand's type, with its article.
        left: String,
        /// The right operand's type, with its article.
        right: String,
    },
    /// A string that depends on store objects where none may.
    #[error("the string `{text}` is not allowed to refer to a store path (such as `{reference}`)")]
    Context {
        /// The string.
        text: String,
        /// One of the store objects.
        reference: String,
    },
    /// An argument that a builtin does not accept.
    #[error("{message}")]
    Argument {
        /// What is wrong with it.
        message: String,
    },
    /// A list that has not that many elements.
    #[error("list index {index} is out of bounds for a list of {length} elements")]
    OutOfBounds {
        /// The index.
        index: i64,
        /// The length of the list.
        length: usize,
    },
    /// A regular expression that is none, or takes too long.
    #[error("invalid regular expression `{pattern}`: {reason}")]
    Regex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text in another format (JSON, TOML) that cannot be read.
    #[error("cannot read {format}: {message}")]
    Format {
        /// The format.
        format: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A derivation that cannot be.
    #[error("invalid derivation `{name}`: {message}")]
    Derivation {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Something that the result must not depend on.
    #[error("{what} is not allowed in pure evaluation mode")]
    Impure {
        /// What was used.
        what: String,
    },
    /// A store path that is none, or that does not exist.
    #[error("{message}")]
    StorePath {
        /// What is wrong.
        message: String,
    },
    /// The outside did not answer.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A part of the language that this evaluator does not know yet.
    #[error("not implemented: {what}")]
    NotImplemented {
        /// The part.
        what: String,
    },
    /// A broken invariant of the evaluator.
    #[error("bug in the evaluator: {what}")]
    Bug {
        /// The invariant.
        what: String,
    },
}

impl ErrorKind {
    /// Returns the stable code of the kind.
    pub fn code(&self) -> &'static str {
        match self {
            ErrorKind::Syntax { .. } => "E001",
            ErrorKind::UndefinedVariable { .. } => "E002",
            ErrorKind::Type { .. } => "E003",
            ErrorKind::Coercion { .. } => "E004",
            ErrorKind::MissingAttribute { .. } => "E005",
            ErrorKind::MissingArgument { .. } => "E006",
            ErrorKind::UnexpectedArgument { .. } => "E007",
            ErrorKind::DuplicateAttribute { .. } => "E008",
            ErrorKind::InfiniteRecursion => "E009",
            ErrorKind::CallDepth => "E010",
            ErrorKind::Thrown { .. } => "E011",
            ErrorKind::SearchPath { .. } => "E012",
            ErrorKind::Assertion { .. } => "E013",
            ErrorKind::Aborted { .. } => "E014",
            ErrorKind::DivisionByZero => "E015",
            ErrorKind::IntegerOverflow { .. } => "E016",
            ErrorKind::Incomparable { .. } => "E017",
            ErrorKind::Context { .. } => "E018",
            ErrorKind::Argument { .. } => "E019",
            ErrorKind::OutOfBounds { .. } => "E020",
            ErrorKind::Regex { .. } => "E021",
            ErrorKind::Format { .. } => "E022",
            ErrorKind::Derivation { .. } => "E023",
            ErrorKind::Impure { .. } => "E024",
            ErrorKind::StorePath { .. } => "E025",
            ErrorKind::Io(_) => "E026",
            ErrorKind::Lint { .. } => "E027",
            ErrorKind::Warned => "E028",
            ErrorKind::Bug { .. } => "E998",
            ErrorKind::NotImplemented { .. } => "E999",
        }
    }

    /// Returns whether `tryEval` turns the error into a value.
    pub fn is_catchable(&self) -> bool {
        matches!(
            self,
            ErrorKind::Thrown { .. } | ErrorKind::SearchPath { .. } | ErrorKind::Assertion { .. }
        )
    }

    /// Returns what may help.
    pub fn hint(&self) -> Option<String> {
        match self {
            ErrorKind::UndefinedVariable { suggestion, .. }
            | ErrorKind::MissingAttribute { suggestion, .. }
            | ErrorKind::UnexpectedArgument { suggestion, .. } => {
                suggestion.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            ErrorKind::Io(IoError::Unavailable { .. }) => {
                Some("`--evaluator nix` can fetch and build".to_owned())
            }
            ErrorKind::Impure { .. } | ErrorKind::Io(IoError::Forbidden { .. }) => {
                Some("pass `--impure` if the result may depend on this machine".to_owned())
            }
            ErrorKind::InfiniteRecursion => {
                Some("a value needs itself; look at the places named above".to_owned())
            }
            ErrorKind::Bug { .. } => Some("please report this with the expression".to_owned()),
            ErrorKind::NotImplemented { .. } => {
                Some("use `--evaluator nix` for this expression".to_owned())
            }
            ErrorKind::MissingArgument { name, suggestion, .. } => suggestion
                .as_ref()
                .map(|given| format!("`{given}` was given; is it `{name}` misspelled?")),
            ErrorKind::Syntax { message } => syntax_hint(message).map(str::to_owned),
            ErrorKind::Lint { literal, text } => Some(literal.advice(text)),
            ErrorKind::SearchPath { .. } => Some(
                "set `NIX_PATH` and pass `--impure`; pure evaluation has no search path".to_owned(),
            ),
            ErrorKind::Type { .. }
            | ErrorKind::Coercion { .. }
            | ErrorKind::DuplicateAttribute { .. }
            | ErrorKind::CallDepth
            | ErrorKind::Thrown { .. }
            | ErrorKind::Assertion { .. }
            | ErrorKind::Aborted { .. }
            | ErrorKind::Warned
            | ErrorKind::DivisionByZero
            | ErrorKind::IntegerOverflow { .. }
            | ErrorKind::Incomparable { .. }
            | ErrorKind::Context { .. }
            | ErrorKind::Argument { .. }
            | ErrorKind::OutOfBounds { .. }
            | ErrorKind::Regex { .. }
            | ErrorKind::Format { .. }
            | ErrorKind::Derivation { .. }
            | ErrorKind::StorePath { .. }
            | ErrorKind::Io(IoError::NotFound { .. } | IoError::Failed { .. }) => None,
        }
    }
}

/// Returns the mistake that most often leads to a syntax error.
fn syntax_hint(message: &str) -> Option<&'static str> {
    if message.ends_with("unexpected `=`, expected `;`") {
        return Some("the definition before this one may lack its `;`");
    }
    if message == "this string does not end" {
        return Some("look for a `\"` or a `}` that is missing before it, too");
    }
    None
}
