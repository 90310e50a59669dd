//! The readers that texts from outside reach.

use std::rc::Rc;

use levain_evaluator::Data;
use levain_evaluator::lang::settings::{LintLevel, Lints};
use levain_evaluator::lang::source::Origin;
use levain_evaluator::lang::{
    Evaluator, Options, Settings, Stack, flake_reference, json, regex, syntax, toml,
};
use levain_evaluator::outside::{Access, Files};
use levain_store::{Derivation, StoreDir};

use crate::random::Random;

/// A reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Lexer, parser, resolver and printer of the language.
    Language,
    /// `.drv` files.
    Aterm,
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// Regular expressions.
    Regex,
    /// Flake references.
    FlakeReference,
    /// Plain data in the language's notation.
    Data,
}

/// All of them.
pub(crate) const DOORS: [Door; 7] = [
    Door::Language,
    Door::Aterm,
    Door::Json,
    Door::Toml,
    Door::Regex,
    Door::FlakeReference,
    Door::Data,
];

/// Picks one; the language and derivations most of the time.
pub(super) fn pick(random: &mut Random) -> Door {
    match random.below(20) {
        0..=9 => Door::Language,
        10..=14 => Door::Aterm,
        15 => Door::Json,
        16 => Door::Toml,
        17 => Door::Regex,
        18 => Door::FlakeReference,
        _ => Door::Data,
    }
}

/// What the readers need.
pub(super) struct Doors {
    evaluator: Evaluator,
    store: StoreDir,
}

impl Doors {
    pub(super) fn new(stack: Stack) -> Self {
        let store = StoreDir::default();
        let files = Files::new(Access::Below(Vec::new()), store.clone(), 0);
        let files = files.unwrap_or_else(|error| unreachable!("nothing is looked up: {error}"));
        // Everything that the parser can be asked to do.
        let lints = Lints {
            urls: LintLevel::Warn,
            absolute_paths: LintLevel::Warn,
            short_paths: LintLevel::Warn,
        };
        let settings = Settings { lints, pipe_operators: true, ..Settings::default() };
        let options = Options { settings, ..Options::default() };
        Self { evaluator: Evaluator::new(Rc::new(files), options, stack), store }
    }

    /// Offers a text. Says whether it was accepted, or what it did that it should not.
    pub(super) fn offer(&mut self, door: Door, text: &[u8]) -> Result<bool, String> {
        match door {
            Door::Language => {
                let tokens = syntax::count_tokens(text);
                if tokens > text.len() {
                    return Err(format!("{tokens} tokens in {} bytes", text.len()));
                }
                self.language(text)
            }
            Door::Aterm => match Derivation::parse_aterm(&self.store, text) {
                Ok(derivation) if derivation.to_aterm(&self.store) == text => Ok(true),
                Ok(_) => Err("it is written in another way than it was read".to_owned()),
                Err(error) => Ok(error.to_string().is_empty()),
            },
            Door::Json => {
                let mut reader = json::Reader::new(text);
                let mut depth = 0_usize;
                loop {
                    match reader.next() {
                        Ok(json::Event::BeginList | json::Event::BeginObject) => depth += 1,
                        Ok(json::Event::End) => depth = depth.saturating_sub(1),
                        Ok(json::Event::Key(_)) => continue,
                        Ok(
                            json::Event::Null
                            | json::Event::Bool(_)
                            | json::Event::Int(_)
                            | json::Event::Float(_)
                            | json::Event::String(_),
                        ) => {}
                        Err(error) => return Ok(error.to_string().is_empty()),
                    }
                    if depth == 0 {
                        return Ok(reader.finish().is_ok());
                    }
                }
            }
            Door::Toml => Ok(std::str::from_utf8(text)
                .is_ok_and(|text| toml::parse(text, toml::Dates::Read).is_ok())),
            Door::Regex => Ok(match regex::Regex::new(text) {
                Ok(regex) => {
                    // What it matches is of no interest, only that it comes to an end.
                    regex.match_whole(b"aaaaaaaaaaaaaaaaaaaaaaaaab").is_some()
                        || !regex.find_all(b"foo.bar-1 [x]").is_empty()
                }
                Err(_) => false,
            }),
            Door::FlakeReference => {
                let text = String::from_utf8_lossy(text);
                let Ok(attributes) = flake_reference::parse(&text) else { return Ok(false) };
                Ok(flake_reference::print(&attributes).is_ok())
            }
            Door::Data => match Data::parse(text) {
                Ok(data) if Data::parse(data.print().as_bytes()).as_ref() == Ok(&data) => Ok(true),
                Ok(_) => Err("it is not read as it was written".to_owned()),
                Err(error) => Ok(error.to_string().is_empty()),
            },
        }
    }

    /// Parses a text, and prints either its tree or the error with its excerpt.
    fn language(&mut self, text: &[u8]) -> Result<bool, String> {
        match self.evaluator.print_parsed(Origin::Expression, text) {
            Ok(printed) => Ok(!printed.is_empty()),
            Err(error) => {
                let rendered = error.render(&self.evaluator.sources);
                if rendered.starts_with("error[") {
                    Ok(false)
                } else {
                    Err(format!("an error without a code: {rendered}"))
                }
            }
        }
    }
}
