//! A command that is under way: what it was given, what it and all that it started saw, changed and said so far.
//!
//! Start at [`Commands`]. Everything is noted for the command that did it and for all commands around it, at the moment
//! when it happens: each of them may be skipped as a whole one day.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::clock::tick;
use super::given::Given;
use super::paths::{PathId, Paths, Place};
use super::reason::Reason;
use super::transcript::{Kind, Names};
use super::world::{Moment, State, World};
use crate::digest::Digest;

/// A command, by its number in this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CommandId(pub(crate) usize);

/// What a command looks at of a path, beyond what kind it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) mode: bool,
    pub(crate) size: bool,
    pub(crate) when: bool,
    pub(crate) content: bool,
    pub(crate) names: bool,
    pub(crate) target: bool,
}

impl Look {
    /// Only what kind it is.
    pub(crate) const KIND: Self =
        Self { mode: false, size: false, when: false, content: false, names: false, target: false };
    /// What `stat` tells.
    pub(crate) const STAT: Self = Self { mode: true, size: true, when: true, ..Self::KIND };
    /// What whoever opens it learns.
    pub(crate) const READ: Self = Self { content: true, ..Self::STAT };
    /// What the kernel reads to run it.
    pub(crate) const PROGRAM: Self = Self { mode: true, content: true, ..Self::KIND };
    /// What is there before it is replaced or changed.
    pub(crate) const WHOLE: Self = Self { content: true, target: true, ..Self::STAT };
    /// Where a link leads.
    pub(crate) const TARGET: Self = Self { target: true, ..Self::KIND };
    /// What is in a directory.
    pub(crate) const NAMES: Self = Self { names: true, ..Self::KIND };
}

/// What a command saw at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facets {
    pub(crate) kind: Kind,
    pub(crate) mode: Option<u16>,
    pub(crate) size: Option<u64>,
    /// When it was changed, and in which turn if in this build.
    pub(crate) when: Option<(Moment, u64)>,
    pub(crate) content: Option<Digest>,
    pub(crate) names: Option<Names>,
    pub(crate) target: Option<Vec<u8>>,
}

impl Facets {
    fn covers(&self, look: Look) -> bool {
        let file = self.kind == Kind::File;
        let is_there = self.kind != Kind::Absent;
        (!look.mode || !is_there || self.kind == Kind::Link || self.mode.is_some())
            && (!look.size || !file || self.size.is_some())
            && (!look.size || self.kind != Kind::Link || self.target.is_some())
            && (!look.when || !is_there || self.when.is_some())
            && (!look.content || !file || self.content.is_some())
            && (!look.names || self.kind != Kind::Directory || self.names.is_some())
            && (!look.target || self.kind != Kind::Link || self.target.is_some())
    }
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) parent: Option<CommandId>,
    pub(crate) given: Given,
    /// Why it was not skipped.
    pub(crate) ran: Reason,
    pub(crate) seen: HashMap<PathId, Facets>,
    /// What it changed, and in which turn last.
    pub(crate) touched: HashMap<PathId, u64>,
    /// Directories that are newer because of what a command did that was skipped, and in which turn.
    pub(crate) aged: HashMap<PathId, u64>,
    /// The times of directories, from before it first changed something in them.
    pub(crate) around: HashMap<PathId, Moment>,
    /// The times of what it changed, from before it did.
    pub(crate) before: HashMap<PathId, Moment>,
    /// Where what it renamed was when it began.
    pub(crate) moved: HashMap<PathId, PathId>,
    pub(crate) said: Vec<(i32, Vec<u8>)>,
    /// Whether it read from its standard input, which leads to nothing.
    pub(crate) reads_nothing: bool,
    /// Why it cannot be a transcript, if so.
    pub(crate) spoilt: Option<Reason>,
    pub(crate) began: Instant,
    /// The time that the kernel would have given to a file then.
    pub(crate) since: Moment,
}

/// All commands under way.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    live: HashMap<CommandId, Command>,
    next: usize,
    /// How often something was changed.
    turn: u64,
    /// The turn in which a path was changed last.
    turns: HashMap<PathId, u64>,
    /// What has the time that somebody set.
    set: HashSet<PathId>,
}

