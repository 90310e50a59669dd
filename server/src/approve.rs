//! Whose commits are built at once, and whose only when somebody approves them: pure decisions.
//!
//! How far a commit is trusted is fixed when it is first seen as a head, from what the forge says about repositories by
//! their numbers. A commit of a fork waits until somebody who may push approves that very commit. What is approved is
//! one commit of one pull request, for a while: a new commit needs a new approval, even one that was approved before.

use std::time::Duration;

use levain_actions::git::CommitId;

use crate::clock::Timestamp;
use crate::projects::PullRequests;
use crate::reconcile::Head;

/// How long an approval counts.
pub const APPROVAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How a comment asks to approve.
const COMMAND: &str = "/levain approve";

/// Whose commit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// That of a branch: its author may push to the project.
    Branch,
    /// That of a pull request from the project's own repository: its author may push there, too.
    Own,
    /// Anybody's.
    Fork,
}

impl Trust {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Branch, Self::Own, Self::Fork];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Own => "own",
            Self::Fork => "fork",
        }
    }

    /// Reads a name; whatever is not known is anybody's.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|known| known.name() == name).unwrap_or(Self::Fork)
    }
}

/// Whether the commits of a pull request are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At once.
    AtOnce,
    /// When somebody approves them.
    OnApproval,
    /// Never.
    Never,
}

/// Decides whether a commit is built, by whose it is and by the project's choice.
pub fn admission(trust: Trust, choice: PullRequests) -> Admission {
    match (trust, choice) {
        (Trust::Branch, _)
        | (Trust::Own, PullRequests::Own | PullRequests::Approved | PullRequests::All)
        | (Trust::Fork, PullRequests::All) => Admission::AtOnce,
        (Trust::Fork, PullRequests::Approved) => Admission::OnApproval,
        (Trust::Own | Trust::Fork, PullRequests::None) | (Trust::Fork, PullRequests::Own) => {
            Admission::Never
        }
    }
}

/// What somebody approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The pull request.
    pub pull_request: u64,
    /// Its commit, no other.
    pub commit: CommitId,
    /// Who approved it.
    pub approver: Approver,
    /// When.
    pub approved_at: Timestamp,
    /// Until when a run may begin.
    pub expires_at: Timestamp,
    /// When the pull request got another commit or was closed.
    pub voided_at: Option<Timestamp>,
}

impl Approval {
    /// Returns whether a run of a commit may begin now because of this.
    pub fn covers(&self, pull_request: u64, commit: CommitId, now: Timestamp) -> bool {
        self.pull_request == pull_request
            && self.commit == commit
            && self.voided_at.is_none()
            && now < self.expires_at
    }
}

/// Who approved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// How.
    pub way: Way,
    /// Who, in words: a name at the forge with its number, or the name of a token.
    pub name: String,
}

/// How something was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On the command line, by whoever may write to the database.
    Command,
    /// By a comment at the forge.
    Comment,
    /// On a page.
    Page,
    /// With a token.
    Token,
    /// By a button at the forge.
    Button,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Command, Self::Comment, Self::Page, Self::Token, Self::Button];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Comment => "comment",
            Self::Page => "page",
            Self::Token => "token",
            Self::Button => "button",
        }
    }
}

/// Why a commit cannot be approved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// Nobody knows of such a pull request.
    #[error(
        "pull request {number} is not open, or was not looked at yet\nhint: `levain project list` shows when the project was looked at"
    )]
    NoPullRequest {
        /// Its number.
        number: u64,
    },
    /// It has another commit.
    #[error(
        "the head of pull request {number} is {head}, not {asked}\nhint: look at what changed, then approve {head}"
    )]
    Moved {
        /// Its number.
        number: u64,
        /// Its newest commit.
        head: CommitId,
        /// The one to be approved.
        asked: CommitId,
    },
    /// It is built anyway.
    #[error("pull request {number} is built without an approval")]
    NotNeeded {
        /// Its number.
        number: u64,
    },
    /// It is not built even so.
    #[error("pull request {number} is a fork's, and this project builds none of those")]
    NotBuilt {
        /// Its number.
        number: u64,
    },
}

/// Decides whether a commit of a pull request can be approved, given what is its head now.
pub fn decide(
    number: u64,
    head: Option<&Head>,
    choice: PullRequests,
    asked: CommitId,
) -> Result<(), NotApproved> {
    let head = head.ok_or(NotApproved::NoPullRequest { number })?;
    match admission(head.trust, choice) {
        Admission::AtOnce => Err(NotApproved::NotNeeded { number }),
        Admission::Never => Err(NotApproved::NotBuilt { number }),
        Admission::OnApproval if head.commit == asked => Ok(()),
        Admission::OnApproval => Err(NotApproved::Moved { number, head: head.commit, asked }),
    }
}

/// What a comment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To approve this commit.
    Approve(CommitId),
    /// To approve what is no whole commit.
    Unclear,
}

/// Reads what a comment asks for; nothing if it does not speak to levain.
///
/// A line of its own says `/levain approve COMMIT`, with all 40 digits: somebody may have a commit whose name begins
/// like that of another. What is shown as code or as what somebody else said, and what is not shown, asks for nothing.
pub fn command(text: &str) -> Option<Command> {
    let mut asked = spoken(text).filter_map(|line| line.trim_end().strip_prefix(COMMAND));
    let asked = asked.find(|asked| asked.is_empty() || asked.starts_with(' '))?;
    Some(asked.trim().parse().map_or(Command::Unclear, Command::Approve))
}

/// Where in a comment a line is.
enum Within {
    /// Among what its author says.
    Speech,
    /// In a paragraph that begins as a quotation: Markdown goes on with it until an empty line.
    Quotation,
    /// In a block of code, which ends with at least so many of these.
    Code(char, usize),
    /// In what is not shown.
    Remark,
}

/// Returns the lines of a comment, as Markdown, that its author says.
fn spoken(text: &str) -> impl Iterator<Item = &str> {
    let mut within = Within::Speech;
    text.lines().filter(move |line| {
        let found = fence(line);
        let (now, is_spoken) = match (&within, found) {
            (Within::Code(mark, count), Some((found, length, ""))) if found == *mark => {
                (if length >= *count { Within::Speech } else { return false }, false)
            }
            (Within::Code(..), _) => return false,
            (Within::Remark, _) => {
                (if line.contains("-->") { Within::Speech } else { return false }, false)
            }
            // What stands after the marks is the language.
            (_, Some((mark, count, _))) => (Within::Code(mark, count), false),
            (_, None) if line.trim_start().starts_with('>') => (Within::Quotation, false),
            (_, None) if line.trim().is_empty() => (Within::Speech, false),
            (Within::Quotation, None) => return false,
            (Within::Speech, None) => match line.rfind("<!--") {
                Some(begin) if !line[begin..].contains("-->") => (Within::Remark, false),
                Some(_) | None => (Within::Speech, true),
            },
        };
        within = now;
        is_spoken
    })
}

/// Reads the line at which a block of code begins or ends: its mark, how many of those there are, and what follows.
fn fence(line: &str) -> Option<(char, usize, &str)> {
    let inner = line.trim_start_matches(' ');
    let mark = inner.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let after = inner.trim_start_matches(mark);
    let (indent, count) = (line.len() - inner.len(), inner.len() - after.len());
    let is_fence = indent < 4 && count >= 3 && !(mark == '`' && after.contains('`'));
    is_fence.then(|| (mark, count, after.trim()))
}

#[cfg(test)]
mod tests;
