//! The arguments of the server and of what looks at its database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use levain_actions::forge::ForgeKind;
use levain_actions::git::CommitId;
use levain_server::http::Network;
use levain_server::schedule::Schedule;

use super::following::RunChoice;
use super::operations::{ConfirmProject, LogFormat, RemoveProject, SecretArgs};
use super::{Format, Writing};

/// Which database
#[derive(Debug, ClapArgs)]
pub(crate) struct DatabaseArgs {
    /// Database of the server: `sqlite:/PATH` or `postgres://USER@HOST/NAME` [default: an SQLite file
    /// in `$XDG_STATE_HOME/levain/server`]
    #[arg(long, env = "LEVAIN_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
}

/// The address by which others reach a server, without a slash at its end.
#[derive(Clone, Debug)]
pub(crate) struct PublicUrl(String);

impl PublicUrl {
    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        // It is printed within a shell script.
        let is_plain = |rest: &str| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b))
        };
        match rest.is_some_and(is_plain) {
            true => Ok(Self(text.trim_end_matches('/').to_owned())),
            false => {
                Err("expected `https://HOST` or `http://HOST`, perhaps with a port and a path")
            }
        }
    }
}

/// Build what is pushed, for as long as it runs
///
/// Takes deliveries of forges and of `post-receive` hooks, looks at every
/// project now and then, and runs what is new. Without options it listens on
/// this machine only and keeps everything in the state directory. SIGTERM ends
/// it within seconds; what it had begun is begun anew by the next.
#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Listen on this address
    #[arg(
        long,
        env = "LEVAIN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8740"
    )]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Address by which forges reach this server [default: where it listens]
    #[arg(long, env = "LEVAIN_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Carry out at most this many runs at a time, one of each jobset
    ///
    /// With 0 only other servers do, with which this one shares a PostgreSQL database.
    #[arg(long, env = "LEVAIN_WORKERS", value_name = "N", default_value_t = 2, value_parser = workers)]
    pub workers: usize,
    /// Stop builds that take longer than this many seconds; 0 for no limit
    ///
    /// Projects can lower it in their declaration, not raise it.
    #[arg(long, env = "LEVAIN_BUILD_TIMEOUT", value_name = "SECONDS", default_value_t = 6 * 3600)]
    pub build_timeout: u64,
    /// Stop builds that print no line for this many seconds; 0 for no limit
    ///
    /// Projects can lower it in their declaration, not raise it.
    #[arg(long, env = "LEVAIN_BUILD_SILENCE", value_name = "SECONDS", default_value_t = 3600)]
    pub build_silence: u64,
    /// PEM file with certificates to trust for forges, besides the system's
    #[arg(long, env = "LEVAIN_FORGE_CA_FILE", value_name = "FILE")]
    pub forge_ca_file: Option<PathBuf>,
    /// Believe this proxy's `X-Forwarded-For`: its address, or the network that it is in
    ///
    /// What one visitor may take of the server is counted by their address.
    /// Behind a proxy that is not named here all visitors who are not signed
    /// in have one share together.
    #[arg(long, env = "LEVAIN_TRUSTED_PROXIES", value_name = "ADDRESS", value_delimiter = ',')]
    pub trusted_proxy: Vec<Network>,
    #[command(flatten)]
    pub writing: Writing,
    /// How the log is written
    #[arg(long, env = "LEVAIN_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

fn workers(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (0..=1_000).contains(number));
    number.ok_or("expected a number from 0 to 1000")
}

/// Look at the projects that the server builds, or add one
#[derive(Debug, ClapArgs)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    pub command: ProjectCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    Add(AddProject),
    Set(SetProject),
    Remove(RemoveProject),
    Confirm(ConfirmProject),
    Secret(SecretArgs),
    /// List all projects
    List {
        #[command(flatten)]
        database: DatabaseArgs,
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// Add a project, and print what its forge or repository has to know
///
/// For a forge: the address and the secret of a webhook. For a repository
/// without one: a `post-receive` hook. The secret is shown this once.
#[derive(Debug, ClapArgs)]
pub(crate) struct AddProject {
    /// Name for the project
    pub name: String,
    /// Repository: a URL for git, a path, or a flake reference
    pub url: String,
    /// Kind of the forge, or `git` for a repository without one [default: told by the URL's host, else `git`]
    #[arg(long, value_name = "KIND")]
    pub forge: Option<String>,
    /// File with the token for the forge; it is read at each run
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// App that looks after the project, instead of a token: its name in `levain app list`
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    pub app: Option<String>,
    /// Which pull requests are built
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = PullRequestsChoice::Approved)]
    pub pull_requests: PullRequestsChoice,
    /// What of pull requests is built
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = MergeChoice::Base)]
    pub merge: MergeChoice,
    /// Build the tags that match this, in which `*` stands for any text; those that are there already are left out
    #[arg(long, value_name = "PATTERN", value_parser = tags)]
    pub tags: Option<String>,
    /// Build the default branch anew: `6h`, `7d`, or `03:00` every day, in UTC
    #[arg(long, value_name = "WHEN")]
    pub schedule: Option<Schedule>,
    /// Address by which forges reach the server [default: what the server said]
    #[arg(long, env = "LEVAIN_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// The longest pattern of tags.
