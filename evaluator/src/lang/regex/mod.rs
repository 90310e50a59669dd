//! Regular expressions as `match` and `split` know them: POSIX extended, as Nix's library reads them.
//!
//! Nix uses the C++ standard library's implementation, whose answers differ from POSIX in places: a
//! repetition takes what it can and gives back only when nothing else matches (so it is not always
//! the longest match that wins), while of alternatives the longer one wins; groups keep what they
//! matched in an earlier round. All of that is kept here. What is not kept is its exponential time
//! and its recursion: each state is left at most once per place, and the search has a stack of its
//! own, so any expression takes time proportional to expression times text.
//!
//! Bytes, not characters, as in Nix. Start at [`Regex::new`].

mod bracket;
mod compile;
mod memory;
mod search;

use bracket::Bracket;

/// How many states an expression may have; Nix has the same limit.
const STATE_LIMIT: usize = 100_000;
/// How deeply groups may be nested; the parser recurses.
const DEPTH_LIMIT: usize = 250;
/// How many repetitions may stand behind one another (`a**`).
const REPETITION_LIMIT: usize = 16;

/// A compiled regular expression.
#[derive(Debug)]
pub struct Regex {
    states: Vec<State>,
    start: usize,
    groups: usize,
    brackets: Vec<Bracket>,
    /// How many states branch; each has a number below this.
    branches: usize,
}

/// An expression that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// It breaks the grammar.
    #[error("invalid regular expression")]
    Invalid,
    /// Its repetitions have too many states.
    #[error("memory limit exceeded by regular expression")]
    TooLarge,
}

/// What one match covers: for each group its beginning and end, the whole match first.
pub type Groups = Vec<Option<(usize, usize)>>;

/// A state of the automaton and where it leads.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Leads on without doing anything.
    Empty { next: usize },
    /// Takes one byte.
    Byte { byte: u8, next: usize },
    /// Takes any byte.
    Any { next: usize },
    /// Takes one byte of a bracket expression.
    Bracket { index: usize, next: usize },
    /// Is passed only at the beginning of the text.
    LineBegin { next: usize },
    /// Is passed only at the end of the text.
    LineEnd { next: usize },
    /// Begins a group.
    GroupBegin { group: usize, next: usize },
    /// Ends a group.
    GroupEnd { group: usize, next: usize },
    /// Tries both ways; the longer match wins, then the first.
    Alternative { first: usize, second: usize, branch: usize },
    /// Tries the body, and goes on only if that leads nowhere.
    Repeat { body: usize, next: usize, branch: usize },
    /// The end of the expression.
    Accept,
}

impl Regex {
    /// Compiles an expression.
    pub fn new(expression: &[u8]) -> Result<Self, RegexError> {
        compile::compile(expression)
    }

    /// Returns the number of groups, without the whole match.
    pub fn group_count(&self) -> usize {
        self.groups
    }

    /// Matches the whole of `text`.
    pub fn match_whole(&self, text: &[u8]) -> Option<Groups> {
        search::Search::new(self, text).whole()
    }

    /// Returns all matches in `text`, one after the other.
    ///
    /// After an empty match, a longer one is looked for at the same place, then the search goes on
    /// one byte further.
    pub fn find_all(&self, text: &[u8]) -> Vec<Groups> {
        let mut search = search::Search::new(self, text);
        let mut matches = Vec::new();
        let mut found = search.from(0);
        while let Some(groups) = found {
            let (begin, end) = groups[0].unwrap_or_default();
            matches.push(groups);
            found = if begin < end {
                search.from(end)
            } else if end == text.len() {
                None
            } else {
                search.not_empty_at(end).or_else(|| search.from(end + 1))
            };
        }
        matches
    }
}

#[cfg(test)]
mod tests;
