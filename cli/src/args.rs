//! The arguments. Their documentation comments are the help texts.

mod apps;
mod following;
mod operations;
mod server;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use levain_engine::project::WriteAccess;
use levain_evaluator::JobName;
use levain_store::nix::{AllowedHost, AllowedPath};

pub(crate) use apps::{AppArgs, AppCommand};
pub(crate) use following::{Log, RunChoice, Watch};
pub(crate) use operations::{
    Backup, ConfirmProject, Doctor, LogFormat, RemoveProject, Restore, SecretCommand,
};
pub(crate) use server::{
    AddProject, Approve, Cancel, DatabaseArgs, DeliveryArgs, DeliveryCommand, MergeChoice,
    ProjectArgs, ProjectCommand, PublicUrl, PullRequestsChoice, Rerun, Scope, Serve, SetProject,
    SignInArgs, SignInCommand, Status, TokenArgs, TokenCommand,
};

/// Incremental, pure continuous integration for Nix flakes
#[derive(Debug, Parser)]
#[command(name = "levain", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub global: Global,
    /// Show what levain does in detail; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Global {
    // Commands of the server have an option of that name.
    #[arg(skip)]
    pub database: Option<String>,
    /// Work on the repository that this directory is in
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".", global = true)]
    pub directory: PathBuf,
    /// Evaluate without a sandbox
    ///
    /// Evaluation of a pure flake can still read files of this machine that
    /// the user can read, and send requests to all hosts that the machine
    /// reaches. Without this option that is prevented with bubblewrap; where
    /// bubblewrap is missing, branches are evaluated without it and pull
    /// requests are refused.
    #[arg(long, global = true)]
    pub unconfined: bool,
    /// Let evaluations reach this host although its address is not public
    ///
    /// Evaluations reach public hosts only, over HTTP, without credentials:
    /// no loopback, private or link-local address. HOST is a name or an
    /// address, alone or with a port.
    #[arg(
        long,
        global = true,
        env = "LEVAIN_ALLOW_HOSTS",
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub allow_host: Vec<AllowedHost>,
    /// Let lock files name this file or directory of this machine, and everything below it
    ///
    /// Locked inputs of the project's own branches are fetched with the
    /// operator's files in sight. Those that come from this machine are fetched
    /// only from here.
    #[arg(
        long,
        global = true,
        env = "LEVAIN_ALLOW_PATHS",
        value_name = "PATH",
        value_delimiter = ','
    )]
    pub allow_path: Vec<AllowedPath>,
    /// End evaluations that take longer than this many seconds
    #[arg(long, global = true, env = "LEVAIN_EVALUATION_TIMEOUT", value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub evaluation_timeout: u64,
    /// End processes of evaluations that need more than this many MiB of memory
    #[arg(long, global = true, env = "LEVAIN_EVALUATION_MEMORY", value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    pub evaluation_memory: u64,
    /// Refuse flakes with more jobs than this
    #[arg(
        long,
        global = true,
        env = "LEVAIN_EVALUATION_JOBS",
        value_name = "N",
        default_value_t = 100_000
    )]
    pub evaluation_jobs: usize,
    /// End a git that takes longer than this for one fetch or push
    #[arg(
        long,
        env = "LEVAIN_GIT_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..),
        global = true
    )]
    pub git_timeout: u64,
    /// File with the secret key that signs caches [default: a key that each repository has]
    ///
    /// Of the form of Nix's keys, `NAME:BASE64`; else the variable
    /// LEVAIN_SIGNING_KEY is used.
    #[arg(long, env = "LEVAIN_SIGNING_KEY_FILE", value_name = "FILE", global = true)]
    pub signing_key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Eval(Eval),
    Why(Why),
    Audit(Audit),
    Cache(Cache),
    Serve(Serve),
    Project(ProjectArgs),
    Status(Status),
    Watch(Watch),
    Log(Log),
    Delivery(DeliveryArgs),
    Approve(Approve),
    Doctor(Doctor),
    Backup(Backup),
    Restore(Restore),
    Cancel(Cancel),
    Rerun(Rerun),
    Token(TokenArgs),
    SignIn(SignInArgs),
    App(AppArgs),
}

