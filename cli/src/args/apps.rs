//! The arguments of `levain app`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use levain_actions::forge::ForgeKind;

use super::Format;
use super::server::{DatabaseArgs, PublicUrl};

/// Be an App at a forge, instead of using somebody's token
///
/// An App has rights of its own, reports in more detail than a token can, and
/// has one webhook for all its repositories. The server's page `/apps` makes
/// one with two clicks; this is for those that are there already.
#[derive(Debug, ClapArgs)]
pub(crate) struct AppArgs {
    #[command(subcommand)]
    pub command: AppCommand,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Add an App that is there already, and print what its forge has to know
    Add {
        /// Name for the App
        name: String,
        /// The forge's number for it: its "App ID"
        #[arg(long, value_name = "NUMBER")]
        number: u64,
        /// File with its private key, as the forge gave it; the server keeps a copy in its database
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// File with what its deliveries are signed with [default: a new secret, which is printed this once]
        #[arg(long, value_name = "FILE")]
        webhook_secret_file: Option<PathBuf>,
        /// Kind of the forge [default: the one that has Apps]
        #[arg(long, value_name = "KIND")]
        forge: Option<ForgeKind>,
        /// Address of the forge's web pages [default: the public one of its kind]
        #[arg(long, value_name = "URL")]
        url: Option<PublicUrl>,
        /// Address by which forges reach the server [default: what the server said]
        #[arg(long, env = "LEVAIN_PUBLIC_URL", value_name = "URL")]
        public_url: Option<PublicUrl>,
    },
    /// List the Apps
    List {
        /// How results are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Make every repository that the App's owner installs it in a project
    ///
    /// The server looks at once when the forge says that something was
    /// installed, and every 5 minutes. It removes no project by itself.
    Follow {
        /// Name of the App
        name: String,
        /// Add no more projects by itself
        #[arg(long)]
        stop: bool,
    },
    /// Remove an App and its key from the server; at the forge it stays
    Remove {
        /// Name of the App
        name: String,
    },
}
