//! The part of a run's builds that belongs to the run: what it wants next, and how each ended.

use std::collections::{BTreeSet, HashMap, VecDeque};

use levain_store::machines::Requirements;
use levain_store::{BuildEvent, BuildResult, BuildStatus, Connection, DerivationPath};

use super::graph::Graph;
use super::recording::Recorded;
use super::schedule::{Outcome, Schedule, Settled};
use super::scheduler::{Entered, Heard, How, Key};
use super::traces::{Failure, Traces};
use super::waits::Waits;
use super::{Building, Ended, Ending, Wanted, all_valid};
use crate::event::{Tell, WaitReason, What, unix_millis};

/// How many derivations that need no building are asked for in one request.
const PORTION: usize = 50;

/// Builds under way.
pub(super) struct Builds<'a> {
    pub(super) building: &'a Building<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) graph: Graph,
    pub(super) schedule: Schedule,
    pub(super) fetches: VecDeque<DerivationPath>,
    /// What broke while a derivation was asked for.
    pub(super) broken: HashMap<DerivationPath, String>,
    /// The wanted derivations of which nobody has been told how they ended.
    pub(super) waiting: BTreeSet<DerivationPath>,
}

impl Builds<'_> {
    /// Wants what is ready until all has ended or is stopped.
    pub(super) fn work(
        &mut self,
        entered: &Entered,
        traces: &mut Traces,
        watch: &mut Connection,
        tell: Tell<'_>,
        ended: &mut Ended<'_>,
    ) {
        let stop = entered.stopper();
        let mut is_stopping = false;
        let jobs = self.wanted.keys().filter_map(|path| self.graph.number(path));
        let (mut waits, found) = Waits::new(jobs, &self.schedule);
        self.tell_waits(tell, &found);
        let mut fetching: Option<Vec<DerivationPath>> = None;
        loop {
            if self.building.cancel.is_cancelled() && !self.schedule.is_stopped() {
                self.schedule.stop();
            }
            if self.schedule.is_stopped() && !is_stopping {
                is_stopping = true;
                self.fetches.clear();
                stop();
            }
            for (number, settled) in self.schedule.take_settled() {
                self.tell_waits(tell, &waits.settled(number, &self.schedule));
                let path = self.graph.paths[number].clone();
                if let Some(ending) = self.ending(number, &settled, traces)
                    && self.waiting.remove(&path)
                {
                    ended(watch, &path, ending, traces);
                }
            }
            let mut ready = Vec::new();
            while let Some((number, height)) = self.schedule.next() {
                ready.push((self.key(number, entered), height, self.graph.nodes[number].builders));
            }
            if !ready.is_empty() {
                entered.offer(ready);
            }
            if fetching.is_none() && !self.fetches.is_empty() {
                let portion: Vec<DerivationPath> =
                    self.fetches.drain(..self.fetches.len().min(PORTION)).collect();
                entered.fetch(portion.clone());
                fetching = Some(portion);
            }
            if !self.schedule.is_waiting() && fetching.is_none() {
                return;
            }
            let Some(heard) = entered.hear() else { return };
            match heard {
                Heard::Asked { derivation } => {
                    let reason = WaitReason::Nix;
                    tell.what(What::BuildWaits { derivation, reason });
                }
                Heard::Started { derivation, log } => {
                    let log = log.map(|path| path.display().to_string());
                    tell.what(What::BuildStarted { derivation, log });
                }
                Heard::Event(event) => tell_event(tell, event),
                Heard::TriedAgain { derivation, why, wait } => {
                    let (name, why) = (derivation.name(), why.describe());
                    tell.warning(&format!("{name} is built again in {} s: {why}", wait.as_secs()));
                    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    let reason = WaitReason::Retry { at: unix_millis().saturating_add(wait) };
                    tell.what(What::BuildWaits { derivation, reason });
                }
                Heard::Ended { key, recorded, how } => {
                    let recorded = Recorded::clone(&recorded).kept_in(self.building.logs);
                    traces.add(&recorded);
                    if let Some(number) = self.graph.number(key.derivation()) {
                        self.built(number, how, watch, traces);
                    }
                }
                Heard::Fetched { recorded, results } => {
                    traces.add(&recorded);
                    let paths = fetching.take().unwrap_or_default();
                    let known = results.as_ref().map(Vec::as_slice).unwrap_or_default();
                    for (path, result) in paths.iter().zip(known) {
                        let ending = self.fetched(path, result, traces);
                        if self.waiting.remove(path) {
                            ended(watch, path, ending, traces);
                        }
                    }
                    if let Err(message) = results {
                        self.broken.extend(paths.into_iter().map(|path| (path, message.clone())));
                    }
                }
                Heard::Stopped { recorded } => {
                    for recorded in &recorded {
                        for derivation in recorded.traces.keys() {
                            tell.what(What::BuildStopped { derivation: derivation.clone() });
                        }
                        traces.add(recorded);
                    }
                    return;
                }
            }
        }
    }

    /// Tells what these jobs wait for.
    fn tell_waits(&self, tell: Tell<'_>, found: &[(usize, usize)]) {
        for (job, blocker) in found {
            let reason = match job == blocker {
                true => WaitReason::Slot,
                false => WaitReason::Dependency { derivation: self.graph.paths[*blocker].clone() },
            };
            let derivation = self.graph.paths[*job].clone();
            tell.what(What::BuildWaits { derivation, reason });
        }
    }

    /// Returns what tells a derivation's build from others.
    fn key(&self, number: usize, entered: &Entered) -> Key {
        let path = self.graph.paths[number].clone();
        match self.graph.is_check(number) {
            true => Key::Check(entered.run, path),
            false => Key::Build(path),
        }
    }

    /// Notes how the build of a derivation of the graph ended.
    fn built(&mut self, number: usize, how: How, watch: &mut Connection, traces: &mut Traces) {
        let path = &self.graph.paths[number];
        let (result, is_started) = match how {
            How::Answered { result, is_started } => (result, is_started),
            How::Lost(lost) => return self.lost(number, lost.message, watch, traces),
        };
        if result.status.is_success() {
            traces.succeeded(path);
            return self.schedule.ended(number, Outcome::Built);
        }
        traces.failed(path, failure(&result));
        let nobody = !is_started && result.lacks_a_builder();
        self.schedule.ended(number, if nobody { Outcome::NoBuilder } else { Outcome::Failed });
    }

    /// Notes that a connection ended before Nix answered about a derivation.
    fn lost(
        &mut self,
        number: usize,
        message: String,
        watch: &mut Connection,
        traces: &mut Traces,
    ) {
        let path = &self.graph.paths[number];
        // A build may have ended well just before the connection did.
        let outputs = self.wanted.get(path).filter(|_| !self.graph.is_check(number));
        if outputs.is_some_and(|outputs| all_valid(watch, outputs)) {
            traces.succeeded(path);
            return self.schedule.ended(number, Outcome::Built);
        }
        let status = BuildStatus::MiscFailure;
        traces.failed(path, Failure { status, message: message.clone() });
        self.broken.insert(path.clone(), message);
        self.schedule.ended(number, Outcome::Failed);
    }

    /// Notes Nix's answer about a derivation that was not to be built.
    fn fetched(
        &mut self,
        path: &DerivationPath,
        result: &BuildResult,
        traces: &mut Traces,
    ) -> Ending {
        if result.status.is_success() {
            traces.succeeded(path);
            return Ending::Success;
        }
        traces.failed(path, failure(result));
        if !self.building.options.keep_going {
            self.schedule.stop();
        }
        if result.lacks_a_builder() {
            return Ending::NoBuilder { asked: self.asked(path), dependency: None };
        }
        let known = traces.get(path).and_then(|trace| trace.failure.clone());
        Ending::Failure(known.unwrap_or_else(|| failure(result)))
    }

    /// Says how a derivation of the graph ended; `None` while that is not known.
    fn ending(&self, number: usize, settled: &Settled, traces: &Traces) -> Option<Ending> {
        let path = &self.graph.paths[number];
        let failure_of = |path: &DerivationPath| traces.get(path)?.failure.clone();
        Some(match settled {
            Settled::Ended(Outcome::Built) => Ending::Success,
            Settled::Ended(Outcome::Failed | Outcome::NoBuilder) => match failure_of(path) {
                Some(_) if self.broken.contains_key(path) => return None,
                Some(failure) => Ending::Failure(failure),
                None => return None,
            },
            Settled::InputsFailed(culprits) => {
                let failed = culprits.iter().filter_map(|culprit| {
                    let culprit = &self.graph.paths[*culprit];
                    Some((culprit.clone(), failure_of(culprit)?))
                });
                let failed: Vec<_> = failed.collect();
                if failed.is_empty() {
                    return None;
                }
                Ending::DependenciesFailed(failed)
            }
            Settled::NoBuilder(cause) => {
                let asked = match self.graph.unmet(*cause) {
                    Some(asked) => asked,
                    None => self.asked(&self.graph.paths[*cause]),
                };
                let dependency = (*cause != number).then(|| self.graph.paths[*cause].clone());
                Ending::NoBuilder { asked, dependency }
            }
            Settled::Stopped => return None,
        })
    }

    /// Says what a derivation asks of a machine.
    fn asked(&self, path: &DerivationPath) -> String {
        let derivation = self.building.store.read_derivation(path);
        derivation.map_or_else(
            |_unreadable| "its system".to_owned(),
            |derivation| Requirements::of(&derivation).describe(),
        )
    }

    /// Tells how those ended that are left: stopped, broken, or never heard of again.
    pub(super) fn end_the_rest(
        &mut self,
        watch: &mut Connection,
        ended: &mut Ended<'_>,
        traces: &Traces,
    ) {
        for path in std::mem::take(&mut self.waiting) {
            let is_check =
                self.graph.number(&path).is_some_and(|number| self.graph.is_check(number));
            let ending = if !is_check && all_valid(watch, &self.wanted[&path]) {
                Ending::Success
            } else if self.building.cancel.is_cancelled() {
                Ending::Cancelled
            } else if let Some(message) = self.broken.remove(&path) {
                Ending::Broken { message }
            } else if self.schedule.is_stopped() {
                Ending::Abandoned
            } else {
                Ending::Broken { message: "Nix gave no result for it".to_owned() }
            };
            ended(watch, &path, ending, traces);
        }
    }
}

/// Tells what happens in a build.
fn tell_event(tell: Tell<'_>, event: BuildEvent) {
    tell.what(match event {
        // That is heard with its log.
        BuildEvent::Started { .. } => return,
        BuildEvent::Line { derivation, line } => What::BuildLine { derivation, line },
        BuildEvent::Phase { derivation, name } => {
            What::BuildLine { derivation, line: format!("phase {name}") }
        }
        BuildEvent::Stopped { derivation } => What::BuildStopped { derivation },
        BuildEvent::Message { .. } => return,
    });
}

fn failure(result: &BuildResult) -> Failure {
    Failure { status: result.status, message: result.error.clone() }
}