/// The turn of what has the time that somebody set: it is as old as whatever has the same.
pub(crate) const SET: u64 = u64::MAX;

impl Commands {
    /// Notes that a command begins.
    pub(crate) fn begin(
        &mut self,
        parent: Option<CommandId>,
        given: Given,
        ran: Reason,
    ) -> CommandId {
        let id = CommandId(self.next);
        self.next += 1;
        let spoilt = given.refusal.clone();
        let command = Command {
            parent,
            given,
            ran,
            seen: HashMap::new(),
            touched: HashMap::new(),
            aged: HashMap::new(),
            around: HashMap::new(),
            before: HashMap::new(),
            moved: HashMap::new(),
            said: Vec::new(),
            reads_nothing: false,
            spoilt,
            began: Instant::now(),
            since: tick(),
        };
        self.live.insert(id, command);
        id
    }

    /// Takes a command that has ended out; what it began and is not over belongs to its parent.
    pub(crate) fn end(&mut self, id: CommandId) -> Option<Command> {
        let ended = self.live.remove(&id)?;
        for other in self.live.values_mut().filter(|other| other.parent == Some(id)) {
            other.parent = ended.parent;
        }
        Some(ended)
    }

    pub(crate) fn get(&self, id: CommandId) -> Option<&Command> {
        self.live.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: CommandId) -> Option<&mut Command> {
        self.live.get_mut(&id)
    }

    /// Returns a command and those around it, the innermost first.
    pub(crate) fn chain(&self, id: CommandId) -> Vec<CommandId> {
        let mut chain = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at {
            let Some(command) = self.live.get(&id) else { break };
            chain.push(id);
            at = command.parent;
        }
        chain
    }

    /// Says that a command cannot be a transcript, nor those around it.
    pub(crate) fn spoil(&mut self, id: CommandId, reason: &Reason) {
        for id in self.chain(id) {
            self.spoil_alone(id, reason);
        }
    }

    /// Says that a command cannot be a transcript.
    pub(crate) fn spoil_alone(&mut self, id: CommandId, reason: &Reason) {
        if let Some(command) = self.live.get_mut(&id)
            && command.spoilt.is_none()
        {
            command.spoilt = Some(reason.clone());
            command.seen = HashMap::new();
            command.said = Vec::new();
        }
    }

    /// Returns the turn in which a path was changed last in this build, or 0; [`SET`] if its time was set.
    pub(crate) fn turn_of(&self, path: PathId) -> u64 {
        if self.set.contains(&path) {
            return SET;
        }
        self.turns.get(&path).copied().unwrap_or_default()
    }

    /// Notes that a command looks at a path, for itself and all around it.
    pub(crate) fn see(
        &mut self,
        id: CommandId,
        path: PathId,
        look: Look,
        paths: &Paths,
        world: &mut World,
    ) {
        let (path, look) = match paths.place(path) {
            Place::Kernel => return,
            // Nothing in it changes; only whether it is there.
            Place::Store(root) => (root, Look::KIND),
            Place::Own => {
                self.spoil(id, &Reason::OwnOutput(paths.bytes(path).to_vec()));
                return;
            }
            Place::Build => (path, look),
        };
        // Programs of which it is known that they do not look at times are told of them all the same. Of what is seen for the
        // first time, it is found out whether that holds.
        let timeless = self.live.get(&id).is_some_and(|command| command.given.is_timeless);
        let needed = Look { when: look.when && !timeless, ..look };
        let is_known = |command: &Command| {
            command.spoilt.is_some()
                || command.touched.contains_key(&path)
                || command.seen.get(&path).is_some_and(|seen| seen.covers(needed))
        };
        let chain = self.chain(id);
        if chain.iter().filter_map(|id| self.live.get(id)).all(is_known) {
            return;
        }
        let state = world.state(paths.bytes(path));
        let mut looked =
            Looked { path, look, timeless, state, content: None, target: None, list: None };
        let turn = self.turn_of(path);
        for id in chain {
            let Some(command) = self.live.get_mut(&id) else { continue };
            if is_known(command) {
                continue;
            }
            if let Err(reason) = looked.note(command, turn, paths, world) {
                self.spoil_alone(id, &reason);
                continue;
            }
            // That it is there by this way is because all above it are directories.
            if let Some(parent) = paths.parent(path)
                && matches!(paths.place(path), Place::Build)
            {
                let is_new = self.live.get(&id).is_some_and(|command| {
                    !command.seen.contains_key(&parent) && !command.touched.contains_key(&parent)
                });
                if is_new {
                    self.see(id, parent, Look::KIND, paths, world);
                }
            }
        }
    }

