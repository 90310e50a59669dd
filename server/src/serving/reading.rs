//! What a delivery calls for, and what is told about it afterwards: pure decisions.
//!
//! A delivery only says that somebody should look. So all that is decided is whether to look.

use levain_actions::forge::webhook::{
    self, Button, Hint, RepositoryId, Sender, UnreadableDelivery, WebhookDelivery,
};
use levain_actions::forge::{Account, repository_from_remote};
use levain_actions::git::CommitId;
use levain_engine::declaration::matches;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::deliveries::{Delivery, DeliveryState};
use crate::identity::OtherRepository;
use crate::projects::{Project, PullRequests};
use crate::runs::Run;

/// How many runs or pull requests an outcome names.
const NAMED: usize = 5;

/// What a delivery calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// To look what the project has.
    Look,
    /// To read a comment.
    Comment {
        /// The pull request that it is under.
        pull_request: u64,
        /// Its number.
        comment: u64,
    },
    /// To ask what somebody may do who asks for something at a check of a commit.
    Check {
        /// The commit.
        commit: CommitId,
        /// What for.
        wish: Wish,
        /// Who, by the number and the name that the forge has for them.
        by: Account,
    },
    /// Nothing, for another repository has the name of the project's.
    Other {
        /// Its number.
        number: u64,
        /// That, in words.
        why: String,
    },
    /// Nothing: what becomes of it, and why.
    Settled(DeliveryState, String),
}

/// What somebody asks for at a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To approve the commit.
    Approve,
    /// To build it once more.
    Rerun,
}

/// Reads a delivery. If it is the first that tells the number of the project's repository, returns that as well.
pub(super) fn reading(delivery: &Delivery, project: &Project) -> (Reading, Option<u64>) {
    let headers = headers(delivery.sender, delivery.event.as_deref());
    let read = webhook::read(delivery.sender, &headers, &delivery.body);
    if let Ok(WebhookDelivery { repository: Some(of), .. }) = &read
        && let Some(elsewhere) = elsewhere(of, project)
    {
        return (elsewhere, None);
    }
    let of = read.as_ref().ok().and_then(|read| read.repository.as_ref());
    let learned = of.filter(|of| project.repository.is_none() && has_its_name(of, project));
    let learned = learned.map(|of| of.id);
    (called_for(read, project.pull_requests, project.tags.as_deref()), learned)
}

/// Returns whether a repository is called as a project's.
fn has_its_name(of: &RepositoryId, project: &Project) -> bool {
    let Sender::Forge(kind) = project.sender else { return false };
    let own = repository_from_remote(kind, &project.url);
    own.is_some_and(|own| own.repository.eq_ignore_ascii_case(&of.full_name))
}

/// Tells what becomes of a delivery about another repository than the project's; nothing if it is about that.
///
/// What says that another one has the project's name calls for a look where the forge can be asked. Where it cannot, it is
/// believed: whoever signs deliveries speaks for the project.
fn elsewhere(of: &RepositoryId, project: &Project) -> Option<Reading> {
    let known = project.repository.filter(|known| *known != of.id)?;
    let (number, name) = (of.id, &of.full_name);
    Some(match has_its_name(of, project) {
        true if project.has_login() => Reading::Look,
        true => {
            let project = project.name.clone();
            let why = OtherRepository { project, known, other: number }.to_string();
            Reading::Other { number, why: why.lines().next().unwrap_or_default().to_owned() }
        }
        false => Reading::Settled(
            DeliveryState::Ignored,
            format!("it is about `{name}` ({number}), and the project's repository is {known}"),
        ),
    })
}

/// Returns what of the headers was kept.
pub(super) fn headers(sender: Sender, event: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(Ok(value)) = event.map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static(sender.event_header()), value);
    }
    headers
}

fn called_for(
    read: Result<WebhookDelivery, UnreadableDelivery>,
    pull_requests: PullRequests,
    tags: Option<&str>,
) -> Reading {
    let ignored = |why: String| Reading::Settled(DeliveryState::Ignored, why);
    let hint = match read {
        Ok(delivery) => delivery.hint,
        Err(error) => return Reading::Settled(DeliveryState::Failed, error.to_string()),
    };
    match hint {
        // Shadow refs are neither, so what levain pushes itself starts nothing.
        Hint::Ref { reference } if !is_built(&reference, tags) => {
            ignored(match reference.starts_with("refs/tags/") {
                true => format!("the tag `{reference}` is not built"),
                false => format!("`{reference}` is no branch"),
            })
        }
        Hint::PullRequest { number } if pull_requests == PullRequests::None => {
            ignored(format!("pull request {number}: pull requests of this project are not built"))
        }
        Hint::Ref { .. } | Hint::Refs | Hint::PullRequest { .. } | Hint::Repository => {
            Reading::Look
        }
        Hint::Ping => ignored("a ping: deliveries arrive".to_owned()),
        Hint::Comment { .. } if pull_requests != PullRequests::Approved => {
            ignored("in this project nothing waits to be approved".to_owned())
        }
        Hint::Comment { pull_request, comment } => Reading::Comment { pull_request, comment },
        Hint::Rerun { by: None, .. } | Hint::Button { by: None, .. } => {
            ignored("it does not say who asks".to_owned())
        }
        Hint::Rerun { commit, by: Some(by) } => Reading::Check { commit, wish: Wish::Rerun, by },
        Hint::Button { button: Button::Unknown(name), .. } => {
            ignored(format!("no button is called `{name}`"))
        }
        Hint::Button { button: Button::Approve, .. } if pull_requests != PullRequests::Approved => {
            ignored("in this project nothing waits to be approved".to_owned())
        }
        Hint::Button { commit, button: Button::Approve, by: Some(by) } => {
            Reading::Check { commit, wish: Wish::Approve, by }
        }
        Hint::Installation => ignored("installations of apps are not acted upon".to_owned()),
        Hint::Nothing { why } => ignored(why.to_string()),
    }
}

