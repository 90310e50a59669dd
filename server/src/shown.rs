//! Projects and runs as JSON: the same over HTTP and on the command line.

use serde::Serialize;
use serde_json::Value;

use crate::apps::App;
use crate::deliveries::Delivery;
use crate::live::LiveRun;
use crate::pages::places;
use crate::people::{ApiToken, SignInForge};
use crate::projects::Project;
use crate::runs::{Details, Run};

/// A project.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownProject {
    /// What people call it.
    pub name: String,
    /// A kind of forge, or `git`.
    pub forge: &'static str,
    /// Where its repository is, without a password.
    pub url: String,
    /// Which pull requests are built: `none`, `own`, `approved` or `all`.
    pub pull_requests: &'static str,
    /// What of them is built: `base` (merged with their base) or `head`.
    pub merge: &'static str,
    /// Which tags are built, if any.
    pub tags: Option<String>,
    /// When the default branch is built anew, if it is.
    pub schedule: Option<String>,
    /// Whether everybody may see it.
    pub public: bool,
    /// Whether there is a token for the forge, or an App.
    pub has_token: bool,
    /// When the server listed its branches and pull requests last, or tried; milliseconds since 1970.
    pub looked_at: Option<i64>,
    /// Why that failed, if so.
    pub look_failed: Option<String>,
}

impl ShownProject {
    /// Describes a project.
    pub fn new(project: &Project) -> Self {
        Self {
            name: project.name.clone(),
            forge: project.sender.name(),
            url: levain_actions::git::masked(&project.url),
            pull_requests: project.pull_requests.name(),
            merge: project.merge.name(),
            tags: project.tags.clone(),
            schedule: project.schedule.map(|schedule| schedule.to_string()),
            public: project.is_public,
            has_token: project.has_login(),
            looked_at: project.looked_at.map(|time| time.millis()),
            look_failed: project.look_failed.clone(),
        }
    }
}

impl ShownProject {
    /// Returns it for those who do not operate the server.
    #[must_use]
    pub fn without_places(self) -> Self {
        Self { look_failed: places::some(self.look_failed.as_ref()), ..self }
    }
}

/// A run. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownRun {
    /// Its number.
    pub id: i64,
    /// Its project.
    pub project: String,
    /// `heads/BRANCH`, `pull/NUMBER` or `tags/TAG`.
    pub jobset: String,
    /// The author's commit.
    pub commit: String,
    /// The branch that it is merged with to be built, if it is.
    pub base: Option<String>,
    /// The commit of that branch, once it was begun.
    pub base_commit: Option<String>,
    /// Whose commit it is: `branch`, `own` or `fork`.
    pub trust: &'static str,
    /// Where it stands.
    pub state: &'static str,
    /// What became of it, or why it is tried again, in a line.
    pub summary: Option<String>,
    /// How often it was begun, save by servers that left it to others.
    pub attempts: u32,
    /// How often something that was away kept it from being carried out.
    pub put_off: u32,
    /// When it is tried again after that.
    pub put_off_until: Option<i64>,
    /// When it was asked for.
    pub created_at: i64,
    /// When it was begun last.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// What the reader should know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notices: Option<Vec<String>>,
    /// The report that `levain run --format json` would print.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
    /// What it is doing right now, if this server carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveRun>,
}

impl ShownRun {
    /// Describes a run of a project.
    pub fn new(project: &str, run: &Run) -> Self {
        Self {
            id: run.id.number(),
            project: project.to_owned(),
            jobset: run.jobset.to_string(),
            commit: run.commit.to_string(),
            base: run.base.clone(),
            base_commit: run.base_commit.map(|commit| commit.to_string()),
            trust: run.trust.name(),
            state: run.state.name(),
            summary: run.line(),
            attempts: run.attempts,
            put_off: run.put_off,
            put_off_until: run.put_off_until.map(|time| time.millis()),
            created_at: run.created_at.millis(),
            started_at: run.started_at.map(|time| time.millis()),
            ended_at: run.ended_at.map(|time| time.millis()),
            notices: None,
            report: None,
            live: None,
        }
    }

