//! What becomes of a set when sources are gone.
//!
//! Tools that take whatever matches a wildcard, and tools that never delete their outputs, would go
//! on using what was made from a source that no longer exists.

use crate::glob::{self, Glob};
use crate::refusal::Refusal;
use crate::relative::RelativePath;

/// What becomes of a set when sources are gone.
#[derive(Clone, Debug)]
pub enum Gone {
    /// Nothing: the tool itself notices.
    Keep,
    /// The set is not restored.
    Drop,
    /// Outputs made from those sources are not restored.
    Outputs(Vec<OutputPattern>),
}

/// Says which outputs a source has: `SOURCE=OUTPUT`, with `{dir}` and `{stem}` on both sides.
#[derive(Clone, Debug)]
pub struct OutputPattern {
    prefix: String,
    deep: bool,
    suffix: Option<String>,
    output: String,
}

/// Why a text is no [`OutputPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not say which outputs a source has\nhint: write `src/{{dir}}/{{stem}}.ts=dist/{{dir}}/{{stem}}.js`, or only `dist/{{stem}}.js` for sources of any place and ending"
)]
pub struct OutputPatternError(String);

impl std::str::FromStr for OutputPattern {
    type Err = OutputPatternError;

    fn from_str(text: &str) -> Result<OutputPattern, OutputPatternError> {
        let wrong = || OutputPatternError(text.to_owned());
        let (source, output) = text.split_once('=').unwrap_or(("{dir}/{stem}.*", text));
        let (before, suffix) = source.split_once("{stem}").ok_or_else(wrong)?;
        let deep = before.ends_with("{dir}/");
        let prefix = before.strip_suffix("{dir}/").unwrap_or(before);
        let leftover = [prefix, suffix].concat();
        let plain = output.replace("{dir}", "d").replace("{stem}", "s");
        if leftover.contains(['{', '}']) || plain.contains(['{', '}']) || output.is_empty() {
            return Err(wrong());
        }
        Ok(OutputPattern {
            prefix: prefix.to_owned(),
            deep,
            suffix: (suffix != ".*").then(|| suffix.to_owned()),
            output: output.to_owned(),
        })
    }
}

impl OutputPattern {
    /// Returns the output of a source, if the pattern speaks of that source.
    pub fn output(&self, source: &RelativePath) -> Option<RelativePath> {
        let rest = source.bytes().strip_prefix(self.prefix.as_bytes())?;
        let (dir, name): (&[u8], &[u8]) = match rest.iter().rposition(|&byte| byte == b'/') {
            Some(slash) if self.deep => (&rest[..slash], &rest[slash + 1..]),
            Some(_) => return None,
            None => (b"", rest),
        };
        let stem = match &self.suffix {
            Some(suffix) => name.strip_suffix(suffix.as_bytes())?,
            None => &name[..name.iter().rposition(|&byte| byte == b'.')?],
        };
        if stem.is_empty() {
            return None;
        }
        let mut output = Vec::new();
        let mut rest = self.output.as_str();
        while let Some(at) = rest.find('{') {
            output.extend_from_slice(&rest.as_bytes()[..at]);
            if let Some(after) = rest[at..].strip_prefix("{stem}") {
                output.extend_from_slice(stem);
                rest = after;
            } else if let Some(after) = rest[at..].strip_prefix("{dir}") {
                output.extend_from_slice(dir);
                rest =
                    if dir.is_empty() { after.strip_prefix('/').unwrap_or(after) } else { after };
            } else {
                return None;
            }
        }
        output.extend_from_slice(rest.as_bytes());
        RelativePath::parse(&output).ok()
    }
}

/// Returns the outputs to leave out, or refuses the set.
pub fn outputs(
    policy: &Gone,
    relevant: &[Glob],
    gone: &[RelativePath],
) -> Result<Vec<RelativePath>, Refusal> {
    let gone: Vec<&RelativePath> =
        gone.iter().filter(|path| relevant.is_empty() || glob::any(relevant, path)).collect();
    match policy {
        Gone::Keep => Ok(Vec::new()),
        Gone::Drop => match gone.first() {
            Some(first) => Err(Refusal::Gone { first: (*first).clone(), count: gone.len() }),
            None => Ok(Vec::new()),
        },
        Gone::Outputs(patterns) => Ok(gone
            .iter()
            .flat_map(|path| patterns.iter().filter_map(|pattern| pattern.output(path)))
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(pattern: &str, source: &str) -> Option<String> {
        let path = RelativePath::parse(source.as_bytes()).unwrap();
        let output = pattern.parse::<OutputPattern>().unwrap().output(&path)?;
        Some(String::from_utf8(output.bytes().to_vec()).unwrap())
    }

    #[test]
    fn outputs_of_a_source() {
        let deep = "src/{dir}/{stem}.ts=dist/{dir}/{stem}.js";
        assert_eq!(output(deep, "src/a/b/c.ts").unwrap(), "dist/a/b/c.js");
        assert_eq!(output(deep, "src/c.ts").unwrap(), "dist/c.js");
        assert_eq!(output(deep, "src/c.tsx"), None);
        assert_eq!(output(deep, "lib/c.ts"), None);
        assert_eq!(output("obj/{stem}.o", "a/b/c.c").unwrap(), "obj/c.o");
        assert_eq!(output("{stem}.c={stem}.o", "a/c.c"), None);
        assert_eq!(output("{dir}/{stem}.d.ts=x", "y.d.ts").unwrap(), "x");
        assert_eq!(output("../{stem}", "y.c"), None);
    }

    #[test]
    fn patterns_that_say_nothing() {
        for bad in ["", "a=b", "{stem}.c=", "{dirs}/{stem}=x", "{stem}=x{y}"] {
            assert!(bad.parse::<OutputPattern>().is_err(), "{bad}");
        }
    }
}
