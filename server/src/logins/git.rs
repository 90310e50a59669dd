//! Letting git log in with a project's token, for as long as something is done with git.
//!
//! Git reads the token from a file when it needs it. An App's token is written to a file that only this user can read, and
//! written anew before it ends: a run may take longer than a token lasts.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use levain_actions::forge::webhook::Sender;
use levain_actions::forge::{Reach, Token};
use levain_actions::git::Login;
use levain_store::scratch::Scratch;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::{LoginError, Logins};
use crate::projects::Project;

/// How often it is looked whether the token that git is given ends soon.
const LOOK: Duration = Duration::from_secs(60);

/// What git logs in with, until this is dropped.
#[derive(Debug)]
pub struct GitLogin {
    login: Option<Login>,
    _kept: Option<Kept>,
}

/// A file with a token, removed when this goes.
#[derive(Debug)]
struct Kept {
    renewing: AbortHandle,
    _directory: Scratch,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl GitLogin {
    /// Returns what git is told; nothing if it is to find out by itself.
    pub fn login(&self) -> Option<Login> {
        self.login.clone()
    }
}

impl Logins {
    /// Lets git log in to where a project's repository is, if that is at its forge. Blocks.
    pub fn git(
        &self,
        project: &Project,
        reach: Reach,
        runtime: &Handle,
    ) -> Result<GitLogin, LoginError> {
        let Sender::Forge(kind) = project.sender else {
            return Ok(GitLogin { login: None, _kept: None });
        };
        if project.app.is_none() {
            let file = project.token_file.clone();
            let login = file.and_then(|file| kind.git_login(&project.url, file));
            return Ok(GitLogin { login, _kept: None });
        }
        let Some(token) = runtime.block_on(self.token(project, reach))? else {
            return Ok(GitLogin { login: None, _kept: None });
        };
        let directory = Scratch::new("login").map_err(LoginError::Handing)?;
        let own = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(directory.path(), own).map_err(LoginError::Handing)?;
        let file = directory.path().join("token");
        write(&file, &token).map_err(LoginError::Handing)?;
        let login = kind.git_login(&project.url, file.clone());
        let (logins, project) = (self.clone(), project.clone());
        let renewing = runtime.spawn(async move {
            let mut written = token;
            loop {
                tokio::time::sleep(LOOK).await;
                let token = match logins.token(&project, reach).await {
                    Ok(Some(token)) if token.expose() != written.expose() => token,
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::warn!(project = project.name, %error, "git gets no new token");
                        continue;
                    }
                };
                match write(&file, &token) {
                    Ok(()) => written = token,
                    Err(error) => tracing::warn!(%error, "git gets no new token"),
                }
            }
        });
        let kept = Kept { renewing: renewing.abort_handle(), _directory: directory };
        Ok(GitLogin { login, _kept: Some(kept) })
    }
}

/// Writes a token to a file, which is never seen half written.
fn write(file: &Path, token: &Token) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    opened.write_all(token.expose().as_bytes())?;
    drop(opened);
    std::fs::rename(&new, file)
}
