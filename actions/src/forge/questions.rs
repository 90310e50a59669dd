//! Asks a forge about pull requests and people. Writes nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::people::{Account, Comment, DescribedRepository, ListedComment, Right};
use super::{Endpoint, ForgeConfig, ForgeError, Masks, Token, http};
use crate::status::shorten;

/// How much of a refusal is shown.
const EXCERPT_LIMIT: usize = 200;
/// How many pages of comments are read, how many comments one has, and how long it may be.
const COMMENT_PAGES: u32 = 5;
const COMMENT_PAGE: usize = 100;
const COMMENTS_LIMIT: usize = 16 << 20;

/// Asks the forge of one repository.
#[derive(Debug)]
pub struct Questions {
    endpoint: Endpoint,
    token: Token,
    masks: Masks,
    http: reqwest::Client,
}

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// The forge was not reached.
    #[error("cannot reach {url}: {source}")]
    Unreachable {
        /// The root of its interface.
        url: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// It does not say.
    #[error("{url} answered {status} when asked for {what}: {message}")]
    Refused {
        /// The root of its interface.
        url: String,
        /// The status code.
        status: u16,
        /// What it was asked for.
        what: String,
        /// What it said: which right the token lacks, for instance.
        message: String,
    },
    /// Its answer says something else.
    #[error("the answer of {url} does not say {what}")]
    Garbage {
        /// The root of its interface.
        url: String,
        /// What it should say.
        what: String,
    },
}

impl Questions {
    /// Prepares to ask; asks nothing yet.
    pub fn new(config: &ForgeConfig, token: Token) -> Result<Self, ForgeError> {
        let endpoint = config.endpoint()?;
        let http = http::client(&endpoint)?;
        Ok(Self { endpoint, masks: Masks::new([&token]), token, http })
    }

    /// Returns whether a pull request is closed or merged.
    pub async fn is_over(&self, number: u64) -> Result<bool, QuestionError> {
        let (status, body) = self.pull_request(number).await?;
        self.read_is_over(number, status, &body)
    }

    /// Returns whether a pull request is closed, merged or not there any more, if the forge has just listed others: what
    /// may be listed may be seen.
    pub async fn is_gone(&self, number: u64) -> Result<bool, QuestionError> {
        match self.pull_request(number).await? {
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Ok(true),
            (status, body) => self.read_is_over(number, status, &body),
        }
    }

    async fn pull_request(&self, number: u64) -> Result<(StatusCode, Vec<u8>), QuestionError> {
        self.ask((self.endpoint.kind.record().pull_request)(&self.endpoint, number)).await
    }

    fn read_is_over(
        &self,
        number: u64,
        status: StatusCode,
        body: &[u8],
    ) -> Result<bool, QuestionError> {
        let forge = self.endpoint.kind.record();
        let what = format!("pull request {number}");
        if status != StatusCode::OK {
            // Not even 404 says that it is over: a token may lack the right to see it.
            return Err(self.refused(status, what, body));
        }
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let state = answer.get("state").and_then(Value::as_str).unwrap_or_default();
        if forge.open_states.contains(&state) {
            Ok(false)
        } else if forge.closed_states.contains(&state) {
            Ok(true)
        } else {
            Err(self.garbage(format!("whether {what} is open")))
        }
    }

