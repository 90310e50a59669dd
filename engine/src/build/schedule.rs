//! Which derivations of a run's graph are ready, and what becomes of each: a state machine without any
//! input or output.
//!
//! Derivations are numbers here. One is ready when all its inputs are built. One whose input fails is
//! never started; it is settled when all its inputs are, so that every failure is known by then. When
//! what is ready starts is up to [`super::queue`]. Start at [`Schedule::next`].

use std::collections::{BTreeSet, VecDeque};

use levain_store::machines::Builders;

/// How many failed inputs are named for one derivation.
const MOST_CULPRITS: usize = 10;

/// A derivation of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The derivations of the graph whose outputs it needs.
    pub(super) inputs: Vec<usize>,
    /// Who may build it.
    pub(super) builders: Builders,
    /// Whether somebody asked for it itself.
    pub(super) wanted: bool,
    /// Whether its failure is not the end of the others.
    pub(super) is_excused: bool,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its outputs are there.
    Built,
    /// They are not.
    Failed,
    /// Nix says that nobody can build it.
    NoBuilder,
}

/// What became of a derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its build ended.
    Ended(Outcome),
    /// It was not built, since these builds failed.
    InputsFailed(Vec<usize>),
    /// It was not built: nobody can build it, or this input of it.
    NoBuilder(usize),
    /// It was stopped, or not started, since the whole was stopped.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// So many inputs are not settled.
    Waiting(usize),
    Ready,
    Offered,
    Settled(Settled),
}

#[derive(Debug)]
struct Item {
    node: Node,
    /// Those that need it.
    users: Vec<usize>,
    /// How many builds must follow each other after it, at least.
    height: u32,
    state: State,
}

/// What is built, what waits and what is done.
#[derive(Debug)]
pub(super) struct Schedule {
    items: Vec<Item>,
    /// The ready ones; the highest last.
    ready: BTreeSet<(u32, usize)>,
    /// How many are offered and have not ended.
    offered: usize,
    keep_going: bool,
    stopped: bool,
    settled: VecDeque<usize>,
}

impl Schedule {
    /// Plans to build all wanted nodes and what they need.
    pub(super) fn new(nodes: Vec<Node>, keep_going: bool) -> Self {
        let mut items: Vec<Item> = nodes
            .into_iter()
            .map(|mut node| {
                node.inputs.sort_unstable();
                node.inputs.dedup();
                let state = State::Waiting(node.inputs.len());
                Item { node, users: Vec::new(), height: 0, state }
            })
            .collect();
        for user in 0..items.len() {
            for input in items[user].node.inputs.clone() {
                items[input].users.push(user);
            }
        }
        let mut schedule = Self {
            items,
            ready: BTreeSet::new(),
            offered: 0,
            keep_going,
            stopped: false,
            settled: VecDeque::new(),
        };
        let order = schedule.inputs_first();
        schedule.measure(&order);
        schedule.skip(&order);
        for index in 0..schedule.items.len() {
            if schedule.items[index].state == State::Waiting(0) {
                schedule.make_ready(index);
            }
        }
        schedule
    }

    /// Returns the nodes so that inputs come before their users; those in a circle are left out.
    fn inputs_first(&self) -> Vec<usize> {
        let mut open: Vec<usize> = self.items.iter().map(|item| item.node.inputs.len()).collect();
        let mut order: Vec<usize> = (0..open.len()).filter(|index| open[*index] == 0).collect();
        let mut next = 0;
        while let Some(index) = order.get(next).copied() {
            next += 1;
            for user in &self.items[index].users {
                open[*user] -= 1;
                if open[*user] == 0 {
                    order.push(*user);
                }
            }
        }
        order
    }

    fn measure(&mut self, order: &[usize]) {
        for index in order.iter().rev() {
            let heights = self.items[*index].users.iter().map(|user| self.items[*user].height + 1);
            self.items[*index].height = heights.max().unwrap_or(0);
        }
    }

    /// Settles what nobody can build and what needs such a thing, and all that only these need.
    fn skip(&mut self, order: &[usize]) {
        let mut cause: Vec<Option<usize>> = vec![None; self.items.len()];
        for index in order {
            let node = &self.items[*index].node;
            cause[*index] = match node.builders.is_nobody() {
                true => Some(*index),
                false => node.inputs.iter().find_map(|input| cause[*input]),
            };
        }
        let mut needed = vec![false; self.items.len()];
        for index in order.iter().rev() {
            let item = &self.items[*index];
            needed[*index] = cause[*index].is_none()
                && (item.node.wanted || item.users.iter().any(|user| needed[*user]));
        }
        for (index, cause) in cause.into_iter().enumerate() {
            if matches!(self.items[index].state, State::Settled(_)) {
                continue;
            }
            if let Some(cause) = cause {
                self.settle(index, Settled::NoBuilder(cause));
            } else if !needed[index] {
                self.settle(index, Settled::Stopped);
            }
        }
    }

