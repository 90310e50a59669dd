//! Makes a transcript of a command that has ended.

use std::collections::HashMap;
use std::fs;

use super::clock::now;
use super::command::{Command, Commands, Facets, SET};
use super::grounds::Grounds;
use super::own::Own;
use super::paths::{PathId, Paths};
use super::reason::Reason;
use super::transcript::{Done, Kind, Read, Said, Seen, Time, Transcript, When};
use super::world::{Moment, State, World, place};
use crate::digest::Digest;

/// How long before its beginning a build may be prepared, in seconds.
const PREPARED: i64 = 60;

/// When the build began, and what that means for times of files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Era {
    pub(crate) began: Moment,
}

impl Era {
    /// Whether a time counts by its place among others: whoever prepares a build makes some files anew each time.
    pub(crate) fn places(self, kind: Kind, time: Moment) -> bool {
        // What is to come somebody set.
        if time.0 > now().0 {
            return false;
        }
        match kind {
            Kind::Directory => time >= self.began,
            Kind::Absent | Kind::File | Kind::Link | Kind::Other => !self.is_long_before(time),
        }
    }

    /// Whether it is that of a directory that was made while the build was prepared.
    pub(crate) fn is_before(self, kind: Kind, time: Moment) -> bool {
        kind == Kind::Directory && time < self.began && !self.is_long_before(time)
    }

    fn is_long_before(self, time: Moment) -> bool {
        is_long_before(time, self.began)
    }
}

/// Whether a time is from before anybody prepared a build.
pub(crate) fn is_long_before((seconds, _): Moment, began: Moment) -> bool {
    seconds < began.0 - PREPARED
}

/// The most that a command may write to descriptors that it was given.
pub(crate) const MOST_SAID: usize = 16 << 20;

/// What must be known of a build to make transcripts in it.
pub(crate) struct Ending<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) world: &'a mut World,
    pub(crate) commands: &'a Commands,
    pub(crate) own: &'a Own,
    pub(crate) era: Era,
    pub(crate) grounds: &'a Grounds,
    /// Who carries it out.
    pub(crate) owner: (u32, u32),
}

/// A transcript, and the contents that it names, by the paths where they are now.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) transcript: Transcript,
    pub(crate) contents: Vec<(Digest, PathId)>,
}