    /// Returns it for those who do not operate the server; `address` is the project's.
    #[must_use]
    pub fn without_places(mut self, address: &str) -> Self {
        self.summary = places::some(self.summary.as_ref());
        for notice in self.notices.iter_mut().flatten() {
            *notice = places::text(notice);
        }
        if let Some(report) = &mut self.report {
            places::of_report(report, self.id, address);
        }
        self
    }

    /// Adds what is kept besides.
    #[must_use]
    pub fn with(self, details: Details) -> Self {
        let report = details.report.and_then(|report| serde_json::from_str(&report).ok());
        Self { notices: Some(details.notices), report, ..self }
    }
}

/// A delivery. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownDelivery {
    /// Its number.
    pub id: i64,
    /// Its project.
    pub project: String,
    /// What the forge calls it.
    pub key: String,
    /// What it is about, in the forge's words.
    pub event: Option<String>,
    /// When it came.
    pub received_at: i64,
    /// What became of it: `waiting`, `acted`, `ignored` or `failed`.
    pub state: &'static str,
    /// Why.
    pub outcome: Option<String>,
    /// How often it came again.
    pub repeats: u64,
    /// How often something else came under its key.
    pub conflicts: u64,
    /// What it says, as far as that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl ShownDelivery {
    /// Describes a delivery of a project.
    pub fn new(project: &str, delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.number(),
            project: project.to_owned(),
            key: delivery.key.clone(),
            event: delivery.event.clone(),
            received_at: delivery.received_at.millis(),
            state: delivery.state.name(),
            outcome: delivery.outcome.clone(),
            repeats: delivery.repeats,
            conflicts: delivery.conflicts,
            body: None,
        }
    }

    /// Adds what it says.
    #[must_use]
    pub fn with_body(self, delivery: &Delivery) -> Self {
        Self { body: Some(String::from_utf8_lossy(&delivery.body).into_owned()), ..self }
    }
}

/// A token, without its secret. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownToken {
    /// What it is called.
    pub name: String,
    /// What may be done with it: `read`, `write` or `admin`.
    pub scope: &'static str,
    /// The only project that it is for.
    pub project: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// Until when it counts.
    pub expires_at: i64,
    /// When it was used last, to the hour.
    pub used_at: Option<i64>,
}

impl ShownToken {
    /// Describes a token for a project of that name, or for all.
    pub fn new(token: &ApiToken, project: Option<String>) -> Self {
        Self {
            name: token.name.clone(),
            scope: token.scope.name(),
            project,
            created_at: token.created_at.millis(),
            expires_at: token.expires_at.millis(),
            used_at: token.used_at.map(|time| time.millis()),
        }
    }
}

/// A forge by whose accounts people sign in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownSignInForge {
    /// The address of its web pages.
    pub url: String,
    /// Its kind.
    pub forge: &'static str,
    /// What it calls this server.
    pub client_id: String,
}

impl ShownSignInForge {
    /// Describes a forge.
    pub fn new(forge: &SignInForge) -> Self {
        let client_id = forge.client_id.clone();
        Self { url: forge.url.clone(), forge: forge.kind.name(), client_id }
    }
}

/// An App, without its secrets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownApp {
    /// What it is called.
    pub name: String,
    /// The kind of its forge.
    pub forge: &'static str,
    /// The address of the forge's web pages.
    pub url: String,
    /// The forge's number for it.
    pub number: u64,
    /// How many projects it looks after.
    pub projects: u64,
    /// Whether the repositories that its owner installs it in become projects by themselves.
    pub follows: bool,
}

impl ShownApp {
    /// Describes an App.
    pub fn new(app: &App) -> Self {
        Self {
            name: app.name.clone(),
            forge: app.kind.name(),
            url: app.url.clone(),
            number: app.number,
            projects: app.projects,
            follows: app.follows,
        }
    }
}