    /// Takes the next ready derivation, with how many builds must follow each other after it, at
    /// least; none if all wait for others.
    ///
    /// The one on which the longest row of others depends comes first.
    pub(super) fn next(&mut self) -> Option<(usize, u32)> {
        if self.stopped {
            return None;
        }
        let (height, index) = self.ready.pop_last()?;
        self.items[index].state = State::Offered;
        self.offered += 1;
        Some((index, height))
    }

    /// Returns what a derivation waits for: one that it needs and that is ready or being built, or itself if it is so;
    /// none if it is settled.
    pub(super) fn blocker(&self, index: usize) -> Option<usize> {
        let mut index = index;
        // As many steps as there are derivations, for those in a circle.
        for _ in 0..self.items.len() {
            let item = self.items.get(index)?;
            match item.state {
                State::Ready | State::Offered => return Some(index),
                State::Settled(_) => return None,
                State::Waiting(_) => {
                    let is_open =
                        |input: &&usize| !matches!(self.items[**input].state, State::Settled(_));
                    index = *item.node.inputs.iter().find(is_open)?;
                }
            }
        }
        None
    }

    /// Returns whether something that was taken has not ended.
    pub(super) fn is_waiting(&self) -> bool {
        self.offered > 0
    }

    /// Notes how a build ended.
    pub(super) fn ended(&mut self, index: usize, outcome: Outcome) {
        if self.items[index].state == State::Offered {
            self.offered -= 1;
            let settled = match outcome {
                Outcome::Built | Outcome::Failed => Settled::Ended(outcome),
                Outcome::NoBuilder => Settled::NoBuilder(index),
            };
            self.settle(index, settled);
        }
        if outcome == Outcome::Failed && !self.keep_going && !self.items[index].node.is_excused {
            self.stop();
        }
    }

    /// Starts nothing any more; what is running may still end.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        for index in 0..self.items.len() {
            match self.items[index].state {
                State::Waiting(_) | State::Ready => self.settle(index, Settled::Stopped),
                State::Offered | State::Settled(_) => {}
            }
        }
    }

    /// Returns whether it was stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    #[cfg(test)]
    /// Returns whether nothing runs and nothing can be started. What is not settled then waits for
    /// itself.
    pub(super) fn is_idle(&self) -> bool {
        self.offered == 0 && (self.stopped || self.ready.is_empty())
    }

    /// Returns what was settled since the last call, each once.
    pub(super) fn take_settled(&mut self) -> Vec<(usize, Settled)> {
        let settled = std::mem::take(&mut self.settled);
        let of = |index: usize| match &self.items[index].state {
            State::Settled(settled) => Some((index, settled.clone())),
            State::Waiting(_) | State::Ready | State::Offered => None,
        };
        settled.into_iter().filter_map(of).collect()
    }

    fn make_ready(&mut self, index: usize) {
        let item = &mut self.items[index];
        item.state = State::Ready;
        self.ready.insert((item.height, index));
    }

    fn settle(&mut self, index: usize, how: Settled) {
        let item = &mut self.items[index];
        let key = (item.height, index);
        item.state = State::Settled(how);
        self.ready.remove(&key);
        self.settled.push_back(index);
        // A chain of dependents may be long: no recursion.
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            for user in self.items[index].users.clone() {
                let State::Waiting(count) = &mut self.items[user].state else { continue };
                *count -= 1;
                if *count > 0 {
                    continue;
                }
                let Some(how) = self.lost_by_inputs(user) else {
                    self.make_ready(user);
                    continue;
                };
                self.items[user].state = State::Settled(how);
                self.settled.push_back(user);
                open.push(user);
            }
        }
    }

    /// Says what becomes of a derivation whose inputs are settled, but not all built.
    fn lost_by_inputs(&self, index: usize) -> Option<Settled> {
        let mut culprits = BTreeSet::new();
        let mut no_builder = None;
        for input in &self.items[index].node.inputs {
            match &self.items[*input].state {
                State::Settled(Settled::Ended(Outcome::Failed)) => {
                    culprits.insert(*input);
                }
                State::Settled(Settled::InputsFailed(those)) => culprits.extend(those),
                State::Settled(Settled::NoBuilder(cause)) => no_builder = Some(*cause),
                State::Settled(Settled::Ended(Outcome::Built | Outcome::NoBuilder))
                | State::Settled(Settled::Stopped)
                | State::Waiting(_)
                | State::Ready
                | State::Offered => {}
            }
        }
        if culprits.is_empty() {
            return no_builder.map(Settled::NoBuilder);
        }
        Some(Settled::InputsFailed(culprits.into_iter().take(MOST_CULPRITS).collect()))
    }
}

#[cfg(test)]
mod tests;
