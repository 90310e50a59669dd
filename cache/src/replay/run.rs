//! A build under the recorder, from its program to its end.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use levain_trace::calls::Descriptor;
use levain_trace::{DescriptorSet, Ended, Program, TraceError, trace};

use super::doing::DoingError;
use super::explain::Explanation;
use super::grounds::Grounds;
use super::pack::{PackError, Packer, Packs};
use super::recorder::{Recorder, WATCHED};

/// What is run, and what is known of earlier builds.
#[derive(Debug)]
pub struct Request {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, with its own name first.
    pub arguments: Vec<OsString>,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Caches of earlier builds; those named first are asked first.
    pub from: Vec<PathBuf>,
    /// Where what this build did is kept.
    pub to: Option<PathBuf>,
    /// The store.
    pub store: PathBuf,
    /// The directory where the build is at work, and below which there are no tools.
    pub top: PathBuf,
    /// The names of the build's own outputs in the store.
    pub own: Vec<Vec<u8>>,
}

/// How a build ended.
#[derive(Debug)]
pub struct Replayed {
    /// As its program did.
    pub ended: Ended,
    /// What became of its commands, in a line.
    pub summary: String,
    /// How many commands were skipped, and how many ran.
    pub skipped: usize,
    /// The second of these.
    pub ran: usize,
    /// How long those that were skipped took when they ran.
    pub saved_seconds: f64,
    /// What of the caches could not be used, or was not kept.
    pub problems: Vec<String>,
    /// The same, command by command.
    pub explanation: Explanation,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The build cannot be watched.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// What it did cannot be kept.
    #[error("{0}")]
    Pack(#[source] Box<dyn Error + Send + Sync>),
    /// What a command did before could not be done in full.
    #[error("{0}")]
    Doing(#[source] Box<dyn Error + Send + Sync>),
    /// There are too many outputs.
    #[error("the build's outputs cannot be looked for: {0}")]
    Own(#[from] aho_corasick::BuildError),
}

impl From<PackError> for ReplayError {
    fn from(error: PackError) -> Self {
        Self::Pack(Box::new(error))
    }
}

impl From<DoingError> for ReplayError {
    fn from(error: DoingError) -> Self {
        Self::Doing(Box::new(error))
    }
}

/// Runs a build and skips what is known.
pub fn replay(request: &Request) -> Result<Replayed, ReplayError> {
    let (packs, problems) = Packs::open(&request.from);
    let mut packer = request.to.as_deref().map(Path::new).map(Packer::create).transpose()?;
    let store = request.store.as_os_str().as_bytes();
    let grounds = Grounds::new(&request.top, &request.environment);
    let own = request.own.clone();
    let mut recorder = Recorder::new(&packs, packer.as_mut(), store, own, grounds)?;
    let program = Program::new(&request.program, &request.arguments)?
        .environment(request.environment.iter().map(|(name, value)| (name, value)))?
        .watch(DescriptorSet::new(WATCHED.map(Descriptor)));
    let ended = trace(&program, &mut recorder)?;
    let Recorder { mut account, broken, .. } = recorder;
    if let Some(error) = broken {
        return Err(error.into());
    }
    if let Some(packer) = packer
        && ended == Ended::Exited(0)
    {
        packer.finish()?;
    }
    let explanation = Explanation::of(&account.rows);
    if let Some(to) = &request.to
        && let Err(error) = explanation.write(to)
    {
        account.not_kept(&error);
    }
    let refused = packs.refused();
    let problems = problems.iter().chain(&refused).map(ToString::to_string);
    let problems = problems.chain(account.not_kept.clone());
    Ok(Replayed {
        ended,
        summary: account.summary(),
        skipped: account.skipped,
        ran: account.ran,
        saved_seconds: account.saved_micros as f64 / 1e6,
        problems: problems.collect(),
        explanation,
    })
}
