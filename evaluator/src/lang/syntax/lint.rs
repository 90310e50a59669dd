//! Literals that the language has and that people may not want.
//!
//! Whether they are reported is a setting of each ([`Lints`]); the parser asks when it meets one.

use std::fmt;

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