/// How results are printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// Which commit
#[derive(Debug, ClapArgs)]
pub(crate) struct Select {
    /// Build this branch [default: the branch that is checked out]
    #[arg(long, value_name = "NAME", conflicts_with = "pull_request")]
    pub branch: Option<String>,
    /// Build this pull request, or merge request
    #[arg(long, value_name = "NUMBER")]
    pub pull_request: Option<u64>,
    /// Build this commit of the branch or pull request instead of its newest
    #[arg(long, value_name = "COMMIT")]
    pub rev: Option<String>,
    /// Read `levainProject` from this repository instead of the default branch
    #[arg(long, value_name = "FLAKE")]
    pub declaration: Option<String>,
}

/// Whether anything is written
#[derive(Debug, ClapArgs)]
pub(crate) struct Writing {
    /// Write nothing outside: no shadow branch, no pointer, no push, no status
    #[arg(long, env = "LEVAIN_READ_ONLY", action = clap::ArgAction::SetTrue, value_parser = clap::builder::FalseyValueParser::new())]
    pub read_only: bool,
}

impl Writing {
    /// Returns the right to write, unless it was declined.
    pub(crate) fn access(&self) -> WriteAccess {
        if self.read_only { WriteAccess::ReadOnly } else { WriteAccess::Write }
    }
}

/// Evaluate, build and act: the main job
///
/// Without URL: the repository in the current directory, at the head of the
/// branch that is checked out. Where HEAD is on no branch, as in checkouts of
/// CI systems, the remote's list of branches and the CI system's variables name
/// the branch or pull request.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// Repository to mirror and build instead: a URL for git, or a flake
    /// reference such as `git+ssh://git@HOST/NAME?ref=BRANCH`
    pub url: Option<String>,
    #[command(flatten)]
    pub select: Select,
    #[command(flatten)]
    pub writing: Writing,
    /// Keep the shadow branch here; do not push it
    #[arg(long)]
    pub no_push: bool,
    /// Build all jobs again, even fresh ones
    ///
    /// A job whose outputs are still in the store fails if the build gives
    /// other outputs.
    #[arg(long)]
    pub rebuild: bool,
    /// Have the outputs of all jobs in the store at the end
    ///
    /// A fresh job whose outputs were collected as garbage is built or
    /// substituted again.
    #[arg(long)]
    pub outputs: bool,
    /// Build at most this many derivations at a time [default: as Nix is configured]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_jobs: Option<u32>,
    /// Processors that each build may use; 0 for all [default: as Nix is configured]
    #[arg(long, value_name = "N")]
    pub cores: Option<u32>,
    /// Stop a build after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Stop at the first failing build
    #[arg(long)]
    pub no_keep_going: bool,
    /// File with the forge's token; else the variable LEVAIN_TOKEN is used
    #[arg(long, env = "LEVAIN_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with certificates to trust for the forge, besides the system's
    ///
    /// An authority that issued the forge's certificate, or that certificate
    /// itself, as `openssl req -x509` makes it.
    #[arg(long, env = "LEVAIN_FORGE_CA_FILE", value_name = "FILE")]
    pub forge_ca_file: Option<PathBuf>,
    /// Wait at most this long, once everything is done, for the forge to take statuses
    #[arg(long, env = "LEVAIN_STATUS_TIMEOUT", value_name = "SECONDS", default_value_t = 120)]
    pub status_timeout: u64,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Who evaluates an expression
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// The evaluator within levain
    Embedded,
    /// The `nix-instantiate` program
    Nix,
}

