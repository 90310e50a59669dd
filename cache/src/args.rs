//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use levain_cache::SetName;
use levain_cache::gone::OutputPattern;

/// Keep what a build made for the next build of the same job
#[derive(Debug, Parser)]
#[command(name = "levain-cache", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a set back before the tool starts, and give every source its time
    Restore(Restore),
    /// Keep files after the build succeeded
    Persist(Persist),
    /// Show what a cache holds
    Inspect(Inspect),
    /// Show which commands of the build that made a cache were skipped, and why the others ran
    Explain(Explain),
    /// Unpack, restore, start the build's own program, and persist if it succeeds
    Build(Build),
    /// Run a build, and skip the commands that would do again exactly what they did before
    #[command(hide = true)]
    Replay(Replay),
    /// Say whether the build directory can be given a fixed place
    #[command(hide = true)]
    ProbePlace(ProbePlace),
}

/// What both halves of a build must be told alike.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Name of the set
    pub(crate) name: SetName,
    /// Directory of the sources [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    /// Directory of the outputs [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// Where `restore` leaves word for `persist` [default: `.levain-cache` in Nix's build directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Text that must be the same for a set to be used, such as the toolchain's store path
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// Leave these paths alone: neither sources nor outputs
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Keep and restore files that name the build's own outputs, with the new path written over the
    /// old one; what was made from that path may be wrong
    #[arg(long)]
    pub(crate) allow_own_paths: bool,
    /// Allow symbolic links to this place outside the tree; those into the store always are
    #[arg(long, value_name = "PREFIX")]
    pub(crate) outside_link: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Cache to restore from; empty or `null` means a clean build
    #[arg(long, value_name = "CACHE_PATH")]
    pub(crate) from: Option<String>,
    /// Restore only if these sources are as they were, since the tool does not look at them
    #[arg(long, value_name = "GLOB")]
    pub(crate) definition: Vec<String>,
    /// Restore only if no source that matches is new, since the tool may find it before another
    #[arg(long, value_name = "GLOB")]
    pub(crate) hiding: Vec<String>,
    /// What to do when sources are gone
    #[arg(long, value_enum, default_value = "keep")]
    pub(crate) gone: GoneRule,
    /// Outputs of a source that is gone, as `src/{dir}/{stem}.ts=dist/{dir}/{stem}.js`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) gone_outputs: Vec<OutputPattern>,
    /// Sources that matter to `--gone` [default: all]
    #[arg(long, value_name = "GLOB")]
    pub(crate) gone_match: Vec<String>,
    /// Accept a set that was made in another directory
    #[arg(long)]
    pub(crate) relocatable: bool,
    /// Remove what stands below the set's paths and is not in it
    #[arg(long)]
    pub(crate) sync: bool,
    /// Most bytes to restore
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    pub(crate) budget: u64,
    /// Fail if the cache is damaged, foreign or hostile, instead of building clean
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GoneRule {
    /// Nothing: the tool itself notices
    Keep,
    /// Do not restore the set
    Drop,
    /// Leave out the outputs named with `--gone-outputs`
    Outputs,
}

#[derive(Args, Debug)]
pub(crate) struct Persist {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Files and directories to keep; `.` keeps everything that is no source
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Cache output to write to [default: the build's output `cache`]
    #[arg(long, value_name = "OUTPUT")]
    pub(crate) to: Option<PathBuf>,
    /// Word about where the set comes from, such as `commit=1234abcd`
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) origin: Vec<String>,
    /// Most bytes to keep, before compression
    #[arg(long, value_name = "BYTES")]
    pub(crate) budget: Option<u64>,
    /// What to do with a set of more bytes
    #[arg(long, value_enum, default_value = "drop", requires = "budget")]
    pub(crate) over_budget: OverBudget,
    /// Skip paths that do not exist
    #[arg(long)]
    pub(crate) optional: bool,
    /// How hard to compress, from 1 (fast) to 19 (small)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverBudget {
    /// Keep nothing of it: the next build is clean
    Drop,
    /// Leave out files, what no build used for longest first; the tool must make again what is missing
    Prune,
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Cache to look at
    pub(crate) cache: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The cache's path in the store
    #[arg(value_name = "CACHE_PATH")]
    pub(crate) cache: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Build {
    /// Copy these sources to where they can be changed, and go there
    #[arg(long, value_name = "DIR")]
    pub(crate) unpack: Option<PathBuf>,
    /// Where to copy them; must be the same in every build [default: `source` in Nix's build directory]
    #[arg(long, value_name = "DIR", requires = "unpack")]
    pub(crate) directory: Option<PathBuf>,
    /// Set an environment variable to the absolute path of a directory of the sources
    #[arg(long, value_name = "NAME=DIR", value_parser = variable)]
    pub(crate) directory_variable: Vec<(OsString, PathBuf)>,
    /// Restore and persist nothing: only give the build directory a name that is the same in every
    /// build, then start the program
    #[arg(long, conflicts_with_all = ["unpack", "directory_variable"])]
    pub(crate) place_only: bool,
    /// Skip the commands that would do again exactly what they did before, and keep in this directory what the build's
    /// commands did
    #[arg(long, value_name = "DIR")]
    pub(crate) replay_to: Option<PathBuf>,
    /// Cache of an earlier build, for `--replay-to`; empty for none
    #[arg(long, value_name = "CACHE_PATH", requires = "replay_to")]
    pub(crate) replay_from: Vec<OsString>,
    /// Output of this build [default: those that the variable `outputs` names]
    #[arg(long, value_name = "PATH", requires = "replay_to")]
    pub(crate) own_output: Vec<PathBuf>,
    /// `--restore NAME …` and `--persist NAME PATH …` as the commands of these names take them, any
    /// number of each, then `--` and the program with its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "--restore …|--persist …|-- PROGRAM …"
    )]
    pub(crate) words: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// Cache of an earlier build; several may be named, those named first are asked first
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Vec<PathBuf>,
    /// Directory for what this build does, which must not be there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Write what became of each command, and why, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) explain: Option<PathBuf>,
    /// The program, with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct ProbePlace {
    /// The build directory
    pub(crate) directory: PathBuf,
}

fn variable(text: &str) -> Result<(OsString, PathBuf), &'static str> {
    match text.split_once('=') {
        Some((name, directory)) if !name.is_empty() => Ok((name.into(), directory.into())),
        Some(_) | None => Err("expected `NAME=DIR`"),
    }
}
