//! Queues runs of default branches whose time has come.

use std::sync::Arc;

use super::Shared;
use crate::clock::Timestamp;

/// Looks for such runs until the server ends.
pub(super) async fn schedule_all(shared: Arc<Shared>) {
    let mut ending = std::pin::pin!(shared.ending());
    loop {
        match shared.database.queue_scheduled(Timestamp::now()).await {
            Ok(queued) if queued.is_empty() => {}
            Ok(queued) => {
                tracing::info!(runs = queued.len(), "the time of these runs has come");
                shared.queued.notify_one();
            }
            Err(error) => tracing::error!(%error, "cannot look for runs whose time has come"),
        }
        tokio::select! {
            () = tokio::time::sleep(shared.settings.glance_every) => {}
            () = &mut ending => return,
        }
    }
}
