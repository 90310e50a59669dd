//! Which ready derivation is built next, over all runs: a state machine without any input or output.
//!
//! Runs offer what is ready of their graphs. What several of them want is built once, and all are told.
//! This machine has some slots, the remote builders have others; a free one goes to the run whose turn
//! it is, and there to the derivation on which the longest row of others depends. Start at
//! [`Queue::next`].

use std::collections::{BTreeMap, BTreeSet};

use levain_store::machines::Builders;

use super::standing::Standing;

/// Identifies a run among those at work.
pub(super) type RunNumber = u64;

/// How many builds may run at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// On this machine.
    pub(super) local: usize,
    /// On remote builders.
    pub(super) remote: usize,
}

/// Where a build may take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this machine, or on a remote builder that Nix prefers.
    Anywhere,
    /// Not on this machine, whose slots are taken.
    Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For the next free slot.
    Waits,
    /// Until it is tried once more.
    Rests,
    /// In a slot, on account of this run; nobody's if none wants it any more.
    Builds(Place, Option<RunNumber>),
}

#[derive(Debug)]
struct Queued {
    builders: Builders,
    /// Whether it must be built here: a remote builder was not found for it after all.
    only_here: bool,
    state: State,
    /// Who wants it, and for each how many builds must follow each other after it, at least.
    wanted: BTreeMap<RunNumber, u32>,
}

/// What waits and what is built. `K` tells tasks apart: equal ones are the same build.
#[derive(Debug)]
pub(super) struct Queue<K> {
    slots: Slots,
    local: usize,
    remote: usize,
    tasks: BTreeMap<K, Queued>,
    runs: BTreeMap<RunNumber, Run<K>>,
}

/// A run.
#[derive(Debug)]
struct Run<K> {
    standing: Standing,
    /// How many builds are under way on its account.
    building: usize,
    /// What waits and may be built on this machine, the most urgent last.
    here: BTreeSet<(u32, K)>,
    /// What waits and may be built elsewhere.
    far: BTreeSet<(u32, K)>,
}

impl<K: Ord + Clone> Queue<K> {
    /// Makes an empty queue without slots.
    pub(super) fn new() -> Self {
        Self {
            slots: Slots::default(),
            local: 0,
            remote: 0,
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Says how many slots there are. What is being built goes on.
    pub(super) fn set_slots(&mut self, slots: Slots) {
        if slots == self.slots {
            return;
        }
        self.slots = slots;
        let waiting: Vec<K> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.state == State::Waits)
            .map(|(key, _)| key.clone())
            .collect();
        for key in waiting {
            self.unlist(&key);
            self.list(&key);
        }
    }

    /// Lets a run offer tasks.
    pub(super) fn enter(&mut self, run: RunNumber, standing: Standing) {
        let (here, far) = (BTreeSet::new(), BTreeSet::new());
        self.runs.insert(run, Run { standing, building: 0, here, far });
    }

    /// Adds a task, or joins it if another run wants it already. Returns whether it is being built.
    pub(super) fn offer(
        &mut self,
        run: RunNumber,
        key: K,
        height: u32,
        builders: Builders,
    ) -> bool {
        let task = self.tasks.entry(key.clone()).or_insert_with(|| Queued {
            builders,
            only_here: false,
            state: State::Waits,
            wanted: BTreeMap::new(),
        });
        task.wanted.insert(run, height);
        match task.state {
            State::Waits => {
                self.list(&key);
                false
            }
            State::Rests => false,
            State::Builds(_, ref mut account) => {
                if account.is_none() {
                    *account = Some(run);
                    if let Some(run) = self.runs.get_mut(&run) {
                        run.building += 1;
                    }
                }
                true
            }
        }
    }

    /// Takes a run out. Returns what is being built that nobody else wants: it is to be stopped.
    pub(super) fn leave(&mut self, run: RunNumber) -> Vec<K> {
        self.runs.remove(&run);
        let mut unwanted = Vec::new();
        let mut gone = Vec::new();
        for (key, task) in &mut self.tasks {
            if task.wanted.remove(&run).is_none() {
                continue;
            }
            match (&mut task.state, task.wanted.keys().next()) {
                (State::Builds(_, account), Some(other)) if *account == Some(run) => {
                    *account = Some(*other);
                    if let Some(other) = self.runs.get_mut(other) {
                        other.building += 1;
                    }
                }
                (_, Some(_)) => {}
                (State::Builds(_, account), None) => {
                    *account = None;
                    unwanted.push(key.clone());
                }
                (State::Waits | State::Rests, None) => gone.push(key.clone()),
            }
        }
        for key in gone {
            self.tasks.remove(&key);
        }
        unwanted
    }

    /// Has a run want a task no more that is being built. Returns whether nobody else wants it: it is to be stopped.
    pub(super) fn withdraw(&mut self, run: RunNumber, key: &K) -> bool {
        let Some(task) = self.tasks.get_mut(key) else { return false };
        let State::Builds(_, account) = &mut task.state else { return false };
        if task.wanted.remove(&run).is_none() {
            return false;
        }
        let next = task.wanted.keys().next().copied();
        if *account == Some(run) {
            *account = next;
            for (run, change) in [(Some(run), -1), (next, 1)] {
                if let Some(run) = run.and_then(|run| self.runs.get_mut(&run)) {
                    run.building = run.building.saturating_add_signed(change);
                }
            }
        }
        next.is_none()
    }

    /// Returns the next task to start, and where; none if all wait for something.
    pub(super) fn next(&mut self) -> Option<(K, Place)> {
        // Without a slot anywhere Nix is asked for one here all the same: it says why there is none.
        let here = self.local < self.slots.local.max(1);
        let far = self.remote < self.slots.remote;
        if !here && !far {
            return None;
        }
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for run in self.runs.values() {
            *shares.entry(run.standing.project.as_str()).or_default() += run.building;
        }
        let waits = |run: &Run<K>| (here && !run.here.is_empty()) || (far && !run.far.is_empty());
        let turn = |(number, run): &(&RunNumber, &Run<K>)| {
            let share = shares.get(run.standing.project.as_str()).copied().unwrap_or(0);
            (run.standing.turn(share), **number)
        };
        let (number, run) = self.runs.iter().filter(|(_, run)| waits(run)).min_by_key(turn)?;
        let (next, place) = match run.here.last().filter(|_| here) {
            Some(next) => (next, Place::Anywhere),
            None => (run.far.last()?, Place::Remote),
        };
        let (number, key) = (*number, next.1.clone());
        self.start(&key, number, place);
        Some((key, place))
    }

    /// Puts a task on the lists of those that want it.
    fn list(&mut self, key: &K) {
        let Some(task) = self.tasks.get(key) else { return };
        let Builders { local, remote } = task.builders;
        let may_be_far = remote && self.slots.remote > 0 && !task.only_here;
        // What no slot is for is asked for here nevertheless: Nix says why it cannot be built.
        let may_be_here = (local && self.slots.local > 0) || !may_be_far;
        for (run, height) in &task.wanted {
            let Some(run) = self.runs.get_mut(run) else { continue };
            if may_be_here {
                run.here.insert((*height, key.clone()));
            }
            if may_be_far {
                run.far.insert((*height, key.clone()));
            }
        }
    }

    /// Takes a task off all lists.
    fn unlist(&mut self, key: &K) {
        let Some(task) = self.tasks.get(key) else { return };
        for (run, height) in &task.wanted {
            let Some(run) = self.runs.get_mut(run) else { continue };
            let entry = (*height, key.clone());
            run.here.remove(&entry);
            run.far.remove(&entry);
        }
    }

    fn start(&mut self, key: &K, run: RunNumber, place: Place) {
        self.unlist(key);
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.state = State::Builds(place, Some(run));
        if let Some(run) = self.runs.get_mut(&run) {
            run.building += 1;
        }
        *self.taken(place) += 1;
    }

    fn taken(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Anywhere => &mut self.local,
            Place::Remote => &mut self.remote,
        }
    }

