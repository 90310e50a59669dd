//! Tells the forge, on the original commit, how the jobs of a run fare.
//!
//! Words and formats are in `levain_actions`; this file knows which of them a
//! run's events call for. Without a client (read-only mode, or no token)
//! nothing is sent.

use std::time::Duration;

use levain_actions::forge::{ForgeConfig, Token};
use levain_actions::status::{
    JobPhase, JobText, Outbox, RetryPolicy, Status, StatusClient, StatusSink, StatusTexts,
    SummaryPhase, SummaryText, seconds,
};
use levain_actions::template;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::jobset::Head;
use crate::project::{Access, Project};
use crate::report::{Counters, JobReport, JobStatus, Undelivered};

/// Why statuses cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum StatusesError {
    /// The forge part of the declaration.
    #[error("the declaration is wrong at `levainProject.forge`: {0}")]
    Forge(#[from] levain_actions::forge::ForgeError),
    /// The texts of the declaration.
    #[error("the declaration is wrong at `levainProject.status`: {0}")]
    Texts(#[from] levain_actions::status::TextsError),
    /// A template of the declaration.
    #[error("the declaration is wrong: {0}")]
    Template(#[from] levain_actions::template::TemplateError),
    /// The repository is not declared and the remote does not tell.
    #[error(
        "the declaration names a forge but no repository, and there is no remote to derive it from\nhint: set `levainProject.forge.repository`"
    )]
    NoRepository,
}

/// The statuses of one run.
pub(crate) struct Statuses {
    outbox: Outbox,
    texts: StatusTexts,
    prefix: String,
    project: String,
    jobset: String,
    branch: Option<String>,
    commit: String,
    target_url: Option<String>,
}

/// The variables of `forge.targetUrl`.
#[derive(Serialize)]
struct TargetVariables<'a> {
    commit: &'a str,
    jobset: &'a str,
}

impl Statuses {
    /// Prepares the statuses about `head`.
    ///
    /// A client is only made when the run may write, a forge is declared and
    /// there is a token; nothing else can send.
    pub(crate) fn new(
        project: &Project,
        head: &Head,
        access: Access,
        token: Option<&Token>,
        retries: &RetryPolicy,
        runtime: Handle,
    ) -> Result<Self, StatusesError> {
        let texts = project.declaration.status.compile()?;
        let config = forge_config(project)?;
        let commit = head.commit.to_string();
        let jobset = head.jobset.name();
        let target_url =
            match project.declaration.forge.as_ref().and_then(|f| f.target_url.as_ref()) {
                Some(text) => {
                    let variables = TargetVariables { commit: &commit, jobset: &jobset };
                    Some(template::render_once("forge.targetUrl", text, &variables)?)
                }
                None => None,
            };
        let prefix = config
            .as_ref()
            .map_or_else(ForgeConfig::default_context_prefix, |c| c.context_prefix.clone());
        let name = config.as_ref().map_or_else(|| project.label.clone(), |c| c.repository.clone());
        let sink = match (access, config, token) {
            (Access::Write, Some(config), Some(token)) => {
                let client = StatusClient::new(&config, token.clone(), retries.clone())?;
                StatusSink::Forge(Box::new(client))
            }
            (Access::Write | Access::ReadOnly, _, _) => StatusSink::Nowhere,
        };
        Ok(Self {
            outbox: Outbox::new(sink, runtime),
            texts,
            prefix,
            project: name,
            jobset,
            branch: head.jobset.branch().map(str::to_owned),
            commit,
            target_url,
        })
    }

    /// Tells where the jobset as a whole stands.
    pub(crate) fn summary(
        &self,
        phase: SummaryPhase,
        jobs: usize,
        counters: Counters,
        error: Option<&str>,
    ) {
        let Counters { fresh, incremental, clean, failed, errors, cancelled: _ } = counters;
        let text = SummaryText {
            prefix: self.prefix.clone(),
            project: self.project.clone(),
            jobset: self.jobset.clone(),
            commit: self.commit.clone(),
            jobs,
            done: fresh + incremental + clean + failed + errors,
            fresh,
            incremental,
            clean,
            failed,
            errors,
            seconds: None,
            error: error.map(str::to_owned),
        };
        match self.texts.summary(phase, &text) {
            Ok(status) => self.post(status),
            Err(error) => tracing::warn!(%error, "cannot word the summary"),
        }
    }