    /// Whether the time of a path is one that somebody set.
    pub(crate) fn has_set_time(&self, path: PathId) -> bool {
        self.set.contains(&path)
    }

    /// Notes whether the time of a path is one that somebody set.
    pub(crate) fn set_time(&mut self, path: PathId, is_set: bool) {
        match is_set {
            true => self.set.insert(path),
            false => self.set.remove(&path),
        };
    }

    /// Notes the times of what a command is about to change.
    pub(crate) fn before(&mut self, id: CommandId, path: PathId, state: &State) {
        if state.kind == Kind::Absent {
            return;
        }
        for id in self.chain(id) {
            if let Some(command) = self.live.get_mut(&id)
                && !command.touched.contains_key(&path)
                // A directory is newer once something was done in it, by this command as a rule.
                && (state.kind != Kind::Directory || state.modified < command.since)
            {
                command.before.entry(path).or_insert(state.modified);
            }
        }
    }

    /// Notes the time of a directory in which a command is about to change something.
    pub(crate) fn around(&mut self, id: CommandId, path: PathId, state: &State) {
        for id in self.chain(id) {
            if let Some(command) = self.live.get_mut(&id) {
                command.around.entry(path).or_insert(state.modified);
            }
        }
    }

    /// Notes that a directory is newer because of what a command did in it.
    pub(crate) fn aged(&mut self, id: CommandId, path: PathId) {
        for id in self.chain(id) {
            if let Some(command) = self.live.get_mut(&id) {
                command.aged.insert(path, self.turn);
            }
        }
    }

    /// Notes that a command gave a path another name.
    pub(crate) fn moved(&mut self, id: CommandId, from: PathId, to: PathId) {
        let is_set = self.set.remove(&from);
        self.set_time(to, is_set);
        for id in self.chain(id) {
            if let Some(command) = self.live.get_mut(&id) {
                let first = command.moved.remove(&from).unwrap_or(from);
                command.moved.insert(to, first);
            }
        }
    }

    /// Notes that a command changed a path. What others saw of it is not what is there any more.
    pub(crate) fn touch(&mut self, id: CommandId, path: PathId, paths: &Paths, world: &mut World) {
        world.changed(path, paths.bytes(path));
        match paths.place(path) {
            Place::Kernel => return,
            Place::Own => {
                self.spoil(id, &Reason::OwnOutput(paths.bytes(path).to_vec()));
                return;
            }
            // Nobody can; if somebody does, nothing is certain any more.
            Place::Store(_) => {
                self.spoil(id, &Reason::Store(paths.bytes(path).to_vec()));
                return;
            }
            Place::Build => {}
        }
        self.turn += 1;
        let turn = self.turn;
        self.turns.insert(path, turn);
        let chain = self.chain(id);
        for id in &chain {
            if let Some(command) = self.live.get_mut(id) {
                command.touched.insert(path, turn);
            }
        }
        let parent = paths.parent(path);
        let saw = |command: &Command| {
            command.spoilt.is_none()
                && (command.seen.contains_key(&path)
                    // What it left there is not what it made.
                    || command.touched.contains_key(&path)
                    || parent.and_then(|parent| command.seen.get(&parent)).is_some_and(|seen| {
                        seen.names.is_some() && !command.touched.contains_key(&path)
                    }))
        };
        let others: Vec<CommandId> = self
            .live
            .iter()
            .filter(|(other, command)| !chain.contains(other) && saw(command))
            .map(|(other, _)| *other)
            .collect();
        for other in others {
            self.spoil_alone(other, &Reason::Meanwhile(paths.bytes(path).to_vec()));
        }
    }
}

