//! Which failures may go away by themselves: a pure decision.

use std::time::Duration;

use levain_store::BuildStatus;

/// How long to wait before each further try of a build that failed through no fault of its own.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The same where a remote builder is not there: a machine that starts anew takes about a minute.
const WAITS_FOR_BUILDERS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// Why a build failed that may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transient {
    /// The disk was full.
    NoSpace,
    /// The connection to Nix ended.
    DaemonGone,
    /// A remote builder that could have built it was not reached.
    BuilderUnreachable,
    /// A remote builder had begun, and was lost.
    BuilderLost,
    /// Something could not be downloaded.
    DownloadFailed,
    /// Nix says so.
    NixSaysSo,
}

impl Transient {
    /// Returns whether it is the remote builders' fault.
    pub(super) const fn is_about_builders(self) -> bool {
        match self {
            Self::BuilderUnreachable | Self::BuilderLost => true,
            Self::NoSpace | Self::DaemonGone | Self::DownloadFailed | Self::NixSaysSo => false,
        }
    }

    /// Says it in a few words.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::NoSpace => "there is no space left",
            Self::DaemonGone => "the connection to Nix ended",
            Self::BuilderUnreachable => "no remote builder was reached",
            Self::BuilderLost => "the remote builder was lost",
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
        BuildStatus::BuilderLost => Some(Transient::BuilderLost),
        BuildStatus::MiscFailure | BuildStatus::NoSubstituters => {
            let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
            if says(&["No space left on device", "database or disk is full"]) {
                Some(Transient::NoSpace)
            } else if says(&["unable to download", "Couldn't resolve host", "Could not resolve"]) {
                Some(Transient::DownloadFailed)
            } else if says(&[
                "failed to start SSH connection",
                "cannot connect to",
                // There are machines, and none was reached: whether one fits is known before.
                "nable to start any build; remote machines",
            ]) {
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
pub(super) fn wait(why: Transient, failures: usize) -> Option<Duration> {
    let waits = if why.is_about_builders() { WAITS_FOR_BUILDERS } else { WAITS };
    waits.get(failures.checked_sub(1)?).copied()
}

/// Says why a build is given up that was tried so often.
pub(super) fn given_up(why: Transient, tries: usize, message: &str) -> String {
    let message = match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    };
    format!("{}, {tries} times{message}", why.describe())
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
            (
                misc,
                "unable to start any build; remote machines may not have all required system features",
                Some(Transient::BuilderUnreachable),
            ),
            (misc, "unable to start any build; either increase '--max-jobs' or", None),
            (BuildStatus::BuilderLost, "unexpected end-of-file", Some(Transient::BuilderLost)),
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
        assert_eq!(wait(Transient::NoSpace, 1), Some(WAITS[0]));
        assert_eq!(wait(Transient::DaemonGone, 2), Some(WAITS[1]));
        assert_eq!(wait(Transient::BuilderLost, 2), Some(WAITS_FOR_BUILDERS[1]));
        for why in [Transient::NoSpace, Transient::BuilderLost, Transient::BuilderUnreachable] {
            assert_eq!(wait(why, 3), None);
        }
        assert_eq!(given_up(Transient::NoSpace, 3, ""), "there is no space left, 3 times");
        assert_eq!(
            given_up(Transient::BuilderUnreachable, 3, "why"),
            "no remote builder was reached, 3 times: why"
        );
    }
}
