//! Who sends statuses to forges.
//!
//! Nothing else in the server writes to a forge. A server in read-only mode has no messenger.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levain_actions::forge::{ForgeConfig, Token};
use levain_actions::status::{ReadError, Remedy, RetryPolicy, Status, StatusClient, StatusReader};

use super::decide::Sent;
use super::wording::{Home, Telling};
use crate::projects::{Project, ProjectId};

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
}

/// Sends statuses.
pub trait Messenger: Send + Sync + 'static {
    /// Sends one, once.
    fn send<'a>(&'a self, message: Message<'a>) -> Attempt<'a>;
}

/// Sends statuses over HTTP, with the tokens of the projects.
#[derive(Debug, Default)]
pub struct ForgeMessenger {
    /// Certificates that are trusted for forges besides the system's.
    ca_file: Option<PathBuf>,
    /// What was made for a project, with what it was made from.
    clients: Mutex<HashMap<ProjectId, Arc<Clients>>>,
}

#[derive(Debug)]
struct Clients {
    config: ForgeConfig,
    /// To find out whether the file has another by now. Its `Debug` shows nothing.
    token: Token,
    client: StatusClient,
    reader: StatusReader,
}

impl ForgeMessenger {
    /// Makes a messenger; sends nothing yet.
    pub fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, clients: Mutex::default() }
    }

    /// Returns what speaks with a project's forge, or what becomes of the status without.
    fn clients(&self, project: &Project, telling: &Telling) -> Result<Arc<Clients>, Sent> {
        let refused = |why: String| Sent::Refused { why };
        let Some(config) = telling.forge(&Home::of(project)) else {
            return Err(refused("the project has no forge any more".to_owned()));
        };
        let config = ForgeConfig { ca_file: self.ca_file.clone(), ..config };
        let Some(file) = &project.token_file else {
            return Err(refused("the project has no token any more".to_owned()));
        };
        // Read anew each time: tokens are exchanged while a server runs.
        let token = Token::from_file(file).map_err(|error| until_exchanged(error.to_string()))?;
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
        let clients = Arc::new(Clients { config, token, client, reader });
        known.insert(project.id, Arc::clone(&clients));
        Ok(clients)
    }
}

impl Messenger for ForgeMessenger {
    fn send<'a>(&'a self, message: Message<'a>) -> Attempt<'a> {
        Box::pin(async move {
            match self.clients(message.project, message.telling) {
                Ok(clients) => clients.send(message.status, message.in_doubt).await,
                Err(sent) => sent,
            }
        })
    }
}

/// A token that is not taken is exchanged sooner or later, and what it could not tell is told then.
fn until_exchanged(why: String) -> Sent {
    Sent::Later { why, wait: None, may_be_shown: false }
}

impl Clients {
    async fn send(&self, status: &Status, in_doubt: bool) -> Sent {
        if in_doubt {
            match self.reader.shows(status).await {
                Ok(true) => return Sent::Shown,
                Ok(false) => {}
                Err(ReadError::Passing { repository: _, message, wait }) => {
                    return Sent::Later { why: message, wait, may_be_shown: true };
                }
                // Told twice is better than never.
                Err(error @ ReadError::Lasting { .. }) => {
                    tracing::warn!(%error, "a status may be sent twice");
                }
            }
        }
        match self.client.send(status).await {
            Ok(_) => Sent::Shown,
            Err(error) => {
                let why = error.to_string();
                match error.remedy() {
                    Remedy::None if error.is_the_tokens() => until_exchanged(why),
                    Remedy::None => Sent::Refused { why },
                    Remedy::Later { wait, may_have_arrived } => {
                        Sent::Later { why, wait, may_be_shown: may_have_arrived }
                    }
                }
            }
        }
    }
}
