//! The commands of levain that documents name: each is one that there is, with the options that it has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::Environment;

/// A command as it is written down: the words that it begins with, and the options among what follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    words: Vec<String>,
    options: Vec<String>,
}

/// Reads a command line; nothing if it names no command of levain, as in `levain` alone.
fn written(line: &str) -> Option<Written> {
    let line = line.split([';', '|', '>', '#', ')']).next()?;
    let mut rest = line.split_whitespace().peekable();
    let mut words = Vec::new();
    while let Some(word) = rest.next_if(|word| {
        let is_word = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        is_word && !word.starts_with('-')
    }) {
        words.push(word.to_owned());
    }
    let options = rest.filter(|word| word.starts_with('-') && *word != "-").map(|word| {
        word.split('=').next().unwrap_or_default().trim_end_matches([',', '.']).to_owned()
    });
    let options = options.collect();
    (!words.is_empty()).then_some(Written { words, options })
}

/// Returns the commands of a document: those between backticks, and those of its examples.
fn commands(text: &str) -> Vec<Written> {
    let mut found = Vec::new();
    let mut example = None;
    for line in text.lines().map(str::trim_start) {
        if let Some(kind) = line.strip_prefix("```") {
            example = if example.is_some() { None } else { Some(kind) };
            continue;
        }
        match example {
            Some(kind) => {
                let command = match kind {
                    // Else it is what a command prints.
                    "console" => line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")),
                    "sh" => Some(line),
                    _ => None,
                };
                let line = command.map(|line| line.replace("sudo -Hu levain ", ""));
                let command = line.as_deref().and_then(|line| line.strip_prefix("levain "));
                found.extend(command.and_then(written));
            }
            None => {
                let quoted = line.split('`').skip(1).step_by(2);
                let commands = quoted.filter_map(|text| {
                    let text = text.strip_prefix("sudo -Hu levain ").unwrap_or(text);
                    text.strip_prefix("levain ")
                });
                found.extend(commands.filter_map(written));
            }
        }
    }
    found
}

#[test]
fn commands_are_found_with_their_options() {
    let found = |text: &str| -> Vec<String> {
        let shown = |written: Written| {
            format!("{} {}", written.words.join(" "), written.options.join(" "))
                .trim_end()
                .to_owned()
        };
        commands(text).into_iter().map(shown).collect()
    };
    assert_eq!(
        found("say `levain project secret drop NAME`, or `levain` `levain-cache`"),
        ["project secret drop"]
    );
    assert_eq!(
        found(
            "```console\n$ levain serve --read-only\nlevain listens on x\n# sudo -Hu levain levain log -f 3\n```"
        ),
        ["serve --read-only", "log -f"]
    );
    assert_eq!(
        found("`levain run --format=json` and `levain why x86_64-linux.app`"),
        ["run --format", "why"]
    );
    assert_eq!(found("```nix\nlevain serve --nothing\n```"), Vec::<String>::new());
}

/// Documents for users.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = vec![root.join("README.md")];
    for directory in ["docs", "docs/guides"] {
        let entries = fs::read_dir(root.join(directory)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        documents
            .extend(files.filter(|file| file.extension().is_some_and(|ending| ending == "md")));
    }
    documents
}

/// What levain says about its commands, asked once each.
struct Helps {
    environment: Environment,
    known: BTreeMap<Vec<String>, Option<String>>,
}

impl Helps {
    fn of(&mut self, command: &[String]) -> Option<String> {
        let environment = &self.environment;
        let ask = || {
            let args: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
            let ran = environment.levain(&environment.path("home"), &args);
            (ran.code == Some(0)).then_some(ran.stdout)
        };
        self.known.entry(command.to_vec()).or_insert_with(ask).clone()
    }

    /// Returns the help of a command that begins with these words, others of which may be arguments.
    fn beginning_with(&mut self, words: &[String]) -> Option<String> {
        let mut help = self.of(&[])?;
        for end in 1..=words.len() {
            if !help.contains("\nCommands:\n") {
                break;
            }
            help = self.of(&words[..end])?;
        }
        Some(help)
    }
}

#[test]
fn documents_name_commands_and_options_that_there_are() {
    let mut helps = Helps { environment: Environment::new(), known: BTreeMap::new() };
    let mut wrong = Vec::new();
    let mut read = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for Written { words, options } in commands(&text) {
            read += 1;
            let place = format!("{}: levain {}", document.display(), words.join(" "));
            let Some(help) = helps.beginning_with(&words) else {
                wrong.push(place);
                continue;
            };
            let is_known = |option: &&String| {
                help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                    .any(|word| word == option.as_str())
            };
            let unknown = options.iter().filter(|option| !is_known(option));
            wrong.extend(unknown.map(|option| format!("{place} {option}")));
        }
    }
    assert!(read > 100, "only {read} commands were found");
    assert!(wrong.is_empty(), "there is no such command or option:\n{}", wrong.join("\n"));
}
