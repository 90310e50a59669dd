//! Which pull requests of a project are to be built: what its forge lists, and what it says of those that the list lacks.
//!
//! A list comes in pages. If pull requests are closed while it is read, others move to a page that was read already. So one
//! that is known and not listed is not gone before the forge says so of it. Start at [`find`].

use std::collections::BTreeSet;

use levain_actions::forge::{ForgeConfig, Questions, Reach, Token};
use levain_actions::pull_requests::{
    ListError, OpenPullRequests, Origin, PullRequestReader, UnreadablePullRequest,
};
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;

use super::engine::{failed, one_line};
use super::{HeadsError, Listed};
use crate::approve::{Admission, Trust, admission};
use crate::logins::Logins;
use crate::projects::{Merge, Project, PullRequests};
use crate::reconcile::{Head, Heads, Unknown};

/// How many pull requests one look asks about. The others stay as they are until the next.
const MOST: usize = 20;

/// What is known of a project's pull requests.
#[derive(Debug)]
pub(super) enum Found {
    /// None are to be built.
    None,
    /// The forge listed them.
    Listed {
        open: OpenPullRequests,
        /// Those that it did not list and that may be open.
        unsure: BTreeSet<JobsetName>,
    },
    /// The forge did not list them, for this reason.
    Unlisted(String),
}

/// Asks a forge for the open pull requests, given the heads that are known.
pub(super) async fn find(
    logins: &Logins,
    project: &Project,
    config: &ForgeConfig,
    known: &Heads,
) -> Result<Found, HeadsError> {
    let mut may_ask_anew = true;
    loop {
        let token = logins.token(project, Reach::Read).await.map_err(failed)?;
        let Some(token) = token else { return Ok(Found::None) };
        let reader = PullRequestReader::new(config, &token).map_err(failed)?;
        match reader.open().await {
            Err(ListError::Refused { status: 401, .. })
                if may_ask_anew && logins.refused(project, &token) =>
            {
                may_ask_anew = false;
            }
            Err(error) => return Ok(Found::Unlisted(error.to_string())),
            Ok(open) => {
                let unsure = unsure(config, token, missing(known, &open)).await?;
                return Ok(Found::Listed { open, unsure });
            }
        }
    }
}

/// Returns the pull requests that are known and not listed.
fn missing(known: &Heads, open: &OpenPullRequests) -> Vec<u64> {
    let described = open.described.iter().map(|pull| pull.number);
    let unreadable = open.unreadable.iter().filter_map(|pull| pull.number);
    let listed: BTreeSet<u64> = described.chain(unreadable).collect();
    let numbers = known.keys().filter_map(|jobset| match jobset.named() {
        Named::PullRequest(number) => Some(number),
        Named::Branch(_) | Named::Tag(_) => None,
    });
    numbers.filter(|number| !listed.contains(number)).collect()
}

/// Returns those of some pull requests that the forge does not say are gone. It is not asked about all of many, and not
/// about more if it does not answer.
async fn unsure(
    config: &ForgeConfig,
    token: Token,
    missing: Vec<u64>,
) -> Result<BTreeSet<JobsetName>, HeadsError> {
    let questions = Questions::new(config, token).map_err(failed)?;
    let (mut unsure, mut left) = (BTreeSet::new(), MOST);
    for number in missing {
        let is_gone = match left.checked_sub(1) {
            None => false,
            Some(rest) => {
                left = rest;
                questions.is_gone(number).await.unwrap_or_else(|error| {
                    tracing::info!(%error, "cannot ask whether a pull request is over");
                    left = 0;
                    false
                })
            }
        };
        if !is_gone {
            unsure.insert(JobsetName::pull_request(number));
        }
    }
    Ok(unsure)
}

