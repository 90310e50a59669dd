//! Projects as the server knows them: where they live, and what their forge signs with.

mod changing;
mod default_branch;
mod removing;
mod secrets;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use levain_actions::forge::webhook::{Sender, WebhookSecret};
use ring::rand::{SecureRandom, SystemRandom};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::apps::AppId;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::records;
use crate::schedule::{Schedule, ScheduleError};
pub use changing::ProjectSettings;
pub use default_branch::NoDefaultBranch;
pub use secrets::MOST_SECRETS;

/// The number of a project in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectId(pub(crate) i64);

impl ProjectId {
    /// Takes the number of a project that there may be.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// The part of an address by which deliveries of a project are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookId(String);

impl HookId {
    /// Returns the text, as it stands in the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A project that is to be added.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// What people call it; no two projects have the same name.
    pub name: String,
    /// Who delivers.
    pub sender: Sender,
    /// Where its repository is.
    pub url: String,
    /// The file with the token for the forge.
    pub token_file: Option<PathBuf>,
    /// The App that looks after it, instead of a token.
    pub app: Option<AppId>,
    /// Which pull requests are built.
    pub pull_requests: PullRequests,
    /// What of them is built.
    pub merge: Merge,
    /// Which tags are built, if any: a pattern in which `*` stands for any text.
    pub tags: Option<String>,
    /// When the default branch is built anew, if it is.
    pub schedule: Option<Schedule>,
}

impl NewProject {
    /// Describes a project without a token.
    pub fn new(name: impl Into<String>, sender: Sender, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sender,
            url: url.into(),
            token_file: None,
            app: None,
            pull_requests: PullRequests::Approved,
            merge: Merge::Base,
            tags: None,
            schedule: None,
        }
    }
}

/// Which pull requests of a project are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequests {
    /// None.
    None,
    /// Those whose commits are in the project's own repository: their authors may push there.
    Own,
    /// Those at once, and those of forks when somebody approves their commit.
    Approved,
    /// All at once, of whoever wrote them.
    All,
}

impl PullRequests {
    /// All choices.
    pub const ALL: [Self; 4] = [Self::None, Self::Own, Self::Approved, Self::All];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Own => "own",
            Self::Approved => "approved",
            Self::All => "all",
        }
    }

    pub(crate) fn read(text: String) -> Result<Self, DatabaseError> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or(DatabaseError::Content {
            table: "projects",
            what: "choice of pull requests",
            found: text,
        })
    }
}

/// What of a pull request is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// What merging it now would give.
    Base,
    /// Its own commit.
    Head,
}

impl Merge {
    /// Both choices.
    pub const ALL: [Self; 2] = [Self::Base, Self::Head];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Head => "head",
        }
    }

    fn read(text: String) -> Result<Self, DatabaseError> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or(DatabaseError::Content {
            table: "projects",
            what: "choice of what of pull requests is built",
            found: text,
        })
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its number.
    pub id: ProjectId,
    /// What people call it.
    pub name: String,
    /// The last part of the address for deliveries.
    pub hook: HookId,
    /// Who delivers.
    pub sender: Sender,
    /// Where its repository is.
    pub url: String,
    /// The file with the token for the forge.
    pub token_file: Option<PathBuf>,
    /// The App that looks after it, instead of a token.
    pub app: Option<AppId>,
    /// The forge's number for its repository, as far as that is known.
    pub repository: Option<u64>,
    /// That of another repository which has its name now, if one has: then nothing is done for the project.
    pub other_repository: Option<u64>,
    /// The forge's number for the App's installation that has it, as far as the App was told.
    pub installation: Option<u64>,
    /// Which pull requests are built.
    pub pull_requests: PullRequests,
    /// What of them is built.
    pub merge: Merge,
    /// Which tags are built, if any: a pattern in which `*` stands for any text.
    pub tags: Option<String>,
    /// When the default branch is built anew, if it is.
    pub schedule: Option<Schedule>,
    /// For which of these times it was last.
    pub scheduled: i64,
    /// When its heads were listed last, or that was tried.
    pub looked_at: Option<Timestamp>,
    /// Why they could not be listed, if so.
    pub look_failed: Option<String>,
    /// The branch that its repository names as the default, as far as that is known.
    pub default_branch: Option<String>,
    /// Whether everybody may see it, as its forge says.
    pub is_public: bool,
}

impl Project {
    /// Returns whether it can log in to its forge.
    pub fn has_login(&self) -> bool {
        self.token_file.is_some() || self.app.is_some()
    }
}

