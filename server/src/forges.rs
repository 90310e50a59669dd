//! Asks the forges of projects about people, with what the projects log in with.
//!
//! What a forge does not say gives nobody a right.

use std::collections::BTreeSet;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{
    Account, Comment, ForgeConfig, ForgeError, QuestionError, Questions, Reach, Right, Token,
};

use crate::identity::{Found, found};
use crate::logins::{LoginError, Logins};
use crate::projects::Project;

/// Asks forges.
#[derive(Clone, Debug, Default)]
pub struct Forges {
    /// What projects log in with.
    pub logins: Logins,
}

/// Why a forge does not say.
#[derive(Debug, thiserror::Error)]
pub enum ForgesError {
    /// There is none, or no token for it.
    #[error("the project has no forge and token to ask with")]
    Nobody,
    /// The project cannot log in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The project does not tell where the forge is.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// It was asked.
    #[error(transparent)]
    Question(#[from] QuestionError),
}

impl ForgesError {
    /// Returns whether it makes sense to ask once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Question(QuestionError::Unreachable { .. }) => true,
            Self::Login(error) => error.may_pass(),
            Self::Question(QuestionError::Refused { status, .. }) => {
                *status == 429 || *status >= 500
            }
            Self::Question(QuestionError::Garbage { .. }) | Self::Nobody | Self::Forge(_) => false,
        }
    }
}

impl Forges {
    /// Returns a comment under a pull request, if it is there.
    pub async fn comment(
        &self,
        project: &Project,
        pull_request: u64,
        comment: u64,
    ) -> Result<Option<Comment>, ForgesError> {
        let asked = self.asked(project).await?;
        match asked.questions.comment(pull_request, comment).await {
            Err(error) if self.may_ask_anew(project, &asked, &error) => {
                Ok(self.asked(project).await?.questions.comment(pull_request, comment).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Returns the numbers of the comments under a pull request whose text is wanted.
    pub async fn comments(
        &self,
        project: &Project,
        pull_request: u64,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<u64>, ForgesError> {
        let asked = self.asked(project).await?;
        match asked.questions.comments(pull_request, &is_wanted).await {
            Err(error) if self.may_ask_anew(project, &asked, &error) => {
                Ok(self.asked(project).await?.questions.comments(pull_request, is_wanted).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Returns what somebody may do with the project's repository: nothing if another one has its name.
    pub async fn right(&self, project: &Project, account: &Account) -> Result<Right, ForgesError> {
        let asked = self.asked(project).await?;
        let right = match asked.questions.right(account).await {
            Err(error) if self.may_ask_anew(project, &asked, &error) => {
                self.asked(project).await?.questions.right(account).await?
            }
            answer => answer?,
        };
        // The forge is asked by name, and afterwards whose name it is: who took it over is nobody here.
        if right == Right::None || project.repository.is_none() {
            return Ok(right);
        }
        Ok(match self.repository(project).await? {
            Found::Known(_) => right,
            Found::Renamed(_) | Found::Other(_) => Right::None,
        })
    }

    /// Returns what is under the project's address now.
    pub async fn repository(&self, project: &Project) -> Result<Found, ForgesError> {
        let mut asked = self.asked(project).await?;
        let mut named = asked.questions.repository().await;
        if let Err(error) = &named
            && self.may_ask_anew(project, &asked, error)
        {
            asked = self.asked(project).await?;
            named = asked.questions.repository().await;
        }
        // What has the number is asked for only if the name does not lead to it.
        let numbered = match (&named, project.repository) {
            (Ok(named), Some(known)) if named.number != known => {
                asked.questions.numbered(known).await?
            }
            (
                Err(QuestionError::Refused { status: 301 | 302 | 307 | 308 | 404 | 410, .. }),
                Some(known),
            ) => asked.questions.numbered(known).await?,
            (Ok(_) | Err(_), _) => None,
        };
        match named {
            Ok(named) => {
                found(project.repository, Some(named), numbered).ok_or(ForgesError::Nobody)
            }
            Err(error) => match found(project.repository, None, numbered) {
                Some(found) => Ok(found),
                None => Err(error.into()),
            },
        }
    }

    async fn asked(&self, project: &Project) -> Result<Asked, ForgesError> {
        let Sender::Forge(kind) = project.sender else { return Err(ForgesError::Nobody) };
        let token = self.logins.token(project, Reach::Read).await?.ok_or(ForgesError::Nobody)?;
        let config = ForgeConfig::from_remote(kind, &project.url)?;
        let config = self.logins.forge(project, config);
        Ok(Asked { questions: Questions::new(&config, token.clone())?, token })
    }

    /// Returns whether another token may be had in place of one that the forge does not take.
    fn may_ask_anew(&self, project: &Project, asked: &Asked, error: &QuestionError) -> bool {
        let QuestionError::Refused { status: 401, .. } = error else { return false };
        self.logins.refused(project, &asked.token)
    }
}

/// Who asks, and with what.
struct Asked {
    questions: Questions,
    token: Token,
}
