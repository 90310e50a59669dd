//! What became of a status that was sent.

use std::time::Duration;

use levain_store::counted;

/// A status that the forge now shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The forge made it.
    Created {
        /// The forge's number for it, where it gives one.
        id: Option<u64>,
    },
    /// The forge refused because it shows this, or something later, already.
    ShownAlready,
}

/// A status that could not be delivered. It never changes the result of a build.
///
/// Every text from the forge is masked and cut before it comes here.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The token does not suffice.
    #[error(
        "the forge refused the token with {status} for `{repository}`: {message}\nhint: the token needs {rights}"
    )]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The repository.
        repository: String,
        /// What the forge said.
        message: String,
        /// The rights that the token needs.
        rights: &'static str,
    },
    /// There is no such repository or commit, or the token may not see it.
    #[error(
        "the forge does not find `{repository}` or the commit in it: {message}\nhint: check `repository` and `apiUrl`; without {rights} a forge hides what exists"
    )]
    NotFound {
        /// The repository.
        repository: String,
        /// What the forge said.
        message: String,
        /// The rights that the token needs.
        rights: &'static str,
    },
    /// The forge understood the status and does not take it.
    #[error("the forge rejected the status with {status}: {message}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// What the forge said.
        message: String,
    },
    /// The forge points elsewhere, and a token is not sent to where it was not meant for.
    #[error(
        "the forge answered {status} and points to `{location}`\nhint: a renamed repository or server, change `repository` or `apiUrl`"
    )]
    Moved {
        /// The HTTP status.
        status: u16,
        /// Where it points to.
        location: String,
    },
    /// Something answered that is not the forge's interface.
    #[error(
        "`{url}` answered {status} but not like a forge: {excerpt}\nhint: `apiUrl` must be the interface, not a web page or a proxy's login"
    )]
    Garbage {
        /// The interface's URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How the answer starts.
        excerpt: String,
    },
    /// There was no answer.
    #[error("cannot reach `{url}`: {}", root_cause(.source))]
    Unreachable {
        /// The interface's URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate is not one to trust.
    #[error(
        "`{url}` has a certificate that is not trusted: {message}\nhint: name the certificate, or the authority that issued it, with `--forge-ca-file`"
    )]
    Certificate {
        /// The interface's URL.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// The forge has trouble of its own.
    #[error("the forge has trouble and answered {status}: {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// What the forge said.
        message: String,
        /// How long it asks to wait, if it does.
        wait: Option<Duration>,
    },
    /// The forge wants us to be slower.
    #[error("the forge limits the rate of requests and asks to wait {} s: {message}", .wait.as_secs())]
    RateLimited {
        /// How long it asks to wait.
        wait: Duration,
        /// What the forge said.
        message: String,
    },
    /// It failed for a passing reason, and went on failing.
    #[error("gave up after {}: {last}", counted(*.attempts, "attempt"))]
    GivingUp {
        /// How many requests were made.
        attempts: u32,
        /// The last failure.
        #[source]
        last: Box<DeliveryError>,
    },
    /// The sending ended before the forge took it: levain is shutting down, or has waited long enough.
    #[error(
        "the forge did not take it in time\nhint: run levain again to send it; `--status-timeout` allows more time"
    )]
    Interrupted,
}

/// Whether sending a status once more may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It would fail alike.
    None,
    /// It may succeed later.
    Later {
        /// How long the forge asks to wait.
        wait: Option<Duration>,
        /// Whether the forge may have taken it although it did not say so.
        may_have_arrived: bool,
    },
}

impl DeliveryError {
    /// Returns whether the same would succeed with another token.
    pub fn is_the_tokens(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Returns whether sending it once more may help.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused { .. }
            | Self::NotFound { .. }
            | Self::Rejected { .. }
            | Self::Moved { .. }
            | Self::Garbage { .. }
            | Self::Certificate { .. } => Remedy::None,
            Self::Unreachable { source, .. } => {
                Remedy::Later { wait: None, may_have_arrived: !source.is_connect() }
            }
            // A proxy says so, too, when the forge itself took it and was slow to answer.
            Self::Unavailable { wait, .. } => Remedy::Later { wait: *wait, may_have_arrived: true },
            Self::RateLimited { wait, .. } => {
                Remedy::Later { wait: Some(*wait), may_have_arrived: false }
            }
            Self::GivingUp { last, .. } => last.remedy(),
            Self::Interrupted => Remedy::Later { wait: None, may_have_arrived: true },
        }
    }
}

/// Returns the innermost cause: "connection refused" says more than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