    /// Tells that a job waits or is being built.
    pub(crate) fn job_phase(&self, job: &JobReport, phase: JobPhase) {
        // Wording a thousand statuses for nobody would cost more than everything else.
        if !self.outbox.sends() {
            return;
        }
        match self.texts.job(phase, &self.job_text(job)) {
            Ok(status) => self.post(status),
            Err(error) => tracing::warn!(%error, job = job.attr_path, "cannot word a status"),
        }
    }

    /// Tells how a job ended.
    pub(crate) fn job_ended(&self, job: &JobReport) {
        self.job_phase(
            job,
            match job.status {
                JobStatus::Fresh => JobPhase::Fresh,
                JobStatus::Incremental => JobPhase::Incremental,
                JobStatus::Clean => JobPhase::Clean,
                JobStatus::Failed => JobPhase::Failure,
                JobStatus::Error => JobPhase::Error,
                JobStatus::Cancelled => JobPhase::Cancelled,
            },
        );
    }

    fn job_text(&self, job: &JobReport) -> JobText {
        let short = |commit: &String| commit.chars().take(12).collect::<String>();
        let cache = job.caches.first();
        JobText {
            prefix: self.prefix.clone(),
            project: self.project.clone(),
            jobset: self.jobset.clone(),
            job: job.attr_path.clone(),
            commit: self.commit.clone(),
            cache: cache.map(|cache| cache.path.clone()),
            cache_commit: cache.map(|cache| short(&cache.commit)),
            since: job.unchanged_since.as_ref().map(short),
            seconds: job.started_at.map(|_| seconds(Duration::from_secs_f64(job.seconds))),
            reason: job.reason.map(|reason| reason.name().to_owned()),
            error: job.error.as_ref().and_then(|error| error.lines().next()).map(str::to_owned),
        }
    }

    fn post(&self, status: Status) {
        let status = match &self.branch {
            Some(branch) => status.with_git_ref(branch),
            None => status,
        };
        let status = match &self.target_url {
            Some(url) => match status.clone().with_target_url(url) {
                Ok(status) => status,
                Err(error) => {
                    tracing::warn!(%error, "`forge.targetUrl` is left out");
                    status
                }
            },
            None => status,
        };
        self.outbox.post(status);
    }

    /// Waits until everything is sent; returns what could not be delivered.
    pub(crate) async fn flush(&self) -> Vec<Undelivered> {
        let undelivered = self.outbox.flush().await;
        undelivered
            .into_iter()
            .map(|undelivered| Undelivered {
                kind: "status",
                subject: undelivered.status.context().to_owned(),
                error: undelivered.error.to_string(),
            })
            .collect()
    }
}

fn forge_config(project: &Project) -> Result<Option<ForgeConfig>, StatusesError> {
    let Some(forge) = &project.declaration.forge else { return Ok(None) };
    let remote = project.remote.as_ref().map(|remote| remote.url.as_str());
    let mut config = match (&forge.repository, remote) {
        (Some(repository), _) => ForgeConfig {
            kind: forge.kind,
            api_url: None,
            repository: repository.clone(),
            context_prefix: ForgeConfig::default_context_prefix(),
        },
        (None, Some(url)) => ForgeConfig::from_remote(forge.kind, url)?,
        (None, None) => return Err(StatusesError::NoRepository),
    };
    if let Some(url) = &forge.api_url {
        config.api_url = Some(url.clone());
    } else if let Some(url) = remote {
        config = config.with_remote(url);
    }
    if let Some(prefix) = &forge.context_prefix {
        config.context_prefix = prefix.clone();
    }
    config.validate()?;
    Ok(Some(config))
}
