//! The questions that have short answers.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::connection::{Answer, Connection};
use super::error::ProtocolError;
use super::frames::Frame;
use super::wire::Message;
use crate::hash::NarHash;
use crate::nix::BuildSettings;
use crate::store_path::{DerivationPath, StorePath, StorePathError};

const IS_VALID_PATH: u64 = 1;
const ENSURE_PATH: u64 = 10;
const ADD_TEMP_ROOT: u64 = 11;
const ADD_INDIRECT_ROOT: u64 = 12;
const SET_OPTIONS: u64 = 19;
const QUERY_PATH_INFO: u64 = 26;
const QUERY_MISSING: u64 = 40;

/// How builds are done on a connection.
///
/// The protocol has no way to leave a setting as it is configured: [`BuildOptions::or`] puts the
/// configured values in the places that are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// Go on with what does not depend on a failure.
    pub keep_going: bool,
    /// How many builds at a time; without it, one per processor.
    pub max_jobs: Option<u32>,
    /// How many processors each build may use; without it, all.
    pub cores: Option<u32>,
    /// Stop a build after so many seconds; without it, as configured.
    pub timeout_seconds: Option<u64>,
    /// Stop a build that says nothing for so many seconds; without it, never.
    pub max_silent_seconds: Option<u64>,
    /// Keep the directories of failed builds; without it, no.
    pub keep_failed: Option<bool>,
    /// Build what cannot be substituted after all; without it, no.
    pub fallback: Option<bool>,
    /// Substitute; without it, yes.
    pub substitute: Option<bool>,
    /// Any other settings of Nix. A daemon that does not trust us ignores most of them.
    pub overrides: BTreeMap<String, String>,
}

impl BuildOptions {
    /// Returns these options, with the values of nix.conf where they say nothing.
    pub fn or(&self, settings: &BuildSettings) -> Self {
        Self {
            max_jobs: self.max_jobs.or(Some(settings.max_jobs)),
            cores: self.cores.or(Some(settings.cores)),
            max_silent_seconds: self.max_silent_seconds.or(Some(settings.max_silent_seconds)),
            keep_failed: self.keep_failed.or(Some(settings.keep_failed)),
            fallback: self.fallback.or(Some(settings.fallback)),
            substitute: self.substitute.or(Some(settings.substitute)),
            ..self.clone()
        }
    }
}

/// What has to be done before outputs are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// The derivations that have to be built.
    pub will_build: BTreeSet<DerivationPath>,
    /// Whether anything can be substituted.
    pub will_substitute: bool,
}

/// What a store records about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// The objects that it refers to, itself among them if it does.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it, if known.
    pub deriver: Option<DerivationPath>,
    /// Its content address, if its path follows from its content (`fixed:r:sha256:…`).
    pub content_address: Option<String>,
    /// When it came into the store, in seconds since 1970.
    pub registration_time: u64,
}

impl Connection {
    /// Sets how this connection builds from now on.
    pub fn set_options(&mut self, options: &BuildOptions) -> Result<(), ProtocolError> {
        let processors =
            || std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let switch = |value: Option<bool>, default: bool| u64::from(value.unwrap_or(default));
        let mut overrides = options.overrides.clone();
        if let Some(seconds) = options.timeout_seconds {
            overrides.insert("timeout".to_owned(), seconds.to_string());
        }
        let mut message = Message::default();
        message
            .u64(SET_OPTIONS)
            .u64(switch(options.keep_failed, false))
            .u64(options.keep_going.into())
            .u64(switch(options.fallback, false))
            .u64(3) // verbosity: what `nix build` shows without flags
            .u64(options.max_jobs.map_or_else(processors, u64::from))
            .u64(options.max_silent_seconds.unwrap_or(0))
            .u64(1) // obsolete
            .u64(1) // log lines as results, not as messages (0 would mean "verbose")
            .u64(0) // obsolete
            .u64(0) // obsolete
            .u64(options.cores.map_or(0, u64::from))
            .u64(switch(options.substitute, true))
            .u64(overrides.len() as u64);
        for (name, value) in &overrides {
            message.text(name).text(value);
        }
        self.ask(&message, &mut log, |_| Ok(()))
    }

    /// Returns what has to be done before all outputs of `derivations` are there.
    pub fn missing(&mut self, derivations: &[DerivationPath]) -> Result<Missing, ProtocolError> {
        let mut message = Message::default();
        message.u64(QUERY_MISSING).texts(self.all_outputs(derivations));
        self.ask(&message, &mut log, |answer| {
            let dir = answer.dir;
            let path = |text: String| dir.parse(&text).map_err(ProtocolError::store_path);
            let will_build = answer.wire.list(|wire| {
                dir.parse_derivation(&wire.text()?).map_err(ProtocolError::store_path)
            })?;
            let will_substitute = answer.wire.list(|wire| path(wire.text()?))?;
            let _unknown = answer.wire.list(|wire| path(wire.text()?))?;
            let _download_and_nar_size = (answer.wire.u64()?, answer.wire.u64()?);
            Ok(Missing {
                will_build: will_build.into_iter().collect(),
                will_substitute: !will_substitute.is_empty(),
            })
        })
    }

