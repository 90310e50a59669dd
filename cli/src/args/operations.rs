//! The arguments of what operators do now and then.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::Format;
use super::server::{DatabaseArgs, PublicUrl};

/// How the log is written
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON document a line, with the time
    Json,
}

/// Remove a project with its runs, deliveries and secrets
///
/// What is being carried out of it is stopped. Its repository, shadow branches
/// and caches stay as they are.
#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveProject {
    /// Name of the project
    pub name: String,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Say that another repository, which has the name of a project's, is the project's from now on
///
/// A project is the repository that had its address when the server first
/// looked, by the number that the forge gave it. Once another repository has
/// that address, nothing is built until you confirm it: it gets the project's
/// rights, secrets, caches and history.
#[derive(Debug, ClapArgs)]
pub(crate) struct ConfirmProject {
    /// Name of the project
    pub name: String,
    /// Number of the other repository, as `levain project list` shows it
    pub number: u64,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Exchange the secret that deliveries of a project are signed with
#[derive(Debug, ClapArgs)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    pub command: SecretCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a new secret and print what the forge or the repository has to know; the old one stays good
    Rotate {
        /// Name of the project
        name: String,
        /// Address by which forges reach the server [default: what the server said]
        #[arg(long, env = "LEVAIN_PUBLIC_URL", value_name = "URL")]
        public_url: Option<PublicUrl>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Drop all secrets but the newest
    Drop {
        /// Name of the project
        name: String,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

/// Check what can go wrong with the server, its machine and its projects
///
/// Prints each finding with what to do about it, and fails if something is
/// wrong. Changes nothing.
#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// PEM file with certificates to trust, besides the system's
    #[arg(long, env = "LEVAIN_FORGE_CA_FILE", value_name = "FILE")]
    pub forge_ca_file: Option<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Copy the server's database to a file; the server may go on meanwhile
///
/// The copy holds secrets, and nobody else may read it. PostgreSQL is copied
/// with `pg_dump`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Backup {
    /// File to copy to, which must not exist
    pub file: PathBuf,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Put a copy of the server's database in its place
///
/// The server must not run. What is in the copy's place is refused, or put
/// aside under another name.
#[derive(Debug, ClapArgs)]
pub(crate) struct Restore {
    /// Copy that `levain backup` made
    pub file: PathBuf,
    /// Put a database that is there aside
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub database: DatabaseArgs,
}