/// Adds the pull requests that are to be built to the heads of branches.
pub(super) fn admitted(
    mut heads: Heads,
    found: Found,
    choice: PullRequests,
    merge: Merge,
) -> Listed {
    let (open, unsure) = match found {
        Found::None => return Listed { heads, ..Listed::default() },
        Found::Listed { open, unsure } => (open, unsure),
        Found::Unlisted(why) => {
            let left_out =
                vec![format!("the pull requests, which cannot be listed: {}", one_line(&why))];
            let unknown = Unknown { some_pull_request: true, ..Unknown::default() };
            let without_pull_requests = Some(why);
            return Listed { heads, left_out, unknown, without_pull_requests, ..Listed::default() };
        }
    };
    let mut left_out = Vec::new();
    let mut unknown = Unknown { jobsets: unsure, some_pull_request: false };
    for UnreadablePullRequest { number, why } in open.unreadable {
        let named = match number {
            Some(number) => {
                unknown.jobsets.insert(JobsetName::pull_request(number));
                format!("pull request {number}")
            }
            // If it is a known one, that is among those that the list lacks.
            None => "a pull request".to_owned(),
        };
        left_out.push(format!("{named}, which the forge does not describe: {}", one_line(&why)));
    }
    for pull in open.described {
        let trust = match pull.origin {
            Origin::Own => Trust::Own,
            Origin::Fork => Trust::Fork,
        };
        let base = match merge {
            Merge::Base => pull.base,
            Merge::Head => None,
        };
        match admission(trust, choice) {
            Admission::AtOnce | Admission::OnApproval => {
                let head = Head { commit: pull.head, trust, author: pull.author, base };
                heads.insert(JobsetName::pull_request(pull.number), head);
            }
            Admission::Never => {
                left_out.push(format!("pull request {}, which is a fork's", pull.number));
            }
        }
    }
    Listed { heads, left_out, unknown, ..Listed::default() }
}

#[cfg(test)]
mod tests {
    use levain_actions::forge::ForgeKind;
    use levain_actions::pull_requests::PullRequest;
    use serde_json::json;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn known(numbers: impl IntoIterator<Item = u64>) -> Heads {
        let head = || Head::new("b".repeat(40).parse().unwrap(), Trust::Fork);
        let pulls = numbers.into_iter().map(|number| (JobsetName::pull_request(number), head()));
        let main = (JobsetName::branch("main"), Head::branch("a".repeat(40).parse().unwrap()));
        pulls.chain([main]).collect()
    }

    fn open(described: Vec<PullRequest>) -> Found {
        let open = OpenPullRequests { described, unreadable: Vec::new() };
        Found::Listed { open, unsure: BTreeSet::new() }
    }

    /// Asks a forge with these pull requests about some; returns which may be open, and how many questions there were.
    async fn asked(states: &[(u64, u16, &str)], missing: Vec<u64>) -> (Vec<String>, usize) {
        let server = MockServer::start().await;
        for (number, code, state) in states {
            let answer = ResponseTemplate::new(*code).set_body_json(json!({ "state": state }));
            let mock = Mock::given(path(format!("/repos/o/r/pulls/{number}")));
            mock.respond_with(answer).mount(&server).await;
        }
        let config = ForgeConfig {
            kind: ForgeKind::GitHub,
            api_url: Some(server.uri()),
            repository: "o/r".to_owned(),
            context_prefix: String::new(),
            ca_file: None,
            limits: None,
        };
        let token = Token::from_value("ghs_S3cretS3cret").unwrap();
        let unsure = unsure(&config, token, missing).await.unwrap();
        let questions = server.received_requests().await.unwrap().len();
        (unsure.into_iter().map(String::from).collect(), questions)
    }

    #[tokio::test]
    async fn what_a_list_lacks_is_gone_only_if_the_forge_says_so() {
        let states = [(1, 200, "closed"), (2, 200, "open"), (3, 404, ""), (4, 410, "")];
        let found = asked(&states, vec![1, 2, 3, 4]).await;
        assert_eq!(found, (vec!["pull/2".to_owned()], 4));
        // After one that is not answered, no more is asked.
        let found = asked(&[(1, 500, ""), (2, 200, "closed")], vec![1, 2]).await;
        assert_eq!(found, (vec!["pull/1".to_owned(), "pull/2".to_owned()], 1));
        let many: Vec<u64> = (1..=MOST as u64 + 2).collect();
        let states: Vec<_> = many.iter().map(|number| (*number, 200, "closed")).collect();
        let (left, questions) = asked(&states, many).await;
        assert_eq!((left.len(), questions), (2, MOST));
    }