    /// Returns a comment under a pull request; nothing if it is not there, or is under another one.
    pub async fn comment(
        &self,
        pull_request: u64,
        comment: u64,
    ) -> Result<Option<Comment>, QuestionError> {
        let people = &self.endpoint.kind.record().people;
        let url = (people.comment)(&self.endpoint, pull_request, comment);
        let (status, body) = self.ask(url).await?;
        let what = format!("comment {comment}");
        match status {
            StatusCode::OK => {
                let read = (people.read_comment)(&body);
                let read = read.ok_or_else(|| self.garbage(format!("who wrote {what}")))?;
                Ok(Some(read).filter(|read| read.pull_request.is_none_or(|of| of == pull_request)))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status => Err(self.refused(status, what, &body)),
        }
    }

    /// Returns the numbers of the comments under a pull request whose text is wanted, in no order. Of very many not all are
    /// read.
    pub async fn comments(
        &self,
        pull_request: u64,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<u64>, QuestionError> {
        let people = &self.endpoint.kind.record().people;
        let what = format!("the comments under pull request {pull_request}");
        let (mut seen, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        for page in 1..=COMMENT_PAGES {
            let url = (people.comments)(&self.endpoint, pull_request, page);
            let (status, body) = self.ask_within(url, COMMENTS_LIMIT).await?;
            if status != StatusCode::OK {
                return Err(self.refused(status, what, &body));
            }
            let Ok(listed) = serde_json::from_slice::<Vec<ListedComment>>(&body) else {
                return Err(self.garbage(what));
            };
            let before = seen.len();
            for comment in listed {
                seen.insert(comment.id);
                if comment.body.as_deref().is_some_and(&is_wanted) {
                    wanted.insert(comment.id);
                }
            }
            // A forge may know no pages, and list the same once more.
            if seen.len() - before < COMMENT_PAGE {
                break;
            }
        }
        Ok(wanted)
    }

    /// Returns what somebody may do with the repository. What the forge gives to everybody need not be included.
    pub async fn right(&self, account: &Account) -> Result<Right, QuestionError> {
        let people = &self.endpoint.kind.record().people;
        let (status, body) = self.ask((people.right)(&self.endpoint, account)).await?;
        match status {
            StatusCode::OK => match (people.read_right)(&body) {
                // Somebody else has the name by now.
                Some((id, _)) if id != account.id => Ok(Right::None),
                Some((_, right)) => Ok(right),
                None => Err(self.garbage(format!("what `{}` may do", account.login))),
            },
            StatusCode::NOT_FOUND => Ok(Right::None),
            status => {
                Err(self.refused(status, format!("the rights of `{}`", account.login), &body))
            }
        }
    }

    /// Returns what has the repository's name now.
    pub async fn repository(&self) -> Result<DescribedRepository, QuestionError> {
        let people = &self.endpoint.kind.record().people;
        let (status, body) = self.ask((people.repository)(&self.endpoint)).await?;
        let what = "the repository".to_owned();
        match status {
            StatusCode::OK => self.described(&body, what),
            status => Err(self.refused(status, what, &body)),
        }
    }

    /// Returns the repository of a number, whatever it is called now; nothing if there is none, or none to see.
    pub async fn numbered(
        &self,
        number: u64,
    ) -> Result<Option<DescribedRepository>, QuestionError> {
        let people = &self.endpoint.kind.record().people;
        let (status, body) = self.ask((people.numbered)(&self.endpoint, number)).await?;
        let what = format!("the repository with the number {number}");
        match status {
            StatusCode::OK => {
                let described = self.described(&body, what)?;
                Ok(Some(described).filter(|described| described.number == number))
            }
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
            status => Err(self.refused(status, what, &body)),
        }
    }

    fn described(&self, body: &[u8], what: String) -> Result<DescribedRepository, QuestionError> {
        let read = self.endpoint.kind.record().people.read_repository;
        read(body).ok_or_else(|| self.garbage(format!("which number {what} has")))
    }

    async fn ask(&self, url: Url) -> Result<(StatusCode, Vec<u8>), QuestionError> {
        self.ask_within(url, http::ANSWER_LIMIT).await
    }

    async fn ask_within(
        &self,
        url: Url,
        limit: usize,
    ) -> Result<(StatusCode, Vec<u8>), QuestionError> {
        let unreachable = |source: reqwest::Error| QuestionError::Unreachable {
            url: self.endpoint.base.to_string(),
            source: source.without_url(),
        };
        let headers = http::headers(self.endpoint.kind, &self.token);
        let request = self.http.get(url).headers(headers);
        let response = http::send(&self.endpoint, request).await.map_err(unreachable)?;
        let status = response.status();
        Ok((status, http::read_within(response, limit).await.map_err(unreachable)?))
    }

    fn refused(&self, status: StatusCode, what: String, body: &[u8]) -> QuestionError {
        let url = self.endpoint.base.to_string();
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let said = answer.get("message").and_then(Value::as_str);
        let said = said.map_or_else(|| String::from_utf8_lossy(body), Cow::from);
        // Masked before it is cut: half a token is not recognised any more.
        let message = match said.trim() {
            "" => "no reason was given".to_owned(),
            said => shorten(&self.masks.apply(said), EXCERPT_LIMIT),
        };
        QuestionError::Refused { url, status: status.as_u16(), what, message }
    }

    fn garbage(&self, what: String) -> QuestionError {
        QuestionError::Garbage { url: self.endpoint.base.to_string(), what }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::forge::ForgeKind;

    const SECRET: &str = "glpat-S3cretS3cret";

    async fn is_over(kind: ForgeKind, answer: ResponseTemplate) -> Result<bool, String> {
        let (place, name, value) = match kind {
            ForgeKind::GitHub => {
                ("/repos/o/r/pulls/7", "authorization", format!("Bearer {SECRET}"))
            }
            ForgeKind::GitLab => {
                ("/api/v4/projects/o%2Fr/merge_requests/7", "private-token", SECRET.to_owned())
            }
            ForgeKind::Gitea | ForgeKind::Forgejo => {
                ("/api/v1/repos/o/r/pulls/7", "authorization", format!("token {SECRET}"))
            }
        };
        let server = MockServer::start().await;
        let mock = Mock::given(method("GET")).and(path(place)).and(header(name, value.as_str()));
        mock.respond_with(answer).expect(1).mount(&server).await;
        questions(kind, &server).is_over(7).await.map_err(|error| error.to_string())
    }

    fn questions(kind: ForgeKind, server: &MockServer) -> Questions {
        let config = ForgeConfig {
            kind,
            api_url: Some(server.uri()),
            repository: "o/r".to_owned(),
            context_prefix: String::new(),
            ca_file: None,
            limits: None,
        };
        Questions::new(&config, Token::from_value(SECRET).unwrap()).unwrap()
    }

    /// A forge that answers one question.
    async fn answering(place: &str, code: u16, body: serde_json::Value) -> MockServer {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(code).set_body_json(body);
        Mock::given(method("GET")).and(path(place)).respond_with(answer).mount(&server).await;
        server
    }

    fn account() -> Account {
        Account { id: 5, login: "ann".to_owned() }
    }

    #[tokio::test]
    async fn rights_are_those_of_a_number() {
        let person = |id: u64, permission: &str| json!({ "permission": permission, "role_name": "x", "user": { "id": id, "login": "ann" } });
        for (kind, place) in [
            (ForgeKind::GitHub, "/repos/o/r/collaborators/ann/permission"),
            (ForgeKind::Gitea, "/api/v1/repos/o/r/collaborators/ann/permission"),
            (ForgeKind::Forgejo, "/api/v1/repos/o/r/collaborators/ann/permission"),
        ] {
            for (name, right) in [
                ("admin", Right::Admin),
                ("write", Right::Write),
                ("read", Right::Read),
                ("none", Right::None),
                ("something new", Right::None),
            ] {
                let server = answering(place, 200, person(5, name)).await;
                let found = questions(kind, &server).right(&account()).await.unwrap();
                assert_eq!(found, right, "{kind} {name}");
            }
            // The name is somebody else's by now.
            let server = answering(place, 200, person(6, "admin")).await;
            assert_eq!(questions(kind, &server).right(&account()).await.unwrap(), Right::None);
            let nobody = json!({ "permission": "admin", "user": null });
            let server = answering(place, 200, nobody).await;
            assert!(questions(kind, &server).right(&account()).await.is_err(), "{kind}");
        }
        let place = "/api/v4/projects/o%2Fr/members/all/5";
        for (level, state, right) in [
            (50, "active", Right::Admin),
            (40, "active", Right::Admin),
            (30, "active", Right::Write),
            (20, "active", Right::Read),
            (10, "active", Right::None),
            (50, "blocked", Right::None),
        ] {
            let member =
                json!({ "id": 5, "username": "ann", "state": state, "access_level": level });
            let server = answering(place, 200, member).await;
            let found = questions(ForgeKind::GitLab, &server).right(&account()).await.unwrap();
            assert_eq!(found, right, "{level} {state}");
        }
        for kind in ForgeKind::ALL {
            let server = answering("/nowhere", 200, json!({})).await;
            assert_eq!(questions(kind, &server).right(&account()).await.unwrap(), Right::None);
        }
    }

    #[tokio::test]
    async fn comments_are_read_again_with_their_author() {
        let ann = json!({ "id": 5, "login": "ann", "username": "ann" });
        for (kind, place, body) in [
            (
                ForgeKind::GitHub,
                "/repos/o/r/issues/comments/9",
                json!({ "id": 9, "user": ann, "body": "hello", "issue_url": "https://api.github.com/repos/o/r/issues/7" }),
            ),
            (
                ForgeKind::GitLab,
                "/api/v4/projects/o%2Fr/merge_requests/7/notes/9",
                json!({ "id": 9, "author": ann, "body": "hello", "system": false }),
            ),
            (
                ForgeKind::Gitea,
                "/api/v1/repos/o/r/issues/comments/9",
                json!({ "id": 9, "user": ann, "body": "hello", "issue_url": "", "pull_request_url": "https://git.example.org/o/r/pulls/7" }),
            ),
        ] {
            let server = answering(place, 200, body).await;
            let questions = questions(kind, &server);
            let comment = questions.comment(7, 9).await.unwrap().unwrap();
            assert_eq!((&comment.author, comment.text.as_str()), (&account(), "hello"), "{kind}");
            // Under another pull request, and not there at all.
            assert_eq!(questions.comment(8, 9).await.unwrap(), None, "{kind}");
            assert_eq!(questions.comment(7, 10).await.unwrap(), None, "{kind}");
        }
        // What the forge itself writes is nobody's word.
        let note = json!({ "id": 9, "author": ann, "body": "changed", "system": true });
        let place = "/api/v4/projects/o%2Fr/merge_requests/7/notes/9";
        let server = answering(place, 200, note).await;
        assert!(questions(ForgeKind::GitLab, &server).comment(7, 9).await.is_err());
    }

    #[tokio::test]
    async fn comments_are_searched_page_by_page() {
        for (kind, place) in [
            (ForgeKind::GitHub, "/repos/o/r/issues/7/comments"),
            (ForgeKind::GitLab, "/api/v4/projects/o%2Fr/merge_requests/7/notes"),
            (ForgeKind::Gitea, "/api/v1/repos/o/r/issues/7/comments"),
        ] {
            let server = MockServer::start().await;
            let first: Vec<_> =
                (1..=100).map(|id| json!({ "id": id, "body": format!("n{id}") })).collect();
            let second =
                vec![json!({ "id": 101, "body": "n5" }), json!({ "id": 102, "body": null })];
            for (page, body) in [("1", first), ("2", second)] {
                let answer = ResponseTemplate::new(200).set_body_json(body);
                let mock = Mock::given(path(place)).and(query_param("page", page));
                mock.respond_with(answer).expect(1).mount(&server).await;
            }
            let found = questions(kind, &server).comments(7, |text| text == "n5").await.unwrap();
            assert_eq!(found, BTreeSet::from([5, 101]), "{kind}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_which_right_the_token_lacks() {
        let place = "/api/v1/repos/o/r/issues/comments/9";
        let said = format!("token {SECRET} lacks at least one of required scope(s): [read:issue]");
        let server = answering(place, 403, json!({ "message": said, "url": "" })).await;
        let error = questions(ForgeKind::Gitea, &server).comment(7, 9).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("answered 403 when asked for comment 9: token "), "{text}");
        assert!(text.ends_with("required scope(s): [read:issue]"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }

    #[tokio::test]
    async fn a_repository_has_a_number_and_is_public_if_the_forge_says_so() {
        for (kind, place, mut body, expected) in [
            (ForgeKind::GitHub, "/repos/o/r", json!({ "private": false }), Some(true)),
            (ForgeKind::GitHub, "/repos/o/r", json!({ "private": true }), Some(false)),
            (
                ForgeKind::GitHub,
                "/repos/o/r",
                json!({ "private": false, "visibility": "internal" }),
                Some(false),
            ),
            (ForgeKind::GitHub, "/repos/o/r", json!({}), None),
            (
                ForgeKind::GitLab,
                "/api/v4/projects/o%2Fr",
                json!({ "visibility": "public" }),
                Some(true),
            ),
            (
                ForgeKind::GitLab,
                "/api/v4/projects/o%2Fr",
                json!({ "visibility": "internal" }),
                Some(false),
            ),
            (
                ForgeKind::Forgejo,
                "/api/v1/repos/o/r",
                json!({ "private": false, "internal": false }),
                Some(true),
            ),
            (
                ForgeKind::Gitea,
                "/api/v1/repos/o/r",
                json!({ "private": false, "internal": true }),
                Some(false),
            ),
        ] {
            // Without a number nobody knows which one it is.
            let server = answering(place, 200, body.clone()).await;
            assert!(questions(kind, &server).repository().await.is_err(), "{kind} {body}");
            for path in ["full_name", "path_with_namespace"] {
                body[path] = json!("o/r");
            }
            body["id"] = json!(7);
            let server = answering(place, 200, body.clone()).await;
            let found = questions(kind, &server).repository().await;
            let expected = expected.map(|is_public| {
                let path = "o/r".to_owned();
                DescribedRepository { number: 7, path, is_public }
            });
            assert_eq!(found.ok(), expected, "{kind} {body}");
        }
        let server = answering("/nowhere", 200, json!({})).await;
        assert!(questions(ForgeKind::GitHub, &server).repository().await.is_err());
    }

    #[tokio::test]
    async fn a_repository_is_found_by_its_number_under_another_name() {
        for (kind, place) in [
            (ForgeKind::GitHub, "/repositories/7"),
            (ForgeKind::GitLab, "/api/v4/projects/7"),
            (ForgeKind::Gitea, "/api/v1/repositories/7"),
            (ForgeKind::Forgejo, "/api/v1/repositories/7"),
        ] {
            let body = json!({
                "id": 7, "full_name": "o/new", "path_with_namespace": "o/new", "private": true,
                "visibility": "private",
            });
            let server = answering(place, 200, body).await;
            let asked = questions(kind, &server);
            let found = asked.numbered(7).await.unwrap().unwrap();
            assert_eq!((found.number, found.path.as_str()), (7, "o/new"), "{kind}");
            assert_eq!(asked.numbered(8).await.unwrap(), None, "{kind}");
            let server = answering(place, 500, json!({})).await;
            assert!(questions(kind, &server).numbered(7).await.is_err(), "{kind}");
        }
    }

    #[tokio::test]
    async fn what_is_closed_or_merged_is_over() {
        let state =
            |state: &str| ResponseTemplate::new(200).set_body_json(json!({ "state": state }));
        for kind in ForgeKind::ALL {
            let open = kind.record().open_states[0];
            assert_eq!(is_over(kind, state(open)).await, Ok(false), "{kind}");
            assert_eq!(is_over(kind, state("closed")).await, Ok(true), "{kind}");
            let odd = is_over(kind, state("odd")).await.unwrap_err();
            assert!(odd.ends_with("does not say whether pull request 7 is open"), "{odd}");
        }
        assert_eq!(is_over(ForgeKind::GitLab, state("merged")).await, Ok(true));
        assert_eq!(is_over(ForgeKind::GitLab, state("locked")).await, Ok(false));
    }

    #[tokio::test]
    async fn what_is_not_answered_is_not_over() {
        let moved = ResponseTemplate::new(301).insert_header("location", "http://127.0.0.1:9/");
        for answer in [ResponseTemplate::new(404), ResponseTemplate::new(500), moved] {
            let error = is_over(ForgeKind::Gitea, answer).await.unwrap_err();
            assert!(error.contains("when asked for pull request 7"), "{error}");
            assert!(!error.contains(SECRET), "{error}");
        }
    }
}
