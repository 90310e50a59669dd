//! Whose turn it is: how a run stands among others that want to build at the same time.

/// How a run stands.
///
/// What a person asked for goes first; then the project with the fewest builds under way; then pull
/// requests before branches before schedules; then the older run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The project, whose runs share one share.
    pub project: String,
    /// Whether somebody asked for it and is waiting.
    pub is_asked_for: bool,
    /// What it is about.
    pub class: Class,
    /// When it was asked for, in milliseconds since 1970.
    pub since: u64,
}

/// What a run is about, the most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A pull request.
    PullRequest,
    /// A branch.
    #[default]
    Branch,
    /// Something that is built now and then.
    Schedule,
}

impl Standing {
    /// Returns what orders runs, the first to come first. `share` is how many builds its project has
    /// under way.
    pub(super) fn turn(&self, share: usize) -> (bool, usize, Class, u64) {
        (!self.is_asked_for, share, self.class, self.since)
    }
}
