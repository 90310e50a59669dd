//! What a visitor may do with a project.
//!
//! For people that is what the project's forge says, asked with the project's token and believed for a few minutes. What
//! it does not say is no right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::visitor::Visitor;
use crate::forges::Forges;
use crate::people::{ForgeAccount, PersonId};
use crate::projects::{Project, ProjectId};
use crate::rights::Right;

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(5 * 60);
/// How long an error is taken for an answer: the forge is not asked with each request.
const UNKNOWN: Duration = Duration::from_secs(15);
/// How many answers are kept.
const KEPT: usize = 100_000;

/// Answers who may do what. Clones share what they know.
#[derive(Clone)]
pub(super) struct Permissions {
    forges: Arc<Forges>,
    known: Arc<Mutex<HashMap<(PersonId, ProjectId), Known>>>,
    /// How long somebody waits for the forge's answer, and for being told that there is nothing.
    patience: Duration,
}

#[derive(Clone, Copy)]
struct Known {
    right: Right,
    until: Instant,
}

impl Permissions {
    pub(super) fn new(forges: Forges, patience: Duration) -> Self {
        Self { forges: Arc::new(forges), known: Arc::default(), patience }
    }

    /// Returns what a visitor may do with a project; nothing with one that there is not.
    ///
    /// Who is told "nothing" by a forge is told so after the same time as who asks for what is not there: else the
    /// time of the forge's answer would tell the two apart.
    pub(super) async fn of(&self, visitor: &Visitor, project: Option<&Project>) -> Right {
        let begun = Instant::now();
        let right = match project {
            Some(project) => self.right(visitor, project).await,
            None => Right::None,
        };
        if right == Right::None && is_asked_for(visitor) {
            tokio::time::sleep_until(begun + self.patience).await;
        }
        right
    }

    /// Returns those of some projects that a visitor may see.
    pub(super) async fn readable(&self, visitor: &Visitor, projects: Vec<Project>) -> Vec<Project> {
        if !is_asked_for(visitor) {
            let mut readable = Vec::new();
            for project in projects {
                if self.right(visitor, &project).await >= Right::Read {
                    readable.push(project);
                }
            }
            return readable;
        }
        // All at once: the forge may be asked about each.
        let mut asked = JoinSet::new();
        for (place, project) in projects.into_iter().enumerate() {
            let (permissions, visitor) = (self.clone(), visitor.clone());
            asked.spawn(async move {
                let right = permissions.right(&visitor, &project).await;
                (place, (right >= Right::Read).then_some(project))
            });
        }
        let mut found = asked.join_all().await;
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().filter_map(|(_, project)| project).collect()
    }

    /// Returns whether a visitor wrote a pull request of a project.
    pub(super) fn is_author(visitor: &Visitor, project: &Project, author: Option<u64>) -> bool {
        let Visitor::Person(person) = visitor else { return false };
        let account = person.account.as_ref().filter(|account| is_at(account, project));
        account.is_some_and(|account| Some(account.account.id) == author)
    }

    async fn right(&self, visitor: &Visitor, project: &Project) -> Right {
        // While another repository has its name, nobody knows who its people are.
        let is_known = project.other_repository.is_none();
        let everybodys = if project.is_public && is_known { Right::Read } else { Right::None };
        let own = match visitor {
            Visitor::Nobody => Right::None,
            // And no more: a build that has a network is a user of this machine, too.
            Visitor::Local => Right::Read,
            Visitor::Program(token) => match token.project {
                Some(only) if only != project.id => Right::None,
                Some(_) | None => token.scope,
            },
            Visitor::Person(person) => match &person.account {
                None => Right::Admin,
                Some(account) if is_known && is_at(account, project) => {
                    self.at_forge(person.id, account, project).await
                }
                Some(_) => Right::None,
            },
        };
        own.max(everybodys)
    }

    /// Returns what the forge says somebody may do, as far as it says so in time.
    async fn at_forge(&self, person: PersonId, account: &ForgeAccount, project: &Project) -> Right {
        let key = (person, project.id);
        if let Some(known) = self.known(key) {
            return known;
        }
        // Goes on even if nobody waits any more, so that the answer is there next time.
        let asking = tokio::spawn({
            let (this, account, project) = (self.clone(), account.account.clone(), project.clone());
            async move {
                let (right, believed) = match this.forges.right(&project, &account).await {
                    Ok(right) => (right, BELIEVED),
                    Err(error) => {
                        tracing::warn!(project = project.name, %error, "rights are not known");
                        (Right::None, UNKNOWN)
                    }
                };
                this.note(key, Known { right, until: Instant::now() + believed });
                right
            }
        });
        match tokio::time::timeout(self.patience, asking).await {
            Ok(Ok(right)) => right,
            Ok(Err(_)) | Err(_) => Right::None,
        }
    }

    fn known(&self, key: (PersonId, ProjectId)) -> Option<Right> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).filter(|known| Instant::now() < known.until).map(|known| known.right)
    }

    fn note(&self, key: (PersonId, ProjectId), right: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            let now = Instant::now();
            known.retain(|_, known| now < known.until);
            if known.len() >= KEPT {
                known.clear();
            }
        }
        known.insert(key, right);
    }
}

/// Returns whether somebody's rights are asked for at a forge.
fn is_asked_for(visitor: &Visitor) -> bool {
    match visitor {
        Visitor::Person(person) => !person.is_operator(),
        Visitor::Nobody | Visitor::Local | Visitor::Program(_) => false,
    }
}

/// Returns whether an account is one at the forge of a project.
fn is_at(account: &ForgeAccount, project: &Project) -> bool {
    let Sender::Forge(kind) = project.sender else { return false };
    kind == account.kind && levain_actions::forge::is_at(kind, &account.url, &project.url)
}
