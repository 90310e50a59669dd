//! Settings of the language, by the names that Nix gives them.
//!
//! What Nix reads from `nix.conf` and `--option NAME VALUE`, as far as it changes what a program
//! means or says; how Nix fetches, builds and stores is no business of these. All are off by
//! default, as in Nix. Start at [`Settings::set`].

use std::fmt;
use std::str::FromStr;

use super::error::suggest;

/// What is done about something that a lint looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LintLevel {
    /// Nothing.
    #[default]
    Ignore,
    /// A warning is shown.
    Warn,
    /// It is an error.
    Fatal,
}

/// What is done about literals that are discouraged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lints {
    /// URLs without quotes.
    pub urls: LintLevel,
    /// Paths that begin with `/` or `~/`.
    pub absolute_paths: LintLevel,
    /// Relative paths that do not begin with `.`.
    pub short_paths: LintLevel,
}

/// The settings of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How deep calls may be nested.
    pub max_call_depth: usize,
    /// Whether `warn` ends the evaluation.
    pub abort_on_warn: bool,
    /// Whether `traceVerbose` shows its messages.
    pub trace_verbose: bool,
    /// What the parser reports.
    pub lints: Lints,
    /// Whether `|>` and `<|` are operators.
    pub pipe_operators: bool,
    /// Whether `fromTOML` reads dates and times.
    pub toml_timestamps: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_call_depth: 10_000,
            abort_on_warn: false,
            trace_verbose: false,
            lints: Lints::default(),
            pipe_operators: false,
            toml_timestamps: false,
        }
    }
}

/// The name of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingName {
    /// `abort-on-warn`
    AbortOnWarn,
    /// `experimental-features`
    ExperimentalFeatures,
    /// `extra-experimental-features`
    ExtraExperimentalFeatures,
    /// `lint-absolute-path-literals`
    LintAbsolutePathLiterals,
    /// `lint-short-path-literals`
    LintShortPathLiterals,
    /// `lint-url-literals`
    LintUrlLiterals,
    /// `max-call-depth`
    MaxCallDepth,
    /// `trace-verbose`
    TraceVerbose,
}

impl SettingName {
    /// All names, in alphabetical order.
    pub const ALL: [SettingName; 8] = [
        SettingName::AbortOnWarn,
        SettingName::ExperimentalFeatures,
        SettingName::ExtraExperimentalFeatures,
        SettingName::LintAbsolutePathLiterals,
        SettingName::LintShortPathLiterals,
        SettingName::LintUrlLiterals,
        SettingName::MaxCallDepth,
        SettingName::TraceVerbose,
    ];

    /// Returns the name as Nix writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            SettingName::AbortOnWarn => "abort-on-warn",
            SettingName::ExperimentalFeatures => "experimental-features",
            SettingName::ExtraExperimentalFeatures => "extra-experimental-features",
            SettingName::LintAbsolutePathLiterals => "lint-absolute-path-literals",
            SettingName::LintShortPathLiterals => "lint-short-path-literals",
            SettingName::LintUrlLiterals => "lint-url-literals",
            SettingName::MaxCallDepth => "max-call-depth",
            SettingName::TraceVerbose => "trace-verbose",
        }
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SettingName {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let found = SettingName::ALL.into_iter().find(|known| known.as_str() == name);
        found.ok_or_else(|| SettingError::Unknown { name: name.to_owned() })
    }
}

/// The experimental features of Nix that change the language.
const FEATURES: [&str; 2] = ["parse-toml-timestamps", "pipe-operators"];

/// Why a setting was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("`{name}` is no setting of the language\nhint: {}", unknown_hint(name))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is none of the setting's.
    #[error("setting `{name}` cannot be `{value}`, expected {expected}")]
    Value {
        /// The setting.
        name: SettingName,
        /// The value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// There is no such experimental feature.
    #[error(
        "`{feature}` is no experimental feature of the language\nhint: the known ones are {}",
        listed(FEATURES)
    )]
    Feature {
        /// The feature.
        feature: String,
    },
}

fn unknown_hint(name: &str) -> String {
    let known = SettingName::ALL.map(SettingName::as_str);
    match suggest(name.as_bytes(), known.iter().map(|known| known.as_bytes())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the known ones are {}", listed(known)),
    }
}

fn listed<const N: usize>(names: [&str; N]) -> String {
    names.map(|name| format!("`{name}`")).join(", ")
}

impl Settings {
    /// Changes a setting, with name and value as in `nix.conf`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let name: SettingName = name.parse()?;
        match name {
            SettingName::AbortOnWarn => self.abort_on_warn = boolean(name, value)?,
            SettingName::ExperimentalFeatures => {
                self.pipe_operators = false;
                self.toml_timestamps = false;
                self.enable(value)?;
            }
            SettingName::ExtraExperimentalFeatures => self.enable(value)?,
            SettingName::LintAbsolutePathLiterals => {
                self.lints.absolute_paths = level(name, value)?;
            }
            SettingName::LintShortPathLiterals => self.lints.short_paths = level(name, value)?,
            SettingName::LintUrlLiterals => self.lints.urls = level(name, value)?,
            SettingName::MaxCallDepth => self.max_call_depth = number(name, value)?,
            SettingName::TraceVerbose => self.trace_verbose = boolean(name, value)?,
        }
        Ok(())
    }

    fn enable(&mut self, features: &str) -> Result<(), SettingError> {
        for feature in features.split_ascii_whitespace() {
            match feature {
                "parse-toml-timestamps" => self.toml_timestamps = true,
                "pipe-operators" => self.pipe_operators = true,
                _ => return Err(SettingError::Feature { feature: feature.to_owned() }),
            }
        }
        Ok(())
    }
}

