//! Strings, indented strings and paths: text with `${ … }` in it.

use std::rc::Rc;

use super::ast::{Expr, ExprKind, Part};
use super::lexer::{self, Token};
use super::lint::Literal;
use super::parser::Parser;
use crate::lang::error::{Error, Result};
use crate::lang::value::NixPath;

/// A piece of an indented string before it is stripped.
enum Piece {
    /// Text as it is written: its blanks at the beginning of lines are indentation.
    Written(Vec<u8>),
    /// Text from an escape: never indentation.
    Escaped(Vec<u8>),
    Interpolation(Expr),
}

impl Parser<'_> {
    /// Parses what follows `"`, up to and with the other `"`.
    pub(super) fn string(&mut self) -> Result<ExprKind> {
        let open = self.token;
        let first = self.parts.len();
        let mut text = Vec::new();
        let mut offset = open.end;
        let rest = &self.text[offset..];
        if let Some(plain) = rest.iter().position(is_special)
            && rest[plain] == b'"'
        {
            self.advance_to(offset + plain + 1);
            return Ok(ExprKind::Text(rest[..plain].into()));
        }
        loop {
            match (self.byte(offset), self.byte(offset + 1)) {
                (None, _) => return Err(self.unterminated(open, "string")),
                (Some(0), _) => return Err(self.null_byte(offset)),
                (Some(b'"'), _) => break,
                (Some(b'\\'), Some(escaped)) => {
                    text.push(unescape(escaped));
                    offset += 2;
                }
                (Some(b'\\'), None) => return Err(self.unterminated(open, "string")),
                (Some(b'$'), Some(b'{')) => {
                    self.push_text(&mut text);
                    let (expr, end) = self.interpolation(offset)?;
                    self.parts.push(Part::Interpolation(expr));
                    offset = end;
                }
                (Some(b'$'), Some(b'$')) => {
                    // `$${` is no interpolation: the first dollar escapes the second.
                    text.extend_from_slice(b"$$");
                    offset += 2;
                }
                (Some(b'\r'), next) => {
                    text.push(b'\n');
                    offset += if next == Some(b'\n') { 2 } else { 1 };
                }
                (Some(_), _) => {
                    let rest = &self.text[offset..];
                    // The byte itself is plain here, if it is a dollar, too.
                    let plain = rest[1..].iter().position(is_special);
                    let plain = plain.map_or(rest.len(), |at| at + 1);
                    text.extend_from_slice(&rest[..plain]);
                    offset += plain;
                }
            }
        }
        self.push_text(&mut text);
        self.advance_to(offset + 1);
        Ok(self.string_of_parts(first))
    }

    /// Adds a part to the string that is being read, unless it is empty.
    fn push_text(&mut self, text: &mut Vec<u8>) {
        if !text.is_empty() {
            self.parts.push(Part::Text(text.as_slice().into()));
            text.clear();
        }
    }

    /// Makes a string of the parts from an index on.
    fn string_of_parts(&mut self, first: usize) -> ExprKind {
        match self.parts.get_mut(first..) {
            None | Some([]) => ExprKind::Text(Box::default()),
            Some([Part::Text(text)]) => {
                let text = std::mem::take(text);
                self.parts.truncate(first);
                ExprKind::Text(text)
            }
            Some(_) => ExprKind::String(self.parts.drain(first..).collect()),
        }
    }

    /// Parses what follows `''`, up to and with the other `''`.
    pub(super) fn indented_string(&mut self) -> Result<ExprKind> {
        let open = self.token;
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        let mut offset = open.end;
        let written = |pieces: &mut Vec<Piece>, text: &mut Vec<u8>| {
            if !text.is_empty() {
                pieces.push(Piece::Written(std::mem::take(text)));
            }
        };
        loop {
            match (self.byte(offset), self.byte(offset + 1), self.byte(offset + 2)) {
                (None, ..) => return Err(self.unterminated(open, "indented string")),
                (Some(0), ..) => return Err(self.null_byte(offset)),
                (Some(b'$'), Some(b'{'), _) => {
                    written(&mut pieces, &mut text);
                    let (expr, end) = self.interpolation(offset)?;
                    pieces.push(Piece::Interpolation(expr));
                    offset = end;
                }
                (Some(b'$'), None | Some(b'\''), _) => {
                    written(&mut pieces, &mut text);
                    pieces.push(Piece::Escaped(b"$".to_vec()));
                    offset += 1;
                }
                (Some(b'\''), Some(b'\''), Some(b'$')) => {
                    written(&mut pieces, &mut text);
                    pieces.push(Piece::Escaped(b"$".to_vec()));
                    offset += 3;
                }
                (Some(b'\''), Some(b'\''), Some(b'\'')) => {
                    written(&mut pieces, &mut text);
                    pieces.push(Piece::Escaped(b"''".to_vec()));
                    offset += 3;
                }
                (Some(b'\''), Some(b'\''), Some(b'\\')) if self.byte(offset + 3).is_some() => {
                    written(&mut pieces, &mut text);
                    let escaped = self.byte(offset + 3).unwrap_or_default();
                    pieces.push(Piece::Escaped(vec![unescape(escaped)]));
                    offset += 4;
                }
                (Some(b'\''), Some(b'\''), _) => break,
                (Some(b'\''), None | Some(b'$'), _) => {
                    written(&mut pieces, &mut text);
                    pieces.push(Piece::Escaped(b"'".to_vec()));
                    offset += 1;
                }
                (Some(first @ (b'$' | b'\'')), Some(second), _) => {
                    text.extend_from_slice(&[first, second]);
                    offset += 2;
                }
                (Some(_), ..) => {
                    let rest = &self.text[offset..];
                    let special = |byte: &u8| matches!(byte, b'\'' | b'$' | 0);
                    let plain = rest[1..].iter().position(special).map_or(rest.len(), |at| at + 1);
                    text.extend_from_slice(&rest[..plain]);
                    offset += plain;
                }
            }
        }
        written(&mut pieces, &mut text);
        self.advance_to(offset + 2);
        let first = self.parts.len();
        self.strip(pieces);
        // A string in a string is the string, unlike between `"`.
        if let Some([Part::Interpolation(Expr { kind: ExprKind::Text(inner), .. })]) =
            self.parts.get_mut(first..)
        {
            let text = std::mem::take(inner);
            self.parts.truncate(first);
            return Ok(ExprKind::Text(text));
        }
        Ok(self.string_of_parts(first))
    }

    /// Parses a path from its first token.
    pub(super) fn path(&mut self) -> Result<Expr> {
        let first = self.token;
        let written = &self.text[first.start..first.end];
        let start = if first.token == Token::HomePath {
            let Some(home) = &self.options.home else {
                return Err(self.error_at(
                    first,
                    format!(
                        "the path `{}` can not be resolved in pure mode",
                        String::from_utf8_lossy(written)
                    ),
                ));
            };
            self.lint(Literal::HomePath)?;
            NixPath::canonical(home).join(&written[1..])
        } else if written[0] == b'/' {
            self.lint(Literal::AbsolutePath)?;
            NixPath::canonical(written)
        } else {
            if written[0] != b'.' {
                self.lint(Literal::ShortPath)?;
            }
            self.directory.join(written)
        };
        let mut ends_with_slash = written.ends_with(b"/");
        let begins_parts = ends_with_slash && written.len() > 1 && start.bytes() != b"/";
        let first_part = self.parts.len();
        let mut offset = first.end;
        let mut interpolated = false;
        loop {
            if self.byte(offset) == Some(b'$') && self.byte(offset + 1) == Some(b'{') {
                let (expr, end) = self.interpolation(offset)?;
                self.parts.push(Part::Interpolation(expr));
                interpolated = true;
                ends_with_slash = false;
                offset = end;
                continue;
            }
            let rest = &self.text[offset..];
            let length = lexer::path_part_length(rest);
            if length == 0 {
                break;
            }
            ends_with_slash = rest[length - 1] == b'/';
            self.parts.push(Part::Text(rest[..length].into()));
            offset += length;
        }
        // `/a//b` is two parts without anything between them.
        if !interpolated && self.parts.len() > first_part && !ends_with_slash {
            self.advance_to(offset);
            return Err(self.unexpected("`${` after the two slashes of a path"));
        }
        if ends_with_slash {
            let end = lexer::Lexeme { token: first.token, start: first.start, end: offset };
            return Err(self.error_at(end, "path has a trailing slash".to_owned()));
        }
        self.advance_to(offset);
        let kind = if interpolated {
            let slash: &[u8] = if begins_parts { b"/" } else { b"" };
            let start = Part::Text([start.bytes(), slash].concat().into_boxed_slice());
            let parts = self.parts.drain(first_part..);
            ExprKind::PathParts(std::iter::once(start).chain(parts).collect())
        } else {
            ExprKind::Path(Rc::new(start))
        };
        Ok(Expr { kind, span: self.span(first.start, offset) })
    }

    /// Parses `${ … }` at an offset; returns the offset behind it.
    fn interpolation(&mut self, offset: usize) -> Result<(Expr, usize)> {
        self.advance_to(offset + 2);
        let expr = self.expr()?;
        if self.token.token != Token::Char(b'}') {
            return Err(self.unexpected("`}`"));
        }
        Ok((expr, self.token.end))
    }

    /// Adds the parts of an indented string without the indentation that all lines have in common,
    /// and without a last line of blanks alone.
    fn strip(&mut self, pieces: Vec<Piece>) {
        let indentation = indentation(&pieces);
        let count = pieces.len();
        let mut at_line_start = true;
        let mut dropped = 0;
        let mut stripped = Vec::new();
        for (index, piece) in pieces.into_iter().enumerate() {
            let (Piece::Written(text) | Piece::Escaped(text)) = piece else {
                if let Piece::Interpolation(expr) = piece {
                    self.parts.push(Part::Interpolation(expr));
                }
                at_line_start = false;
                dropped = 0;
                continue;
            };
            for byte in text {
                if at_line_start && byte == b' ' {
                    if dropped >= indentation {
                        stripped.push(byte);
                    }
                    dropped += 1;
                    continue;
                }
                stripped.push(byte);
                if byte == b'\n' {
                    at_line_start = true;
                    dropped = 0;
                } else if at_line_start {
                    at_line_start = false;
                    dropped = 0;
                }
            }
            if index + 1 == count
                && let Some(newline) = stripped.iter().rposition(|byte| *byte == b'\n')
                && stripped[newline + 1..].iter().all(|byte| *byte == b' ')
            {
                stripped.truncate(newline + 1);
            }
            self.push_text(&mut stripped);
        }
    }

    /// Makes the error for a byte that no string can hold.
    fn null_byte(&self, offset: usize) -> Error {
        let place = lexer::Lexeme { token: Token::Invalid, start: offset, end: offset + 1 };
        self.error_at(place, "a string cannot contain a null byte".to_owned())
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.get(offset).copied()
    }
}

/// Whether a byte in a string may mean something else than itself.
fn is_special(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'$' | b'\r' | 0)
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

/// Returns the number of blanks at the beginning of all lines that have anything else.
fn indentation(pieces: &[Piece]) -> usize {
    let mut least = usize::MAX;
    let mut current = 0;
    let mut at_line_start = true;
    for piece in pieces {
        let Piece::Written(text) = piece else {
            if at_line_start {
                at_line_start = false;
                least = least.min(current);
            }
            continue;
        };
        for byte in text {
            match (at_line_start, byte) {
                (true, b' ') => current += 1,
                (_, b'\n') => {
                    at_line_start = true;
                    current = 0;
                }
                (true, _) => {
                    at_line_start = false;
                    least = least.min(current);
                }
                (false, _) => {}
            }
        }
    }
    least
}
