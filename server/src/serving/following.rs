//! Makes the repositories that an App is installed in projects, where the operator wants that.
//!
//! Nothing is removed: a project has runs and logs, and whoever uninstalls an App at the forge may not know of them. A
//! project that its App may not see any more says so.

use std::sync::Arc;
use std::time::SystemTime;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{AppLogin, ForgeConfig, Installed, is_at, place_of_remote};

use super::Shared;
use crate::apps::App;
use crate::logins::LoginError;
use crate::projects::{NewProject, Project, ProjectError};

/// Looks where all Apps are installed that are followed.
pub(super) async fn follow_all(shared: Arc<Shared>) {
    let apps = match shared.database.apps().await {
        Ok(apps) => apps,
        Err(error) => return tracing::error!(%error, "cannot find out which Apps there are"),
    };
    for app in apps.into_iter().filter(|app| app.follows) {
        match follow(&shared, &app).await {
            Ok(0) => {}
            Ok(added) => {
                tracing::info!(app = app.name, added, "repositories became projects");
                shared.arrived.notify_one();
            }
            Err(error) => {
                tracing::warn!(app = app.name, %error, "cannot list where an App is installed");
            }
        }
    }
}

async fn follow(shared: &Shared, app: &App) -> Result<usize, LoginError> {
    let key = shared.database.app_key(app.id).await?;
    let (_, key) = key.ok_or(LoginError::Gone)?;
    let url = format!("{}/owner/name", app.url);
    let config = ForgeConfig::from_remote(app.kind, &url)?;
    let logins = &shared.settings.forges.logins;
    let login = AppLogin::new(&logins.forge_of_app(app.id, &url, config))?;
    let installed = login.installed(&key, SystemTime::now()).await?;
    let projects = shared.database.projects().await?;
    let mut added = 0;
    for repository in new(&projects, app, installed) {
        let sender = Sender::Forge(app.kind);
        let project = NewProject::new(repository.name, sender, repository.url);
        match shared.database.add_project(NewProject { app: Some(app.id), ..project }).await {
            Ok(_) => added += 1,
            Err(ProjectError::Database(error)) => return Err(error.into()),
            Err(error) => tracing::warn!(app = app.name, %error, "a repository is no project"),
        }
    }
    Ok(added)
}

/// A repository that becomes a project.
#[derive(Debug, PartialEq, Eq)]
struct New {
    name: String,
    url: String,
}

/// Decides which repositories become projects: those that are none yet, and that are where the App is.
fn new(projects: &[Project], app: &App, installed: Vec<Installed>) -> Vec<New> {
    let is_known = |repository: &Installed| {
        let place = place_of_remote(&repository.url);
        projects.iter().any(|project| {
            (project.app == Some(app.id) && project.repository == Some(repository.id))
                || place_of_remote(&project.url) == place
        })
    };
    let is_plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && (1..=100).contains(&name.len())
            && !name.starts_with(['.', '-'])
    };
    installed
        .into_iter()
        .filter(|repository| !repository.is_archived)
        .filter(|repository| is_at(app.kind, &app.url, &repository.url))
        .filter(|repository| !is_known(repository))
        .map(|repository| New { name: repository.full_name.replace('/', "-"), url: repository.url })
        .filter(|new| is_plain(&new.name))
        .collect()
}
