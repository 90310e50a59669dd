//! What projects log in to their forges with: the token in a file, or one that an App is given.
//!
//! Files are read anew each time: tokens are exchanged while a server runs. An App's tokens are kept until shortly before
//! they end, in memory only, each for one project and for what it is needed for. Start at [`Logins::token`].

mod git;
mod limits;
mod own;
mod secrets;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{
    AppError, AppLogin, ForgeConfig, ForgeError, Granted, KnownGrant, Limits, Reach, SPARE, Token,
    TokenError, is_at,
};

use crate::apps::{App, AppId};
use crate::database::{Database, DatabaseError};
use crate::identity::OtherRepository;
use crate::projects::{Project, ProjectId};
pub use git::GitLogin;
pub use limits::{Login, LoginLimit, Standing};
use own::KnownOwn;
pub use own::NotOwn;
use secrets::KnownSecrets;

/// Logs projects in. Clones share what they were given.
#[derive(Clone, Default)]
pub struct Logins {
    /// Where Apps are kept; nothing if there are none.
    database: Option<Database>,
    ca_file: Option<PathBuf>,
    granted: Arc<Mutex<HashMap<(ProjectId, Reach), Granted>>>,
    secrets: KnownSecrets,
    own: KnownOwn,
    /// What forges said of their limits.
    limits: Limits,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins")
    }
}

/// A project cannot log in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file with the token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its App is not there.
    #[error("the App of the project is gone\nhint: remove the project, and add it with another")]
    Gone,
    /// Its App is at another forge.
    #[error("the project is not at {url}, where its App is\nhint: add it with another App")]
    Elsewhere {
        /// The address of the App's forge.
        url: String,
    },
    /// Another repository has the name of the project's.
    #[error(transparent)]
    Other(#[from] OtherRepository),
    /// The App was given no token.
    #[error(transparent)]
    App(#[from] AppError),
    /// The project does not tell where its forge is.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// A token cannot be handed to git.
    #[error("cannot hand a token to git: {0}")]
    Handing(std::io::Error),
    /// The database does not say.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl LoginError {
    /// Returns whether it makes sense to try once more later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::App(error) => error.may_pass(),
            Self::Database(error) => error.may_pass(),
            Self::Handing(_) => true,
            Self::Token(_)
            | Self::Gone
            | Self::Elsewhere { .. }
            | Self::Other(_)
            | Self::Forge(_) => false,
        }
    }
}

impl Logins {
    /// Logs in with files and with the Apps in a database, trusting the certificates in a file besides the system's.
    pub fn new(database: Database, ca_file: Option<PathBuf>) -> Self {
        Self { database: Some(database), ca_file, ..Self::default() }
    }

    /// Returns the file with certificates that are trusted for forges besides the system's.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.ca_file.clone()
    }

    /// Returns the token of a project, allowed to do what it is needed for; nothing if it has none.
    pub async fn token(
        &self,
        project: &Project,
        reach: Reach,
    ) -> Result<Option<Token>, LoginError> {
        match (project.app, &project.token_file) {
            (Some(app), _) => self.of_app(app, project, reach).await.map(Some),
            (None, Some(file)) => Ok(Some(Token::from_file(file)?)),
            (None, None) => Ok(None),
        }
    }

    /// Fails unless the forge of an App takes its key.
    pub async fn try_app(&self, app: &App) -> Result<(), LoginError> {
        let database = self.database.as_ref().ok_or(LoginError::Gone)?;
        let (_, key) = database.app_key(app.id).await?.ok_or(LoginError::Gone)?;
        let url = format!("{}/owner/name", app.url);
        let config = self.forge_of_app(app.id, &url, ForgeConfig::from_remote(app.kind, &url)?);
        Ok(AppLogin::new(&config)?.try_key(&key, SystemTime::now()).await?)
    }

    /// Returns the forge's number for the App that looks after a project, if one does.
    pub async fn app(&self, project: &Project) -> Result<Option<u64>, LoginError> {
        let Some(app) = project.app else { return Ok(None) };
        let database = self.database.as_ref().ok_or(LoginError::Gone)?;
        let number = database.app_number(app).await?;
        number.map(Some).ok_or(LoginError::Gone)
    }

    /// Takes note that the forge does not take a token any more; returns whether there may be another.
    pub fn refused(&self, project: &Project, token: &Token) -> bool {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted
            .retain(|(of, _), known| *of != project.id || known.token.expose() != token.expose());
        project.app.is_some()
    }

    /// Forgets what was given for a project: something that its tokens were used for failed.
    pub fn forget(&self, project: &Project) {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.retain(|(of, _), _| *of != project.id);
    }

    async fn of_app(
        &self,
        id: AppId,
        project: &Project,
        reach: Reach,
    ) -> Result<Token, LoginError> {
        let now = SystemTime::now();
        if let Some(token) = self.known(project, reach, now) {
            return Ok(token);
        }
        let database = self.database.as_ref().ok_or(LoginError::Gone)?;
        let (app, key) = database.app_key(id).await?.ok_or(LoginError::Gone)?;
        // What the key proves is told to the App's own forge and to no other.
        if project.sender != Sender::Forge(app.kind) || !is_at(app.kind, &app.url, &project.url) {
            return Err(LoginError::Elsewhere { url: app.url });
        }
        let config = ForgeConfig::from_remote(app.kind, &project.url)?;
        let config = self.forge_of_app(id, &project.url, config);
        let known = project.repository.zip(project.installation);
        let known = known.map(|(repository, installation)| KnownGrant { repository, installation });
        let granted = AppLogin::new(&config)?.token(&key, reach, now, known).await?;
        let (repository, installation) = (granted.repository, granted.installation);
        if let Some((known, other)) = project.repository.zip(repository)
            && known != other
        {
            // What has the name gets nothing of the project's, and the token goes unused.
            database.note_other_repository(project.id, other).await?;
            return Err(OtherRepository { project: project.name.clone(), known, other }.into());
        }
        if (repository, Some(installation)) != (project.repository, project.installation) {
            database.note_granted(project.id, repository, installation).await?;
        }
        let token = granted.token.clone();
        let mut known = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((project.id, reach), granted);
        Ok(token)
    }

    fn known(&self, project: &Project, reach: Reach, now: SystemTime) -> Option<Token> {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.retain(|_, granted| is_good(granted.expires_at, now));
        let known = granted.get(&(project.id, reach))?;
        // The operator may have made another repository the project's.
        let is_other = project.repository.zip(known.repository).is_some_and(|(own, of)| own != of);
        (!is_other).then(|| known.token.clone())
    }
}

/// Returns whether a token that ends then is used for something new.
fn is_good(expires_at: SystemTime, now: SystemTime) -> bool {
    now.checked_add(SPARE).is_some_and(|soon| soon < expires_at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_not_used_to_its_very_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(is_good(later(3600), now));
        assert!(is_good(later(301), now));
        assert!(!is_good(later(300), now));
        assert!(!is_good(later(0), now));
        assert!(!is_good(SystemTime::UNIX_EPOCH, now));
    }
}
