//! `levain sign-in`: by the accounts of which forges people sign in.

use std::process::ExitCode;

use levain_actions::forge::{ForgeKind, SignIn, Token};
use levain_server::Database;
use levain_server::clock::Timestamp;
use levain_server::http;
use levain_server::people::NewSignInForge;
use levain_server::secret::Secret;
use levain_server::shown::ShownSignInForge;
use tokio::runtime::Handle;

use crate::args::{Format, SignInArgs, SignInCommand};
use crate::exit::Failure;
use crate::server_place::{DEFAULT_URL, with_database};
use crate::table::columns;
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn sign_in(
    args: &SignInArgs,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    with_database(&args.database, runtime, async |database| {
        with(&args.command, database, terminal).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn with(
    command: &SignInCommand,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        SignInCommand::Add { url, forge, client_id, client_secret_file } => {
            let url = url.trim_end_matches('/').to_owned();
            let kind = match forge {
                Some(kind) => *kind,
                None => of_host(&url)?,
            };
            // What can be checked is checked now, and not when the first person signs in.
            SignIn::new(kind, &url, client_id, None).map_err(|error| Failure::error(&error))?;
            Token::from_file(client_secret_file).map_err(|error| Failure::error(&error))?;
            let secret_file = std::path::absolute(client_secret_file).map_err(Failure::user)?;
            let client_id = client_id.clone();
            let new = NewSignInForge { kind, url, client_id, secret_file };
            let added = database.add_sign_in_forge(new).await;
            added.map_err(|error| Failure::error(&error))?;
            let public = database.public_url().await.map_err(|error| Failure::error(&error))?;
            let public = public.unwrap_or_else(|| DEFAULT_URL.to_owned());
            terminal.print(&format!("callback: {public}/sign-in/callback\n"))
        }
        SignInCommand::List { format } => {
            let forges = database.sign_in_forges().await.map_err(|error| Failure::error(&error))?;
            let shown: Vec<ShownSignInForge> = forges.iter().map(ShownSignInForge::new).collect();
            match format {
                Format::Json => terminal.print_json(&shown),
                Format::Text => {
                    let row = |forge: &ShownSignInForge| {
                        vec![forge.url.clone(), forge.forge.to_owned(), forge.client_id.clone()]
                    };
                    terminal.print(&columns(&shown.iter().map(row).collect::<Vec<_>>()))
                }
            }
        }
        SignInCommand::Operator { end_sessions } => {
            let public = database.public_url().await.map_err(|error| Failure::error(&error))?;
            let url = public.unwrap_or_else(|| DEFAULT_URL.to_owned());
            if !http::can_sign_in(&url) {
                return Err(Failure::user(format!(
                    "nobody can sign in at `{url}`\nhint: start the server with `--public-url` and an address with https"
                )));
            }
            if *end_sessions {
                let ended = database.end_operator_sessions().await;
                let ended = ended.map_err(|error| Failure::error(&error))?;
                terminal.note(&match ended {
                    1 => "ended 1 session of the operator".to_owned(),
                    many => format!("ended {many} sessions of the operator"),
                });
            }
            let secret = Secret::new().map_err(|error| Failure::error(&error))?;
            let noted = database.replace_operator_link(secret.hash(), Timestamp::now()).await;
            noted.map_err(|error| Failure::error(&error))?;
            terminal.print(&operator_link(&url, &secret))
        }
        SignInCommand::Remove { url } => {
            let url = url.trim_end_matches('/').to_owned();
            let removed = database.remove_sign_in_forge(url.clone()).await;
            match removed.map_err(|error| Failure::error(&error))? {
                true => Ok(()),
                false => Err(Failure::user(format!(
                    "nobody signs in by `{url}`\nhint: `levain sign-in list` shows the forges"
                ))),
            }
        }
    }
}

/// Returns a line with the link by which the operator signs in, once.
pub(super) fn operator_link(url: &str, secret: &Secret) -> String {
    format!("sign in as operator, once: {url}/admin?token={}\n", secret.expose())
}

fn of_host(url: &str) -> Result<ForgeKind, Failure> {
    ForgeKind::of_remote(&format!("{url}/owner/name")).ok_or_else(|| {
        Failure::user(format!(
            "`{url}` does not tell which kind of forge it is\nhint: name it with `--forge`"
        ))
    })
}
