//! What must not be seen in what is shown of a project: tokens, keys and secrets of the project and of this server.
//!
//! Start at [`Logins::secrets`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levain_actions::forge::{Masks, Secrets, Token};
use sqlx::Row;
use tokio::time::Instant;

use super::Logins;
use crate::database::{Database, DatabaseError};
use crate::projects::{Project, ProjectId};

/// How long what was found out is believed: a log that is followed is read several times a second.
const BELIEVED: Duration = Duration::from_secs(1);
/// How many projects are remembered, and how many secrets of each.
const PROJECTS: usize = 1_000;
const MOST: usize = 1_000;
/// Lines of a key that are shorter say nothing of it.
const LINE_OF_KEY: usize = 32;

/// What is known of the secrets of projects. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownSecrets(Arc<Mutex<HashMap<ProjectId, Known>>>);

#[derive(Clone, Debug)]
struct Known {
    until: Instant,
    texts: Texts,
    secrets: Secrets,
}

/// Secrets as they are. Its `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
struct Texts(BTreeSet<String>);

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Texts({})", self.0.len())
    }
}

impl KnownSecrets {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logins {
    /// Returns what is to be covered in texts of a project, with what it was before as long as this process runs: a
    /// token that was exchanged may be good for a while.
    pub async fn secrets(
        &self,
        database: &Database,
        project: &Project,
    ) -> Result<Secrets, DatabaseError> {
        let before = self.secrets.lock().get(&project.id).cloned();
        if let Some(known) = &before
            && Instant::now() < known.until
        {
            return Ok(known.secrets.clone());
        }
        let mut texts = self.texts(Some(database), project).await?;
        let secrets = match before {
            Some(known) if texts.iter().all(|text| known.texts.0.contains(text)) => {
                texts = known.texts.0;
                known.secrets
            }
            before => {
                texts.extend(before.map(|known| known.texts.0).unwrap_or_default());
                if texts.len() > MOST {
                    tracing::warn!(project = project.name, "not all secrets of old are covered");
                    texts = texts.into_iter().take(MOST).collect();
                }
                let prepared = Secrets::new(texts.iter().map(String::as_str));
                prepared.map_err(|error| DatabaseError::Content {
                    table: "projects",
                    what: "number of secrets",
                    found: error.to_string(),
                })?
            }
        };
        let known = Known {
            until: Instant::now() + BELIEVED,
            texts: Texts(texts),
            secrets: secrets.clone(),
        };
        let mut all = self.secrets.lock();
        if all.len() >= PROJECTS && !all.contains_key(&project.id) {
            all.clear();
        }
        all.insert(project.id, known);
        Ok(secrets)
    }

    /// Returns what takes the secrets of a project and of this server out of what is kept and told of a run.
    pub async fn masks(&self, project: &Project) -> Result<Masks, DatabaseError> {
        let texts = self.texts(self.database.as_ref(), project).await?;
        Ok(Masks::of_texts(texts.iter().map(String::as_str)))
    }

    async fn texts(
        &self,
        database: Option<&Database>,
        project: &Project,
    ) -> Result<BTreeSet<String>, DatabaseError> {
        let mut texts = BTreeSet::new();
        let mut files: Vec<_> = project.token_file.iter().cloned().collect();
        if let Some(database) = database {
            texts = database.stored_secrets(project).await?;
            let forges = database.sign_in_forges().await?;
            files.extend(forges.into_iter().map(|forge| forge.secret_file));
        }
        // What cannot be read cannot be used either.
        let read = tokio::task::spawn_blocking(move || {
            let tokens = files.iter().filter_map(|file| Token::from_file(file).ok());
            tokens.map(|token| token.expose().to_owned()).collect::<Vec<_>>()
        });
        texts.extend(read.await.unwrap_or_default());
        texts.extend(self.granted_tokens());
        Ok(texts)
    }

    /// Returns the tokens that Apps have now, of all projects: what one project's build prints, another's may share.
    fn granted_tokens(&self) -> Vec<String> {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.values().map(|granted| granted.token.expose().to_owned()).collect()
    }
}

impl Database {
    /// Returns the secrets of a project and of its App that are kept here.
    async fn stored_secrets(&self, project: &Project) -> Result<BTreeSet<String>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT secret, 'secret' AS kind FROM webhook_secrets WHERE project = $1
             UNION ALL SELECT webhook_secret, 'secret' FROM apps WHERE id = $2
             UNION ALL SELECT private_key, 'key' FROM apps WHERE id = $2",
        )
        .bind(project.id.0)
        .bind(project.app.map(|app| app.0))
        .fetch_all(self.readers())
        .await?;
        let mut found = BTreeSet::new();
        for row in rows {
            let (text, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            match kind.as_str() {
                "key" => found.extend(
                    text.lines()
                        .map(str::trim)
                        .filter(|line| line.len() >= LINE_OF_KEY && !line.starts_with('-'))
                        .map(str::to_owned),
                ),
                _ => drop(found.insert(text)),
            }
        }
        Ok(found)
    }
}
