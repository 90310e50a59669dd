//! `levain project set`, `levain project remove`, `levain project confirm` and `levain project secret`.

use levain_actions::forge::webhook::Sender;
use levain_server::Database;
use levain_server::projects::ProjectSettings;
use tokio::runtime::Handle;

use super::{hook_script, merge};
use crate::args::{
    ConfirmProject, DatabaseArgs, PublicUrl, RemoveProject, SecretCommand, SetProject,
};
use crate::commands::status::project_named;
use crate::exit::Failure;
use crate::server_place::{DEFAULT_URL, ServerPlace};
use crate::terminal::Terminal;

/// Removes a project.
pub(super) fn remove(
    args: &RemoveProject,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<(), Failure> {
    let name = &args.name;
    with_database(&args.database, runtime, async |database| {
        let id = project_named(database, name).await?.id;
        let removed = database.remove_project(id).await;
        removed.map_err(|error| Failure::error(&error))?;
        terminal.print(&format!("removed `{name}`\n"))
    })
}

/// Makes what has the name of a project's repository the project's.
pub(super) fn confirm(
    args: &ConfirmProject,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<(), Failure> {
    let ConfirmProject { name, number, database } = args;
    with_database(database, runtime, async |database| {
        let id = project_named(database, name).await?.id;
        let confirmed = database.confirm_repository(id, *number).await;
        match confirmed.map_err(|error| Failure::error(&error))? {
            true => terminal.print(&format!("`{name}` is repository {number} from now on\n")),
            false => Err(Failure::user(format!(
                "no other repository with the number {number} has the name of `{name}`'s\nhint: `levain project list`"
            ))),
        }
    })
}

/// Changes what is built of a project.
pub(super) fn set(args: &SetProject, terminal: &Terminal, runtime: &Handle) -> Result<(), Failure> {
    let name = &args.name;
    let settings = ProjectSettings {
        merge: args.merge.map(merge),
        tags: changed(args.tags.clone(), args.no_tags),
        schedule: changed(args.schedule, args.no_schedule),
    };
    with_database(&args.database, runtime, async |database| {
        let id = project_named(database, name).await?.id;
        let changed = database.change_project(id, settings).await;
        changed.map_err(|error| Failure::error(&error))?;
        if args.tags.is_some() {
            terminal.note(
                "hint: tags that are there when the server next looks at the project, within 5 minutes, are left out; later ones are built",
            );
        }
        terminal.print(&format!("changed `{name}`\n"))
    })
}

/// Returns what a setting is changed to, if it is: to nothing, or to a value.
fn changed<T>(value: Option<T>, is_removed: bool) -> Option<Option<T>> {
    if is_removed { Some(None) } else { value.map(Some) }
}

/// Exchanges a secret.
pub(super) fn secret(
    command: &SecretCommand,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<(), Failure> {
    match command {
        SecretCommand::Rotate { name, public_url, database } => {
            with_database(database, runtime, async |database| {
                rotate(name, public_url.as_ref(), database, terminal).await
            })
        }
        SecretCommand::Drop { name, database } => {
            with_database(database, runtime, async |database| {
                let id = project_named(database, name).await?.id;
                let dropped = database.drop_old_webhook_secrets(id).await;
                let dropped = dropped.map_err(|error| Failure::error(&error))?;
                terminal.print(&match dropped {
                    0 => format!("`{name}` has one secret only\n"),
                    _ => format!("dropped {dropped} old secrets of `{name}`\n"),
                })
            })
        }
    }
}

async fn rotate(
    name: &str,
    public_url: Option<&PublicUrl>,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let project = project_named(database, name).await?;
    let base = match public_url {
        Some(url) => url.as_str().to_owned(),
        None => {
            let known = database.public_url().await.map_err(|error| Failure::error(&error))?;
            known.unwrap_or_else(|| DEFAULT_URL.to_owned())
        }
    };
    let secret = database.add_webhook_secret(project.id).await;
    let secret = secret.map_err(|error| Failure::error(&error))?;
    let url = format!("{base}/hooks/{}", project.hook.as_str());
    let drop = format!(
        "the old secret stays good until `levain project secret drop {name}`; this one is not shown again"
    );
    match project.sender {
        Sender::Git => {
            terminal.note(&format!(
                "hint: put what follows in the place of `hooks/post-receive`; {drop}"
            ));
            terminal.print(&hook_script(&url, &secret))
        }
        Sender::Forge(kind) => {
            terminal.note(&format!("hint: change the secret of the webhook on {kind}; {drop}"));
            terminal.print(&format!("address: {url}\nsecret: {secret}\n"))
        }
    }
}

fn with_database(
    args: &DatabaseArgs,
    runtime: &Handle,
    work: impl AsyncFnOnce(&Database) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let place = ServerPlace::find(args)?;
    runtime.block_on(async {
        let database = place.open().await?;
        let result = work(&database).await;
        database.close().await;
        result
    })
}