/// Reads when the default branch is built anew.
fn schedule(text: Option<String>) -> Result<Option<Schedule>, DatabaseError> {
    let read = |text: String| {
        let content = |found| DatabaseError::Content { table: "projects", what: "schedule", found };
        text.parse().map_err(|_unreadable: ScheduleError| content(text))
    };
    text.map(read).transpose()
}

const COLUMNS: &str =
    "id, name, hook, forge, url, token_file, pull_requests, looked_at, look_failed,
    default_branch, is_public, app, repository, installation, merge, tags, schedule, scheduled,
    other_repository";

fn project(row: &AnyRow) -> Result<Project, DatabaseError> {
    let number = |column| {
        let number: Option<i64> = row.try_get(column)?;
        Ok::<_, sqlx::Error>(number.and_then(|number| u64::try_from(number).ok()))
    };
    Ok(Project {
        id: ProjectId(row.try_get(0)?),
        name: row.try_get(1)?,
        hook: HookId(row.try_get(2)?),
        sender: sender_of(row.try_get(3)?)?,
        url: row.try_get(4)?,
        token_file: row.try_get::<Option<String>, _>(5)?.map(PathBuf::from),
        pull_requests: PullRequests::read(row.try_get(6)?)?,
        looked_at: row.try_get::<Option<i64>, _>(7)?.map(Timestamp::from_millis),
        look_failed: row.try_get(8)?,
        default_branch: row.try_get(9)?,
        is_public: row.try_get::<i64, _>(10)? == 1,
        app: row.try_get::<Option<i64>, _>(11)?.map(AppId),
        repository: number(12)?,
        installation: number(13)?,
        merge: Merge::read(row.try_get(14)?)?,
        tags: row.try_get(15)?,
        schedule: schedule(row.try_get(16)?)?,
        scheduled: row.try_get(17)?,
        other_repository: number(18)?,
    })
}

/// A project that was added, and what its forge has to be told.
#[derive(Debug)]
pub struct Added {
    /// Its number.
    pub id: ProjectId,
    /// The last part of the address for deliveries.
    pub hook: HookId,
    /// What deliveries are signed with.
    pub secret: String,
}

/// Whom an address for deliveries belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A project.
    Project(ProjectId),
    /// An App, with all its projects.
    App(AppId),
}

/// An address for deliveries.
#[derive(Debug)]
pub struct Hooked {
    /// Whose it is.
    pub receiver: Receiver,
    /// Who delivers.
    pub sender: Sender,
    /// What deliveries may be signed with.
    pub secrets: Vec<WebhookSecret>,
}

/// A project was not added or found.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The name is taken.
    #[error("there is a project `{name}` already\nhint: `levain project list`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The path of the token's file is no text.
    #[error("the path of the token's file is not UTF-8")]
    TokenFile,
    /// It has as many secrets as a project may have.
    #[error(
        "the project has {MOST_SECRETS} secrets\nhint: drop the old ones: `levain project secret drop NAME`"
    )]
    TooManySecrets,
    /// The machine gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Returns so many random bytes as text.
pub(crate) fn random<const BYTES: usize>() -> Result<String, ProjectError> {
    let mut bytes = [0; BYTES];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => Ok(HEXLOWER.encode(&bytes)),
        Err(ring::error::Unspecified) => Err(ProjectError::NoRandomness),
    }
}