    /// Frees the slot of a task; returns where that was, if it was in one.
    fn stop(&mut self, key: &K) -> Option<Place> {
        let task = self.tasks.get_mut(key)?;
        let State::Builds(place, run) = task.state else { return None };
        task.state = State::Rests;
        if let Some(run) = run.and_then(|run| self.runs.get_mut(&run)) {
            run.building -= 1;
        }
        *self.taken(place) -= 1;
        Some(place)
    }

    /// Notes that a build has begun on a remote builder, so that its slot here is free.
    pub(super) fn runs_remotely(&mut self, key: &K) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if let State::Builds(place @ Place::Anywhere, _) = &mut task.state {
            *place = Place::Remote;
            self.local -= 1;
            self.remote += 1;
        }
    }

    /// Has a task built on this machine that was meant for remote builders, but was not begun there.
    /// Returns whether that is possible.
    pub(super) fn try_here(&mut self, key: &K) -> bool {
        let has_slots = self.slots.local > 0;
        let Some(task) = self.tasks.get_mut(key) else { return false };
        let possible = matches!(task.state, State::Builds(Place::Remote, _))
            && task.builders.local
            && has_slots
            && !task.only_here;
        if possible {
            task.only_here = true;
            self.again(key);
        }
        possible
    }

    /// Has a task wait for a slot again.
    pub(super) fn again(&mut self, key: &K) {
        self.stop(key);
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.wanted.is_empty() {
            self.tasks.remove(key);
            return;
        }
        task.state = State::Waits;
        self.list(key);
    }

    /// Has a task wait, not for a slot, until [`Queue::again`] is called for it. Returns whether
    /// anybody wants it still; else it is gone.
    pub(super) fn rest(&mut self, key: &K) -> bool {
        self.stop(key);
        let is_wanted = self.tasks.get(key).is_some_and(|task| !task.wanted.is_empty());
        if !is_wanted {
            self.tasks.remove(key);
        }
        is_wanted
    }

    /// Takes a task out that has ended; returns the runs that want to know.
    pub(super) fn ended(&mut self, key: &K) -> Vec<RunNumber> {
        self.stop(key);
        self.unlist(key);
        let Some(task) = self.tasks.remove(key) else { return Vec::new() };
        task.wanted.into_keys().collect()
    }

    /// Returns the runs that want a task.
    pub(super) fn wanted_by(&self, key: &K) -> impl Iterator<Item = RunNumber> {
        self.tasks.get(key).into_iter().flat_map(|task| task.wanted.keys().copied())
    }

    /// Returns the run on whose account a task is built.
    pub(super) fn account(&self, key: &K) -> Option<RunNumber> {
        match self.tasks.get(key)?.state {
            State::Builds(_, run) => run,
            State::Waits | State::Rests => None,
        }
    }

    /// Returns whether a remote builder may take a task.
    pub(super) fn may_be_remote(&self, key: &K) -> bool {
        self.slots.remote > 0 && self.tasks.get(key).is_some_and(|task| task.builders.remote)
    }

    #[cfg(test)]
    /// Returns how many builds are under way.
    pub(super) fn under_way(&self) -> usize {
        self.local + self.remote
    }
}

#[cfg(test)]
mod tests;
