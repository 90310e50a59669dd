//! A server at work in a test: starting it, delivering something to it, and waiting for what it does.

use std::sync::Arc;
use std::time::Duration;

use levain_server::Database;
use levain_server::deliveries::{Delivery, DeliveryId, DeliveryState, Kept, NewDelivery};
use levain_server::projects::ProjectId;
use levain_server::runs::Owner;
use levain_server::serving::{Company, Running, Settings};
use levain_server::workshop::Workshop;

use crate::support::now;

/// Returns the settings of a server that does at once what is delivered, and looks at nothing by itself after that.
pub(crate) fn quick() -> Settings {
    Settings {
        look_every: Duration::from_secs(3600),
        glance_every: Duration::from_millis(20),
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(100),
        ..Settings::default()
    }
}

/// Starts a server that works alone.
pub(crate) async fn start(
    database: &Database,
    workshop: Arc<dyn Workshop>,
    settings: Settings,
) -> Running {
    let owner = Owner::unique().unwrap();
    Running::start(database.clone(), workshop, owner, Company::Alone, settings).await.unwrap()
}

/// Delivers something, as the route does. What came before is not kept once more.
pub(crate) async fn deliver(
    database: &Database,
    project: ProjectId,
    key: &str,
    event: &str,
    body: String,
) -> DeliveryId {
    let new = NewDelivery {
        project,
        key: key.to_owned(),
        received_at: now(),
        event: Some(event.to_owned()),
        body: body.into_bytes(),
    };
    match database.keep_delivery(new).await.unwrap() {
        Kept::New(id) | Kept::Again(id) | Kept::Conflict(id) => id,
    }
}

/// Waits until something became of a delivery.
pub(crate) async fn settled(database: &Database, id: DeliveryId) -> Delivery {
    until_some("the delivery is settled", async || {
        let delivery = database.delivery(id).await.unwrap().unwrap();
        (delivery.state != DeliveryState::Waiting).then_some(delivery)
    })
    .await
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    until_some(what, async || is_so().await.then_some(())).await;
}

/// Waits until something is so, and returns it.
pub(crate) async fn until_some<T>(what: &str, mut is_so: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = is_so().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 60 s: {what}");
}