const LONGEST_PATTERN: usize = 200;

fn tags(text: &str) -> Result<String, &'static str> {
    let is_pattern = (1..=LONGEST_PATTERN).contains(&text.len());
    let found = is_pattern.then(|| text.to_owned());
    found.ok_or("expected a pattern of at most 200 bytes, as in `v*`")
}

/// What of pull requests is built
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MergeChoice {
    /// What merging them into their base would give
    Base,
    /// Their own newest commit
    Head,
}

/// Change what is built of a project
///
/// What is not named stays as it is. The server acts upon it at its next look.
#[derive(Debug, ClapArgs)]
pub(crate) struct SetProject {
    /// Project
    pub name: String,
    /// What of pull requests is built; those that are open are built anew
    #[arg(long, value_enum, value_name = "WHAT")]
    pub merge: Option<MergeChoice>,
    /// Build the tags that match this, in which `*` stands for any text; those that are there already are left out
    #[arg(long, value_name = "PATTERN", value_parser = tags)]
    pub tags: Option<String>,
    /// Build no tags
    #[arg(long, conflicts_with = "tags")]
    pub no_tags: bool,
    /// Build the default branch anew: `6h`, `7d`, or `03:00` every day, in UTC
    #[arg(long, value_name = "WHEN")]
    pub schedule: Option<Schedule>,
    /// Build the default branch when it moves only
    #[arg(long, conflicts_with = "schedule")]
    pub no_schedule: bool,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Which pull requests are built
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullRequestsChoice {
    /// None
    None,
    /// Those whose commits are in the project's own repository
    Own,
    /// Those at once, and those of forks when somebody approves their commit
    Approved,
    /// All at once, of whoever wrote them
    All,
}

/// Let a commit of a fork's pull request be built
///
/// Its author can then have code evaluated and built on the server's machine,
/// as sandboxed as all of it. The commit must be the pull request's newest; any
/// later one needs an approval of its own. An approval counts for 7 days.
#[derive(Debug, ClapArgs)]
pub(crate) struct Approve {
    /// Project
    pub project: String,
    /// Number of the pull request
    pub pull_request: u64,
    /// The commit, all 40 digits of it
    pub commit: CommitId,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Stop a run
///
/// What others still want of it goes on.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub choice: RunChoice,
}

/// Run the newest commit of a run's branch or pull request once more
///
/// Ends with 5 if it waits for an approval.
#[derive(Debug, ClapArgs)]
pub(crate) struct Rerun {
    #[command(flatten)]
    pub choice: RunChoice,
}

/// Make, list and remove tokens by which programs use the server
#[derive(Debug, ClapArgs)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print it this once
    ///
    /// Programs send it as `Authorization: Bearer TOKEN`.
    Add {
        /// Name for the token
        name: String,
        /// What may be done with it
        #[arg(long, value_enum, value_name = "SCOPE", default_value_t = Scope::Read)]
        scope: Scope,
        /// The only project that it is for [default: all]
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        /// Days for which it counts
        #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3660))]
        days: u16,
    },
    /// List all tokens, without their secrets
    List {
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Remove a token; it does not count any more
    Remove {
        /// Name of the token
        name: String,
    },
}

/// What may be done with a token
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// See projects, runs and logs
    Read,
    /// Also approve, cancel and re-run
    Write,
    /// Also change settings
    Admin,
}

/// Choose the forges by whose accounts people sign in
#[derive(Debug, ClapArgs)]
pub(crate) struct SignInArgs {
    #[command(subcommand)]
    pub command: SignInCommand,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SignInCommand {
    /// Let people sign in with their accounts at a forge
    ///
    /// Register an OAuth application there first. Its callback is the server's
    /// address with `/sign-in/callback` at the end.
    Add {
        /// Address of the forge's web pages
        url: String,
        /// Kind of the forge [default: told by the URL's host]
        #[arg(long, value_name = "KIND")]
        forge: Option<ForgeKind>,
        /// What the forge calls the application
        #[arg(long, value_name = "ID")]
        client_id: String,
        /// File with the application's secret; it is read at each sign-in
        #[arg(long, value_name = "FILE")]
        client_secret_file: PathBuf,
    },
    /// List the forges
    List {
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Remove a forge, and sign out everybody who came by it
    Remove {
        /// Address of the forge's web pages
        url: String,
    },
    /// Print a link by which the operator signs in, once
    ///
    /// It counts for a day, and older links no longer do.
    Operator {
        /// End all sessions of the operator
        #[arg(long)]
        end_sessions: bool,
    },
}

/// Show the last runs of the server
#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// Project [default: all]
    pub project: Option<String>,
    /// Show at most this many runs
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Look at what was delivered and what became of it, or act upon it again
#[derive(Debug, ClapArgs)]
pub(crate) struct DeliveryArgs {
    #[command(subcommand)]
    pub command: DeliveryCommand,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeliveryCommand {
    /// List the last deliveries, the newest first
    List {
        /// Project [default: all]
        project: Option<String>,
        /// Show at most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show everything about a delivery as JSON, its body included
    Show {
        /// Number of the delivery
        id: i64,
    },
    /// Have the server act upon a delivery again
    Replay {
        /// Number of the delivery
        id: i64,
    },
}
