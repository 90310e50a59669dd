//! Remembers what an evaluation has asked the outside, and finds out whether it would hear the same again.
//!
//! An evaluation is a function of its expression and of these answers. As long as none of them has
//! changed, its result has not either. Start at [`Recorded::changed`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::rc::Rc;

use levain_store::NarHash;

use crate::lang::io::{
    AddError, AddPath, Fetch, Fetched, FileType, FilterError, Ingestion, Io, IoError, Message,
    PathFilter,
};
use crate::lang::source::Span;
use crate::lang::value::NixPath;

/// A question to the outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// What a file is.
    FileType(NixPath),
    /// What is in a file.
    File(NixPath),
    /// What is in a directory.
    Directory(NixPath),
    /// Where a symbolic link leads.
    Link(NixPath),
    /// What a tree is copied as.
    Tree {
        /// The file or directory.
        path: NixPath,
        /// The name of the store object.
        name: String,
        /// How it is hashed.
        ingestion: Ingestion,
        /// The hash that it must have.
        expected: Option<[u8; 32]>,
        /// What a filter has said of each file, if there was one.
        filter: Option<BTreeMap<(NixPath, FileType), bool>>,
    },
    /// Whether a store object is there.
    Object(String),
    /// What a store object refers to.
    References(String),
    /// What is in a derivation.
    Derivation(String),
    /// Where an output of a derivation is.
    Output {
        /// The derivation.
        derivation: String,
        /// The name of the output.
        output: String,
        /// The derivation's text, which an evaluation may have made itself.
        text: Vec<u8>,
    },
    /// What was fetched.
    Fetch(Fetch),
    /// A variable of the environment.
    Variable(String),
    /// The clock.
    Time,
}

/// The hash of an answer; errors are answers, too.
type Answer = NarHash;

/// Another outside, of which every answer is remembered.
pub struct Recorded {
    inner: Rc<dyn Io>,
    /// In the order in which they were given: later paths may lie in trees that were copied before.
    answers: RefCell<Vec<(Read, Answer)>>,
    asked: RefCell<BTreeSet<Read>>,
    /// Texts that the evaluation itself has made; what they are follows from the expression.
    texts: RefCell<BTreeSet<String>>,
}

impl Recorded {
    /// Wraps an outside; nothing has been asked yet.
    pub fn new(inner: Rc<dyn Io>) -> Self {
        Self {
            inner,
            answers: RefCell::default(),
            asked: RefCell::default(),
            texts: RefCell::default(),
        }
    }

    /// Returns what has been asked.
    pub fn reads(&self) -> Vec<Read> {
        self.answers.borrow().iter().map(|(read, _)| read.clone()).collect()
    }

    /// Returns a question to which `io` gives another answer than was given, if there is one.
    pub fn changed(&self, io: &dyn Io) -> Option<Read> {
        let answers = self.answers.borrow();
        answers.iter().find(|(read, answer)| ask(io, read) != *answer).map(|(read, _)| read.clone())
    }

    fn keep<T>(&self, read: Read, result: T, answer: impl FnOnce(&T) -> Answer) -> T {
        if !self.is_own(&read) && self.asked.borrow_mut().insert(read.clone()) {
            let answer = answer(&result);
            self.answers.borrow_mut().push((read, answer));
        }
        result
    }

    /// Returns whether a question is about a text of the evaluation's own.
    fn is_own(&self, read: &Read) -> bool {
        let texts = self.texts.borrow();
        match read {
            Read::FileType(path) | Read::File(path) | Read::Directory(path) | Read::Link(path) => {
                texts.contains(&*path.text())
            }
            Read::Object(path) | Read::References(path) | Read::Derivation(path) => {
                texts.contains(path)
            }
            Read::Tree { .. }
            | Read::Output { .. }
            | Read::Fetch(_)
            | Read::Variable(_)
            | Read::Time => false,
        }
    }
}

/// Asks again.
fn ask(io: &dyn Io, read: &Read) -> Answer {
    match read {
        Read::FileType(path) => answer(&io.file_type(path), of_type),
        Read::File(path) => answer(&io.read_file(path), Clone::clone),
        Read::Directory(path) => answer(&io.read_directory(path), |entries| of_entries(entries)),
        Read::Link(path) => answer(&io.read_link(path), Clone::clone),
        Read::Tree { path, name, ingestion, expected, filter } => {
            // The filter's own answer follows from what it was asked; a new file was never asked about.
            let mut again = |path: &NixPath, kind| {
                let known = filter.as_ref().and_then(|known| known.get(&(path.clone(), kind)));
                known.copied().ok_or(FilterError)
            };
            let result = io.add_path(AddPath {
                name,
                path,
                ingestion: *ingestion,
                expected: *expected,
                filter: filter.is_some().then_some(&mut again),
            });
            of_tree(&result)
        }
        Read::Object(path) => answer(&io.is_valid_path(path), |valid| vec![u8::from(*valid)]),
        Read::References(path) => answer(&io.references(path), |paths| paths.join("\n").into()),
        Read::Derivation(path) => answer(&io.read_derivation(path), Clone::clone),
        Read::Output { derivation, output, text } => {
            if let Err(error) = io.add_text(derivation, text, &[]) {
                return NarHash::of(format!("error {error}").as_bytes());
            }
            answer(&io.realise(derivation, output), |path| path.as_bytes().to_vec())
        }
        Read::Fetch(request) => answer(&io.fetch(request), of_fetched),
        Read::Variable(name) => of_variable(&io.variable(name)),
        Read::Time => NarHash::of(&io.time().to_le_bytes()),
    }
}

