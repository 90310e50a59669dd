//! Asks the forges of projects about people, with the projects' own tokens.
//!
//! What a forge does not say gives nobody a right.

use std::path::PathBuf;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{
    Account, Comment, ForgeConfig, ForgeError, QuestionError, Questions, Right, Token, TokenError,
};

use crate::projects::Project;

/// Asks forges.
#[derive(Clone, Debug, Default)]
pub struct Forges {
    /// Certificates that are trusted for forges besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why a forge does not say.
#[derive(Debug, thiserror::Error)]
pub enum ForgesError {
    /// There is none, or no token for it.
    #[error("the project has no forge and token to ask with")]
    Nobody,
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
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
            Self::Question(QuestionError::Refused { status, .. }) => {
                *status == 429 || *status >= 500
            }
            Self::Question(QuestionError::Garbage { .. })
            | Self::Nobody
            | Self::Token(_)
            | Self::Forge(_) => false,
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
        Ok(self.questions(project)?.comment(pull_request, comment).await?)
    }

    /// Returns what somebody may do with the project's repository.
    pub async fn right(&self, project: &Project, account: &Account) -> Result<Right, ForgesError> {
        Ok(self.questions(project)?.right(account).await?)
    }

    /// Returns whether everybody may see the project's repository.
    pub async fn is_public(&self, project: &Project) -> Result<bool, ForgesError> {
        Ok(self.questions(project)?.is_public().await?)
    }

    fn questions(&self, project: &Project) -> Result<Questions, ForgesError> {
        let (Sender::Forge(kind), Some(file)) = (project.sender, &project.token_file) else {
            return Err(ForgesError::Nobody);
        };
        // Read anew each time: tokens are exchanged while a server runs.
        let token = Token::from_file(file)?;
        let config = ForgeConfig::from_remote(kind, &project.url)?;
        let config = ForgeConfig { ca_file: self.ca_file.clone(), ..config };
        Ok(Questions::new(&config, token)?)
    }
}