impl Ending<'_> {
    /// Makes a transcript of what a command did that ended with a code.
    pub(crate) fn transcript(
        &mut self,
        command: &Command,
        code: u8,
        read: Vec<Read>,
    ) -> Result<Made, Reason> {
        if let Some(reason) = &command.spoilt {
            return Err(reason.clone());
        }
        // Whoever asks about what it writes to is told its length; who looks into it may find what it wrote.
        let looked = command.seen.iter().filter(|(_, seen)| seen.content.is_some());
        for id in looked.map(|(id, _)| id).chain(command.touched.keys()) {
            let path = self.paths.bytes(*id);
            if command.given.written().any(|written| written == path) {
                return Err(Reason::Held(path.to_vec()));
            }
        }
        let mut contents = Vec::new();
        let done = self.done(command, &mut contents)?;
        if let Some(outside) = done.iter().find(|done| !self.grounds.have(done)) {
            return Err(Reason::Outside(outside.path().clone()));
        }
        // What it wrote is written after all that it left, and would be newer.
        let left = done.iter().map(|done| self.world.state(done.path()).modified).max();
        if let (Some(wrote), Some(left)) = (command.given.wrote_first(&command.said), left)
            && wrote < left
        {
            return Err(Reason::Time(b"what it wrote to".to_vec()));
        }
        let said = said(&command.said);
        if command.given.hides_own && said.iter().any(|said| self.own.is_in(&said.bytes)) {
            return Err(Reason::NamesOwnOutput("what it wrote".to_owned()));
        }
        let transcript = Transcript {
            seen: self.seen(command),
            done,
            said,
            read,
            reads_nothing: command.reads_nothing,
            code,
            micros: u64::try_from(command.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            name: command.given.name.clone(),
        };
        Ok(Made { transcript, contents })
    }

    fn seen(&self, command: &Command) -> Vec<Seen> {
        let placed = |seen: &Facets| {
            let when = seen.when?;
            self.era.places(seen.kind, when.0).then_some(when)
        };
        let places = places(command.seen.values().filter_map(placed));
        let mut seen: Vec<(&[u8], &Facets)> =
            command.seen.iter().map(|(id, seen)| (self.paths.bytes(*id), seen)).collect();
        seen.sort_unstable_by_key(|(path, _)| *path);
        let made = seen.into_iter().map(|(path, facets)| {
            let Facets { kind, mode, size, when, content, names, target } = facets.clone();
            let when = when.map(|when| match places.get(&when) {
                Some(place) if self.era.places(kind, when.0) => When::Place(*place),
                Some(_) | None if self.era.is_before(kind, when.0) => When::Before,
                Some(_) | None => When::At(when.0.0, when.0.1),
            });
            Seen { path: path.to_vec(), kind, mode, size, when, content, names, target }
        });
        made.collect()
    }

    fn done(
        &mut self,
        command: &Command,
        contents: &mut Vec<(Digest, PathId)>,
    ) -> Result<Vec<Done>, Reason> {
        let mut removed = Vec::new();
        let mut directories = Vec::new();
        let mut files: Vec<((Moment, u64), Done)> = Vec::new();
        let mut times = Times::of(command, self.era);
        let mut touched: Vec<(PathId, u64)> =
            command.touched.iter().map(|(id, turn)| (*id, *turn)).collect();
        touched.sort_unstable_by_key(|(_, turn)| *turn);
        // Directories that are newer because of what was done in them.
        let mut around = command.aged.clone();
        for (id, turn) in touched {
            let path = self.paths.bytes(id);
            let state = self.world.state(path);
            if let Some(parent) = self.paths.parent(id) {
                around.insert(parent, turn);
            }
            if state.kind != Kind::Absent && state.owner != self.owner {
                return Err(Reason::Made(path.to_vec()));
            }
            match state.kind {
                Kind::Absent => {
                    let was_there =
                        command.seen.get(&id).is_none_or(|seen| seen.kind != Kind::Absent);
                    if was_there {
                        removed.push(Done::Remove { path: path.to_vec() });
                    }
                }
                Kind::Directory => {
                    directories.push(Done::Directory { path: path.to_vec(), mode: state.mode });
                    around.entry(id).or_insert(turn);
                }
                Kind::Link if state.names > 1 => return Err(Reason::Made(path.to_vec())),
                Kind::Link => {
                    let target = self.world.target(path).unwrap_or_default();
                    if command.given.hides_own && self.own.is_in(&target) {
                        return Err(Reason::NamesOwnOutput(lossy(path)));
                    }
                    let link = Done::Link { path: path.to_vec(), target };
                    files.push(((state.modified, turn), link));
                    let time = self.time(id, &state, command, &mut times)?;
                    if time != Time::Then {
                        let time = Done::Time { path: path.to_vec(), time };
                        files.push(((state.modified, turn), time));
                    }
                }
                Kind::Other => return Err(Reason::Made(path.to_vec())),
                Kind::File if state.names > 1 => return Err(Reason::Made(path.to_vec())),
                Kind::File => {
                    if self.is_as_before(id, &state, command) {
                        continue;
                    }
                    let time = self.time(id, &state, command, &mut times)?;
                    let unreadable = |error: std::io::Error| {
                        Reason::Unreadable(path.to_vec(), error.to_string())
                    };
                    let content = self.world.content(id, path, &state).map_err(unreadable)?;
                    if command.given.hides_own
                        && self.own.is_in(&fs::read(place(path)).map_err(unreadable)?)
                    {
                        return Err(Reason::NamesOwnOutput(lossy(path)));
                    }
                    contents.push((content, id));
                    let file = Done::File { path: path.to_vec(), mode: state.mode, content, time };
                    files.push(((state.modified, turn), file));
                }
            }
        }
        let mut around: Vec<(PathId, u64)> = around.into_iter().collect();
        around.sort_unstable_by_key(|(_, turn)| *turn);
        for (id, turn) in around {
            let path = self.paths.bytes(id);
            let state = self.world.state(path);
            if state.kind != Kind::Directory || path == b"/" {
                continue;
            }
            let time = match command.touched.contains_key(&id) {
                true => self.time(id, &state, command, &mut times)?,
                false if command.around.get(&id) == Some(&state.modified) => continue,
                false if state.modified >= command.since => Time::Then,
                false => continue,
            };
            if time == Time::Like(path.to_vec()) {
                continue;
            }
            let time = Done::Time { path: path.to_vec(), time };
            files.push(((state.modified, turn), time));
        }
        // What is in a directory goes before it, and comes after it.
        removed.sort_unstable_by(|a, b| b.path().cmp(a.path()));
        directories.sort_unstable_by(|a, b| a.path().cmp(b.path()));
        files.sort_by_key(|(when, _)| *when);
        let files = files.into_iter().map(|(_, done)| done);
        Ok(removed.into_iter().chain(directories).chain(files).collect())
    }

    /// Whether a file that was opened for writing was not written to after all.
    fn is_as_before(&mut self, id: PathId, state: &State, command: &Command) -> bool {
        let Some(seen) = command.seen.get(&id) else { return false };
        let is_untouched = command.before.get(&id) == Some(&state.modified);
        is_untouched
            && seen.mode == Some(state.mode)
            && seen.content.is_some()
            && seen.content == self.world.content(id, self.paths.bytes(id), state).ok()
    }

    /// Says which time something that was changed has to have.
    fn time(
        &self,
        id: PathId,
        state: &State,
        command: &Command,
        times: &mut Times,
    ) -> Result<Time, Reason> {
        let path = self.paths.bytes(id);
        let modified = state.modified;
        let like = |id: PathId| Time::Like(self.paths.bytes(id).to_vec());
        let was = |id: PathId| command.before.get(&id) == Some(&modified);
        if was(id) && !self.commands.has_set_time(id) {
            return Ok(like(id));
        }
        if let Some(first) = command.moved.get(&id)
            && was(*first)
        {
            return Ok(like(*first));
        }
        if self.commands.has_set_time(id) || modified < command.since {
            match times.seen.get(&modified).map(Vec::as_slice) {
                Some([one]) => return Ok(like(*one)),
                // They need not be of the same age the next time.
                Some([_, _, ..]) => return Err(Reason::Time(path.to_vec())),
                Some([]) | None => {}
            }
            if was(id) {
                return Ok(like(id));
            }
            if let Some(other) = times.made.get(&modified) {
                return Ok(Time::With(self.paths.bytes(*other).to_vec()));
            }
        }
        let is_long_before = self.era.is_long_before(modified);
        if is_long_before || modified > now() {
            return Ok(Time::At(modified.0, modified.1));
        }
        if modified >= command.since {
            times.made.entry(modified).or_insert(id);
            return Ok(Time::Then);
        }
        Err(Reason::Time(path.to_vec()))
    }
}