fn answer<T, E: Display>(result: &Result<T, E>, bytes: impl Fn(&T) -> Vec<u8>) -> Answer {
    match result {
        Ok(value) => NarHash::of(&[b"answer ", bytes(value).as_slice()].concat()),
        Err(error) => NarHash::of(format!("error {error}").as_bytes()),
    }
}

fn of_type(kind: &Option<FileType>) -> Vec<u8> {
    kind.map_or("nothing", FileType::as_str).into()
}

fn of_entries(entries: &[(Vec<u8>, FileType)]) -> Vec<u8> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort();
    let line = |(name, kind): &(Vec<u8>, FileType)| {
        [name.as_slice(), b"/", kind.as_str().as_bytes(), b"\n"].concat()
    };
    entries.into_iter().flat_map(line).collect()
}

fn of_tree(result: &Result<Rc<str>, AddError>) -> Answer {
    let text = match result {
        Ok(path) => format!("answer {path}"),
        Err(AddError::Io(error)) => format!("error {error}"),
        Err(AddError::Filter) => "filter".to_owned(),
        Err(AddError::HashMismatch { found }) => format!("hash {}", NarHash::from_bytes(*found)),
    };
    NarHash::of(text.as_bytes())
}

fn of_fetched(fetched: &Fetched) -> Vec<u8> {
    let mut attributes = fetched.attributes.clone();
    attributes.sort();
    format!("{} {attributes:?}", fetched.path).into()
}

fn of_variable(value: &Option<Vec<u8>>) -> Answer {
    match value {
        Some(value) => NarHash::of(&[b"answer ", value.as_slice()].concat()),
        None => NarHash::of(b"nothing"),
    }
}

impl Io for Recorded {
    fn file_type(&self, path: &NixPath) -> Result<Option<FileType>, IoError> {
        let result = self.inner.file_type(path);
        self.keep(Read::FileType(path.clone()), result, |result| answer(result, of_type))
    }

    fn read_file(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        let result = self.inner.read_file(path);
        self.keep(Read::File(path.clone()), result, |result| answer(result, Clone::clone))
    }

    fn read_directory(&self, path: &NixPath) -> Result<Vec<(Vec<u8>, FileType)>, IoError> {
        let result = self.inner.read_directory(path);
        self.keep(Read::Directory(path.clone()), result, |result| {
            answer(result, |entries| of_entries(entries))
        })
    }

    fn read_link(&self, path: &NixPath) -> Result<Vec<u8>, IoError> {
        let result = self.inner.read_link(path);
        self.keep(Read::Link(path.clone()), result, |result| answer(result, Clone::clone))
    }

    fn add_path(&self, request: AddPath<'_>) -> Result<Rc<str>, AddError> {
        let AddPath { name, path, ingestion, expected, filter } = request;
        let mut asked = BTreeMap::new();
        let has_filter = filter.is_some();
        let result = match filter {
            None => self.inner.add_path(AddPath { name, path, ingestion, expected, filter: None }),
            Some(filter) => {
                let mut listening = |path: &NixPath, kind| {
                    let takes = filter(path, kind)?;
                    asked.insert((path.clone(), kind), takes);
                    Ok(takes)
                };
                let filter: Option<&mut PathFilter<'_>> = Some(&mut listening);
                self.inner.add_path(AddPath { name, path, ingestion, expected, filter })
            }
        };
        let filter = has_filter.then_some(asked);
        let (path, name) = (path.clone(), name.to_owned());
        self.keep(Read::Tree { path, name, ingestion, expected, filter }, result, of_tree)
    }

    fn add_text(&self, path: &str, content: &[u8], references: &[Rc<str>]) -> Result<(), IoError> {
        self.texts.borrow_mut().insert(path.to_owned());
        self.inner.add_text(path, content, references)
    }

    fn is_valid_path(&self, path: &str) -> Result<bool, IoError> {
        let result = self.inner.is_valid_path(path);
        let read = Read::Object(path.to_owned());
        self.keep(read, result, |result| answer(result, |valid| vec![u8::from(*valid)]))
    }

    fn references(&self, path: &str) -> Result<Vec<Rc<str>>, IoError> {
        let result = self.inner.references(path);
        let read = Read::References(path.to_owned());
        self.keep(read, result, |result| answer(result, |paths| paths.join("\n").into()))
    }

    fn read_derivation(&self, path: &str) -> Result<Vec<u8>, IoError> {
        let result = self.inner.read_derivation(path);
        let read = Read::Derivation(path.to_owned());
        self.keep(read, result, |result| answer(result, Clone::clone))
    }

    fn realise(&self, derivation: &str, output: &str) -> Result<Rc<str>, IoError> {
        let result = self.inner.realise(derivation, output);
        let read = Read::Output {
            derivation: derivation.to_owned(),
            output: output.to_owned(),
            text: self.inner.read_derivation(derivation).unwrap_or_default(),
        };
        self.keep(read, result, |result| answer(result, |path| path.as_bytes().to_vec()))
    }

    fn fetch(&self, request: &Fetch) -> Result<Fetched, IoError> {
        let result = self.inner.fetch(request);
        self.keep(Read::Fetch(request.clone()), result, |result| answer(result, of_fetched))
    }

    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        let result = self.inner.variable(name);
        self.keep(Read::Variable(name.to_owned()), result, of_variable)
    }

    fn time(&self) -> i64 {
        let time = self.inner.time();
        self.keep(Read::Time, time, |time| NarHash::of(&time.to_le_bytes()))
    }

    fn message(&self, message: Message, at: Span) {
        self.inner.message(message, at);
    }
}
