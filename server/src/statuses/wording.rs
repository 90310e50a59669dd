//! How a project's statuses are called and worded, before anything of a new run was evaluated.
//!
//! What the project's declaration said last is kept with the project. Until it said something, names and texts are the
//! defaults, and the forge is the one that the project was added with.

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{ForgeConfig, place_of_remote};
use levain_actions::git::CommitId;
use levain_actions::status::{
    JobPhase, JobText, Status, SummaryPhase, SummaryText, Texts, TextsError,
};
use levain_actions::template;
use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;
use serde::{Deserialize, Serialize};

use crate::projects::Project;
use crate::runs::RunId;

/// What a project's declaration said last about its statuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Telling {
    /// The forge that is told; nothing if the declaration names none.
    pub forge: Option<ForgeConfig>,
    /// The texts that the declaration changes.
    pub texts: Texts,
    /// The page that statuses link to, as a template; nothing for the run's own page.
    pub target_url: Option<String>,
}

/// Where a project's repository is, as the server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// What people call the project.
    pub name: String,
    /// Who delivers.
    pub sender: Sender,
    /// The repository's URL.
    pub url: String,
}

impl Home {
    /// Returns that of a project.
    pub fn of(project: &Project) -> Self {
        Self { name: project.name.clone(), sender: project.sender, url: project.url.clone() }
    }
}

/// The variables of a declared link.
#[derive(Serialize)]
struct LinkVariables<'a> {
    commit: String,
    jobset: &'a JobsetName,
}

/// What a summary is about.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The run.
    pub run: RunId,
    /// Its jobset.
    pub jobset: &'a JobsetName,
    /// The author's commit.
    pub commit: CommitId,
    /// The address of the run's page, if there is one that others can reach.
    pub page: Option<String>,
}

/// Why nothing can be told about a project.
#[derive(Debug, thiserror::Error)]
pub enum WordingError {
    /// The texts.
    #[error(transparent)]
    Texts(#[from] TextsError),
}

impl Telling {
    /// Returns the forge that is told, if any.
    ///
    /// A token that was given for a host goes to no other: a declaration may name another port or path of the host that
    /// the project is on, but not another host.
    pub fn forge(&self, home: &Home) -> Option<ForgeConfig> {
        let kind = match home.sender {
            Sender::Forge(kind) => Some(kind),
            Sender::Git => self.forge.as_ref().map(|declared| declared.kind),
        };
        let own = kind.and_then(|kind| ForgeConfig::from_remote(kind, &home.url).ok());
        let host = |url: &str| {
            let place = place_of_remote(url)?;
            place.split_once('/').map(|(host, _)| host.to_owned())
        };
        match (&self.forge, own) {
            (Some(declared), Some(own)) => {
                let own_host = own.api_url.as_deref().and_then(host);
                let declared_host = declared.api_url.as_deref().and_then(host);
                let is_own_host = declared_host.is_none() || declared_host == own_host;
                let context_prefix = declared.context_prefix.clone();
                Some(match is_own_host && declared.kind == own.kind {
                    true => ForgeConfig {
                        api_url: declared.api_url.clone().or(own.api_url),
                        ..declared.clone()
                    },
                    false => ForgeConfig { context_prefix, ..own },
                })
            }
            (Some(declared), None) => Some(declared.clone()),
            (None, own) => own,
        }
    }

    /// Words the summary of a run.
    pub fn summary(
        &self,
        home: &Home,
        subject: &Subject<'_>,
        phase: SummaryPhase,
        text: &SummaryText,
    ) -> Result<Status, WordingError> {
        let (prefix, project) = self.names(home);
        let text = SummaryText {
            prefix,
            project,
            jobset: subject.jobset.to_string(),
            commit: subject.commit.to_string(),
            ..text.clone()
        };
        let status = self.texts.compile()?.summary(phase, &text)?;
        Ok(self.placed(status, subject))
    }

    /// Words the status of a job that ended.
    pub fn job(
        &self,
        home: &Home,
        subject: &Subject<'_>,
        phase: JobPhase,
        text: &JobText,
    ) -> Result<Status, WordingError> {
        let (prefix, project) = self.names(home);
        let text = JobText {
            prefix,
            project,
            jobset: subject.jobset.to_string(),
            commit: subject.commit.to_string(),
            ..text.clone()
        };
        let status = self.texts.compile()?.job(phase, &text)?;
        Ok(self.placed(status, subject))
    }

    /// Returns what names of statuses start with, and what the project is called in texts.
    fn names(&self, home: &Home) -> (String, String) {
        match self.forge(home) {
            Some(forge) => (forge.context_prefix, forge.repository),
            None => (ForgeConfig::default_context_prefix(), home.name.clone()),
        }
    }