    /// Returns whether `path` is whole and known to the store.
    pub fn is_valid(&mut self, path: &StorePath) -> Result<bool, ProtocolError> {
        let message = self.about(IS_VALID_PATH, path);
        self.ask(&message, &mut log, |answer| Ok(answer.wire.u64()? != 0))
    }

    /// Returns what the store records about `path`, or `None` if it is not valid.
    pub fn path_info(&mut self, path: &StorePath) -> Result<Option<PathInfo>, ProtocolError> {
        let message = self.about(QUERY_PATH_INFO, path);
        self.ask(&message, &mut log, |answer| match answer.wire.u64()? {
            0 => Ok(None),
            _ => answer.path_info().map(Some),
        })
    }

    /// Makes `path` valid by substituting it, if it is not valid yet.
    pub fn ensure_path(&mut self, path: &StorePath) -> Result<(), ProtocolError> {
        let message = self.about(ENSURE_PATH, path);
        self.ask(&message, &mut log, |answer| answer.wire.u64().map(drop))
    }

    /// Protects `path` from the garbage collector until the connection ends.
    pub fn add_temp_root(&mut self, path: &StorePath) -> Result<(), ProtocolError> {
        let message = self.about(ADD_TEMP_ROOT, path);
        self.ask(&message, &mut log, |answer| answer.wire.u64().map(drop))
    }

    /// Makes the symlink at `link`, which is an absolute path, a root for as long as it exists.
    pub fn add_indirect_root(&mut self, link: &Path) -> Result<(), ProtocolError> {
        let mut message = Message::default();
        message.u64(ADD_INDIRECT_ROOT).bytes(link.as_os_str().as_bytes());
        self.ask(&message, &mut log, |answer| answer.wire.u64().map(drop))
    }

    /// Names all outputs of each derivation, as the protocol writes that.
    pub(super) fn all_outputs<'a>(
        &'a self,
        derivations: &'a [DerivationPath],
    ) -> impl ExactSizeIterator<Item = String> + 'a {
        derivations.iter().map(|path| format!("{}!*", self.dir.display(path.as_ref())))
    }

    fn about(&self, operation: u64, path: &StorePath) -> Message {
        let mut message = Message::default();
        message.u64(operation).text(&self.dir.display(path));
        message
    }
}

impl Answer<'_> {
    pub(super) fn store_path(&mut self) -> Result<StorePath, ProtocolError> {
        self.dir.parse(&self.wire.text()?).map_err(ProtocolError::store_path)
    }

    pub(super) fn path_info(&mut self) -> Result<PathInfo, ProtocolError> {
        let deriver = self.wire.text()?;
        let hash = self.wire.text()?;
        let nar_hash = hash.parse().map_err(|_invalid| ProtocolError::text("NAR hash", &hash))?;
        let dir = self.dir;
        let references =
            self.wire.list(|wire| dir.parse(&wire.text()?).map_err(ProtocolError::store_path))?;
        let (registration_time, nar_size) = (self.wire.u64()?, self.wire.u64()?);
        let _ultimate = self.wire.u64()?;
        let _signatures = self.wire.list(|wire| wire.bytes())?;
        let content_address = Some(self.wire.text()?).filter(|address| !address.is_empty());
        Ok(PathInfo {
            nar_hash,
            nar_size,
            references: references.into_iter().collect(),
            deriver: self.deriver(&deriver).map_err(ProtocolError::store_path)?,
            content_address,
            registration_time,
        })
    }

    /// Reads a deriver. `unknown-deriver` is what old databases hold for none.
    fn deriver(&self, text: &str) -> Result<Option<DerivationPath>, StorePathError> {
        match text {
            "" | "unknown-deriver" => Ok(None),
            path => self.dir.parse_derivation(path).map(Some),
        }
    }
}

/// Passes what the daemon says beside an answer to the log.
pub(super) fn log(frame: Frame) {
    match frame {
        Frame::Message(text) => tracing::debug!(target: "nix", "{}", text.trim_end()),
        Frame::Start { text, .. } if !text.is_empty() => tracing::debug!(target: "nix", "{text}"),
        Frame::Start { .. }
        | Frame::Stop { .. }
        | Frame::Result { .. }
        | Frame::Error { .. }
        | Frame::Last => {}
    }
}
