//! `levain app`: what the server is at forges by itself.

use std::path::Path;
use std::process::ExitCode;

use levain_actions::forge::{ForgeKind, Token};
use levain_server::Database;
use levain_server::apps::{AddedApp, App, NewApp};
use levain_server::shown::ShownApp;
use levain_store::counted;
use tokio::runtime::Handle;

use crate::args::{AppArgs, AppCommand, Format};
use crate::exit::Failure;
use crate::server_place::{DEFAULT_URL, with_database};
use crate::table::columns;
use crate::terminal::Terminal;

/// The longest file that is read for a key.
const LONGEST_KEY: u64 = 64 * 1024;

/// Runs the command.
pub(crate) fn app(
    args: &AppArgs,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    with_database(&args.database, runtime, async |database| {
        with(&args.command, database, terminal).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn with(
    command: &AppCommand,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        AppCommand::Add { name, number, key_file, webhook_secret_file, forge, url, public_url } => {
            let kind = forge.or_else(|| ForgeKind::ALL.into_iter().find(|kind| kind.has_apps()));
            let kind = kind.ok_or_else(|| Failure::user("no forge has Apps"))?;
            let secret = webhook_secret_file.as_deref().map(Token::from_file).transpose();
            let secret = secret.map_err(|error| Failure::error(&error))?;
            let new = NewApp {
                hook: None,
                name: name.clone(),
                kind,
                url: url.as_ref().map_or_else(|| kind.public_url(), |url| url.as_str().to_owned()),
                page: None,
                number: *number,
                private_key: key(key_file)?,
                webhook_secret: secret.as_ref().map(|secret| secret.expose().to_owned()),
            };
            let added = database.add_app(new).await.map_err(|error| Failure::error(&error))?;
            let known = database.public_url().await.map_err(|error| Failure::error(&error))?;
            let base = match public_url {
                Some(url) => url.as_str().to_owned(),
                None => known.unwrap_or_else(|| DEFAULT_URL.to_owned()),
            };
            told(name, &base, &added, secret.is_some(), terminal)
        }
        AppCommand::List { format } => {
            let apps = database.apps().await.map_err(|error| Failure::error(&error))?;
            let shown: Vec<ShownApp> = apps.iter().map(ShownApp::new).collect();
            match format {
                Format::Json => terminal.print_json(&shown),
                Format::Text => {
                    let row = |app: &ShownApp| {
                        let projects = counted(app.projects, "project");
                        vec![app.name.clone(), app.number.to_string(), app.url.clone(), projects]
                    };
                    terminal.print(&columns(&shown.iter().map(row).collect::<Vec<_>>()))
                }
            }
        }
        AppCommand::Follow { name, stop } => {
            let app = named(database, name).await?;
            let noted = database.note_follows(&app.name, !stop).await;
            noted.map_err(|error| Failure::error(&error)).map(|_| ())
        }
        AppCommand::Remove { name } => {
            let app = named(database, name).await?;
            database.remove_app(&app).await.map_err(|error| Failure::error(&error))
        }
    }
}

/// Returns the App of a name.
pub(super) async fn named(database: &Database, name: &str) -> Result<App, Failure> {
    let app = database.app_named(name).await.map_err(|error| Failure::error(&error))?;
    app.ok_or_else(|| {
        Failure::user(format!(
            "there is no App `{name}`\nhint: `levain app list`; the server's page `/apps` makes one"
        ))
    })
}

/// Reads a key, whatever the file is.
fn key(file: &Path) -> Result<String, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::user(format!("cannot read the App's key from `{}`: {why}", file.display()))
    };
    let metadata = std::fs::metadata(file).map_err(|error| failed(&error))?;
    if !metadata.is_file() || metadata.len() > LONGEST_KEY {
        return Err(failed(&"it is no file, or too long for a key"));
    }
    std::fs::read_to_string(file).map_err(|error| failed(&error))
}

fn told(
    name: &str,
    base: &str,
    added: &AddedApp,
    has_secret: bool,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let address = format!("address: {base}/hooks/{}\n", added.hook);
    if has_secret {
        terminal.note(&format!(
            "added the App `{name}`\nhint: this is the address of its webhook, with the content type `application/json`"
        ));
        return terminal.print(&address);
    }
    terminal.note(&format!(
        "added the App `{name}`\nhint: give its webhook this address and secret, and the content type `application/json`; the secret is not shown again"
    ));
    terminal.print(&format!("{address}secret: {}\n", added.secret))
}