    #[test]
    fn branches_are_built_and_pull_requests_stay_if_those_cannot_be_listed() {
        let before = known([7]);
        let mut main = known([]);
        main.insert(JobsetName::branch("main"), Head::branch("c".repeat(40).parse().unwrap()));
        let found = Found::Unlisted("Gitea answered 500\nhint: none".to_owned());
        let listed = admitted(main.clone(), found, PullRequests::Approved, Merge::Base);
        assert_eq!(listed.without_pull_requests.as_deref(), Some("Gitea answered 500\nhint: none"));
        assert_eq!(listed.left_out.len(), 1);
        assert!(listed.left_out[0].ends_with("cannot be listed: Gitea answered 500"));
        let mut now = listed.heads;
        assert_eq!(now, main);
        listed.unknown.keep(&before, &mut now);
        assert_eq!(now[&JobsetName::pull_request(7)], before[&JobsetName::pull_request(7)]);
    }

    #[test]
    fn those_that_are_known_and_not_listed_are_missing() {
        let unreadable = [None, Some(3)]
            .map(|number| UnreadablePullRequest { number, why: "it is null".to_owned() });
        let list = OpenPullRequests {
            described: vec![pull(1, 'b', Origin::Own)],
            unreadable: unreadable.into(),
        };
        assert_eq!(missing(&known([1, 2, 3, 10]), &list), [10, 2]);
        let unsure = BTreeSet::from([JobsetName::pull_request(2)]);
        let found = Found::Listed { open: list, unsure };
        let unknown = admitted(known([]), found, PullRequests::All, Merge::Base).unknown;
        let kept = [2, 3].map(JobsetName::pull_request);
        assert_eq!(unknown, Unknown { jobsets: kept.into(), some_pull_request: false });
    }

    fn pull(number: u64, head: char, origin: Origin) -> PullRequest {
        PullRequest {
            number,
            head: String::from(head).repeat(40).parse().unwrap(),
            base: Some("main".to_owned()),
            origin,
            author: Some(5),
        }
    }

    #[test]
    fn forks_are_listed_only_where_somebody_may_approve_them() {
        // What a fork calls its branch is not even asked for.
        let pulls = || open(vec![pull(1, 'b', Origin::Own), pull(2, 'c', Origin::Fork)]);
        for (choice, built, left_out) in [
            (PullRequests::None, vec!["heads/main"], 2),
            (PullRequests::Own, vec!["heads/main", "pull/1"], 1),
            (PullRequests::Approved, vec!["heads/main", "pull/1", "pull/2"], 0),
            (PullRequests::All, vec!["heads/main", "pull/1", "pull/2"], 0),
        ] {
            let listed = admitted(known([]), pulls(), choice, Merge::Base);
            let names: Vec<&str> = listed.heads.keys().map(JobsetName::as_str).collect();
            assert_eq!((names, listed.left_out.len()), (built, left_out), "{choice:?}");
            let trusts: Vec<Trust> = listed.heads.values().map(|head| head.trust).collect();
            let expected = [Trust::Branch, Trust::Own, Trust::Fork];
            assert_eq!(trusts, expected[..trusts.len()], "{choice:?}");
        }
        let left_out = admitted(known([]), pulls(), PullRequests::Own, Merge::Base).left_out;
        assert_eq!(left_out, ["pull request 2, which is a fork's"]);
        for (merge, base) in [(Merge::Base, Some("main")), (Merge::Head, None)] {
            let heads = admitted(known([]), pulls(), PullRequests::All, merge).heads;
            let bases: Vec<_> = heads.values().map(|head| head.base.as_deref()).collect();
            assert_eq!(bases, [None, base, base], "{merge:?}");
        }
    }
}