/// Returns whether a ref is a branch, or a tag that is built.
fn is_built(reference: &str, tags: Option<&str>) -> bool {
    let tag = reference.strip_prefix("refs/tags/");
    let is_tag = tag.zip(tags).is_some_and(|(name, pattern)| matches(pattern, name));
    is_tag || reference.starts_with("refs/heads/")
}

/// Tells what a look came to.
pub(super) fn outcome(queued: &[Run], gone: usize, left_out: &[String]) -> String {
    let mut parts = Vec::new();
    if !queued.is_empty() {
        let runs = queued.iter().map(|run| {
            format!("run {} of {} at {}", run.id.number(), run.jobset, run.commit.short())
        });
        parts.push(format!("queued {}", listed(runs)));
    }
    match gone {
        0 => {}
        1 => parts.push("a branch or pull request is gone".to_owned()),
        many => parts.push(format!("{many} branches or pull requests are gone")),
    }
    if parts.is_empty() {
        parts.push("nothing is new".to_owned());
    }
    if !left_out.is_empty() {
        parts.push(format!("left out: {}", listed(left_out.iter().cloned())));
    }
    parts.join("; ")
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let count = items.len();
    let shown: Vec<String> = items.take(NAMED).collect();
    let more = count - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_hint(hint: Hint, pull_requests: PullRequests) -> Reading {
        let read = WebhookDelivery { repository: None, sender: None, installation: None, hint };
        called_for(Ok(read), pull_requests, Some("v*"))
    }

    #[test]
    fn branches_and_pull_requests_call_for_a_look_and_nothing_else_does() {
        let reference = |name: &str| Hint::Ref { reference: name.to_owned() };
        let own = PullRequests::Own;
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        let by = || Some(Account { id: 5, login: "ann".into() });
        for hint in
            [reference("refs/heads/main"), reference("refs/tags/v1"), Hint::Refs, Hint::Repository]
        {
            assert_eq!(of_hint(hint, own), Reading::Look);
        }
        let pull = Hint::PullRequest { number: 7 };
        assert_eq!(of_hint(pull.clone(), own), Reading::Look);
        assert_ne!(of_hint(pull, PullRequests::None), Reading::Look);
        for hint in [
            reference("refs/levain/heads/main"),
            reference("refs/tags/w1"),
            Hint::Ping,
            Hint::Installation,
            Hint::Comment { pull_request: 1, comment: 2 },
            Hint::Button { commit, button: Button::Unknown("b".into()), by: by() },
            Hint::Button { commit, button: Button::Approve, by: by() },
            Hint::Button { commit, button: Button::Approve, by: None },
            Hint::Rerun { commit, by: None },
        ] {
            let Reading::Settled(state, why) = of_hint(hint.clone(), own) else {
                panic!("{hint:?} calls for nothing");
            };
            assert_eq!((state, why.is_empty()), (DeliveryState::Ignored, false), "{hint:?}");
        }
        let comment = Hint::Comment { pull_request: 1, comment: 2 };
        assert_eq!(
            of_hint(comment, PullRequests::Approved),
            Reading::Comment { pull_request: 1, comment: 2 }
        );
        let asks = |wish| Reading::Check { commit, wish, by: by().unwrap() };
        let again = Hint::Rerun { commit, by: by() };
        assert_eq!(of_hint(again, PullRequests::None), asks(Wish::Rerun));
        let approve = Hint::Button { commit, button: Button::Approve, by: by() };
        assert_eq!(of_hint(approve, PullRequests::Approved), asks(Wish::Approve));
        let unreadable = called_for(Err(UnreadableDelivery::Field { field: "ref" }), own, None);
        assert!(matches!(unreadable, Reading::Settled(DeliveryState::Failed, _)));
    }

    #[test]
    fn outcomes_name_a_few() {
        assert_eq!(outcome(&[], 0, &[]), "nothing is new");
        assert_eq!(outcome(&[], 2, &[]), "2 branches or pull requests are gone");
        let forks: Vec<String> = (1..=7).map(|number| format!("pull request {number}")).collect();
        assert_eq!(
            outcome(&[], 1, &forks),
            "a branch or pull request is gone; left out: pull request 1, pull request 2, \
             pull request 3, pull request 4, pull request 5 and 2 more"
        );
    }
}
