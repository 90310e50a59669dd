//! Which failures may go away by themselves: a pure decision.

use std::time::Duration;

use levain_store::BuildStatus;

/// How long to wait before each further try of a build that failed through no fault of its own.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Why a build failed that may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transient {
    /// The disk was full.
    NoSpace,
    /// The connection to Nix ended.
    DaemonGone,
    /// A remote builder that could have built it was not reached.
    BuilderUnreachable,
    /// Something could not be downloaded.
    DownloadFailed,
    /// Nix says so.
    NixSaysSo,
}

impl Transient {
    /// Says it in a few words.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::NoSpace => "there is no space left",
            Self::DaemonGone => "the connection to Nix ended",
            Self::BuilderUnreachable => "no remote builder was reached",
            Self::DownloadFailed => "a download failed",
            Self::NixSaysSo => "Nix says that this may go away",
        }
    }
}

/// Returns why a failure may go away, if it may.
///
/// What the builder itself says counts for nothing: its log is not looked at, and a builder that ran
/// to its end and failed has failed, unless Nix says otherwise. It does for builders that may download,
/// and where the disk is full.
pub(super) fn of(status: BuildStatus, message: &str) -> Option<Transient> {
    match status {
        BuildStatus::TransientFailure => Some(Transient::NixSaysSo),
        BuildStatus::MiscFailure | BuildStatus::NoSubstituters => {
            let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
            if says(&["No space left on device", "database or disk is full"]) {
                Some(Transient::NoSpace)
            } else if says(&["unable to download", "Couldn't resolve host", "Could not resolve"]) {
                Some(Transient::DownloadFailed)
            } else if says(&["failed to start SSH connection", "cannot connect to"]) {
                Some(Transient::BuilderUnreachable)
            } else {
                None
            }
        }
        BuildStatus::Built
        | BuildStatus::Substituted
        | BuildStatus::AlreadyValid
        | BuildStatus::ResolvesToAlreadyValid
        | BuildStatus::PermanentFailure
        | BuildStatus::InputRejected
        | BuildStatus::OutputRejected
        | BuildStatus::CachedFailure
        | BuildStatus::TimedOut
        | BuildStatus::DependencyFailed
        | BuildStatus::LogLimitExceeded
        | BuildStatus::NotDeterministic
        | BuildStatus::HashMismatch
        | BuildStatus::Unknown(_) => None,
    }
}

/// Returns how long to wait before the next try after so many failures; none if it is given up.
pub(super) fn wait(failures: usize) -> Option<Duration> {
    WAITS.get(failures.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_did_is_tried_again_and_what_the_builder_did_is_not() {
        let misc = BuildStatus::MiscFailure;
        for (status, message, expected) in [
            (misc, "writing to file: No space left on device", Some(Transient::NoSpace)),
            (
                misc,
                "unable to download 'https://x': HTTP error 503",
                Some(Transient::DownloadFailed),
            ),
            (misc, "failed to start SSH connection to 'b'", Some(Transient::BuilderUnreachable)),
            (misc, "builder failed with exit code 1", None),
            (BuildStatus::TransientFailure, "", Some(Transient::NixSaysSo)),
            (BuildStatus::PermanentFailure, "No space left on device", None),
            (BuildStatus::TimedOut, "cannot connect to", None),
            (BuildStatus::HashMismatch, "unable to download", None),
        ] {
            assert_eq!(of(status, message), expected, "{status:?} {message}");
        }
    }

    #[test]
    fn it_is_given_up_after_three_tries() {
        assert_eq!(wait(1), Some(WAITS[0]));
        assert_eq!(wait(2), Some(WAITS[1]));
        assert_eq!(wait(3), None);
    }
}
