//! What people ask for at the forge: comments that approve a commit, and buttons at its checks.
//!
//! A delivery only says that there is a comment, or that somebody pressed a button. What a comment says, who wrote it and
//! what whoever asks may do is asked of the forge; whether the commit is still the head, of the database, after the heads
//! were listed anew.

use levain_actions::forge::{Account, Right};

use super::Shared;
use super::reading::Wish;
use crate::approvals::NewApproval;
use crate::approve::{Approver, Command, Way, command};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::deliveries::{Delivery, DeliveryId, DeliveryState};
use crate::forges::ForgesError;
use crate::projects::{Project, PullRequests};
use crate::secret::digest;
use crate::wishes::Before;
use levain_actions::git::CommitId;
use levain_evaluator::names::Named;

/// How many commits that wait for an approval are looked after in one look, and how many comments of each.
const MOST_SEARCHED: u32 = 10;
const MOST_COMMENTS: usize = 10;

/// What a delivery about somebody's wish calls for.
pub(super) enum Commented {
    /// To do something about a commit, once the heads are known.
    Asks(Asking),
    /// Nothing: what becomes of it, and why.
    Settled(DeliveryState, String),
    /// To ask the forge once more, which does not answer.
    Later(ForgesError),
}

/// Somebody asks to do something about a commit, who may do so as far as the forge says.
pub(super) struct Asking {
    /// What said so; nothing if it was found at the forge.
    pub(super) delivery: Option<DeliveryId>,
    /// Whether it may be acted upon later, if the heads are not known now.
    pub(super) may_wait: bool,
    /// What tells it from others of the project, by what is signed of its delivery.
    wish: String,
    pub(super) commit: CommitId,
    by: Account,
    what: Asked,
}

/// What is asked for.
enum Asked {
    /// To approve the commit: of that pull request, or of all that it is the head of.
    Approve { pull_request: Option<u64>, way: Way },
    /// To build it once more, by somebody with that right.
    Rerun { right: Right },
}

/// Asks the forge what a comment says, and whether its author may say so.
pub(super) async fn read(
    shared: &Shared,
    project: &Project,
    delivery: Option<DeliveryId>,
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
            let what = Asked::Approve { pull_request: Some(pull_request), way: Way::Comment };
            let wish = wish_of(comment, commit);
            let may_wait = true;
            Commented::Asks(Asking { delivery, may_wait, wish, commit, by: author, what })
        }
        Ok(_) => ignored(format!("`{}` may not push to the repository", author.login)),
        Err(error) => failed(error),
    }
}

/// Looks for comments that approve commits which wait for that, and acts upon them: their deliveries may be lost.
///
/// They are asked about like those that are delivered, and count once with them. A comment names the commit, so it approves
/// no other, however old it is.
pub(super) async fn find(shared: &Shared, project: &Project) -> Result<(), DatabaseError> {
    if project.pull_requests != PullRequests::Approved || !project.has_login() {
        return Ok(());
    }
    for run in shared.database.unapproved_of(project.id, MOST_SEARCHED).await? {
        let Named::PullRequest(number) = run.jobset.named() else { continue };
        let commit = run.commit;
        let approves = |text: &str| command(text) == Some(Command::Approve(commit));
        let found = match shared.settings.forges.comments(project, number, approves).await {
            Ok(found) => found,
            Err(error) => {
                tracing::info!(project = project.name, %error, "cannot look for comments");
                return Ok(());
            }
        };
        // Whoever may not approve can write many; the newest are asked about.
        for comment in found.into_iter().rev().take(MOST_COMMENTS) {
            if shared.database.knows_wish(project.id, &wish_of(comment, commit)).await? {
                continue;
            }
            let outcome = match read(shared, project, None, number, comment).await {
                Commented::Asks(asking) => act(shared, project, asking).await?.1,
                Commented::Settled(_, why) => why,
                Commented::Later(error) => error.to_string(),
            };
            tracing::info!(project = project.name, number, comment, "found a comment: {outcome}");
        }
    }
    Ok(())
}

/// Returns what tells what a comment asks for from other wishes.
fn wish_of(comment: u64, commit: CommitId) -> String {
    format!("comment {comment}: {commit}")
}