    /// Adds the link and the branch to a status.
    fn placed(&self, status: Status, subject: &Subject<'_>) -> Status {
        let status = match subject.jobset.named() {
            Named::Branch(name) | Named::Tag(name) => status.with_git_ref(name),
            Named::PullRequest(_) => status,
        };
        let variables =
            LinkVariables { commit: subject.commit.to_string(), jobset: subject.jobset };
        let declared = self.target_url.as_ref().and_then(|text| {
            let rendered = template::render_once("forge.targetUrl", text, &variables);
            rendered.inspect_err(|error| tracing::warn!(%error, "a link is left out")).ok()
        });
        let Some(url) = declared.or_else(|| subject.page.clone()) else { return status };
        match status.clone().with_target_url(&url) {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(%error, "a link is left out");
                status
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use levain_actions::forge::ForgeKind;
    use levain_actions::status::State;

    use super::*;

    fn home(sender: Sender, url: &str) -> Home {
        Home { name: "bread".into(), sender, url: url.into() }
    }

    fn declared(kind: ForgeKind, api_url: Option<&str>) -> Telling {
        let forge = ForgeConfig {
            kind,
            api_url: api_url.map(str::to_owned),
            repository: "o/declared".into(),
            context_prefix: "ci".into(),
            ca_file: None,
            limits: None,
        };
        Telling { forge: Some(forge), ..Telling::default() }
    }

    #[test]
    fn a_token_goes_to_the_host_that_it_was_given_for() {
        let kind = ForgeKind::ALL[2];
        let at_home = home(Sender::Forge(kind), "https://git.example.org/o/r");
        let api = |telling: &Telling, home: &Home| telling.forge(home).and_then(|f| f.api_url);
        let own = Some("https://git.example.org/api/v1".to_owned());
        assert_eq!(api(&Telling::default(), &at_home), own);
        assert_eq!(api(&declared(kind, None), &at_home), own);
        let port = "https://git.example.org:3000";
        assert_eq!(api(&declared(kind, Some(port)), &at_home).as_deref(), Some(port));
        let elsewhere = declared(kind, Some("https://evil.example.org"));
        assert_eq!(api(&elsewhere, &at_home), own);
        let forge = elsewhere.forge(&at_home).unwrap();
        assert_eq!((forge.repository.as_str(), forge.context_prefix.as_str()), ("o/r", "ci"));
        let other_kind = declared(ForgeKind::ALL[0], Some(port));
        assert_eq!(other_kind.forge(&at_home).unwrap().kind, kind);
        // Nor elsewhere if nobody delivers, and nowhere unless the declaration says so.
        let silent = home(Sender::Git, "https://git.example.org/o/r");
        assert_eq!(Telling::default().forge(&silent), None);
        assert_eq!(api(&elsewhere, &silent), own);
        // A path says nothing, so the declaration does.
        let path = home(Sender::Git, "/srv/git/r.git");
        assert_eq!(Telling::default().forge(&path), None);
        assert_eq!(api(&elsewhere, &path).as_deref(), Some("https://evil.example.org"));
    }

    #[test]
    fn a_summary_has_the_declared_words_and_link() {
        let jobset: JobsetName = "heads/main".parse().unwrap();
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        let page = Some("https://ci.example.org/runs/7".to_owned());
        let subject = Subject { run: RunId(7), jobset: &jobset, commit, page };
        let at_home = home(Sender::Forge(ForgeKind::ALL[0]), "https://git.example.org/o/r");
        let word = |telling: &Telling| {
            let text = SummaryText::default();
            telling.summary(&at_home, &subject, SummaryPhase::Pending, &text).unwrap()
        };
        let status = word(&Telling::default());
        assert_eq!((status.context(), status.state()), ("levain", State::Pending));
        assert_eq!(status.target_url(), Some("https://ci.example.org/runs/7"));
        assert_eq!((status.git_ref(), status.commit()), (Some("main"), "a".repeat(40).as_str()));
        let link = "https://x.example.org/{{jobset}}".to_owned();
        let mut telling = declared(ForgeKind::ALL[0], None);
        telling.target_url = Some(link);
        telling.texts.summary_pending = Some("{{project}} waits".into());
        let status = word(&telling);
        assert_eq!((status.context(), status.description()), ("ci", "o/declared waits"));
        assert_eq!(status.target_url(), Some("https://x.example.org/heads/main"));
        telling.target_url = Some("no link".into());
        assert_eq!(word(&telling).target_url(), None);
    }
}
