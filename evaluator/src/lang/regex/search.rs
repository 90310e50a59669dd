//! Goes through an automaton along a text, in the order in which Nix's library does.
//!
//! A depth-first search with a stack of its own. What a branching state led to at some place is
//! remembered, so that no way is gone twice. Start at [`Search::from`].

use super::memory::{Known, Memory};
use super::{Groups, Regex, State};

/// One group while searching.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    begin: usize,
    end: usize,
    matched: bool,
}

/// The last round of a repetition: where it began, and how often one began there.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    place: usize,
    count: u8,
}

/// What is to be done when everything behind a state has been tried.
enum Frame {
    Begin { group: usize, begin: usize },
    End { group: usize, old: Group },
    First { branch: usize, place: usize, second: usize },
    Second { branch: usize, place: usize, succeeded: bool },
    Body { branch: usize, place: usize, next: usize, round: Round },
    Rest { branch: usize, place: usize },
}

/// Which matches count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Those up to the end of the text.
    Whole,
    /// All.
    Any,
    /// Those that are not empty.
    NotEmpty,
}

/// Searches in one text.
pub(super) struct Search<'a> {
    regex: &'a Regex,
    text: &'a [u8],
    memory: Memory,
    /// What has to be forgotten before the next search: successes have found their match, and what
    /// failed without empty matches may succeed with them. That something fails is worth keeping:
    /// otherwise each place in a long text would be asked for the rest of that text again.
    passing: Vec<(usize, usize)>,
    rounds: Vec<Round>,
    groups: Vec<Group>,
    frames: Vec<Frame>,
    /// Where the search began, and what it looks for.
    begin: usize,
    mode: Mode,
    best: Option<(usize, Vec<Group>)>,
}

impl<'a> Search<'a> {
    pub(super) fn new(regex: &'a Regex, text: &'a [u8]) -> Self {
        Search {
            regex,
            text,
            memory: Memory::new(regex.branches),
            passing: Vec::new(),
            rounds: vec![Round::default(); regex.branches],
            groups: vec![Group::default(); regex.groups + 1],
            frames: Vec::new(),
            begin: 0,
            mode: Mode::Any,
            best: None,
        }
    }

    /// Matches the whole text.
    pub(super) fn whole(&mut self) -> Option<Groups> {
        self.at(0, Mode::Whole)
    }

    /// Returns the first match that begins at `place` or later; nothing before it is asked for again.
    pub(super) fn from(&mut self, place: usize) -> Option<Groups> {
        (place..=self.text.len()).find_map(|place| {
            self.memory.forget_before(place);
            self.at(place, Mode::Any)
        })
    }

    /// Returns the match that begins at `place`, unless there are only empty ones.
    pub(super) fn not_empty_at(&mut self, place: usize) -> Option<Groups> {
        self.at(place, Mode::NotEmpty)
    }

    fn learn(&mut self, branch: usize, place: usize, succeeds: bool) {
        // Behind the beginning, what fails without empty matches fails with them, too.
        if succeeds || (self.mode == Mode::NotEmpty && place == self.begin) {
            self.passing.push((branch, place));
        }
        self.memory.set(branch, place, if succeeds { Known::Succeeds } else { Known::Fails });
    }

    fn at(&mut self, place: usize, mode: Mode) -> Option<Groups> {
        for (branch, place) in std::mem::take(&mut self.passing) {
            self.memory.set(branch, place, Known::Nothing);
        }
        self.begin = place;
        self.mode = mode;
        self.best = None;
        let mut next = Some((self.regex.start, place));
        while let Some((state, here)) = next {
            let mut succeeded = self.forward(state, here);
            next = self.back(&mut succeeded);
        }
        let (_, groups) = self.best.take()?;
        Some(groups.iter().map(|group| group.matched.then_some((group.begin, group.end))).collect())
    }

