//! Sources and places in them.
//!
//! All sources of an evaluation share one range of numbers: a [`Span`] alone says which file it is
//! in. Zero is no place, so the first source starts at one.

use std::cell::OnceCell;
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
    pub text: Box<[u8]>,
    /// The number of its first byte.
    pub base: u32,
    /// Where its lines begin, once somebody has asked for a position.
    lines: OnceCell<Rc<[u32]>>,
}

impl Source {
    /// Finds where the lines begin; they end with `\n`, `\r\n` or a single `\r`, as in Nix.
    fn lines(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let ends = self.text.iter().enumerate().filter(|(index, byte)| match byte {
                b'\n' => true,
                b'\r' => self.text.get(index + 1) != Some(&b'\n'),
                _ => false,
            });
            std::iter::once(0).chain(ends.map(|(index, _)| index as u32 + 1)).collect()
        })
    }
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
    /// Adds a source and returns it, or nothing if four gigabytes of sources are full.
    pub fn add(&mut self, origin: Origin, text: Box<[u8]>) -> Option<&Source> {
        let base = self.next.max(1);
        let length = u32::try_from(text.len()).ok()?;
        self.next = base.checked_add(length)?.checked_add(1)?;
        self.sources.push(Source { origin, text, base, lines: OnceCell::new() });
        self.sources.last()
    }

    /// Returns the source of a span.
    pub fn source(&self, span: Span) -> Option<&Source> {
        if !span.is_some() {
            return None;
        }
        let index = self.sources.partition_point(|source| source.base <= span.start);
        self.sources.get(index.checked_sub(1)?)
    }

    /// Returns `file:line:column` of the first byte of a span.
    pub fn place(&self, span: Span) -> Option<String> {
        let source = self.source(span)?;
        let position = self.position(span)?;
        let name = match &source.origin {
            Origin::File(path) => String::from_utf8_lossy(path).into_owned(),
            Origin::Expression => "«string»".to_owned(),
            Origin::Stdin => "«stdin»".to_owned(),
            Origin::Internal(name) => format!("«internal {name}»"),
        };
        Some(format!("{name}:{}:{}", position.line, position.column))
    }

    /// Returns the position of the first byte of a span.
    ///
    /// Only the first question about a source reads all of it: a module system asks for thousands.
    pub fn position(&self, span: Span) -> Option<Position> {
        let source = self.source(span)?;
        let end = source.base + source.text.len() as u32;
        let offset = span.start.min(end) - source.base;
        let lines = source.lines();
        let line = lines.partition_point(|start| *start <= offset);
        let start = lines.get(line.checked_sub(1)?)?;
        Some(Position { line: line as u32, column: offset - start + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_three_ways() {
        let mut sources = Sources::default();
        let other = sources.add(Origin::Expression, b"1".as_slice().into()).unwrap().base;
        let base = sources.add(Origin::Stdin, b"a\nb\r\nc\rd\n".as_slice().into()).unwrap().base;
        let at = |offset: u32| {
            let span = Span { start: base + offset, end: base + offset };
            sources.position(span).map(|position| (position.line, position.column))
        };
        let wanted =
            [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1)];
        for (offset, wanted) in (0..).zip(wanted) {
            assert_eq!(at(offset), Some(wanted), "{offset}");
        }
        assert_eq!(sources.position(Span { start: other, end: other }).unwrap().line, 1);
        assert_eq!(sources.position(Span::NONE), None);
    }

    #[test]
    fn a_hundred_thousand_positions_in_a_million_lines_are_found() {
        let mut sources = Sources::default();
        let text: Vec<u8> = b"12\n".repeat(1_000_000);
        let base = sources.add(Origin::Expression, text.into()).unwrap().base;
        for number in 0..100_000 {
            let start = base + number * 30 + 1;
            let position = sources.position(Span { start, end: start }).unwrap();
            assert_eq!((position.line, position.column), (number * 10 + 1, 2));
        }
    }
}
