//! Sends statuses to forges until the server ends. What is not sent then is sent by the next server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Shared;
use crate::clock::Timestamp;
use crate::database::{Database, DatabaseError};
use crate::runs::Owner;
use crate::statuses::Claimed;
use crate::statuses::decide::Sent;
use crate::statuses::messenger::{Message, Messenger};

/// How many statuses are under way at a time.
const MOST: usize = 16;
/// How many are taken at once, so that one project does not take all the room.
const BATCH: u32 = 4;
/// How long the last statuses of a server that ends may take.
const LAST_WORDS: Duration = Duration::from_millis(1_500);
/// How long sending one may take; less than others believe that it is under way.
const PATIENCE: Duration = Duration::from_secs(40);

/// Sends what is to be sent until `worked` ends: nothing happens any more that would have to be told.
pub(super) async fn tell_all(
    shared: Arc<Shared>,
    messenger: Arc<dyn Messenger>,
    worked: impl Future<Output = ()>,
) {
    let mut worked = std::pin::pin!(worked);
    let mut sending = JoinSet::new();
    let wake = shared.database.telling_wakes();
    loop {
        begin(&shared, &messenger, &mut sending).await;
        let pause = pause(&shared).await;
        tokio::select! {
            Some(_) = sending.join_next() => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = &mut worked => break,
        }
    }
    // What the last runs said goes out as well, if the forge is quick. What is cut short is in doubt, and the next
    // server asks the forge.
    let last = async {
        begin(&shared, &messenger, &mut sending).await;
        while sending.join_next().await.is_some() {
            begin(&shared, &messenger, &mut sending).await;
        }
    };
    if tokio::time::timeout(LAST_WORDS, last).await.is_err() {
        tracing::warn!("some statuses may or may not have been sent");
    }
}

/// Begins to send what is due, as far as there is room.
async fn begin(shared: &Arc<Shared>, messenger: &Arc<dyn Messenger>, sending: &mut JoinSet<()>) {
    while sending.len() < MOST {
        let free = u32::try_from(MOST - sending.len()).unwrap_or(u32::MAX).min(BATCH);
        let owner = shared.owner.clone();
        match shared.database.claim_statuses(owner, Timestamp::now(), free).await {
            Ok(claimed) if claimed.is_empty() => return,
            Ok(claimed) => {
                for one in claimed {
                    let (shared, messenger) = (Arc::clone(shared), Arc::clone(messenger));
                    sending.spawn(async move {
                        let owner = shared.owner.clone();
                        send(&shared.database, messenger.as_ref(), owner, one).await;
                    });
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot take statuses that are to be sent");
                return;
            }
        }
    }
}

/// Returns how long there is nothing to do, as far as that is known.
async fn pause(shared: &Shared) -> Duration {
    let glance = shared.settings.glance_every;
    match shared.database.next_status_at().await {
        Ok(Some(at)) => {
            let millis = at.millis().saturating_sub(Timestamp::now().millis()).max(1);
            // One that is due now was not to be had: somebody else has it.
            Duration::from_millis(u64::try_from(millis).unwrap_or(1)).min(glance).max(glance / 20)
        }
        Ok(None) => glance,
        Err(error) => {
            tracing::error!(%error, "cannot find out which status is next");
            glance
        }
    }
}

/// Sends a status that was taken, and takes note of what became of it.
pub(crate) async fn send(
    database: &Database,
    messenger: &dyn Messenger,
    owner: Owner,
    claimed: Claimed,
) {
    let sent = match attempt(database, messenger, &claimed).await {
        Ok(sent) => sent,
        Err(error) => {
            Sent::Later { why: error.to_string(), wait: None, may_be_shown: claimed.in_doubt }
        }
    };
    let context = claimed.status.context();
    match &sent {
        Sent::Shown | Sent::Check { .. } => tracing::debug!(context, "a status is shown"),
        Sent::Refused { why } => tracing::warn!(context, why, "a status is refused"),
        Sent::Later { why, .. } => tracing::warn!(context, why, "a status is not sent yet"),
    }
    if let Err(error) = database.status_sent(&claimed, owner, sent, Timestamp::now()).await {
        // It is sent once more when its lease has run out, unless the forge shows it.
        tracing::error!(%error, "cannot take note of what became of a status");
    }
}

async fn attempt(
    database: &Database,
    messenger: &dyn Messenger,
    claimed: &Claimed,
) -> Result<Sent, DatabaseError> {
    let Some(project) = database.project(claimed.project).await? else {
        return Ok(Sent::Refused { why: "the project is gone".to_owned() });
    };
    let telling = database.telling(claimed.project).await?;
    let message = Message {
        project: &project,
        telling: &telling,
        status: &claimed.status,
        in_doubt: claimed.in_doubt,
        run: claimed.run,
        check: claimed.check,
    };
    let sending = tokio::time::timeout(PATIENCE, messenger.send(message));
    Ok(sending.await.unwrap_or_else(|_| Sent::Later {
        why: format!("no answer within {} s", PATIENCE.as_secs()),
        wait: None,
        may_be_shown: true,
    }))
}
