//! What there is to know about a run for telling a forge how it fares, as plain data.
//!
//! Nothing is sent from here, and no token is known: whoever listens to a run's events does that.

use levain_actions::forge::ForgeConfig;
use levain_actions::git::CommitId;
use levain_actions::status::Texts;
use levain_actions::template::{self, TemplateError};
use levain_evaluator::JobsetName;
use serde::{Deserialize, Serialize};

use crate::declaration::Declaration;
use crate::jobset::Head;
use crate::project::{Project, Remote};

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
    Template(#[from] TemplateError),
    /// The repository is not declared and the remote does not tell.
    #[error(
        "the declaration names a forge but no repository, and there is no remote to derive it from\nhint: set `levainProject.forge.repository`"
    )]
    NoRepository,
}

/// What statuses of a run are made of, besides what happens in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusPlan {
    /// Which repository of which forge is told; none: nobody is.
    pub forge: Option<ForgeConfig>,
    /// The texts that the declaration changes.
    pub texts: Texts,
    /// What the names of the statuses begin with.
    pub prefix: String,
    /// What the project is called in texts.
    pub project: String,
    /// The jobset.
    pub jobset: JobsetName,
    /// The branch, for forges that want its name beside the commit.
    pub branch: Option<String>,
    /// The author's commit, which all statuses are about.
    pub commit: CommitId,
    /// The page that they link to.
    pub target_url: Option<String>,
    /// The template that the declaration has for the address of that page.
    pub target_url_template: Option<String>,
}

/// The variables of `forge.targetUrl`.
#[derive(Serialize)]
struct TargetVariables<'a> {
    commit: CommitId,
    jobset: &'a JobsetName,
}

impl StatusPlan {
    /// Works out how the forge is told about `head`.
    pub(crate) fn new(project: &Project, head: &Head) -> Result<Self, StatusesError> {
        let declaration = &project.declaration;
        let commit = head.commit;
        let jobset = head.jobset.name();
        let _compiled = declaration.status.compile()?;
        let forge = forge_config(declaration, project.remote.as_ref())?;
        let target_url = target_url(declaration, commit, &jobset)?;
        let (prefix, name) = match &forge {
            Some(forge) => (forge.context_prefix.clone(), forge.repository.clone()),
            None => (ForgeConfig::default_context_prefix(), project.label.clone()),
        };
        Ok(Self {
            forge,
            texts: declaration.status.clone(),
            prefix,
            project: name,
            jobset,
            branch: head.jobset.branch().map(str::to_owned),
            commit,
            target_url,
            target_url_template: declaration.forge.as_ref().and_then(|f| f.target_url.clone()),
        })
    }

    /// Makes one for tests.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            forge: None,
            texts: Texts { failure: Some("no".into()), ..Texts::default() },
            prefix: "levain".into(),
            project: "o/bread".into(),
            jobset: JobsetName::branch("main"),
            branch: Some("main".into()),
            commit: "a".repeat(40).parse().unwrap(),
            target_url: None,
            target_url_template: None,
        }
    }
}

/// Checks all that a declaration says of statuses, for a project at `remote`.
pub(crate) fn check(
    declaration: &Declaration,
    remote: Option<&Remote>,
    commit: CommitId,
) -> Result<(), StatusesError> {
    let _texts = declaration.status.compile()?;
    let _config = forge_config(declaration, remote)?;
    let _url = target_url(declaration, commit, &JobsetName::branch("main"))?;
    Ok(())
}

/// Returns the page that statuses link to.
fn target_url(
    declaration: &Declaration,
    commit: CommitId,
    jobset: &JobsetName,
) -> Result<Option<String>, TemplateError> {
    let url = declaration.forge.as_ref().and_then(|forge| forge.target_url.as_ref());
    let variables = TargetVariables { commit, jobset };
    url.map(|text| template::render_once("forge.targetUrl", text, &variables)).transpose()
}

fn forge_config(
    declaration: &Declaration,
    remote: Option<&Remote>,
) -> Result<Option<ForgeConfig>, StatusesError> {
    let Some(forge) = &declaration.forge else { return Ok(None) };
    let remote = remote.map(|remote| remote.url.as_str());
    let mut config = match (&forge.repository, remote) {
        (Some(repository), _) => ForgeConfig {
            kind: forge.kind,
            api_url: None,
            repository: repository.clone(),
            context_prefix: ForgeConfig::default_context_prefix(),
            ca_file: None,
            limits: None,
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
