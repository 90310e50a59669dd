//! `levain doctor`: what can go wrong, each with its cause and what to do about it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use levain_actions::forge::{Token, answer_to_post};
use levain_server::Database;
use levain_server::apps::App;
use levain_server::clock::Timestamp;
use levain_server::doctor::{Finding, Severity};
use levain_server::logins::Logins;
use levain_server::projects::Project;
use levain_store::nix::{Confinement, NixProgram};
use levain_store::{Store, StoreConfig};
use tokio::runtime::Handle;

use crate::args::{Doctor, Format};
use crate::exit::{self, Failure};
use crate::server_place::ServerPlace;
use crate::setup::{self, lookup};
use crate::terminal::Terminal;

/// Bytes that a disk should have free.
const ROOM: u64 = 5 << 30;
/// Bytes without which deliveries are lost.
const LEAST_ROOM: u64 = 64 << 20;

/// Runs the command.
pub(crate) fn doctor(
    args: &Doctor,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let mut findings = of_machine();
    let place = ServerPlace::find(&args.database)?;
    if let Some(path) = place.url().path() {
        findings.extend(room("disk of the database", &path));
    }
    findings.extend(runtime.block_on(async {
        match place.open().await {
            Err(failure) => vec![Finding::bad(
                "database",
                failure.to_string().lines().next().unwrap_or_default(),
                "name it with `--database`, and see that this user may open it",
            )],
            Ok(database) => {
                let found = of_server(&database, args).await;
                database.close().await;
                found
            }
        }
    }));
    match args.format {
        Format::Json => terminal.print_json(&findings)?,
        Format::Text => terminal.print(&shown(&findings))?,
    }
    let is_bad = findings.iter().any(|finding| finding.severity == Severity::Bad);
    Ok(ExitCode::from(if is_bad { exit::FAILURE } else { exit::SUCCESS }))
}

fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, severity, found, fix } in findings {
        let word = match severity {
            Severity::Good => "ok",
            Severity::Doubtful => "doubtful",
            Severity::Bad => "bad",
        };
        text.push_str(&format!("{word:8}  {check}: {found}\n"));
        if let Some(fix) = fix {
            text.push_str(&format!("          hint: {fix}\n"));
        }
    }
    text
}