impl Database {
    /// Adds a project, with an address and a secret of its own.
    pub async fn add_project(&self, project: NewProject) -> Result<Added, ProjectError> {
        let (hook, secret) = (random::<16>()?, random::<32>()?);
        let added = Added { id: ProjectId(0), hook: HookId(hook.clone()), secret: secret.clone() };
        let (name, url) = (project.name.clone(), project.url.clone());
        let token_file = match project.token_file.as_deref().map(|path| path.to_str()) {
            Some(None) => return Err(ProjectError::TokenFile),
            Some(Some(path)) => Some(path.to_owned()),
            None => None,
        };
        let id = self
            .write(move |connection| {
                Box::pin(async move {
                    let now = Timestamp::now().millis();
                    let row = sqlx::query(
                        "INSERT INTO projects
                             (hook, name, forge, url, created_at, token_file, pull_requests,
                             app, merge, tags, schedule, scheduled, held_until)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, (
                             SELECT COALESCE(MAX(held_until), 0) FROM projects
                             WHERE token_file = $6
                         ))
                         ON CONFLICT (name) DO NOTHING
                         RETURNING id",
                    )
                    .bind(hook)
                    .bind(project.name)
                    .bind(project.sender.name())
                    .bind(project.url)
                    .bind(now)
                    .bind(token_file)
                    .bind(project.pull_requests.name())
                    .bind(project.app.map(|app| app.0))
                    .bind(project.merge.name())
                    .bind(project.tags)
                    .bind(project.schedule.map(|schedule| schedule.to_string()))
                    .bind(project.schedule.map_or(0, |schedule| schedule.slot(Timestamp::now())))
                    .fetch_optional(&mut *connection)
                    .await?;
                    let Some(row) = row else { return Ok(None) };
                    let id: i64 = row.try_get(0)?;
                    sqlx::query(
                        "INSERT INTO webhook_secrets (project, secret, created_at)
                         VALUES ($1, $2, $3)",
                    )
                    .bind(id)
                    .bind(secret)
                    .bind(now)
                    .execute(&mut *connection)
                    .await?;
                    let others = sqlx::query("SELECT url FROM projects WHERE id <> $1")
                        .bind(id)
                        .fetch_all(&mut *connection)
                        .await?;
                    let name = records::name_of(&url);
                    let mut is_known = false;
                    for other in others {
                        is_known |= records::name_of(&other.try_get::<String, _>(0)?) == name;
                    }
                    if !is_known {
                        records::begin_anew(connection, &url).await?;
                    }
                    Ok(Some(id))
                })
            })
            .await?;
        match id {
            Some(id) => Ok(Added { id: ProjectId(id), ..added }),
            None => Err(ProjectError::NameTaken { name }),
        }
    }

    /// Returns all projects, by name.
    pub async fn projects(&self) -> Result<Vec<Project>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM projects ORDER BY name, id"));
        let rows = sqlx::query(text).fetch_all(self.readers()).await?;
        rows.iter().map(project).collect()
    }

    /// Returns a project.
    pub async fn project(&self, id: ProjectId) -> Result<Option<Project>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM projects WHERE id = $1"));
        let row = sqlx::query(text).bind(id.0).fetch_optional(self.readers()).await?;
        row.as_ref().map(project).transpose()
    }

    /// Returns the project of a name.
    pub async fn project_named(&self, name: &str) -> Result<Option<Project>, DatabaseError> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM projects WHERE name = $1"));
        let row = sqlx::query(text).bind(name).fetch_optional(self.readers()).await?;
        row.as_ref().map(project).transpose()
    }

    /// Notes how a look at a project ended: with the reason if it failed.
    pub async fn note_look(
        &self,
        id: ProjectId,
        failed: Option<String>,
    ) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE projects SET looked_at = $2, look_failed = $3 WHERE id = $1")
                    .bind(id.0)
                    .bind(Timestamp::now().millis())
                    .bind(failed)
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes whether everybody may see a project.
    pub async fn note_public(&self, id: ProjectId, is_public: bool) -> Result<(), DatabaseError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE projects SET is_public = $2 WHERE id = $1")
                    .bind(id.0)
                    .bind(i64::from(is_public))
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Finds the project or the App that an address for deliveries belongs to.
    pub async fn hooked(&self, hook: &str) -> Result<Option<Hooked>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT projects.id, projects.forge, webhook_secrets.secret, 'project' AS receiver,
                 webhook_secrets.id AS age
             FROM projects LEFT JOIN webhook_secrets ON webhook_secrets.project = projects.id
             WHERE projects.hook = $1
             UNION ALL
             SELECT apps.id, apps.forge, apps.webhook_secret, 'app', apps.id
             FROM apps WHERE apps.hook = $1
             ORDER BY age DESC",
        )
        .bind(hook)
        .fetch_all(self.readers())
        .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let receiver = match first.try_get::<String, _>(3)?.as_str() {
            "app" => Receiver::App(AppId(first.try_get(0)?)),
            _ => Receiver::Project(ProjectId(first.try_get(0)?)),
        };
        let sender = sender_of(first.try_get(1)?)?;
        let secret = |row: &AnyRow| {
            let text: Option<String> = row.try_get(2)?;
            let secret = text.map(|text| WebhookSecret::new(&text)).transpose();
            secret.map_err(|error| DatabaseError::Content {
                table: "webhook_secrets",
                what: "secret",
                // The text itself must not be shown.
                found: error.to_string(),
            })
        };
        let secrets: Result<Vec<Option<WebhookSecret>>, DatabaseError> =
            rows.iter().map(secret).collect();
        Ok(Some(Hooked { receiver, sender, secrets: secrets?.into_iter().flatten().collect() }))
    }
}

/// Reads who delivers.
pub(crate) fn sender_of(text: String) -> Result<Sender, DatabaseError> {
    match text.parse() {
        Ok(sender) => Ok(sender),
        Err(_) => {
            Err(DatabaseError::Content { table: "projects", what: "kind of forge", found: text })
        }
    }
}
