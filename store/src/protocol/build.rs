//! Building derivations, with a result for each and events on the way.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::connection::{Answer, Connection};
use super::elsewhere::Elsewhere;
use super::error::ProtocolError;
use super::frames::{
    ACTIVITY_BUILD, Field, Frame, MAX_MESSAGE, RESULT_HOOK_LINE, RESULT_LINE, RESULT_PHASE,
};
use super::reason::{is_about_machines, reason};
use super::wire::Message;
use crate::store_path::{DerivationPath, StoreDir, StorePath};

const BUILD_PATHS_WITH_RESULTS: u64 = 46;
/// The last level of messages that `nix build` shows without flags.
const LEVEL_INFO: u64 = 3;

/// Something that happened while the daemon built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A builder was started.
    Started {
        /// What it builds.
        derivation: DerivationPath,
        /// The remote builder on which it runs; `None` for this machine.
        machine: Option<String>,
    },
    /// A builder wrote a line, to standard output or standard error.
    Line {
        /// What it builds.
        derivation: DerivationPath,
        /// The line, with its colours if it has any.
        line: String,
    },
    /// A builder entered a phase.
    Phase {
        /// What it builds.
        derivation: DerivationPath,
        /// The name of the phase.
        name: String,
    },
    /// A builder ended, well or not.
    Stopped {
        /// What it built.
        derivation: DerivationPath,
    },
    /// Nix says something about the whole, such as what it copies.
    Message {
        /// The text, without colours.
        text: String,
    },
}

/// How a derivation came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    /// The derivation.
    pub derivation: DerivationPath,
    /// How it came out.
    pub status: BuildStatus,
    /// Why it failed, in one line: what Nix says, without log and colours.
    pub error: String,
    /// The output paths by name, if it succeeded.
    pub outputs: BTreeMap<String, StorePath>,
}

impl BuildResult {
    /// Returns whether no machine that Nix knows has the system or the features for it.
    pub fn lacks_a_builder(&self) -> bool {
        match self.status {
            BuildStatus::InputRejected | BuildStatus::MiscFailure => is_about_machines(&self.error),
            BuildStatus::Built
            | BuildStatus::Substituted
            | BuildStatus::AlreadyValid
            | BuildStatus::BuilderLost
            | BuildStatus::PermanentFailure
            | BuildStatus::OutputRejected
            | BuildStatus::TransientFailure
            | BuildStatus::CachedFailure
            | BuildStatus::TimedOut
            | BuildStatus::DependencyFailed
            | BuildStatus::LogLimitExceeded
            | BuildStatus::NotDeterministic
            | BuildStatus::ResolvesToAlreadyValid
            | BuildStatus::NoSubstituters
            | BuildStatus::HashMismatch
            | BuildStatus::Unknown(_) => false,
        }
    }
}

/// Nix's classes of success and failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildStatus {
    /// The builder ran and succeeded.
    Built,
    /// The outputs were copied from elsewhere.
    Substituted,
    /// The outputs were there.
    AlreadyValid,
    /// The builder failed, or could not be started.
    PermanentFailure,
    /// The derivation cannot be built here, or is wrong.
    InputRejected,
    /// The outputs are not what they must be: missing, another hash, forbidden references.
    OutputRejected,
    /// The failure may go away by itself.
    TransientFailure,
    /// It failed before, and that was remembered.
    CachedFailure,
    /// It took too long, or said nothing for too long.
    TimedOut,
    /// Anything else, among it a build stopped because another one failed.
    MiscFailure,
    /// An input could not be built.
    DependencyFailed,
    /// The log became too long.
    LogLimitExceeded,
    /// A second build gave other outputs.
    NotDeterministic,
    /// A content-addressed derivation is the same as one whose outputs were there.
    ResolvesToAlreadyValid,
    /// The outputs can neither be built nor substituted.
    NoSubstituters,
    /// A fixed output has another hash.
    HashMismatch,
    /// No remote builder was reached, or it was lost before it had finished. Nix has no such status.
    BuilderLost,
    /// A status that levain does not know.
    Unknown(u64),
}

