//! `levain delivery`: what was delivered, and what became of it.

use std::process::ExitCode;

use levain_server::Database;
use levain_server::deliveries::{Delivery, DeliveryId};
use levain_server::shown::ShownDelivery;
use tokio::runtime::Handle;

use crate::args::{DeliveryArgs, DeliveryCommand, Format};
use crate::exit::Failure;
use crate::server_place::with_database;
use crate::table::{age, columns};
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn delivery(
    args: &DeliveryArgs,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    with_database(&args.database, runtime, async |database| {
        with(&args.command, database, terminal).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn with(
    command: &DeliveryCommand,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        DeliveryCommand::List { project, limit, format } => {
            let id = match project {
                Some(name) => Some(super::status::project_named(database, name).await?.id),
                None => None,
            };
            let deliveries = database.last_deliveries(id, *limit).await;
            let deliveries = deliveries.map_err(|error| Failure::error(&error))?;
            let mut shown = Vec::new();
            for delivery in &deliveries {
                shown.push(described(database, delivery).await?);
            }
            match format {
                Format::Json => terminal.print_json(&shown),
                Format::Text => terminal.print(&listed(&shown)),
            }
        }
        DeliveryCommand::Show { id } => {
            let found = database.delivery(DeliveryId::from_number(*id)).await;
            let found = found.map_err(|error| Failure::error(&error))?;
            let Some(delivery) = found else { return Err(missing(*id)) };
            terminal.print_json(&described(database, &delivery).await?.with_body(&delivery))
        }
        DeliveryCommand::Replay { id } => {
            let replayed = database.replay_delivery(DeliveryId::from_number(*id)).await;
            match replayed.map_err(|error| Failure::error(&error))? {
                true => terminal.print(&format!("delivery {id} waits to be acted upon again\n")),
                false => Err(missing(*id)),
            }
        }
    }
}

fn missing(id: i64) -> Failure {
    Failure::user(format!(
        "there is no delivery {id}\nhint: `levain delivery list` shows those there are"
    ))
}

async fn described(database: &Database, delivery: &Delivery) -> Result<ShownDelivery, Failure> {
    let project = database.project(delivery.project).await;
    let project = project.map_err(|error| Failure::error(&error))?;
    let name = project.map(|project| project.name).unwrap_or_default();
    Ok(ShownDelivery::new(&name, delivery))
}

fn listed(deliveries: &[ShownDelivery]) -> String {
    let rows: Vec<Vec<String>> = deliveries
        .iter()
        .map(|delivery| {
            vec![
                delivery.id.to_string(),
                delivery.project.clone(),
                delivery.event.clone().unwrap_or_default(),
                age((delivery.received_at / 1000).unsigned_abs()),
                delivery.state.to_owned(),
                delivery.outcome.clone().unwrap_or_default(),
            ]
        })
        .collect();
    columns(&rows)
}
