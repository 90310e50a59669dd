//! Comments at the forge that ask to approve a commit.
//!
//! A delivery only says that there is a comment. What it says, who wrote it and what they may do is asked of the forge;
//! whether the commit is still the head, of the database, after the heads were listed anew.

use levain_actions::forge::{Account, Right};

use super::Shared;
use crate::approvals::NewApproval;
use crate::approve::{Approver, Command, Way, command};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::deliveries::{DeliveryId, DeliveryState};
use crate::forges::ForgesError;
use crate::projects::Project;
use levain_actions::git::CommitId;

/// What a delivery about a comment calls for.
pub(super) enum Commented {
    /// To approve a commit, once the heads are known.
    Asks(Asking),
    /// Nothing: what becomes of it, and why.
    Settled(DeliveryState, String),
    /// To ask the forge once more, which does not answer.
    Later(ForgesError),
}

/// Somebody who may do so asks to approve a commit.
pub(super) struct Asking {
    pub(super) delivery: DeliveryId,
    pull_request: u64,
    commit: CommitId,
    author: Account,
}

/// Asks the forge what a comment says, and whether its author may say so.
pub(super) async fn read(
    shared: &Shared,
    project: &Project,
    delivery: DeliveryId,
    pull_request: u64,
    comment: u64,
) -> Commented {
    let forges = &shared.settings.forges;
    let ignored = |why: String| Commented::Settled(DeliveryState::Ignored, why);
    let failed = |error: ForgesError| match error.may_pass() {
        true => Commented::Later(error),
        false => Commented::Settled(DeliveryState::Failed, error.to_string()),
    };
    let found = match forges.comment(project, pull_request, comment).await {
        Ok(Some(found)) => found,
        Ok(None) => return ignored("the comment is not there any more".to_owned()),
        Err(error) => return failed(error),
    };
    let commit = match command(&found.text) {
        None => return ignored("the comment asks levain for nothing".to_owned()),
        Some(Command::Unclear) => {
            return ignored("a commit is approved by all 40 digits of its name".to_owned());
        }
        Some(Command::Approve(commit)) => commit,
    };
    let author = found.author;
    match forges.right(project, &author).await {
        Ok(right) if right >= Right::Write => {
            Commented::Asks(Asking { delivery, pull_request, commit, author })
        }
        Ok(_) => ignored(format!("`{}` may not push to the repository", author.login)),
        Err(error) => failed(error),
    }
}

/// Approves what is asked for, if it is the head; returns what became of it.
pub(super) async fn act(
    shared: &Shared,
    project: &Project,
    asking: Asking,
) -> Result<(DeliveryId, DeliveryState, String), DatabaseError> {
    let Asking { delivery, pull_request, commit, author } = asking;
    let name = format!("{} ({})", author.login, author.id);
    let new = NewApproval {
        project: project.id,
        pull_request,
        commit,
        approver: Approver { way: Way::Comment, name: name.clone() },
        now: Timestamp::now(),
    };
    Ok(match shared.database.approve(new).await? {
        Ok(_) => {
            tracing::info!(project = project.name, pull_request, %commit, by = name, "approved");
            shared.queued.notify_one();
            let what = format!("{name} approved {} of pull request {pull_request}", commit.short());
            (delivery, DeliveryState::Acted, what)
        }
        Err(refused) => {
            let why = refused.to_string();
            let why = why.lines().next().unwrap_or_default();
            (delivery, DeliveryState::Ignored, format!("not approved: {why}"))
        }
    })
}