async fn of_server(database: &Database, args: &Doctor) -> Vec<Finding> {
    let failed = |error: &dyn std::fmt::Display| {
        vec![Finding::bad("database", error.to_string(), "look at the server's log")]
    };
    let mut findings = match database.examine(Timestamp::now()).await {
        Ok(findings) => findings,
        Err(error) => return failed(&error),
    };
    let (projects, url) = match (database.projects().await, database.public_url().await) {
        (Ok(projects), Ok(url)) => (projects, url),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    findings.extend(projects.iter().filter_map(token));
    match database.apps().await {
        Ok(apps) => {
            let logins = Logins::new(database.clone(), args.forge_ca_file.clone());
            for app in apps {
                findings.push(key(&logins, &app).await);
            }
        }
        Err(error) => return failed(&error),
    }
    if let (Some(project), Some(url)) = (projects.first(), url) {
        findings.push(hook(project, &url, args.forge_ca_file.as_deref()).await);
    }
    findings
}

/// Sends what is signed by nobody to the address for deliveries: whoever refuses it in levain's way is levain.
async fn hook(project: &Project, base: &str, ca_file: Option<&Path>) -> Finding {
    let check = "hook";
    let url = format!("{base}/hooks/{}", project.hook.as_str());
    let fix = format!(
        "is `levain serve` running, and does the proxy in front pass on `/hooks/`? Forges deliver to {base}"
    );
    match answer_to_post(&url, ca_file).await {
        Ok(401) => Finding::good(check, format!("deliveries to {base} arrive")),
        Ok(status) => Finding::bad(check, format!("{base} answers {status} to deliveries"), fix),
        Err(error) => Finding::bad(check, format!("{base} is not reached: {error}"), fix),
    }
}

/// Asks the forge of an App whether it takes its key.
async fn key(logins: &Logins, app: &App) -> Finding {
    let check = format!("App {}", app.name);
    match logins.try_app(app).await {
        Ok(()) => Finding::good(check, format!("{} takes its key", app.url)),
        Err(error) => {
            let text = error.to_string();
            let (found, fix) = text.split_once("\nhint: ").unwrap_or((&text, "try again later"));
            Finding::bad(check, found, fix)
        }
    }
}

/// Checks the file with the token of a project, if it has one.
fn token(project: &Project) -> Option<Finding> {
    let path = project.token_file.as_ref()?;
    let check = format!("token of {}", project.name);
    if let Err(error) = Token::from_file(path) {
        let text = error.to_string();
        let found = text.lines().next().unwrap_or_default().to_owned();
        return Some(Finding::bad(check, found, "write the token to that file"));
    }
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    Some(match mode & 0o007 {
        0 => Finding::good(check, "can be read"),
        _ => Finding::doubtful(
            check,
            format!("every user of this machine can read `{}`", path.display()),
            format!("chmod o= {}", path.display()),
        ),
    })
}

/// Checks what the server works with on this machine.
fn of_machine() -> Vec<Finding> {
    let mut findings = Vec::new();
    let nix = NixProgram::find(lookup).and_then(|nix| nix.version());
    findings.push(match nix {
        Ok(version) => Finding::good("nix", format!("version {version}")),
        Err(error) => {
            let text = error.to_string();
            let (found, fix) = text.split_once("\nhint: ").unwrap_or((&text, "install Nix"));
            Finding::bad("nix", found, fix)
        }
    });
    findings.push(match Confinement::detect(lookup) {
        Some(_) => Finding::good("sandbox", "bubblewrap is there"),
        None => Finding::bad(
            "sandbox",
            "`bwrap` is not on the PATH: pull requests are refused, and branches evaluated without",
            "install bubblewrap",
        ),
    });
    match StoreConfig::from_lookup(lookup) {
        Ok(config) => {
            findings.extend(room("disk of the store", &config.real_dir));
            findings.push(daemon(&Store::new(config)));
        }
        Err(error) => findings.push(Finding::bad("store", error.to_string(), "set `NIX_REMOTE`")),
    }
    if let Ok(state) = setup::directory("XDG_STATE_HOME", ".local/state") {
        findings.extend(room("disk of the mirrors", &state));
    }
    findings
}

fn daemon(store: &Store) -> Finding {
    let check = "store";
    match store.connect() {
        Ok(connection) => match connection.trusted() {
            // Evaluations and builds of anybody's code go through this user.
            Some(true) if !rustix::process::getuid().is_root() => Finding::doubtful(
                check,
                "this user is a trusted user of Nix, and may do to the store what root may",
                "take the server's user out of `trusted-users` in nix.conf",
            ),
            Some(_) | None => Finding::good(check, "answers"),
        },
        Err(error) => Finding::bad(check, error.to_string(), "start the Nix daemon"),
    }
}

/// Checks how much is free where a path is or will be.
fn room(check: &str, path: &Path) -> Option<Finding> {
    let there: PathBuf = path.ancestors().find(|path| path.exists())?.to_owned();
    let free = match rustix::fs::statvfs(&there) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return Some(Finding::bad(
                check,
                error.to_string(),
                "see that this user may look there",
            ));
        }
    };
    let found = format!("{} MiB are free at `{}`", free >> 20, there.display());
    Some(match free {
        ROOM.. => Finding::good(check, found),
        LEAST_ROOM.. => {
            Finding::doubtful(check, found, "free some space: builds and copies need it")
        }
        _ => Finding::bad(check, found, "free some space: nothing can be kept any more"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_with_what_to_do() {
        let findings =
            [Finding::good("clock", "right"), Finding::bad("hook", "nobody answers", "start it")];
        assert_eq!(
            shown(&findings),
            "ok        clock: right\nbad       hook: nobody answers\n          hint: start it\n"
        );
    }

    #[test]
    fn there_is_some_room_somewhere() {
        let found = room("disk", Path::new("/nowhere/at/all")).unwrap();
        assert!(found.found.ends_with("MiB are free at `/`"), "{found:?}");
    }
}
