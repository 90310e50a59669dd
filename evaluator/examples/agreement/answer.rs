//! What an evaluator said about an expression, and when two such answers agree.

/// One evaluator's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The value, as text.
    Value(String),
    /// It refused; with the message.
    Failure(String),
    /// The program ended without an answer; with what it said last.
    Died(String),
    /// No answer in time.
    Silent,
}

impl Answer {
    /// Returns the answer in one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Value(value) => value.clone(),
            Self::Failure(message) => {
                let kind = Kind::of(message);
                format!("error ({kind:?}): {}", first_error(message))
            }
            Self::Died(last) => format!("died: {}", last.lines().last().unwrap_or("")),
            Self::Silent => "no answer in time".to_owned(),
        }
    }
}

/// Returns the message itself of what an evaluator printed around it.
pub(crate) fn first_error(message: &str) -> String {
    if message.starts_with("error[") {
        // Ours: the message comes first, and ends where the place begins.
        let lines = message
            .lines()
            .take_while(|line| !line.starts_with("  --> ") && !line.starts_with("  … "));
        return lines.collect::<Vec<_>>().join(" ");
    }
    // A chain of contexts ends in the error proper; without a chain there is one `error` only.
    let last = message.rfind("error:");
    let text = last.map_or(message, |at| &message[at..]);
    text.lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ")
}

/// Kinds of failures that both evaluators know, in their own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Not the language.
    Syntax,
    /// A name that nothing binds.
    UndefinedVariable,
    /// A name that is bound or listed twice.
    Duplicate,
    /// An attribute that is not there.
    MissingAttribute,
    /// A value of another type than expected.
    Type,
    /// A call without an argument, or with one that is not expected.
    Argument,
    /// A value that needs itself, or too many calls.
    Recursion,
    /// `throw`.
    Throw,
    /// `abort`.
    Abort,
    /// `assert`.
    Assertion,
    /// Division by zero, numbers out of range.
    Arithmetic,
    /// An index or an empty list.
    Bounds,
    /// A file that is missing or may not be read.
    File,
    /// A string with context where none may be, or a path that is no store path.
    Context,
    /// Text that is not JSON, TOML, a version, a hash, a regular expression.
    Format,
    /// Values that cannot be compared.
    Comparison,
}

/// What messages of a kind contain, in any wording; the first that fits decides.
const WORDS: &[(&str, Kind)] = &[
    // Nix's library speaks of syntax errors, too.
    ("json.exception", Kind::Format),
    ("experimental nix feature", Kind::Syntax),
    ("syntax error", Kind::Syntax),
    ("(lint-", Kind::Syntax),
    ("undefined variable", Kind::UndefinedVariable),
    ("already defined", Kind::Duplicate),
    ("duplicate formal", Kind::Duplicate),
    ("dynamic attribute", Kind::Syntax),
    ("has a trailing slash", Kind::Syntax),
    ("invalid integer", Kind::Syntax),
    ("invalid float", Kind::Syntax),
    ("path has a trailing", Kind::Syntax),
    ("infinite recursion", Kind::Recursion),
    ("stack overflow", Kind::Recursion),
    ("max-call-depth", Kind::Recursion),
    ("evaluation aborted", Kind::Abort),
    ("assertion", Kind::Assertion),
    // An assertion that two values are equal tells how they differ.
    ("is not equal to", Kind::Assertion),
    ("differs from attribute set", Kind::Assertion),
    ("compare as unequal", Kind::Assertion),
    ("cannot compare", Kind::Comparison),
    ("called without required argument", Kind::Argument),
    ("called with unexpected argument", Kind::Argument),
    ("attempt to call something which is not a function", Kind::Type),
    ("division by zero", Kind::Arithmetic),
    ("integer overflow", Kind::Arithmetic),
    ("non-finite", Kind::Arithmetic),
    ("out of bounds", Kind::Bounds),
    ("called with index", Kind::Bounds),
    ("empty list", Kind::Bounds),
    ("called on an empty list", Kind::Bounds),
    ("negative start position", Kind::Bounds),
    ("duplicate derivation output", Kind::Format),
    ("attribute '", Kind::MissingAttribute),
    ("attribute `", Kind::MissingAttribute),
    ("no such attribute", Kind::MissingAttribute),
    ("null byte", Kind::Format),
    ("zero byte", Kind::Format),
    ("cannot be converted to", Kind::Type),
    ("requires a function", Kind::Type),
    ("should return a string", Kind::Type),
    ("must return a string", Kind::Type),
    ("cannot coerce", Kind::Type),
    ("cannot convert", Kind::Type),
    ("cannot decode", Kind::Format),
    ("cannot add", Kind::Type),
    ("is not of type", Kind::Type),
    ("while a", Kind::Type),
    ("was expected", Kind::Type),
    ("but found", Kind::Type),
    ("is not a function", Kind::Type),
    ("is not a set", Kind::Type),
    ("value is a", Kind::Type),
    ("value is the", Kind::Type),
    ("value is null", Kind::Type),
    ("expected a", Kind::Type),
    ("getting status of", Kind::File),
    ("is not a directory", Kind::File),
    ("no such file", Kind::File),
    ("does not exist", Kind::File),
    ("opening file", Kind::File),
    ("reading directory", Kind::File),
    ("was not found in the nix search path", Kind::File),
    ("access to absolute path", Kind::File),
    ("is forbidden", Kind::File),
    ("not allowed to refer to", Kind::Context),
    ("not in the nix store", Kind::Context),
    ("not a store path", Kind::Context),
    ("context", Kind::Context),
    ("json", Kind::Format),
    ("toml", Kind::Format),
    ("regular expression", Kind::Format),
    ("unknown hash", Kind::Format),
    ("hash", Kind::Format),
    ("store path", Kind::Format),
    ("not a valid", Kind::Format),
];

impl Kind {
    /// Finds the kind that a message speaks of.
    pub(crate) fn of(message: &str) -> Self {
        let text = first_error(message);
        if text.contains("already defined") || text.contains("duplicate formal") {
            return Self::Duplicate;
        }
        if text.contains("required attribute") {
            return Self::MissingAttribute;
        }
        if let Some(kind) = text.get(6..10).and_then(of_code).filter(|_| text.starts_with("error["))
        {
            return kind;
        }
        let lower = text.to_lowercase();
        WORDS
            .iter()
            .find(|(words, _)| lower.contains(words))
            // What a user throws may say anything, so what fits nothing was probably thrown.
            .map_or(Self::Throw, |(_, kind)| *kind)
    }
}

/// Returns the kind of one of our codes, if the code alone says it.
fn of_code(code: &str) -> Option<Kind> {
    Some(match code {
        "E001" | "E027" => Kind::Syntax,
        "E002" => Kind::UndefinedVariable,
        "E003" | "E004" => Kind::Type,
        "E005" => Kind::MissingAttribute,
        "E006" | "E007" => Kind::Argument,
        "E008" => Kind::Duplicate,
        "E009" | "E010" => Kind::Recursion,
        "E011" => Kind::Throw,
        "E012" => Kind::File,
        "E013" => Kind::Assertion,
        "E014" => Kind::Abort,
        "E015" | "E016" => Kind::Arithmetic,
        "E017" => Kind::Comparison,
        "E018" => Kind::Context,
        "E020" => Kind::Bounds,
        // Errors of derivations are of any kind.
        "E021" | "E022" | "E025" => Kind::Format,
        "E026" => Kind::File,
        _ => return None,
    })
}