impl BuildStatus {
    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Built,
            1 => Self::Substituted,
            2 => Self::AlreadyValid,
            3 => Self::PermanentFailure,
            4 => Self::InputRejected,
            5 => Self::OutputRejected,
            6 => Self::TransientFailure,
            7 => Self::CachedFailure,
            8 => Self::TimedOut,
            9 => Self::MiscFailure,
            10 => Self::DependencyFailed,
            11 => Self::LogLimitExceeded,
            12 => Self::NotDeterministic,
            13 => Self::ResolvesToAlreadyValid,
            14 => Self::NoSubstituters,
            15 => Self::HashMismatch,
            other => Self::Unknown(other),
        }
    }

    /// Returns whether the outputs are there.
    pub const fn is_success(self) -> bool {
        matches!(
            self,
            Self::Built | Self::Substituted | Self::AlreadyValid | Self::ResolvesToAlreadyValid
        )
    }

    /// Returns the name that Nix uses, or would.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Built => "Built",
            Self::Substituted => "Substituted",
            Self::AlreadyValid => "AlreadyValid",
            Self::PermanentFailure => "PermanentFailure",
            Self::InputRejected => "InputRejected",
            Self::OutputRejected => "OutputRejected",
            Self::TransientFailure => "TransientFailure",
            Self::CachedFailure => "CachedFailure",
            Self::TimedOut => "TimedOut",
            Self::MiscFailure => "MiscFailure",
            Self::DependencyFailed => "DependencyFailed",
            Self::LogLimitExceeded => "LogLimitExceeded",
            Self::NotDeterministic => "NotDeterministic",
            Self::ResolvesToAlreadyValid => "ResolvesToAlreadyValid",
            Self::NoSubstituters => "NoSubstituters",
            Self::HashMismatch => "HashMismatch",
            Self::BuilderLost => "BuilderLost",
            Self::Unknown(_) => "Unknown",
        }
    }
}

impl fmt::Display for BuildStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is done about outputs that are there; the numbers are the protocol's.
#[derive(Clone, Copy)]
enum Mode {
    /// Nothing.
    Normal = 0,
    /// They are built once more, and compared.
    Check = 2,
}

impl Connection {
    /// Builds all outputs of `derivations`; returns a result for each, in their order.
    ///
    /// Nix may refuse a question as a whole because of one derivation (2.8 does so for a system that
    /// it cannot build on). The question is then asked again in halves, so that only the derivation
    /// at fault gets the error, as [`BuildStatus::MiscFailure`]. What succeeded before such a refusal
    /// is reported as already valid.
    pub fn build(
        &mut self,
        derivations: &[DerivationPath],
        on_event: &mut dyn FnMut(BuildEvent),
    ) -> Result<Vec<BuildResult>, ProtocolError> {
        self.build_in_halves(derivations, Mode::Normal, on_event)
    }

    /// Builds a derivation once more whose outputs are there, and compares. Other outputs are
    /// [`BuildStatus::NotDeterministic`]; those in the store stay.
    pub fn check(
        &mut self,
        derivation: &DerivationPath,
        on_event: &mut dyn FnMut(BuildEvent),
    ) -> Result<Vec<BuildResult>, ProtocolError> {
        self.build_in_halves(std::slice::from_ref(derivation), Mode::Check, on_event)
    }

    fn build_in_halves(
        &mut self,
        derivations: &[DerivationPath],
        mode: Mode,
        on_event: &mut dyn FnMut(BuildEvent),
    ) -> Result<Vec<BuildResult>, ProtocolError> {
        match self.build_at_once(derivations, mode, on_event) {
            Err(ProtocolError::Daemon { message }) => match derivations {
                [] => Err(ProtocolError::Daemon { message }),
                [derivation] => Ok(vec![failed(derivation, reason(&message))]),
                [..] => {
                    let (first, second) = derivations.split_at(derivations.len() / 2);
                    let mut results = self.build_in_halves(first, mode, on_event)?;
                    results.extend(self.build_in_halves(second, mode, on_event)?);
                    Ok(results)
                }
            },
            other => other,
        }
    }

    fn build_at_once(
        &mut self,
        derivations: &[DerivationPath],
        mode: Mode,
        on_event: &mut dyn FnMut(BuildEvent),
    ) -> Result<Vec<BuildResult>, ProtocolError> {
        let mut message = Message::default();
        let targets = self.all_outputs(derivations);
        message.u64(BUILD_PATHS_WITH_RESULTS).texts(targets).u64(mode as u64);
        let mut events = Events {
            dir: self.dir.clone(),
            building: BTreeMap::new(),
            elsewhere: Elsewhere::default(),
        };
        let mut on_frame = |frame| {
            if let Some(event) = events.read(frame) {
                on_event(event);
            }
        };
        let results = self.ask(&message, &mut on_frame, |answer| answer.build_results())?;
        let results = results.into_iter().map(|result| events.elsewhere.correct(result));
        let mut results: BTreeMap<_, _> =
            results.map(|result| (result.derivation.clone(), result)).collect();
        // Some versions leave out what they stopped, and a derivation named twice has one result.
        let unfinished = || "not finished, since another build failed first".to_owned();
        let mut named = BTreeMap::new();
        let ordered = derivations.iter().map(|derivation| {
            let result = named.entry(derivation).or_insert_with(|| {
                results.remove(derivation).unwrap_or_else(|| failed(derivation, unfinished()))
            });
            result.clone()
        });
        Ok(ordered.collect())
    }
}

