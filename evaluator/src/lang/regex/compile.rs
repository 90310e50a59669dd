//! Reads a regular expression and builds its automaton.
//!
//! The automaton is the one that Nix's library builds, state for state where that can be observed: in
//! which order ways are tried. Start at [`compile`].

use super::bracket::Bracket;
use super::{DEPTH_LIMIT, REPETITION_LIMIT, Regex, RegexError, STATE_LIMIT, State};

/// The characters that mean something; only they may stand behind a backslash.
const SPECIAL: &[u8] = b".[\\()*+?{|^$";
/// Where a state leads that has not been connected yet.
const OPEN: usize = usize::MAX;

/// A piece of the automaton with one way in and one open way out.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
}

/// The tree of an expression; automata are built from it, repeatedly for `{n,m}`.
enum Node {
    Empty,
    State(State),
    Group(usize, Box<Node>),
    Sequence(Vec<Node>),
    Alternative(Vec<Node>),
    Star(Box<Node>),
    Plus(Box<Node>),
    Optional(Box<Node>),
    Interval { node: Box<Node>, least: usize, most: Option<usize> },
}

/// Compiles an expression.
pub(super) fn compile(expression: &[u8]) -> Result<Regex, RegexError> {
    let mut parser = Parser { text: expression, at: 0, groups: 0, depth: 0, brackets: Vec::new() };
    let node = parser.alternatives()?;
    if parser.at != expression.len() {
        return Err(RegexError::Invalid);
    }
    let mut builder = Builder { states: Vec::new(), branches: 0 };
    let piece = builder.build(&Node::Group(0, Box::new(node)))?;
    let accept = builder.add(State::Accept)?;
    builder.connect(piece.end, accept);
    let start = builder.pass_over_empty(piece.start);
    Ok(Regex {
        states: builder.states,
        start,
        groups: parser.groups,
        brackets: parser.brackets,
        branches: builder.branches,
    })
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    groups: usize,
    depth: usize,
    brackets: Vec<Bracket>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn alternatives(&mut self) -> Result<Node, RegexError> {
        let mut alternatives = vec![self.sequence()?];
        while self.take(b'|') {
            alternatives.push(self.sequence()?);
        }
        if alternatives.len() == 1 {
            Ok(alternatives.swap_remove(0))
        } else {
            Ok(Node::Alternative(alternatives))
        }
    }

    fn sequence(&mut self) -> Result<Node, RegexError> {
        let mut terms = Vec::new();
        while let Some(term) = self.term()? {
            terms.push(term);
        }
        Ok(Node::Sequence(terms))
    }

    /// Reads one term with its repetitions; nothing at the end of a sequence, and before what cannot
    /// begin a term (the caller finds that it is not at the end).
    fn term(&mut self) -> Result<Option<Node>, RegexError> {
        let Some(byte) = self.peek() else { return Ok(None) };
        let mut node = match byte {
            // Nothing repeats an assertion.
            b'^' | b'$' => {
                self.at += 1;
                return Ok(Some(Node::State(if byte == b'^' {
                    State::LineBegin { next: OPEN }
                } else {
                    State::LineEnd { next: OPEN }
                })));
            }
            b'*' | b'+' | b'?' | b'{' | b'|' | b')' => return Ok(None),
            b'.' => {
                self.at += 1;
                Node::State(State::Any { next: OPEN })
            }
            b'(' => {
                self.at += 1;
                self.groups += 1;
                let group = self.groups;
                self.depth += 1;
                if self.depth > DEPTH_LIMIT {
                    return Err(RegexError::TooLarge);
                }
                let inner = self.alternatives()?;
                self.depth -= 1;
                if !self.take(b')') {
                    return Err(RegexError::Invalid);
                }
                Node::Group(group, Box::new(inner))
            }
            b'[' => {
                self.at += 1;
                let bracket = Bracket::parse(self.text, &mut self.at)?;
                self.brackets.push(bracket);
                Node::State(State::Bracket { index: self.brackets.len() - 1, next: OPEN })
            }
            b'\\' => {
                let escaped = self.text.get(self.at + 1).copied();
                let byte = escaped.filter(|byte| SPECIAL.contains(byte));
                self.at += 2;
                Node::State(State::Byte { byte: byte.ok_or(RegexError::Invalid)?, next: OPEN })
            }
            plain => {
                self.at += 1;
                Node::State(State::Byte { byte: plain, next: OPEN })
            }
        };
        let mut repetitions = 0;
        loop {
            node = match self.peek() {
                Some(b'*') => Node::Star(Box::new(node)),
                Some(b'+') => Node::Plus(Box::new(node)),
                Some(b'?') => Node::Optional(Box::new(node)),
                Some(b'{') => {
                    self.at += 1;
                    let (least, most) = self.interval()?;
                    Node::Interval { node: Box::new(node), least, most }
                }
                Some(_) | None => return Ok(Some(node)),
            };
            self.at += 1;
            repetitions += 1;
            if repetitions > REPETITION_LIMIT {
                return Err(RegexError::TooLarge);
            }
        }
    }

    /// Reads the inside of `{n,m}`, up to but without the `}`.
    fn interval(&mut self) -> Result<(usize, Option<usize>), RegexError> {
        let least = self.number().ok_or(RegexError::Invalid)?;
        let most = if self.take(b',') { self.number() } else { Some(least) };
        if self.peek() != Some(b'}') || most.is_some_and(|most| most < least) {
            return Err(RegexError::Invalid);
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let digit = usize::from(digit - b'0');
            number = Some(number.unwrap_or(0usize).saturating_mul(10).saturating_add(digit));
            self.at += 1;
        }
        number
    }
}

