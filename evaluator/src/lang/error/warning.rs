//! What the evaluator itself warns of: lints, and what is outdated or has no effect.

use std::fmt::Write as _;

use super::{ErrorKind, render};
use crate::lang::source::{Sources, Span};

/// A warning of the evaluator, which changes no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is noticed.
    pub message: String,
    /// What to write instead.
    pub advice: Option<String>,
    /// Where it is written.
    pub span: Span,
}

impl Warning {
    /// Makes a warning of something that is not worth an error.
    pub fn of(kind: &ErrorKind, span: Span) -> Self {
        Warning { message: kind.to_string(), advice: kind.hint(), span }
    }

    /// Returns the text with place and excerpt, without label and line end.
    pub fn render(&self, sources: &Sources) -> String {
        let mut text = format!("{}\n{}", self.message, render::located(sources, self.span));
        if let Some(advice) = &self.advice {
            let _always = writeln!(text, "hint: {advice}");
        }
        text.truncate(text.trim_end().len());
        text
    }
}
