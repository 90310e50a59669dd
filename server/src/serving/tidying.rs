//! Removes what nothing needs any more from this machine's disk: mirrors of projects that are gone or elsewhere.

use std::sync::Arc;

use super::Shared;
use super::thread::on_thread;

/// Does so at the start and now and then, until the server ends.
pub(super) async fn tidy_all(shared: Arc<Shared>) {
    let mut ending = std::pin::pin!(shared.ending());
    loop {
        match shared.database.projects().await {
            Ok(projects) => {
                let workshop = Arc::clone(&shared.workshop);
                let tidied = on_thread("tidy up".to_owned(), move || workshop.tidy(&projects));
                if let Err(error) = tidied.await {
                    tracing::error!(%error, "cannot remove what nothing needs");
                }
            }
            Err(error) => tracing::error!(%error, "cannot find out which mirrors are needed"),
        }
        tokio::select! {
            () = tokio::time::sleep(shared.settings.tidy_every) => {}
            () = &mut ending => return,
        }
    }
}