/// Asks the forge whether somebody who pressed a button may do so.
pub(super) async fn pressed(
    shared: &Shared,
    project: &Project,
    delivery: &Delivery,
    (commit, wish): (CommitId, Wish),
    by: Account,
) -> Commented {
    // The forge cannot be asked who pressed a button. An App's secret is known to nobody but the forge and this server; a
    // project's own is known to whoever set the hook up, who must not speak for others.
    if project.app.is_none() {
        let why = "who pressed a button is believed of an App's deliveries only".to_owned();
        return Commented::Settled(DeliveryState::Ignored, why);
    }
    let right = match shared.settings.forges.right(project, &by).await {
        Ok(right) => right,
        Err(error) if error.may_pass() => return Commented::Later(error),
        Err(error) => return Commented::Settled(DeliveryState::Failed, error.to_string()),
    };
    let refused = |what: &str| {
        Commented::Settled(DeliveryState::Ignored, format!("`{}` may not {what}", by.login))
    };
    let what = match wish {
        Wish::Approve if right >= Right::Write => {
            Asked::Approve { pull_request: None, way: Way::Button }
        }
        Wish::Approve => return refused("push to the repository"),
        // Whose pull request it is, is known later.
        Wish::Rerun if right >= Right::Read => Asked::Rerun { right },
        Wish::Rerun => return refused("see the repository"),
    };
    // Two that are pressed one after the other differ: the check has another number, or the suite another time.
    let digest = digest(&delivery.body);
    Commented::Asks(Asking {
        delivery: Some(delivery.id),
        may_wait: true,
        wish: format!("button {digest}"),
        commit,
        by,
        what,
    })
}

/// Does what is asked for, if the commit is a head; returns what became of it.
pub(super) async fn act(
    shared: &Shared,
    project: &Project,
    asking: Asking,
) -> Result<(DeliveryState, String), DatabaseError> {
    let Asking { delivery, may_wait: _, wish, commit, by, what } = asking;
    if let Some(before) = shared.database.note_wish(project.id, wish, delivery).await? {
        let before = match before {
            Before::Delivered(first) => format!("delivery {} said so before", first.number()),
            Before::Found => "it was found at the forge before".to_owned(),
        };
        let why = format!(
            "{before}: who wants it once more writes another comment, or presses the button again"
        );
        return Ok((DeliveryState::Ignored, why));
    }
    let heads = shared.database.heads_at(project.id, commit).await?;
    match what {
        Asked::Approve { pull_request: Some(pull_request), way } => {
            approve(shared, project, (pull_request, commit), &by, way).await
        }
        Asked::Approve { pull_request: None, way } => {
            let mut settled = (DeliveryState::Ignored, Vec::new());
            for (jobset, _) in heads {
                let Named::PullRequest(number) = jobset.named() else { continue };
                let (state, outcome) = approve(shared, project, (number, commit), &by, way).await?;
                if state == DeliveryState::Acted {
                    settled.0 = state;
                }
                settled.1.push(outcome);
            }
            Ok((settled.0, outcome_of(settled.1, commit)))
        }
        Asked::Rerun { right } => {
            let mut settled = (DeliveryState::Ignored, Vec::new());
            for (jobset, author) in heads {
                if !may_rerun(right, &by, author) {
                    settled.1.push(format!("`{}` may not run {jobset} again", by.login));
                    continue;
                }
                let Some(run) = shared.database.run_again(project.id, jobset.clone()).await? else {
                    continue;
                };
                tracing::info!(project = project.name, run = run.number(), by = by.login, "again");
                shared.queued.notify_one();
                settled.0 = DeliveryState::Acted;
                let by = named(&by);
                settled.1.push(format!("{by} asked for run {} of {jobset}", run.number()));
            }
            Ok((settled.0, outcome_of(settled.1, commit)))
        }
    }
}

/// Decides whether somebody may have a commit built once more: who may push, and the author of its pull request.
fn may_rerun(right: Right, by: &Account, author: Option<u64>) -> bool {
    right >= Right::Write || (right >= Right::Read && author == Some(by.id))
}

fn named(account: &Account) -> String {
    format!("{} ({})", account.login, account.id)
}

fn outcome_of(outcomes: Vec<String>, commit: CommitId) -> String {
    match outcomes.is_empty() {
        true => format!("{} is no head any more", commit.short()),
        false => outcomes.join("; "),
    }
}

async fn approve(
    shared: &Shared,
    project: &Project,
    (pull_request, commit): (u64, CommitId),
    by: &Account,
    way: Way,
) -> Result<(DeliveryState, String), DatabaseError> {
    let name = named(by);
    let new = NewApproval {
        project: project.id,
        pull_request,
        commit,
        approver: Approver { way, name: name.clone() },
        now: Timestamp::now(),
    };
    Ok(match shared.database.approve(new).await? {
        Ok(_) => {
            tracing::info!(project = project.name, pull_request, %commit, by = name, "approved");
            shared.queued.notify_one();
            let what = format!("{name} approved {} of pull request {pull_request}", commit.short());
            (DeliveryState::Acted, what)
        }
        Err(refused) => {
            let why = refused.to_string();
            let why = why.lines().next().unwrap_or_default();
            (DeliveryState::Ignored, format!("not approved: {why}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_push_and_who_wrote_it_may_run_it_again() {
        let by = Account { id: 5, login: "ann".to_owned() };
        for (right, author, expected) in [
            (Right::None, None, false),
            (Right::None, Some(5), false),
            (Right::Read, None, false),
            (Right::Read, Some(6), false),
            (Right::Read, Some(5), true),
            (Right::Write, None, true),
            (Right::Admin, Some(6), true),
        ] {
            assert_eq!(may_rerun(right, &by, author), expected, "{right:?} {author:?}");
        }
    }
}
