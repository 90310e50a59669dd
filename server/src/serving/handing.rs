//! Hands what was delivered for an App on to the projects that it is about.

use levain_actions::forge::webhook::{self, Hint};

use super::Shared;
use super::reading::headers;
use crate::apps::deliveries::{HandedOn, WaitingAppDelivery};
use crate::database::DatabaseError;

/// How many are handed on before somebody looks what they call for.
const MOST: usize = 1_000;

/// Hands on what waits, the oldest first; returns whether something says that Apps are installed elsewhere by now.
pub(super) async fn hand_on(shared: &Shared) -> Result<bool, DatabaseError> {
    let mut is_elsewhere = false;
    for _ in 0..MOST {
        // One at a time: they may be large.
        let Some(delivery) = shared.database.next_app_delivery().await? else { break };
        let to = whose(shared, &delivery).await?;
        is_elsewhere |= matches!(to, HandedOn::Acted(_));
        if let HandedOn::Ignored(why) | HandedOn::Failed(why) = &to {
            tracing::info!(app = delivery.app.number(), why, "a delivery for an App");
        }
        shared.database.hand_on(delivery.id, to).await?;
    }
    Ok(is_elsewhere)
}

/// Finds the project that a delivery is about.
async fn whose(shared: &Shared, delivery: &WaitingAppDelivery) -> Result<HandedOn, DatabaseError> {
    let headers = headers(delivery.sender, delivery.event.as_deref());
    let read = match webhook::read(delivery.sender, &headers, &delivery.body) {
        Ok(read) => read,
        Err(error) => return Ok(HandedOn::Failed(error.to_string())),
    };
    let Some(repository) = read.repository else {
        if read.hint == Hint::Installation && shared.database.follows(delivery.app).await? {
            return Ok(HandedOn::Acted("it is looked where the App is installed".to_owned()));
        }
        return Ok(HandedOn::Ignored(match read.hint {
            Hint::Ping => "a ping: deliveries arrive".to_owned(),
            Hint::Installation => {
                "projects are added by name, unless the App is followed: see the page `/apps`"
                    .to_owned()
            }
            Hint::Nothing { why } => why.to_string(),
            Hint::Ref { .. }
            | Hint::Refs
            | Hint::PullRequest { .. }
            | Hint::Comment { .. }
            | Hint::Rerun { .. }
            | Hint::Button { .. }
            | Hint::Repository => "it names no repository".to_owned(),
        }));
    };
    let project = shared.database.project_of_repository(delivery.app, repository.id).await?;
    Ok(match project {
        Some(project) => HandedOn::To(project),
        None => {
            let (name, id) = (repository.full_name, repository.id);
            HandedOn::Ignored(format!("`{name}` ({id}) is no project of this App"))
        }
    })
}
