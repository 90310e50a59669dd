//! What became of each command of a build, as it is kept beside the build's pack for people. No build reads it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::account::{Fate, Row};

/// The file in a pack's directory.
const FILE: &str = "commands.json.zst";
/// More than this is no account of a build.
const MOST_BYTES: u64 = 256 << 20;
/// How many reasons are told of at the end.
const REASONS: usize = 20;

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCommand {
    /// How many commands are around it.
    pub depth: usize,
    /// The program and its first arguments.
    pub name: String,
    /// What became of it.
    pub fate: CommandFate,
    /// How long it took when it ran, in microseconds.
    pub micros: u64,
    /// Of one that was skipped, which of the caches that were given knew it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<usize>,
    /// Of one that ran, why it was not skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why it cannot be skipped in the next build either, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandFate {
    /// What it did before was done in its place.
    Skipped,
    /// It ran.
    Ran,
}

/// The commands of a build, in the order in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// One each; of very large builds the first ones.
    pub commands: Vec<ExplainedCommand>,
}

/// Why it cannot be shown what became of a build's commands.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Nothing is kept there.
    #[error(
        "`{}` does not say what became of a build's commands\nhint: only caches of builds that skip commands do; name the \
         cache's path in the store",
        .0.display()
    )]
    Nothing(PathBuf),
    /// It cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Explanation {
    pub(super) fn of(rows: &[Row]) -> Self {
        let command = |row: &Row| {
            let (depth, name) = (row.depth, row.name.clone());
            match &row.fate {
                Fate::Skipped { source, micros } => ExplainedCommand {
                    depth,
                    name,
                    fate: CommandFate::Skipped,
                    micros: *micros,
                    cache: Some(*source),
                    why: None,
                    not_kept: None,
                },
                Fate::Ran { why, spoilt, micros } => ExplainedCommand {
                    depth,
                    name,
                    fate: CommandFate::Ran,
                    micros: *micros,
                    cache: None,
                    why: Some(why.to_string()),
                    not_kept: spoilt.as_ref().map(ToString::to_string),
                },
            }
        };
        Self { commands: rows.iter().map(command).collect() }
    }

    /// Keeps it in a pack's directory.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(File::create(directory.join(FILE))?, 0)?;
        serde_json::to_writer(&mut encoder, self)?;
        encoder.finish()?.flush()
    }

    /// Reads what is kept in a cache, or in a pack's directory.
    pub fn read(cache: &Path) -> Result<Self, ExplainError> {
        let places = [cache.join(super::PACK).join(FILE), cache.join(FILE)];
        let Some(path) = places.into_iter().find(|path| path.is_file()) else {
            return Err(ExplainError::Nothing(cache.to_owned()));
        };
        let read = || {
            let mut text = Vec::new();
            zstd::Decoder::new(File::open(&path)?)?.take(MOST_BYTES).read_to_end(&mut text)?;
            Ok(serde_json::from_slice(&text)?)
        };
        read().map_err(|source| ExplainError::Read { path: path.clone(), source })
    }

    /// Returns a line for each command, and how often each reason stood in the way of skipping one.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut reasons: HashMap<&str, usize> = HashMap::new();
        for command in &self.commands {
            let indent = "  ".repeat(command.depth.min(64));
            // Whoever wrote the cache chose these words.
            let name = command.name.escape_debug();
            let seconds = command.micros as f64 / 1e6;
            let line = match command.fate {
                CommandFate::Skipped => {
                    let cache = command.cache.unwrap_or_default();
                    format!("{indent}skipped  {name}  ({seconds:.3} s; cache {cache})\n")
                }
                CommandFate::Ran => {
                    let why = command.why.as_deref().unwrap_or_default();
                    *reasons.entry(why).or_default() += 1;
                    let not_kept = command.not_kept.as_deref();
                    let not_kept = not_kept.map(|why| format!("; not kept: {}", plain(why)));
                    let (why, not_kept) = (plain(why), not_kept.unwrap_or_default());
                    format!("{indent}ran      {name}  ({seconds:.3} s; {why}{not_kept})\n")
                }
            };
            text.push_str(&line);
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        for (reason, count) in reasons.into_iter().take(REASONS) {
            text.push_str(&format!("{count:>6} × {}\n", plain(reason)));
        }
        text
    }
}

/// Returns a text without what moves about on a terminal. Its quotes stay.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::reason::Reason;

    #[test]
    fn what_is_kept_is_what_is_shown() {
        let ran = |spoilt| Fate::Ran { why: Reason::NotKnown, spoilt, micros: 2_500 };
        let rows = [
            Row { depth: 1, name: "cc \u{1b}[2J".into(), fate: ran(Some(Reason::Socket)) },
            Row {
                depth: 1,
                name: "as x.s".into(),
                fate: Fate::Skipped { source: 1, micros: 1_000_000 },
            },
            Row { depth: 0, name: "make".into(), fate: ran(None) },
        ];
        let explanation = Explanation::of(&rows);
        let directory = tempfile::tempdir().unwrap();
        let pack = directory.path().join(crate::replay::PACK);
        let nothing = Explanation::read(directory.path()).unwrap_err().to_string();
        assert!(nothing.contains("does not say"), "{nothing}");
        std::fs::create_dir(&pack).unwrap();
        explanation.write(&pack).unwrap();
        for cache in [directory.path(), &pack] {
            assert_eq!(Explanation::read(cache).unwrap(), explanation);
        }
        let text = explanation.text();
        let why = Reason::NotKnown;
        assert!(text.contains("  skipped  as x.s  (1.000 s; cache 1)\n"), "{text}");
        assert!(text.contains(&format!("ran      make  (0.003 s; {why})\n")), "{text}");
        assert!(text.contains("; not kept: it talks through a socket)\n"), "{text}");
        assert!(text.ends_with(&format!("     2 × {why}\n")), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        std::fs::write(pack.join(FILE), "no frame").unwrap();
        let damaged = Explanation::read(directory.path()).unwrap_err().to_string();
        assert!(damaged.contains("cannot read"), "{damaged}");
    }
}
