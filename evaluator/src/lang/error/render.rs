//! The text of an error for people: message, excerpt, what was being evaluated, hint.

use std::fmt::Write as _;

use super::Error;
use crate::lang::source::{Sources, Span};

/// Longer lines are cut in excerpts.
const MAX_LINE: usize = 160;

impl Error {
    /// Returns the whole text, ending with a newline.
    pub fn render(&self, sources: &Sources) -> String {
        let mut text = format!("error[{}]: {}\n", self.kind().code(), self.kind());
        text.push_str(&located(sources, self.span()));
        for context in self.contexts() {
            match sources.place(context.span) {
                Some(place) => {
                    let _always = writeln!(text, "  … {} at {place}", context.message);
                }
                None => {
                    let _always = writeln!(text, "  … {}", context.message);
                }
            }
        }
        if self.0.dropped > 0 {
            let _always = writeln!(text, "  … and {} more", self.0.dropped);
        }
        if let Some(hint) = self.kind().hint() {
            let _always = writeln!(text, "hint: {hint}");
        }
        text
    }
}

/// Returns the place of a span and its excerpt; nothing if it has no place.
pub(super) fn located(sources: &Sources, span: Span) -> String {
    match sources.place(span) {
        Some(place) => format!("  --> {place}\n{}", excerpt(sources, span)),
        None => String::new(),
    }
}

/// Returns the line of a span with carets below the span.
fn excerpt(sources: &Sources, span: Span) -> String {
    let (Some(source), Some(position)) = (sources.source(span), sources.position(span)) else {
        return String::new();
    };
    let offset = (span.start - source.base) as usize;
    let start = offset.saturating_sub(position.column as usize - 1);
    let rest = source.text.get(start..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
    let line = &rest[..length.min(MAX_LINE)];
    let column = (position.column as usize - 1).min(line.len());
    let width =
        (span.end.saturating_sub(span.start) as usize).clamp(1, (line.len() - column).max(1));
    // Tabs keep their width below, other characters are counted as people see them.
    let before = String::from_utf8_lossy(&line[..column]);
    let marked = line.get(column..(column + width).min(line.len())).unwrap_or_default();
    let carets = String::from_utf8_lossy(marked).chars().count().max(1);
    let blanks: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    format!(
        " {margin} |\n {number} | {}\n {margin} | {blanks}{}\n",
        String::from_utf8_lossy(line),
        "^".repeat(carets)
    )
}
