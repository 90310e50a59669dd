//! The arguments of what follows a run.

use clap::Args as ClapArgs;

use super::server::DatabaseArgs;

/// Which run
#[derive(Debug, ClapArgs)]
pub(crate) struct RunChoice {
    /// Number of the run [default: the newest of the commit that is checked out here]
    pub run: Option<i64>,
    /// Project of the commit that is checked out [default: the one at the repository's remote]
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    pub project: Option<String>,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Wait until a run ends, and end as it did
///
/// Without a number it also waits until the server knows of the commit, so that
/// it can follow a push. Ends with 0 if the run succeeded, with 1 if not, with 5
/// if it waits for an approval, and with 124 if it took too long.
#[derive(Debug, ClapArgs)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub choice: RunChoice,
    /// Wait at most this long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
}

/// Print the log of a job
///
/// Logs are files on the machine that carried out the run, so this works there.
#[derive(Debug, ClapArgs)]
pub(crate) struct Log {
    #[command(flatten)]
    pub choice: RunChoice,
    /// Attribute path of the job [default: the only one, or the first that failed]
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    /// Go on until the run has ended
    #[arg(short, long)]
    pub follow: bool,
}
