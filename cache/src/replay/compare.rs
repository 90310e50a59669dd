//! Whether everything is as a command saw it.

use super::command::{Commands, names_without};
use super::ending::{Era, places};
use super::grounds::Grounds;
use super::paths::{PathId, Paths, Place};
use super::reason::Reason;
use super::transcript::{Done, Kind, Seen, Time, Transcript, When};
use super::world::{Moment, World};

/// When something was changed, and in which turn; and which place that must have among others.
type Placed = ((Moment, u64), u32);

/// Checks a transcript against what there is; says what differs first.
pub(crate) fn holds(
    transcript: &Transcript,
    era: Era,
    grounds: &Grounds,
    commands: &Commands,
    paths: &mut Paths,
    world: &mut World,
) -> Result<(), Reason> {
    let mut times: Vec<Placed> = Vec::new();
    for seen in &transcript.seen {
        let id = paths.number(&seen.path);
        match paths.place(id) {
            Place::Build | Place::Store(_) => {}
            // No command's transcript has these, and some files of the kernel's never end.
            Place::Own | Place::Kernel => return Err(differs(seen, "it is not to be looked at")),
        }
        if let Some((when, place)) = is_as_seen(seen, id, era, commands, paths, world)? {
            times.push((when, place));
        }
    }
    let now = places(times.iter().map(|(when, _)| *when));
    for (seen, (when, place)) in transcript.seen.iter().filter(|seen| is_placed(seen)).zip(&times) {
        if now.get(when) != Some(place) {
            return Err(differs(seen, "it is older or newer than others were"));
        }
    }
    grounds.check(&transcript.done, world)?;
    for (at, done) in transcript.done.iter().enumerate() {
        if let Done::File { time: Time::With(path), .. } | Done::Time { time: Time::With(path), .. } =
            done
            && !transcript.done.iter().take(at).any(|before| {
                before.path() == path
                    && !matches!(before, Done::Remove { .. } | Done::Directory { .. })
            })
        {
            return Err(Reason::Time(path.clone()));
        }
        if let Done::File { time: Time::Like(path), .. } | Done::Time { time: Time::Like(path), .. } =
            done
            && world.state(path).kind == Kind::Absent
        {
            let what = "there is nothing of which to take the time";
            return Err(Reason::Differs { path: path.clone(), what });
        }
        let path = done.path();
        let id = paths.number(path);
        if !matches!(paths.place(id), Place::Build) {
            return Err(Reason::Store(path.clone()));
        }
        let state = world.state(path);
        let is_shared = matches!(state.kind, Kind::File | Kind::Link) && state.names > 1;
        let fits = match (done, state.kind) {
            (_, Kind::Other) => false,
            // What was there in its place was removed before.
            (Done::File { .. } | Done::Link { .. }, Kind::Directory) => false,
            (Done::Time { .. }, Kind::Absent | Kind::File | Kind::Link | Kind::Directory) => true,
            (
                Done::Remove { .. }
                | Done::Directory { .. }
                | Done::File { .. }
                | Done::Link { .. },
                Kind::Absent | Kind::File | Kind::Link | Kind::Directory,
            ) => !is_shared,
        };
        if !fits {
            let what = "it is no file with one name";
            return Err(Reason::Differs { path: path.clone(), what });
        }
    }
    Ok(())
}

fn is_placed(seen: &Seen) -> bool {
    matches!(seen.when, Some(When::Place(_)))
}

fn differs(seen: &Seen, what: &'static str) -> Reason {
    Reason::Differs { path: seen.path.clone(), what }
}

/// Checks one path; returns when it was changed and which place that must have among others.
fn is_as_seen(
    seen: &Seen,
    id: PathId,
    era: Era,
    commands: &Commands,
    paths: &Paths,
    world: &mut World,
) -> Result<Option<Placed>, Reason> {
    let path = paths.bytes(id);
    let state = world.state(path);
    if state.kind != seen.kind {
        let what = match (seen.kind, state.kind) {
            (Kind::Absent, _) => "it was not there",
            (_, Kind::Absent) => "it is not there any more",
            (_, _) => "it was of another kind",
        };
        return Err(differs(seen, what));
    }
    let is_closer = seen.mode.is_some() || seen.size.is_some() || seen.when.is_some();
    if (is_closer || seen.content.is_some()) && state.is_odd {
        return Err(differs(seen, "it has several names, or another owner"));
    }
    if seen.mode.is_some_and(|mode| mode != state.mode) {
        return Err(differs(seen, "it has other permissions"));
    }
    if seen.size.is_some_and(|size| size != state.size) {
        return Err(differs(seen, "it has another length"));
    }
    if let Some(content) = seen.content {
        match world.content(id, path, &state) {
            Ok(now) if now == content => {}
            Ok(_) => return Err(differs(seen, "its contents differ")),
            Err(error) => return Err(Reason::Unreadable(path.to_vec(), error.to_string())),
        }
    }
    if let Some(target) = &seen.target
        && world.target(path).as_ref() != Some(target)
    {
        return Err(differs(seen, "it leads elsewhere"));
    }
    if let Some(names) = &seen.names {
        match world.list(path) {
            Ok(list) if names_without(&list, names.without.clone()) == *names => {}
            Ok(_) => return Err(differs(seen, "other files are in it")),
            Err(error) => return Err(Reason::Unreadable(path.to_vec(), error.to_string())),
        }
    }
    match seen.when {
        Some(When::At(seconds, nanos)) if state.modified != (seconds, nanos) => {
            Err(differs(seen, "it has another time"))
        }
        Some(When::Before) if !era.is_before(state.kind, state.modified) => {
            Err(differs(seen, "it was made before the build"))
        }
        Some(When::Place(_)) if !era.places(state.kind, state.modified) => {
            Err(differs(seen, "it is older than the build"))
        }
        Some(When::Place(place)) => Ok(Some(((state.modified, commands.turn_of(id)), place))),
        Some(When::At(..) | When::Before) | None => Ok(None),
    }
}
