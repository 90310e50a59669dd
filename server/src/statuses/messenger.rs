//! Who sends statuses to forges.
//!
//! Nothing else in the server writes to a forge. A server in read-only mode has no messenger.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levain_actions::forge::{Check, ForgeConfig, Reach, Standing, Token};
use levain_actions::status::{
    Delivered, DeliveryError, ReadError, Remedy, RetryPolicy, Status, StatusClient, StatusReader,
};

use super::decide::Sent;
use super::wording::{Home, Telling};
use crate::logins::Logins;
use crate::projects::{Project, ProjectId};
use crate::runs::RunId;

/// Sending something.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Sent> + Send + 'a>>;

/// What is to be sent, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The project.
    pub project: &'a Project,
    /// What its declaration says about statuses.
    pub telling: &'a Telling,
    /// The status.
    pub status: &'a Status,
    /// Whether the forge is asked first if it shows it already.
    pub in_doubt: bool,
    /// The run that says so.
    pub run: RunId,
    /// The forge's number for the check that this updates, if there is one.
    pub check: Option<u64>,
}

/// Sends statuses.
pub trait Messenger: Send + Sync + 'static {
    /// Sends one, once.
    fn send<'a>(&'a self, message: Message<'a>) -> Attempt<'a>;
}

/// Sends statuses over HTTP, with what the projects log in with.
#[derive(Debug, Default)]
pub struct ForgeMessenger {
    logins: Logins,
    /// What was made for a project, with what it was made from.
    clients: Mutex<HashMap<ProjectId, Arc<Clients>>>,
}

#[derive(Debug)]
struct Clients {
    config: ForgeConfig,
    /// To find out whether there is another by now. Its `Debug` shows nothing.
    token: Token,
    client: StatusClient,
    reader: StatusReader,
    /// The forge's number for the App that speaks, if one does.
    app: Option<u64>,
}

impl ForgeMessenger {
    /// Makes a messenger; sends nothing yet.
    pub fn new(logins: Logins) -> Self {
        Self { logins, clients: Mutex::default() }
    }

    /// Returns what speaks with a project's forge, or what becomes of the status without.
    async fn clients(&self, project: &Project, telling: &Telling) -> Result<Arc<Clients>, Sent> {
        let refused = |why: String| Sent::Refused { why };
        let Some(config) = telling.forge(&Home::of(project)) else {
            return Err(refused("the project has no forge any more".to_owned()));
        };
        let config = self.logins.forge(project, config);
        // Who took the name over is told nothing.
        if let Err(error) = self.logins.require_own(project).await {
            return Err(until_exchanged(error.to_string()));
        }
        let token = match self.logins.token(project, Reach::Write).await {
            Ok(Some(token)) => token,
            Ok(None) => return Err(refused("the project has no token any more".to_owned())),
            Err(error) => return Err(until_exchanged(error.to_string())),
        };
        let app = match self.logins.app(project).await {
            Ok(app) => app,
            Err(error) => return Err(until_exchanged(error.to_string())),
        };
        let mut known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = known.get(&project.id)
            && clients.config == config
            && clients.token.expose() == token.expose()
        {
            return Ok(Arc::clone(clients));
        }
        // What is tried again, and when, is in the database.
        let policy =
            RetryPolicy { attempts: 1, patience: Duration::ZERO, ..RetryPolicy::default() };
        let client = StatusClient::new(&config, token.clone(), policy)
            .map_err(|error| refused(error.to_string()))?;
        let reader =
            StatusReader::new(&config, &token).map_err(|error| refused(error.to_string()))?;
        let clients = Arc::new(Clients { config, token, client, reader, app });
        known.insert(project.id, Arc::clone(&clients));
        Ok(clients)
    }
}

impl Messenger for ForgeMessenger {
    fn send<'a>(&'a self, message: Message<'a>) -> Attempt<'a> {
        Box::pin(async move {
            let clients = match self.clients(message.project, message.telling).await {
                Ok(clients) => clients,
                Err(sent) => return sent,
            };
            match clients.say(&message).await {
                Err(error) if is_unknown(&error) => {
                    if !self.logins.refused(message.project, &clients.token) {
                        return until_exchanged(error.to_string());
                    }
                    // An App is given another, once.
                    match self.clients(message.project, message.telling).await {
                        Ok(clients) => {
                            let sent = clients.say(&message).await;
                            sent.unwrap_or_else(|error| failed(&error))
                        }
                        Err(sent) => sent,
                    }
                }
                Err(error) => failed(&error),
                Ok(sent) => sent,
            }
        })
    }
}

/// Returns whether the forge does not take the token at all: then it took nothing else either.
fn is_unknown(error: &DeliveryError) -> bool {
    matches!(error, DeliveryError::Refused { status: 401, .. })
}

/// A token that is not taken is exchanged sooner or later, and what it could not tell is told then.
fn until_exchanged(why: String) -> Sent {
    Sent::Later { why, wait: None, may_be_shown: false }
}

/// Returns what becomes of a status that was not delivered.
fn failed(error: &DeliveryError) -> Sent {
    let why = error.to_string();
    match error.remedy() {
        Remedy::None if error.is_the_tokens() => until_exchanged(why),
        Remedy::None => Sent::Refused { why },
        Remedy::Later { wait, may_have_arrived } => {
            Sent::Later { why, wait, may_be_shown: may_have_arrived }
        }
    }
}

impl Clients {
    /// Says it as the project's forge shows it: an App's as a check, all others as a status.
    async fn say(&self, message: &Message<'_>) -> Result<Sent, DeliveryError> {
        match self.app {
            Some(app) => self.check(message, app).await,
            None => self.send(message.status, message.in_doubt).await,
        }
    }

    async fn check(&self, message: &Message<'_>, app: u64) -> Result<Sent, DeliveryError> {
        let status = message.status.clone();
        let is_open = !status.ends_check();
        let run = message.run.number().to_string();
        let mut check = Check { status, run, open: message.check };
        if message.in_doubt {
            match self.reader.stands(&check, app).await {
                Ok(Standing::Shown { id }) => return Ok(Sent::Check { id, is_open }),
                Ok(Standing::Open { id }) => check.open = Some(id),
                Ok(Standing::Missing) => check.open = None,
                Err(ReadError::Passing { repository: _, message, wait }) => {
                    return Ok(Sent::Later { why: message, wait, may_be_shown: true });
                }
                // Told twice is better than never.
                Err(error @ ReadError::Lasting { .. }) => {
                    tracing::warn!(%error, "a check may be made twice");
                }
            }
        }
        Ok(match self.client.send_check(&check).await? {
            Delivered::Created { id: Some(id) } => Sent::Check { id, is_open },
            Delivered::Created { id: None } | Delivered::ShownAlready => Sent::Shown,
        })
    }

    async fn send(&self, status: &Status, in_doubt: bool) -> Result<Sent, DeliveryError> {
        if in_doubt {
            match self.reader.shows(status).await {
                Ok(true) => return Ok(Sent::Shown),
                Ok(false) => {}
                Err(ReadError::Passing { repository: _, message, wait }) => {
                    return Ok(Sent::Later { why: message, wait, may_be_shown: true });
                }
                // Told twice is better than never.
                Err(error @ ReadError::Lasting { .. }) => {
                    tracing::warn!(%error, "a status may be sent twice");
                }
            }
        }
        self.client.send(status).await.map(|_| Sent::Shown)
    }
}
