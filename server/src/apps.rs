//! Apps: what this server is at forges by itself, and which projects it looks after that way.
//!
//! The key and the secret of an App are kept in the database, because every server that works on it needs them. They leave
//! it in two types only, neither of which shows them: [`AppKey`] and [`WebhookSecret`]. What becomes of the key is in
//! [`crate::logins`].

pub mod deliveries;
pub mod departures;

use levain_actions::forge::webhook::{WebhookSecret, WebhookSecretError};
use levain_actions::forge::{AppKey, AppKeyError, ForgeKind};
use levain_store::counted;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::projects::{ProjectError, ProjectId, random};

/// The number of an App in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(pub(crate) i64);

impl AppId {
    /// Returns the number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// An App, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its number here.
    pub id: AppId,
    /// The last part of the address for deliveries.
    pub hook: String,
    /// What it is called; no two have the same name.
    pub name: String,
    /// The kind of forge.
    pub kind: ForgeKind,
    /// The address of the forge's web pages, without a slash at its end.
    pub url: String,
    /// The App's own page there, if that is known.
    pub page: Option<String>,
    /// The forge's number for it.
    pub number: u64,
    /// How many projects it looks after.
    pub projects: u64,
    /// Whether the repositories that it is installed in become projects by themselves.
    pub follows: bool,
}

/// An App that is to be added.
#[derive(Clone)]
pub struct NewApp {
    /// The last part of the address for deliveries, if the forge knows one already.
    pub hook: Option<String>,
    /// What it is called.
    pub name: String,
    /// The kind of forge.
    pub kind: ForgeKind,
    /// The address of the forge's web pages.
    pub url: String,
    /// The App's own page there, if that is known.
    pub page: Option<String>,
    /// The forge's number for it.
    pub number: u64,
    /// Its key, as the forge gives it.
    pub private_key: String,
    /// What its deliveries are signed with, if the forge knows it already.
    pub webhook_secret: Option<String>,
}

impl std::fmt::Debug for NewApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewApp({} at {})", self.name, self.url)
    }
}

/// An App that was added, and what its forge has to be told.
#[derive(Debug)]
pub struct AddedApp {
    /// Its number here.
    pub id: AppId,
    /// The last part of the address for deliveries.
    pub hook: String,
    /// What deliveries are signed with.
    pub secret: String,
}

