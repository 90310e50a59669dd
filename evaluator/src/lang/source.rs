//! Sources and places in them.
//!
//! All sources of an evaluation share one range of numbers: a [`Span`] alone says which file it is
//! in. Zero is no place, so the first source starts at one.

use std::rc::Rc;

/// A range of bytes in one source; eight bytes, copied freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The first byte, counted over all sources; zero is no place.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// No place: what was not written by anybody.
    pub const NONE: Span = Span { start: 0, end: 0 };

    /// Returns the span from the start of one to the end of another.
    pub fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end.max(self.end) }
    }

    /// Returns whether this is a place at all.
    pub fn is_some(self) -> bool {
        self.start != 0
    }
}

/// Where a source came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, by its absolute path.
    File(Rc<[u8]>),
    /// An expression that was given as a text, as with `--expr`.
    Expression,
    /// The standard input.
    Stdin,
    /// Code that comes with the evaluator.
    Internal(&'static str),
}

/// One source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it came from.
    pub origin: Origin,
    /// Its text.
    pub text: Rc<[u8]>,
    /// The number of its first byte.
    pub base: u32,
}

/// A place as people count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from one.
    pub line: u32,
    /// The column in bytes, from one.
    pub column: u32,
}

/// All sources of an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    sources: Vec<Source>,
    next: u32,
}

impl Sources {
    /// Adds a source and returns its base, or nothing if four gigabytes of sources are full.
    pub fn add(&mut self, origin: Origin, text: Rc<[u8]>) -> Option<u32> {
        let base = self.next.max(1);
        let length = u32::try_from(text.len()).ok()?;
        self.next = base.checked_add(length)?.checked_add(1)?;
        self.sources.push(Source { origin, text, base });
        Some(base)
    }

    /// Returns the source of a span.
    pub fn source(&self, span: Span) -> Option<&Source> {
        if !span.is_some() {
            return None;
        }
        let index = self.sources.partition_point(|source| source.base <= span.start);
        self.sources.get(index.checked_sub(1)?)
    }

    /// Returns the position of the first byte of a span.
    ///
    /// Lines end with `\n`, `\r\n` or a single `\r`, as in Nix.
    pub fn position(&self, span: Span) -> Option<Position> {
        let source = self.source(span)?;
        let offset = ((span.start - source.base) as usize).min(source.text.len());
        let before = source.text.get(..offset)?;
        let mut line = 1;
        let mut start = 0;
        let mut index = 0;
        while index < before.len() {
            match before[index] {
                b'\n' => {
                    line += 1;
                    start = index + 1;
                }
                b'\r' if source.text.get(index + 1) != Some(&b'\n') => {
                    line += 1;
                    start = index + 1;
                }
                _ => {}
            }
            index += 1;
        }
        Some(Position { line, column: (offset - start) as u32 + 1 })
    }
}