/// Evaluate a locked jobset with a cache pointer, and print its jobs as JSON
///
/// This is the pure evaluator alone: the same two inputs give the same output,
/// byte for byte, on every machine. Nothing is written to the repository.
///
/// With `--expr` or `--file` instead of a jobset, evaluate an expression of the
/// Nix language and print its value. It may read the files below the current
/// directory, or below the file's, and the store; it sees no clock and
/// downloads nothing.
#[derive(Debug, ClapArgs)]
pub(crate) struct Eval {
    /// Locked flake reference, as in `git+file:///PATH?ref=refs/heads/main&rev=COMMIT`
    #[arg(long, value_name = "LOCKED_URL", required_unless_present_any = ["expr", "file"])]
    pub jobset: Option<String>,
    #[command(flatten)]
    pub expression: Expression,
    /// File with the cache pointer [default: null]
    #[arg(long, value_name = "FILE")]
    pub cache_pointer: Option<PathBuf>,
    /// Name of the pointer file in the jobset's tree
    #[arg(long, value_name = "PATH", default_value = "cache.nix")]
    pub pointer_name: String,
    /// Name of the commit file in the jobset's tree
    #[arg(long, value_name = "PATH", default_value = "commit.txt")]
    pub commit_name: String,
    /// System whose `checks` and `packages` count [default: this machine's]
    #[arg(long)]
    pub system: Option<String>,
    /// Let the evaluation build derivations and read their outputs
    #[arg(long)]
    pub allow_import_from_derivation: bool,
}

/// An expression to evaluate instead of a jobset
#[derive(Debug, ClapArgs)]
pub(crate) struct Expression {
    /// Evaluate this expression
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["jobset", "file"])]
    pub expr: Option<String>,
    /// Evaluate this file
    #[arg(long, value_name = "FILE", conflicts_with = "jobset")]
    pub file: Option<PathBuf>,
    /// Who evaluates the expression
    ///
    /// The embedded evaluator builds and downloads nothing: it serves fetchers
    /// and imports from derivations only from what is in the store.
    #[arg(long, value_enum, default_value_t = Language::Nix, conflicts_with = "jobset")]
    pub evaluator: Language,
    /// Evaluate to the bottom, not only as far as the value itself
    #[arg(long, conflicts_with = "jobset")]
    pub strict: bool,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["jobset", "raw"])]
    pub json: bool,
    /// Print a string as it is
    #[arg(long, conflicts_with = "jobset")]
    pub raw: bool,
    /// Let the expression read all files, the environment and the clock
    #[arg(long, conflicts_with = "jobset")]
    pub impure: bool,
    /// Change a setting of the language, named as in Nix
    ///
    /// `max-call-depth NUMBER`; `abort-on-warn` and `trace-verbose`, `true` or
    /// `false`; `lint-url-literals`, `lint-absolute-path-literals` and
    /// `lint-short-path-literals`, `ignore`, `warn` or `fatal`;
    /// `experimental-features` and `extra-experimental-features`, of which the
    /// language has `pipe-operators` and `parse-toml-timestamps`.
    #[arg(long = "option", num_args = 2, value_names = ["NAME", "VALUE"], allow_hyphen_values = true, conflicts_with = "jobset")]
    pub options: Vec<String>,
}

/// Tell why a job would be built, and with which cache or why with none
#[derive(Debug, ClapArgs)]
pub(crate) struct Why {
    /// Attribute path of the job, as in `x86_64-linux.server`
    pub job: JobName,
    #[command(flatten)]
    pub select: Select,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Compare what was built from caches with clean builds, file by file
///
/// If a difference is not one that two clean builds have as well, the cache
/// lied: it is dropped, and the job builds clean until `levain cache allow`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Audit {
    /// Attribute path of the job [default: all jobs built from caches]
    pub job: Option<JobName>,
    #[command(flatten)]
    pub select: Select,
    #[command(flatten)]
    pub writing: Writing,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Look at the caches that shadow branches point at, or drop them
#[derive(Debug, ClapArgs)]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List all caches of all branches and pull requests
    List {
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show everything about a job's caches
    Show {
        /// Attribute path of the job
        job: JobName,
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print the public key that signs this repository's caches
    ///
    /// Whoever lists it in `levainProject.incremental.trustedKeys` uses them.
    Key,
    /// Let a job use caches again after an audit found that they lied
    Allow {
        /// Attribute path of the job
        job: JobName,
        #[command(flatten)]
        writing: Writing,
    },
    /// Drop the cache of a job, or of all jobs, of one branch or pull request
    ///
    /// The next build starts from another cache or from none, and what was
    /// built from the dropped ones does not count as a success any more.
    Drop {
        /// Attribute path of the job [default: all jobs]
        job: Option<JobName>,
        #[command(flatten)]
        select: Select,
        #[command(flatten)]
        writing: Writing,
    },
}