/// An App was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum NotAnApp {
    /// There are no Apps at that forge.
    #[error(
        "{kind} has no Apps\nhint: add projects with a token: `levain project add … --token-file FILE`"
    )]
    NoApps {
        /// The forge.
        kind: ForgeKind,
    },
    /// The key is none.
    #[error("the App's key cannot be used: {0}")]
    Key(#[from] AppKeyError),
    /// The secret is none.
    #[error("the App's webhook secret cannot be used: {0}")]
    Secret(#[from] WebhookSecretError),
    /// There is one.
    #[error(
        "there is an App `{name}` already, or one with the number {number}\nhint: `levain app list`"
    )]
    Known {
        /// The name.
        name: String,
        /// The number.
        number: u64,
    },
    /// Projects need it.
    #[error(
        "the App `{name}` looks after {}\nhint: `levain project remove` them first", counted(*.projects, "project")
    )]
    Needed {
        /// The name.
        name: String,
        /// How many.
        projects: u64,
    },
    /// The machine gives no random numbers.
    #[error(transparent)]
    Random(#[from] ProjectError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

const COLUMNS: &str = "id, hook, name, forge, url, number,
    (SELECT COUNT(*) FROM projects WHERE projects.app = apps.id), page, follows FROM apps";

fn app(row: &AnyRow) -> Result<App, DatabaseError> {
    let content = |what, found: String| DatabaseError::Content { table: "apps", what, found };
    let kind: String = row.try_get(3)?;
    let number: i64 = row.try_get(5)?;
    Ok(App {
        id: AppId(row.try_get(0)?),
        hook: row.try_get(1)?,
        name: row.try_get(2)?,
        kind: kind.parse().map_err(|_unknown| content("kind of forge", kind))?,
        url: row.try_get(4)?,
        number: u64::try_from(number).map_err(|_sign| content("number", number.to_string()))?,
        projects: row.try_get::<i64, _>(6)?.unsigned_abs(),
        page: row.try_get(7)?,
        follows: row.try_get::<i64, _>(8)? == 1,
    })
}

impl Database {
    /// Adds an App. Its key and its secret are tried before they are kept.
    pub async fn add_app(&self, new: NewApp) -> Result<AddedApp, NotAnApp> {
        if !new.kind.has_apps() {
            return Err(NotAnApp::NoApps { kind: new.kind });
        }
        drop(AppKey::from_pem(new.number, &new.private_key)?);
        let hook = match new.hook {
            Some(hook) => hook,
            None => random::<16>()?,
        };
        let secret = match new.webhook_secret {
            Some(secret) => secret,
            None => random::<32>()?,
        };
        drop(WebhookSecret::new(&secret)?);
        let (name, number) = (new.name.clone(), new.number);
        let kept = (hook.clone(), secret.clone());
        let id = self
            .write(move |connection| {
                Box::pin(async move {
                    let row = sqlx::query(
                        "INSERT INTO apps (hook, name, forge, url, number, private_key,
                             webhook_secret, created_at, page)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                         ON CONFLICT DO NOTHING RETURNING id",
                    )
                    .bind(kept.0)
                    .bind(new.name)
                    .bind(new.kind.name())
                    .bind(new.url.trim_end_matches('/').to_owned())
                    .bind(i64::try_from(new.number).unwrap_or(i64::MAX))
                    .bind(new.private_key)
                    .bind(kept.1)
                    .bind(Timestamp::now().millis())
                    .bind(new.page)
                    .fetch_optional(&mut *connection)
                    .await?;
                    row.map(|row| Ok(row.try_get::<i64, _>(0)?)).transpose()
                })
            })
            .await?;
        match id {
            Some(id) => Ok(AddedApp { id: AppId(id), hook, secret }),
            None => Err(NotAnApp::Known { name, number }),
        }
    }

    /// Returns all Apps, by name.
    pub async fn apps(&self) -> Result<Vec<App>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} ORDER BY name"));
        let rows = sqlx::query(text).fetch_all(self.readers()).await?;
        rows.iter().map(app).collect()
    }

    /// Returns the App of a name.
    pub async fn app_named(&self, name: &str) -> Result<Option<App>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} WHERE name = $1"));
        let row = sqlx::query(text).bind(name).fetch_optional(self.readers()).await?;
        row.as_ref().map(app).transpose()
    }

    /// Returns the forge's number for an App.
    pub(crate) async fn app_number(&self, id: AppId) -> Result<Option<u64>, DatabaseError> {
        let row = sqlx::query("SELECT number FROM apps WHERE id = $1")
            .bind(id.0)
            .fetch_optional(self.readers())
            .await?;
        let number: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(number.map(i64::unsigned_abs))
    }

    /// Returns an App with its key.
    pub(crate) async fn app_key(&self, id: AppId) -> Result<Option<(App, AppKey)>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} WHERE id = $1"));
        let row = sqlx::query(text).bind(id.0).fetch_optional(self.readers()).await?;
        let Some(app) = row.as_ref().map(app).transpose()? else { return Ok(None) };
        let row = sqlx::query("SELECT private_key FROM apps WHERE id = $1")
            .bind(id.0)
            .fetch_one(self.readers())
            .await?;
        let key = AppKey::from_pem(app.number, &row.try_get::<String, _>(0)?);
        let key = key.map_err(|error| DatabaseError::Content {
            table: "apps",
            what: "key",
            // The text itself must not be shown.
            found: error.to_string(),
        })?;
        Ok(Some((app, key)))
    }

    /// Returns whether the repositories that an App is installed in become projects by themselves.
    pub(crate) async fn follows(&self, id: AppId) -> Result<bool, DatabaseError> {
        let row = sqlx::query("SELECT follows FROM apps WHERE id = $1")
            .bind(id.0)
            .fetch_optional(self.readers())
            .await?;
        let follows: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(follows == Some(1))
    }

    /// Notes whether the repositories that an App is installed in become projects; returns whether there is such an App.
    pub async fn note_follows(&self, name: &str, follows: bool) -> Result<bool, DatabaseError> {
        let name = name.to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                let done = sqlx::query("UPDATE apps SET follows = $2 WHERE name = $1")
                    .bind(name)
                    .bind(i64::from(follows))
                    .execute(&mut *connection)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Removes an App that no project needs.
    pub async fn remove_app(&self, app: &App) -> Result<(), NotAnApp> {
        let id = app.id;
        let removed = self
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "DELETE FROM apps WHERE id = $1
                         AND NOT EXISTS (SELECT 1 FROM projects WHERE app = $1)",
                    )
                    .bind(id.0)
                    .execute(&mut *connection)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await?;
        match removed {
            true => Ok(()),
            false => Err(NotAnApp::Needed { name: app.name.clone(), projects: app.projects }),
        }
    }

    /// Notes which repository a project's is, and which installation has it, by the forge's numbers. The repository that was
    /// noted first stays the project's.
    pub(crate) async fn note_granted(
        &self,
        project: ProjectId,
        repository: Option<u64>,
        installation: u64,
    ) -> Result<(), DatabaseError> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE projects SET repository = COALESCE(repository, $2), installation = $3
                     WHERE id = $1 AND app IS NOT NULL
                         AND ($2 IS NULL OR repository IS NULL OR repository = $2)",
                )
                .bind(project.0)
                .bind(repository.map(number))
                .bind(number(installation))
                .execute(&mut *connection)
                .await?;
                Ok(())
            })
        })
        .await
    }
}
