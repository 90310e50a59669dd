//! `levain project`: which projects the server knows.

mod upkeep;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{ForgeConfig, ForgeKind, Token, is_at};
use levain_server::Database;
use levain_server::projects::{Added, Merge, NewProject, Project, PullRequests};
use levain_server::shown::ShownProject;
use tokio::runtime::Handle;

use crate::args::{
    AddProject, Format, MergeChoice, ProjectArgs, ProjectCommand, PullRequestsChoice,
};
use crate::exit::Failure;
use crate::place;
use crate::server_place::{DEFAULT_URL, ServerPlace};
use crate::table::{age, columns};
use crate::terminal::Terminal;

/// The longest name of a project.
const LONGEST_NAME: usize = 100;

/// Runs the command.
pub(crate) fn project(
    args: &ProjectArgs,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    match &args.command {
        ProjectCommand::Add(add) => {
            let place = ServerPlace::find(&add.database)?;
            let new = described(add)?;
            if new.token_file.is_some() && is_in_the_clear(&new.url) {
                terminal.note(&format!(
                    "warning: the token goes to `{}` unencrypted, and whoever is in between can read it\nhint: name the repository by an address with https",
                    levain_actions::git::masked(&new.url)
                ));
            }
            runtime.block_on(async {
                let database = place.open().await?;
                let result = match with_app(add, new, &database).await {
                    Ok(new) => added(add, new, &database, terminal).await,
                    Err(failure) => Err(failure),
                };
                database.close().await;
                result
            })?;
        }
        ProjectCommand::Set(set) => upkeep::set(set, terminal, runtime)?,
        ProjectCommand::Remove(remove) => upkeep::remove(remove, terminal, runtime)?,
        ProjectCommand::Confirm(confirm) => upkeep::confirm(confirm, terminal, runtime)?,
        ProjectCommand::Secret(secret) => upkeep::secret(&secret.command, terminal, runtime)?,
        ProjectCommand::List { database, format } => {
            let place = ServerPlace::find(database)?;
            let projects = runtime.block_on(async {
                let database = place.open().await?;
                let projects = database.projects().await;
                database.close().await;
                projects.map_err(|error| Failure::error(&error))
            })?;
            match format {
                Format::Json => {
                    let shown: Vec<ShownProject> = projects.iter().map(ShownProject::new).collect();
                    terminal.print_json(&shown)?;
                }
                Format::Text => terminal.print(&listed(&projects))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(projects: &[Project]) -> String {
    let rows: Vec<Vec<String>> = projects
        .iter()
        .map(|project| {
            let login = match (project.app, &project.token_file) {
                (Some(_), _) => "App",
                (None, Some(_)) => "token",
                (None, None) => "no token",
            };
            let project = ShownProject::new(project);
            let pull_requests = format!("pull requests: {}", project.pull_requests);
            let looked = match (project.looked_at, project.look_failed) {
                (None, _) => "never looked at".to_owned(),
                (Some(time), None) => {
                    format!("looked at {} ago", age((time / 1000).unsigned_abs()))
                }
                // Each project has one line.
                (Some(_), Some(why)) => {
                    format!("cannot be looked at: {}", why.replace('\n', "; "))
                }
            };
            let forge = project.forge.to_owned();
            vec![project.name, forge, project.url, login.into(), pull_requests, looked]
        })
        .collect();
    columns(&rows)
}

/// Checks everything that can be checked before anything is kept.
fn described(args: &AddProject) -> Result<NewProject, Failure> {
    let name = &args.name;
    let is_name = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !name.starts_with(['.', '-']);
    if !is_name {
        return Err(Failure::user(format!(
            "`{name}` cannot be a project's name\nhint: use letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME}"
        )));
    }
    let url = place::of_project(&args.url)?;
    let sender = match &args.forge {
        Some(kind) => kind.parse().map_err(|error| Failure::error(&error))?,
        // That of the App, which is looked up later.
        None if args.app.is_some() => Sender::Git,
        None => match (ForgeKind::of_remote(&url), &args.token_file) {
            (Some(kind), _) => Sender::Forge(kind),
            (None, None) => Sender::Git,
            // Without a forge a token would be of no use, and pull requests would be missed in silence.
            (None, Some(_)) => return Err(unknown_forge(&args.url)),
        },
    };
    let token_file = args.token_file.as_deref().map(usable_token).transpose()?;
    let pull_requests = match args.pull_requests {
        PullRequestsChoice::None => PullRequests::None,
        PullRequestsChoice::Own => PullRequests::Own,
        PullRequestsChoice::Approved => PullRequests::Approved,
        PullRequestsChoice::All => PullRequests::All,
    };
    if let (Sender::Forge(kind), Some(_)) = (sender, &token_file)
        && pull_requests != PullRequests::None
        && ForgeConfig::from_remote(kind, &url).is_err()
    {
        return Err(Failure::user(format!(
            "`{}` does not tell where {kind} lists the pull requests\nhint: name the repository by its URL there, or pass `--pull-requests none`",
            args.url
        )));
    }
    let merge = merge(args.merge);
    Ok(NewProject {
        token_file,
        pull_requests,
        merge,
        tags: args.tags.clone(),
        schedule: args.schedule,
        ..NewProject::new(name, sender, url)
    })
}

fn unknown_forge(url: &str) -> Failure {
    let kinds: Vec<String> =
        ForgeKind::ALL.iter().map(|kind| format!("`{}`", kind.name())).collect();
    Failure::user(format!(
        "`{}` does not tell of which kind of forge the token is\nhint: name it with `--forge`: {}, or `git` for a repository without a forge",
        levain_actions::git::masked(url),
        kinds.join(", ")
    ))
}

/// Returns whether a token for a repository can be read by those in between.
fn is_in_the_clear(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    if !scheme.eq_ignore_ascii_case("http") {
        return false;
    }
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let host = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, _)) => host,
        None => place.split(':').next().unwrap_or_default(),
    };
    let is_own = host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
    !(is_own || host.eq_ignore_ascii_case("localhost"))
}

/// Returns what of pull requests is built.
fn merge(choice: MergeChoice) -> Merge {
    match choice {
        MergeChoice::Base => Merge::Base,
        MergeChoice::Head => Merge::Head,
    }
}

/// Has an App look after a project, if it is to.
async fn with_app(
    args: &AddProject,
    new: NewProject,
    database: &Database,
) -> Result<NewProject, Failure> {
    let Some(name) = &args.app else { return Ok(new) };
    let app = super::app::named(database, name).await?;
    let sender = match (&args.forge, new.sender) {
        (None, _) => Sender::Forge(app.kind),
        (Some(_), sender) => sender,
    };
    if sender != Sender::Forge(app.kind) || !is_at(app.kind, &app.url, &new.url) {
        return Err(Failure::user(format!(
            "`{}` is not at {}, where the App `{name}` is\nhint: name the repository by its URL there",
            args.url, app.url
        )));
    }
    Ok(NewProject { app: Some(app.id), sender, ..new })
}

/// Returns the whole path of a file that has a token in it: the server may be started anywhere.
fn usable_token(file: &Path) -> Result<std::path::PathBuf, Failure> {
    Token::from_file(file).map_err(|error| Failure::error(&error))?;
    std::path::absolute(file)
        .map_err(|error| Failure::user(format!("cannot find `{}`: {error}", file.display())))
}

async fn added(
    args: &AddProject,
    new: NewProject,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let sender = new.sender;
    if let Some(app) = &args.app {
        database.add_project(new).await.map_err(|error| Failure::error(&error))?;
        terminal.note(&format!(
            "added `{}`\nhint: the App `{app}` must be installed where its repository is; `levain project list` says if it is not",
            args.name
        ));
        return Ok(());
    }
    let base = match &args.public_url {
        Some(url) => url.as_str().to_owned(),
        None => {
            let known = database.public_url().await.map_err(|error| Failure::error(&error))?;
            if known.is_none() {
                terminal.note("no server has worked with this database yet; if one runs, then as another user, who has to add the project");
            }
            known.unwrap_or_else(|| DEFAULT_URL.to_owned())
        }
    };
    let Added { id: _, hook, secret } =
        database.add_project(new).await.map_err(|error| Failure::error(&error))?;
    let url = format!("{base}/hooks/{}", hook.as_str());
    let name = &args.name;
    match sender {
        Sender::Git => {
            terminal.note(&format!(
                "added `{name}`\nhint: what follows is a hook for its repository; save it as `hooks/post-receive` there, with `chmod 700`: it holds a secret that is not shown again"
            ));
            terminal.print(&hook_script(&url, &secret))
        }
        Sender::Forge(kind) => {
            terminal.note(&format!(
                "added `{name}`\nhint: add a webhook with this address and secret on {kind}, of content type `application/json`, for pushes, deletions, pull requests and comments, or for everything; the secret is not shown again"
            ));
            terminal.print(&format!("address: {url}\nsecret: {secret}\n"))
        }
    }
}

/// Returns a `post-receive` hook that tells the server, and never makes a push fail or wait.
///
/// The secret goes to curl through a pipe: other users see arguments. Each delivery has a key of its own, since all say
/// the same. Both texts come from levain and have no quotes in them.
fn hook_script(url: &str, secret: &str) -> String {
    format!(
        r#"#!/bin/sh
# Tells levain that something was pushed. A push neither waits for it nor fails if it fails.
# This file holds a secret: nobody else should be able to read it.
cat >/dev/null
(
  trap '' HUP
  printf '%s\n' 'content-type: application/json' 'x-levain-token: {secret}' \
    "x-levain-delivery: $(date +%s)-$$" |
    curl --silent --header @- --data '{{}}' --output /dev/null \
      --max-time 30 --retry 3 --retry-connrefused '{url}'
) </dev/null >/dev/null 2>&1 &
exit 0
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_in_the_clear_unless_it_is_encrypted_or_stays_here() {
        for url in
            ["http://git.example.org/o/r", "HTTP://10.0.0.1:3000/o/r", "http://a@[fd00::1]/o/r"]
        {
            assert!(is_in_the_clear(url), "{url}");
        }
        for url in [
            "https://git.example.org/o/r",
            "http://localhost:3000/o/r",
            "http://127.0.0.1/o/r",
            "http://u:p@[::1]:80/o/r",
            "ssh://git@git.example.org/o/r",
            "/srv/git/bread.git",
        ] {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }

    #[test]
    fn the_hook_never_shows_the_secret_as_an_argument() {
        let script = hook_script("http://127.0.0.1:1/hooks/h", "5ecret");
        let (before, curl) = script.split_once("curl ").unwrap();
        assert!(before.contains("x-levain-token: 5ecret"));
        assert!(!curl.contains("5ecret"), "{curl}");
        assert!(curl.contains("'http://127.0.0.1:1/hooks/h'"), "{curl}");
    }
}