fn boolean(name: SettingName, value: &str) -> Result<bool, SettingError> {
    match value {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(wrong(name, value, "`true` or `false`")),
    }
}

fn level(name: SettingName, value: &str) -> Result<LintLevel, SettingError> {
    match value {
        "ignore" => Ok(LintLevel::Ignore),
        "warn" => Ok(LintLevel::Warn),
        "fatal" => Ok(LintLevel::Fatal),
        _ => Err(wrong(name, value, "`ignore`, `warn` or `fatal`")),
    }
}

/// Reads a number of 32 bits, as Nix's are; it may end in a unit.
fn number(name: SettingName, value: &str) -> Result<usize, SettingError> {
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K' | b'k') => (&value[..value.len() - 1], 10),
        Some(b'M' | b'm') => (&value[..value.len() - 1], 20),
        Some(b'G' | b'g') => (&value[..value.len() - 1], 30),
        Some(_) | None => (value, 0),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain);
    let number = number.and_then(|number| number.checked_mul(1 << shift));
    let number = number.and_then(|number| u32::try_from(number).ok());
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| wrong(name, value, "a number below 2^32"))
}

fn wrong(name: SettingName, value: &str, expected: &'static str) -> SettingError {
    SettingError::Value { name, value: value.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Settings, SettingError> {
        let mut settings = Settings::default();
        settings.set(name, value).map(|()| settings)
    }

    #[test]
    fn every_setting_can_be_changed() {
        for name in SettingName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            let value = match name {
                SettingName::AbortOnWarn | SettingName::TraceVerbose => "true",
                SettingName::ExperimentalFeatures => "pipe-operators",
                SettingName::ExtraExperimentalFeatures => "parse-toml-timestamps",
                SettingName::LintAbsolutePathLiterals
                | SettingName::LintShortPathLiterals
                | SettingName::LintUrlLiterals => "fatal",
                SettingName::MaxCallDepth => "77",
            };
            assert_ne!(set(name.as_str(), value), Ok(Settings::default()), "{name}");
        }
        let mut sorted = SettingName::ALL.map(SettingName::as_str);
        sorted.sort_unstable();
        assert_eq!(sorted, SettingName::ALL.map(SettingName::as_str));
    }

    #[test]
    fn values_are_those_of_nix() {
        for (value, expected) in
            [("0", 0), ("100", 100), ("2K", 2048), ("1m", 1 << 20), ("3G", 3 << 30)]
        {
            assert_eq!(set("max-call-depth", value).map(|set| set.max_call_depth), Ok(expected));
        }
        for (value, expected) in [("yes", true), ("1", true), ("no", false), ("0", false)] {
            assert_eq!(set("abort-on-warn", value).map(|set| set.abort_on_warn), Ok(expected));
        }
        for (name, value) in [
            ("max-call-depth", ""),
            ("max-call-depth", "-1"),
            ("max-call-depth", "+1"),
            ("max-call-depth", "K"),
            ("max-call-depth", "1ä"),
            ("max-call-depth", "4G"),
            ("max-call-depth", "99999999999999999999"),
            ("abort-on-warn", "True"),
            ("abort-on-warn", ""),
            ("lint-url-literals", "error"),
            ("lint-url-literals", "warn "),
        ] {
            let error = set(name, value).unwrap_err();
            assert!(matches!(error, SettingError::Value { .. }), "{name} {value:?}: {error}");
        }
    }

    #[test]
    fn features_are_added_or_replaced() {
        let mut settings = Settings::default();
        settings.set("experimental-features", " pipe-operators ").unwrap();
        settings.set("extra-experimental-features", "parse-toml-timestamps").unwrap();
        assert!(settings.pipe_operators && settings.toml_timestamps);
        settings.set("experimental-features", "").unwrap();
        assert_eq!(settings, Settings::default());
        let error = settings.set("experimental-features", "pipe-operators flakes").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`flakes` is no experimental feature of the language\n\
             hint: the known ones are `parse-toml-timestamps`, `pipe-operators`"
        );
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion_or_all_names() {
        let near = set("trace-verbos", "true").unwrap_err().to_string();
        assert_eq!(
            near,
            "`trace-verbos` is no setting of the language\nhint: did you mean `trace-verbose`?"
        );
        let far = set("cores", "2").unwrap_err().to_string();
        for name in SettingName::ALL {
            assert!(far.contains(name.as_str()), "{far}");
        }
    }
}
