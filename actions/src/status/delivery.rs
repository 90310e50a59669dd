//! What became of a status that was sent.

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
    /// The forge has trouble of its own.
    #[error("the forge has trouble and answered {status}: {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// What the forge said.
        message: String,
    },
    /// The forge wants us to be slower.
    #[error("the forge limits the rate of requests and asks to wait {} s: {message}", .wait.as_secs())]
    RateLimited {
        /// How long it asks to wait.
        wait: std::time::Duration,
        /// What the forge said.
        message: String,
    },
    /// It failed for a passing reason, and went on failing.
    #[error("gave up after {attempts} attempts: {last}")]
    GivingUp {
        /// How many requests were made.
        attempts: u32,
        /// The last failure.
        #[source]
        last: Box<DeliveryError>,
    },
    /// The sending ended before an answer came, because levain is shutting down.
    #[error("the sending was interrupted")]
    Interrupted,
}

/// Returns the innermost cause: "connection refused" says more than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