    /// Goes on from a state until the way ends; returns whether it ended well.
    fn forward(&mut self, mut state: usize, mut place: usize) -> bool {
        loop {
            let byte = self.text.get(place).copied();
            state = match self.regex.states[state] {
                State::Empty { next } => next,
                State::Byte { byte: wanted, next } => {
                    if byte != Some(wanted) {
                        return false;
                    }
                    place += 1;
                    next
                }
                State::Any { next } => {
                    if byte.is_none_or(|byte| byte == 0) {
                        return false;
                    }
                    place += 1;
                    next
                }
                State::Bracket { index, next } => {
                    if !byte.is_some_and(|byte| self.regex.brackets[index].contains(byte)) {
                        return false;
                    }
                    place += 1;
                    next
                }
                State::LineBegin { next } if place == 0 => next,
                State::LineEnd { next } if place == self.text.len() => next,
                State::LineBegin { .. } | State::LineEnd { .. } => return false,
                State::GroupBegin { group, next } => {
                    let begin = std::mem::replace(&mut self.groups[group].begin, place);
                    self.frames.push(Frame::Begin { group, begin });
                    next
                }
                State::GroupEnd { group, next } => {
                    let old = self.groups[group];
                    self.groups[group] = Group { begin: old.begin, end: place, matched: true };
                    self.frames.push(Frame::End { group, old });
                    next
                }
                State::Alternative { first, second, branch } => {
                    match self.memory.get(branch, place) {
                        Known::Nothing => {}
                        known @ (Known::Fails | Known::Succeeds) => {
                            return known == Known::Succeeds;
                        }
                    }
                    self.frames.push(Frame::First { branch, place, second });
                    first
                }
                State::Repeat { body, next, branch } => {
                    match self.memory.get(branch, place) {
                        Known::Nothing => {}
                        known @ (Known::Fails | Known::Succeeds) => {
                            return known == Known::Succeeds;
                        }
                    }
                    let round = self.rounds[branch];
                    let count = if round.place == place { round.count } else { 0 };
                    // An empty round may be repeated once.
                    if count >= 2 {
                        next
                    } else {
                        self.rounds[branch] = Round { place, count: count + 1 };
                        self.frames.push(Frame::Body { branch, place, next, round });
                        body
                    }
                }
                State::Accept => return self.accept(place),
            };
        }
    }

    fn accept(&mut self, place: usize) -> bool {
        let counts = match self.mode {
            Mode::Whole => place == self.text.len(),
            Mode::Any => true,
            Mode::NotEmpty => place != self.begin,
        };
        if counts && self.best.as_ref().is_none_or(|(end, _)| place > *end) {
            let (end, groups) = self.best.get_or_insert_default();
            *end = place;
            groups.clone_from(&self.groups);
        }
        counts
    }

    /// Goes back to the last state with another way to try, and returns it with its place.
    fn back(&mut self, succeeded: &mut bool) -> Option<(usize, usize)> {
        loop {
            match self.frames.pop()? {
                Frame::Begin { group, begin } => self.groups[group].begin = begin,
                Frame::End { group, old } => self.groups[group] = old,
                Frame::First { branch, place, second } => {
                    // All whole matches are equally long, so that the first one wins.
                    if *succeeded && self.mode == Mode::Whole {
                        self.learn(branch, place, true);
                        continue;
                    }
                    self.frames.push(Frame::Second { branch, place, succeeded: *succeeded });
                    return Some((second, place));
                }
                Frame::Second { branch, place, succeeded: before } => {
                    *succeeded |= before;
                    self.learn(branch, place, *succeeded);
                }
                Frame::Body { branch, place, next, round } => {
                    self.rounds[branch] = round;
                    if *succeeded {
                        self.learn(branch, place, true);
                    } else {
                        self.frames.push(Frame::Rest { branch, place });
                        return Some((next, place));
                    }
                }
                Frame::Rest { branch, place } => self.learn(branch, place, *succeeded),
            }
        }
    }
}