fn failed(derivation: &DerivationPath, error: String) -> BuildResult {
    BuildResult {
        derivation: derivation.clone(),
        status: BuildStatus::MiscFailure,
        error,
        outputs: BTreeMap::new(),
    }
}

/// Which derivation each activity builds, and what is heard of remote builders.
struct Events {
    dir: StoreDir,
    building: BTreeMap<u64, DerivationPath>,
    elsewhere: Elsewhere,
}

impl Events {
    fn read(&mut self, frame: Frame) -> Option<BuildEvent> {
        match frame {
            Frame::Message(text) => {
                self.elsewhere.says(&self.dir, &text);
                Some(BuildEvent::Message { text: text.trim_end().to_owned() })
            }
            Frame::Start { id, kind: ACTIVITY_BUILD, fields, .. } => {
                let path = fields.first().and_then(Field::text)?;
                let derivation = self.dir.parse_derivation(path).ok()?;
                self.building.insert(id, derivation.clone());
                let machine = fields.get(1).and_then(Field::text);
                let machine = machine.filter(|name| !name.is_empty()).map(str::to_owned);
                if machine.is_some() {
                    self.elsewhere.begins(&derivation);
                }
                Some(BuildEvent::Started { derivation, machine })
            }
            Frame::Start { level, text, .. } => {
                (level <= LEVEL_INFO && !text.is_empty()).then_some(BuildEvent::Message { text })
            }
            Frame::Stop { id } => {
                let derivation = self.building.remove(&id)?;
                Some(BuildEvent::Stopped { derivation })
            }
            Frame::Result { id, kind, fields } => {
                let text = fields.first().and_then(Field::text)?.to_owned();
                let derivation = self.building.get(&id).cloned();
                match (kind, derivation) {
                    (RESULT_LINE, Some(derivation)) => {
                        Some(BuildEvent::Line { derivation, line: text })
                    }
                    (RESULT_PHASE, Some(derivation)) => {
                        Some(BuildEvent::Phase { derivation, name: text })
                    }
                    (RESULT_LINE | RESULT_HOOK_LINE, _) => Some(BuildEvent::Message { text }),
                    _ => None,
                }
            }
            // These end the conversation and never come here.
            Frame::Error { .. } | Frame::Last => None,
        }
    }
}

/// What is used of the record of one output.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Realisation {
    /// A base name; whole paths are accepted too.
    out_path: String,
}

impl Answer<'_> {
    fn build_results(&mut self) -> Result<Vec<BuildResult>, ProtocolError> {
        let dir = self.dir;
        self.wire.list(|wire| Answer { wire, dir }.build_result())
    }

    fn build_result(&mut self) -> Result<BuildResult, ProtocolError> {
        let target = self.wire.text()?;
        let path = target.split_once('!').map_or(target.as_str(), |(path, _)| path);
        let derivation = self.dir.parse_derivation(path).map_err(ProtocolError::store_path)?;
        let status = BuildStatus::from_number(self.wire.u64()?);
        let error = reason(&crate::strip_ansi(&self.wire.shortened(MAX_MESSAGE)?.0));
        let (_times_built, _not_deterministic) = (self.wire.u64()?, self.wire.u64()?);
        let (_start, _stop) = (self.wire.u64()?, self.wire.u64()?);
        let dir = self.dir;
        let outputs = self.wire.list(|wire| {
            let id = wire.text()?;
            let name = id.rsplit_once('!').map(|(_, name)| name.to_owned());
            let name = name.ok_or_else(|| ProtocolError::text("output", &id))?;
            let json = wire.text()?;
            let realisation: Realisation = serde_json::from_str(&json)
                .map_err(|_invalid| ProtocolError::text("realisation", &json))?;
            let path = realisation.out_path;
            let path = if path.starts_with('/') { dir.parse(&path) } else { path.parse() };
            Ok((name, path.map_err(ProtocolError::store_path)?))
        })?;
        Ok(BuildResult { derivation, status, error, outputs: outputs.into_iter().collect() })
    }
}
