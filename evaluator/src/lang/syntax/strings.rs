//! Strings, indented strings and paths: text with `${ … }` in it.

use super::ast::{Expr, ExprKind, Part};
use super::lexer::{self, Token};
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
    pub(super) fn string(&mut self) -> Result<Vec<Part>> {
        let open = self.token;
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut offset = open.end;
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
                    push_text(&mut parts, &mut text);
                    let (expr, end) = self.interpolation(offset)?;
                    parts.push(Part::Interpolation(expr));
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
                    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'$' | b'\r' | 0);
                    // The byte itself is plain here, if it is a dollar, too.
                    let plain = rest[1..].iter().position(special).map_or(rest.len(), |at| at + 1);
                    text.extend_from_slice(&rest[..plain]);
                    offset += plain;
                }
            }
        }
        push_text(&mut parts, &mut text);
        self.advance_to(offset + 1);
        Ok(parts)
    }

    /// Parses what follows `''`, up to and with the other `''`.
    pub(super) fn indented_string(&mut self) -> Result<Vec<Part>> {
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
        Ok(strip(pieces))
    }

    /// Parses a path from its first token.
    pub(super) fn path(&mut self) -> Result<Expr> {
        let first = self.token;
        let written = self.text[first.start..first.end].to_vec();
        let mut start = if first.token == Token::HomePath {
            let Some(home) = self.options.home.clone() else {
                return Err(self.error_at(
                    first,
                    format!(
                        "the path `{}` can not be resolved in pure mode",
                        String::from_utf8_lossy(&written)
                    ),
                ));
            };
            NixPath::new(&home).join(&written[1..])
        } else if written[0] == b'/' {
            NixPath::canonical(&written)
        } else {
            NixPath::new(&self.options.directory).join(&written)
        }
        .bytes()
        .to_vec();
        let mut ends_with_slash = written.ends_with(b"/");
        if ends_with_slash && written.len() > 1 && start != b"/" {
            start.push(b'/');
        }
        let mut parts = vec![Part::Text(start.into_boxed_slice())];
        let mut offset = first.end;
        let mut interpolated = false;
        loop {
            if self.byte(offset) == Some(b'$') && self.byte(offset + 1) == Some(b'{') {
                let (expr, end) = self.interpolation(offset)?;
                parts.push(Part::Interpolation(expr));
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
            parts.push(Part::Text(rest[..length].into()));
            offset += length;
        }
        // `/a//b` is two parts without anything between them.
        if !interpolated && parts.len() > 1 && !ends_with_slash {
            self.advance_to(offset);
            return Err(self.unexpected("`${` after the two slashes of a path"));
        }
        if ends_with_slash {
            let end = lexer::Lexeme { token: first.token, start: first.start, end: offset };
            return Err(self.error_at(end, "path has a trailing slash".to_owned()));
        }
        self.advance_to(offset);
        Ok(Expr { kind: ExprKind::Path(parts), span: self.span(first.start, offset) })
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

    /// Makes the error for a byte that no string can hold.
    fn null_byte(&self, offset: usize) -> Error {
        let place = lexer::Lexeme { token: Token::Invalid, start: offset, end: offset + 1 };
        self.error_at(place, "a string cannot contain a null byte".to_owned())
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.get(offset).copied()
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

fn push_text(parts: &mut Vec<Part>, text: &mut Vec<u8>) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text).into_boxed_slice()));
    }
}

/// Removes the indentation that all lines have in common, and a last line of blanks alone.
fn strip(pieces: Vec<Piece>) -> Vec<Part> {
    let indentation = indentation(&pieces);
    let count = pieces.len();
    let mut parts = Vec::with_capacity(count);
    let mut at_line_start = true;
    let mut dropped = 0;
    for (index, piece) in pieces.into_iter().enumerate() {
        let (Piece::Written(text) | Piece::Escaped(text)) = piece else {
            if let Piece::Interpolation(expr) = piece {
                parts.push(Part::Interpolation(expr));
            }
            at_line_start = false;
            dropped = 0;
            continue;
        };
        let mut stripped = Vec::with_capacity(text.len());
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
        push_text(&mut parts, &mut stripped);
    }
    // A string in a string is the string, unlike between `"`.
    if let [Part::Interpolation(Expr { kind: ExprKind::String(inner), .. })] = &mut parts[..]
        && matches!(inner[..], [] | [Part::Text(_)])
    {
        return std::mem::take(inner);
    }
    parts
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
