//! The one door to the outside: files, store, environment, clock and messages.
//!
//! Nothing else below `lang` touches any of them. Every method says which part of the language
//! leads to it, so that recording what an evaluation has read means recording calls of this trait.
//! Paths are absolute and canonical; what may be read is the implementation's decision, and so is
//! whether symbolic links are followed (Nix follows them except for the last part).

use std::rc::Rc;

use super::source::Span;
use super::value::NixPath;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, itself.
    Symlink,
    /// A device, socket or pipe.
    Unknown,
}

impl FileType {
    /// Returns the word that Nix uses.
    pub fn as_str(self) -> &'static str {
        match self {
            FileType::Regular => "regular",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::Unknown => "unknown",
        }
    }
}

/// Why the outside did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// There is no such file.
    #[error("path `{path}` does not exist")]
    NotFound {
        /// The path.
        path: String,
    },
    /// It exists but may not be read, because the result would depend on more than the input.
    #[error("access to `{path}` is forbidden: {reason}")]
    Forbidden {
        /// The path, or the name of what was asked for.
        path: String,
        /// The rule.
        reason: String,
    },
    /// Nothing here can do what was asked for.
    #[error("cannot {what}: {reason}")]
    Unavailable {
        /// What was asked for, as a verb and its object.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The operating system, or the store, reported an error.
    #[error("cannot read `{path}`: {message}")]
    Failed {
        /// The path.
        path: String,
        /// The message.
        message: String,
    },
}

/// How the content of a store object is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ingestion {
    /// The bytes of one file.
    Flat,
    /// A whole tree, as a NAR.
    Recursive,
}

/// Says for a file, with its type, whether it is taken.
pub type PathFilter<'a> = dyn FnMut(&NixPath, FileType) -> Result<bool, FilterError> + 'a;

/// A tree to be copied into the store.
pub struct AddPath<'a> {
    /// The name of the store object.
    pub name: &'a str,
    /// The file or directory.
    pub path: &'a NixPath,
    /// How it is hashed.
    pub ingestion: Ingestion,
    /// The SHA-256 that it must have, if the user has said so.
    pub expected: Option<[u8; 32]>,
    /// Says for each file below the path, with its type, whether to take it.
    pub filter: Option<&'a mut PathFilter<'a>>,
}

/// The filter failed; what happened is known to the one who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterError;

/// Why a tree was not copied.
#[derive(Debug)]
pub enum AddError {
    /// The outside did not answer.
    Io(IoError),
    /// The filter failed.
    Filter,
    /// The tree has another hash.
    HashMismatch {
        /// The hash that it has, SHA-256.
        found: [u8; 32],
    },
}

impl From<IoError> for AddError {
    fn from(error: IoError) -> Self {
        AddError::Io(error)
    }
}

/// Something to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fetch {
    /// The builtin that asks.
    pub builtin: &'static str,
    /// Its attributes that are strings, numbers or Booleans, in the order of their names.
    pub attributes: Vec<(String, FetchValue)>,
}

/// The value of an attribute of a fetch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FetchValue {
    /// A string.
    String(String),
    /// A number.
    Int(i64),
    /// A Boolean.
    Bool(bool),
}

/// What was fetched: a store path, and what else is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The store path, whole.
    pub path: Rc<str>,
    /// Further attributes of the result (`rev`, `narHash`, `lastModified` …).
    pub attributes: Vec<(String, FetchValue)>,
}

/// A message for the user while evaluating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// From `trace` and `traceVerbose`.
    Trace(Vec<u8>),
    /// From `warn`.
    Warning(Vec<u8>),
    /// From the evaluator itself ([`Warning`]), with place and excerpt.
    ///
    /// [`Warning`]: super::error::Warning
    Notice(String),
}

impl std::fmt::Display for Message {
    /// Writes the message with the label that Nix gives it, without a line end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Message::Trace(text) => write!(f, "trace: {}", String::from_utf8_lossy(text)),
            Message::Notice(text) => write!(f, "warning: {text}"),
            Message::Warning(text) => {
                let label = "evaluation warning:";
                let text = String::from_utf8_lossy(text);
                let text = text.trim_end();
                if text.starts_with('\n') {
                    return write!(f, "{label}{text}");
                }
                // Further lines begin below the first.
                let indent = format!("\n{:1$}", "", label.len() + 1);
                write!(f, "{label} {}", text.replace('\n', &indent))
            }
        }
    }
}

/// The outside world of an evaluation.
pub trait Io {
    /// Returns the type of a file, itself if it is a symbolic link; nothing if it does not exist.
    ///
    /// Reached by `pathExists`, `readFileType`, `import` and everything that reads.
    fn file_type(&self, path: &NixPath) -> Result<Option<FileType>, IoError>;

    /// Returns the content of a file, following symbolic links.
    ///
    /// Reached by `import`, `readFile`, `hashFile` and file expressions.
    fn read_file(&self, path: &NixPath) -> Result<Vec<u8>, IoError>;

    /// Returns the names in a directory with their types, in any order.
    ///
    /// Reached by `readDir` and by copying with a filter.
    fn read_directory(&self, path: &NixPath) -> Result<Vec<(Vec<u8>, FileType)>, IoError>;

    /// Returns the target of a symbolic link.
    fn read_link(&self, path: &NixPath) -> Result<Vec<u8>, IoError>;

    /// Copies a tree into the store, or only computes where it would be; returns the store path.
    ///
    /// Reached by paths in strings, `path`, `filterSource`.
    fn add_path(&self, request: AddPath<'_>) -> Result<Rc<str>, AddError>;

    /// Keeps a text whose store path is known already (`toFile`, derivations); may do nothing.
    fn add_text(&self, path: &str, content: &[u8], references: &[Rc<str>]) -> Result<(), IoError>;

    /// Returns whether a store object exists; `path` is whole.
    ///
    /// Reached by `storePath`, `appendContext` and fetchers.
    fn is_valid_path(&self, path: &str) -> Result<bool, IoError>;

    /// Returns the whole paths that a store object refers to; none if that cannot be found out.
    ///
    /// Reached by `readFile` of what lies in the store.
    fn references(&self, path: &str) -> Result<Vec<Rc<str>>, IoError>;

    /// Returns the content of a derivation in the store (ATerm).
    ///
    /// Reached when a derivation's inputs were not made in this evaluation.
    fn read_derivation(&self, path: &str) -> Result<Vec<u8>, IoError>;

    /// Returns the path of an output, after building it if that is allowed.
    ///
    /// Reached by reading below an output's path (import from derivation).
    fn realise(&self, derivation: &str, output: &str) -> Result<Rc<str>, IoError>;

    /// Fetches something, or finds it in the store.
    fn fetch(&self, request: &Fetch) -> Result<Fetched, IoError>;

    /// Returns a variable of the environment. Reached by `getEnv` outside of pure evaluation.
    fn variable(&self, name: &str) -> Option<Vec<u8>>;

    /// Returns the seconds since 1970. Reached by `currentTime` outside of pure evaluation.
    fn time(&self) -> i64;

    /// Shows a message; `at` is where the program asked for it.
    fn message(&self, message: Message, at: Span);
}