struct Builder {
    states: Vec<State>,
    branches: usize,
}

impl Builder {
    fn add(&mut self, state: State) -> Result<usize, RegexError> {
        if self.states.len() >= STATE_LIMIT {
            return Err(RegexError::TooLarge);
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    fn branch(&mut self) -> usize {
        self.branches += 1;
        self.branches - 1
    }

    fn single(&mut self, state: State) -> Result<Piece, RegexError> {
        let state = self.add(state)?;
        Ok(Piece { start: state, end: state })
    }

    fn connect(&mut self, from: usize, to: usize) {
        match &mut self.states[from] {
            State::Empty { next }
            | State::Byte { next, .. }
            | State::Any { next }
            | State::Bracket { next, .. }
            | State::LineBegin { next }
            | State::LineEnd { next }
            | State::GroupBegin { next, .. }
            | State::GroupEnd { next, .. }
            | State::Repeat { next, .. } => *next = to,
            State::Alternative { second, .. } => *second = to,
            State::Accept => {}
        }
    }

    /// Lets every state lead directly to where empty states would lead in the end, and returns where
    /// `start` leads.
    ///
    /// An alternative among thousands would pass as many of them at each place. They are built all the
    /// same, because the limit counts them. None leads back to itself: circles have a repetition.
    fn pass_over_empty(&mut self, start: usize) -> usize {
        let mut behind: Vec<usize> = vec![OPEN; self.states.len()];
        let mut passed = Vec::new();
        for state in 0..self.states.len() {
            let mut end = state;
            while behind[end] == OPEN
                && let State::Empty { next } = self.states[end]
            {
                passed.push(end);
                end = next;
            }
            let end = if behind[end] == OPEN { end } else { behind[end] };
            behind[state] = end;
            passed.drain(..).for_each(|state| behind[state] = end);
        }
        for state in &mut self.states {
            match state {
                State::Empty { next }
                | State::Byte { next, .. }
                | State::Any { next }
                | State::Bracket { next, .. }
                | State::LineBegin { next }
                | State::LineEnd { next }
                | State::GroupBegin { next, .. }
                | State::GroupEnd { next, .. } => *next = behind[*next],
                State::Repeat { body, next, .. } => {
                    (*body, *next) = (behind[*body], behind[*next]);
                }
                State::Alternative { first, second, .. } => {
                    (*first, *second) = (behind[*first], behind[*second]);
                }
                State::Accept => {}
            }
        }
        behind[start]
    }

    fn append(&mut self, first: Piece, second: Piece) -> Piece {
        self.connect(first.end, second.start);
        Piece { start: first.start, end: second.end }
    }

    fn build(&mut self, node: &Node) -> Result<Piece, RegexError> {
        match node {
            Node::Empty => self.single(State::Empty { next: OPEN }),
            Node::State(state) => self.single(*state),
            Node::Group(group, inner) => {
                let begin = self.single(State::GroupBegin { group: *group, next: OPEN })?;
                let inner = self.build(inner)?;
                let end = self.single(State::GroupEnd { group: *group, next: OPEN })?;
                let begin = self.append(begin, inner);
                Ok(self.append(begin, end))
            }
            Node::Sequence(nodes) => {
                let Some((first, rest)) = nodes.split_first() else {
                    return self.build(&Node::Empty);
                };
                let mut piece = self.build(first)?;
                for node in rest {
                    let next = self.build(node)?;
                    piece = self.append(piece, next);
                }
                Ok(piece)
            }
            Node::Alternative(nodes) => self.alternative(nodes),
            Node::Star(inner) => {
                let inner = self.build(inner)?;
                let repeat = self.repeat(inner.start)?;
                self.connect(inner.end, repeat);
                Ok(Piece { start: repeat, end: repeat })
            }
            Node::Plus(inner) => {
                let inner = self.build(inner)?;
                let repeat = self.repeat(inner.start)?;
                self.connect(inner.end, repeat);
                Ok(Piece { start: inner.start, end: repeat })
            }
            Node::Optional(inner) => {
                let inner = self.build(inner)?;
                let repeat = self.repeat(inner.start)?;
                let end = self.add(State::Empty { next: OPEN })?;
                self.connect(inner.end, end);
                self.connect(repeat, end);
                Ok(Piece { start: repeat, end })
            }
            Node::Interval { node, least, most } => self.interval(node, *least, *most),
        }
    }

    fn repeat(&mut self, body: usize) -> Result<usize, RegexError> {
        let branch = self.branch();
        self.add(State::Repeat { body, next: OPEN, branch })
    }

    /// Builds `a|b|c` as `(a|b)|c`, which is the order in which the library compares them.
    fn alternative(&mut self, nodes: &[Node]) -> Result<Piece, RegexError> {
        let mut all: Option<Piece> = None;
        for node in nodes {
            let piece = self.build(node)?;
            all = Some(match all {
                None => piece,
                Some(first) => {
                    let end = self.add(State::Empty { next: OPEN })?;
                    self.connect(first.end, end);
                    self.connect(piece.end, end);
                    let branch = self.branch();
                    let (first, second) = (first.start, piece.start);
                    let start = self.add(State::Alternative { first, second, branch })?;
                    Piece { start, end }
                }
            });
        }
        match all {
            Some(piece) => Ok(piece),
            None => self.build(&Node::Empty),
        }
    }

    fn interval(
        &mut self,
        node: &Node,
        least: usize,
        most: Option<usize>,
    ) -> Result<Piece, RegexError> {
        let mut piece = self.single(State::Empty { next: OPEN })?;
        for _ in 0..least {
            let copy = self.build(node)?;
            piece = self.append(piece, copy);
        }
        let Some(most) = most else {
            let inner = self.build(node)?;
            let repeat = self.repeat(inner.start)?;
            self.connect(inner.end, repeat);
            return Ok(self.append(piece, Piece { start: repeat, end: repeat }));
        };
        let mut repeats = Vec::new();
        for _ in least..most {
            let copy = self.build(node)?;
            let repeat = self.repeat(copy.start)?;
            repeats.push(repeat);
            piece = self.append(piece, Piece { start: repeat, end: copy.end });
        }
        let end = self.add(State::Empty { next: OPEN })?;
        self.connect(piece.end, end);
        for repeat in repeats {
            self.connect(repeat, end);
        }
        Ok(Piece { start: piece.start, end })
    }
}
