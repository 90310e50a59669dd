//! What the language has and people may not want.
//!
//! Whether literals are reported is a setting of each ([`Lints`]); the parser asks when it meets one.

use std::fmt;

use super::ast::Expr;
use super::parser::Parser;
use crate::lang::error::{Error, ErrorKind, Result, Warning};
use crate::lang::settings::{LintLevel, Lints, SettingName};

/// A literal that a lint looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// A URL without quotes.
    Url,
    /// A path that begins with `/`.
    AbsolutePath,
    /// A path that begins with `~/`.
    HomePath,
    /// A relative path that does not begin with `.`.
    ShortPath,
}

impl Literal {
    /// Returns the setting that decides about the literal.
    pub fn setting(self) -> SettingName {
        match self {
            Literal::Url => SettingName::LintUrlLiterals,
            Literal::AbsolutePath | Literal::HomePath => SettingName::LintAbsolutePathLiterals,
            Literal::ShortPath => SettingName::LintShortPathLiterals,
        }
    }

    /// Returns what is done about the literal.
    pub(super) fn level(self, lints: Lints) -> LintLevel {
        match self {
            Literal::Url => lints.urls,
            Literal::AbsolutePath | Literal::HomePath => lints.absolute_paths,
            Literal::ShortPath => lints.short_paths,
        }
    }

    /// Returns what to write instead of a literal `text`.
    pub fn advice(self, text: &str) -> String {
        match self {
            Literal::Url => format!("write `\"{text}\"`"),
            Literal::AbsolutePath | Literal::HomePath => {
                "use a string, a relative path or a parameter".to_owned()
            }
            Literal::ShortPath => format!("write `./{text}`"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Literal::Url => "a URL without quotes",
            Literal::AbsolutePath => "an absolute path, which is not portable",
            Literal::HomePath => "a path in the home directory, which is not portable",
            Literal::ShortPath => "a relative path that does not begin with `.`",
        })
    }
}

impl Parser<'_> {
    /// Reports the literal that the current token is, or begins, as far as the settings want it.
    pub(super) fn lint(&mut self, literal: Literal) -> Result<()> {
        let level = literal.level(self.options.lints);
        if level == LintLevel::Ignore {
            return Ok(());
        }
        let written = &self.text[self.token.start..self.token.end];
        let text = String::from_utf8_lossy(written).into_owned();
        let (kind, span) = (ErrorKind::Lint { literal, text }, self.token_span(self.token));
        if level == LintLevel::Fatal {
            return Err(Error::new(kind, span));
        }
        self.warnings.push(Warning::of(&kind, span));
        Ok(())
    }

    /// Warns if the last selection is `f or`: where `or` is an ordinary variable, as in a later
    /// Nix, it would be an argument or element by itself.
    pub(super) fn lint_or(&mut self, expr: &Expr) {
        if self.ends_with_or {
            let message = "`or` stands for a variable here, and later versions of Nix will understand the whole differently";
            let advice = "put parentheses around this, if it shall stay what it is";
            self.warnings.push(Warning {
                message: message.to_owned(),
                advice: Some(advice.to_owned()),
                span: expr.span,
            });
        }
    }
}