/// Times that what a command made may have of others.
struct Times {
    /// Of what it looked at, that differ from build to build.
    seen: HashMap<Moment, Vec<PathId>>,
    /// Of what it left.
    made: HashMap<Moment, PathId>,
}

impl Times {
    fn of(command: &Command, era: Era) -> Self {
        let mut seen: HashMap<Moment, Vec<PathId>> = HashMap::new();
        for (id, facets) in &command.seen {
            if let Some((moment, _)) = facets.when
                && !era.is_long_before(moment)
                && !command.touched.contains_key(id)
            {
                seen.entry(moment).or_default().push(*id);
            }
        }
        Self { seen, made: HashMap::new() }
    }
}

fn lossy(path: &[u8]) -> String {
    format!("`{}`", String::from_utf8_lossy(path).escape_debug())
}

/// Puts together what was written to one descriptor without anything between.
fn said(parts: &[(i32, Vec<u8>)]) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for (descriptor, bytes) in parts {
        match said.last_mut() {
            Some(last) if last.descriptor == *descriptor => last.bytes.extend_from_slice(bytes),
            Some(_) | None => {
                said.push(Said { descriptor: *descriptor, bytes: bytes.clone() });
            }
        }
    }
    said
}

/// Returns the place of each time in this build among all of them, the oldest first. Where the clock does not tell two
/// apart, the turn in which the files were changed does, unless somebody gave one of them the other's time.
pub(crate) fn places(times: impl Iterator<Item = (Moment, u64)>) -> HashMap<(Moment, u64), u32> {
    let mut all: Vec<(Moment, u64)> = times.collect();
    all.sort_unstable();
    all.dedup();
    let mut places = HashMap::new();
    let mut place = 0;
    for same in all.chunk_by(|(a, _), (b, _)| a == b) {
        let is_set = same.last().is_some_and(|(_, turn)| *turn == SET);
        for time in same {
            places.insert(*time, place);
            place += u32::from(!is_set);
        }
        place += u32::from(is_set);
    }
    places
}