/// What was found out about a path, as far as somebody asked.
struct Looked {
    path: PathId,
    look: Look,
    /// Whether times matter only of what has one from before the build, or names times itself.
    timeless: bool,
    state: State,
    content: Option<Digest>,
    target: Option<Vec<u8>>,
    list: Option<Vec<(Vec<u8>, u8)>>,
}

impl Looked {
    /// Notes it for a command.
    fn note(
        &mut self,
        command: &mut Command,
        turn: u64,
        paths: &Paths,
        world: &mut World,
    ) -> Result<(), Reason> {
        let Self { path, look, timeless, state, .. } = *self;
        let bytes = paths.bytes(path);
        let looks_closer = look != Look::KIND && look != Look::TARGET;
        if looks_closer && state.is_odd {
            return Err(Reason::Made(bytes.to_vec()));
        }
        if timeless && look.content && state.is_own && paths.name(path) == b"specs" {
            return Err(Reason::Program("it reads `specs`".to_owned()));
        }
        let meanwhile = || Reason::Meanwhile(bytes.to_vec());
        let unreadable =
            |error: std::io::Error| Reason::Unreadable(bytes.to_vec(), error.to_string());
        let names = match (look.names, state.kind) {
            (true, Kind::Directory) => {
                if self.list.is_none() {
                    self.list = Some(world.list(bytes).map_err(unreadable)?);
                }
                let own = command.touched.keys().filter(|id| paths.parent(**id) == Some(path));
                let mut without: Vec<Vec<u8>> = own.map(|id| paths.name(*id).to_vec()).collect();
                without.sort_unstable();
                let list = self.list.as_deref().unwrap_or_default();
                Some(names_without(list, without))
            }
            (_, _) => None,
        };
        let seen = command.seen.entry(path).or_insert_with(|| Facets {
            kind: state.kind,
            mode: None,
            size: None,
            when: None,
            content: None,
            names: None,
            target: None,
        });
        if seen.kind != state.kind {
            return Err(meanwhile());
        }
        let is_file = state.kind == Kind::File;
        let is_there = state.kind != Kind::Absent;
        if look.mode && is_there && state.kind != Kind::Link {
            agree(&mut seen.mode, state.mode).map_err(|()| meanwhile())?;
        }
        if look.size && is_file {
            agree(&mut seen.size, state.size).map_err(|()| meanwhile())?;
        }
        if look.content && is_file {
            if self.content.is_none() {
                self.content = Some(world.content(path, bytes, &state).map_err(unreadable)?);
            }
            if let Some(content) = self.content {
                agree(&mut seen.content, content).map_err(|()| meanwhile())?;
            }
        }
        let minds_times = || look.content && is_file && world.minds_times(path);
        if look.when && is_there && (!timeless || state.is_old || minds_times()) {
            // A directory's changes with what is made in it.
            seen.when.get_or_insert((state.modified, turn));
        }
        // How long a link is says where it leads.
        if (look.target || look.size) && state.kind == Kind::Link {
            if self.target.is_none() {
                self.target = world.target(bytes);
            }
            if let Some(target) = &self.target {
                agree(&mut seen.target, target.clone()).map_err(|()| meanwhile())?;
            }
        }
        if let Some(names) = names {
            seen.names.get_or_insert(names);
        }
        Ok(())
    }
}

fn agree<T: PartialEq>(known: &mut Option<T>, now: T) -> Result<(), ()> {
    match known {
        Some(known) if *known == now => Ok(()),
        Some(_) => Err(()),
        None => {
            *known = Some(now);
            Ok(())
        }
    }
}

/// Returns what stands for a listing without some names, which are in order.
pub(crate) fn names_without(list: &[(Vec<u8>, u8)], without: Vec<Vec<u8>>) -> Names {
    let mut hasher = blake3::Hasher::new();
    for (name, letter) in list {
        if without.binary_search(name).is_err() {
            hasher.update(name);
            hasher.update(&[0, *letter]);
        }
    }
    Names { without, digest: Digest::from_hasher(&hasher) }
}
