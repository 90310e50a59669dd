//! The limits of forges on requests, as far as this server was told, by what projects log in with.
//!
//! A limit is that of a token or of an App's installation, whichever project asks. An App has another for what it asks about
//! itself. They are kept in memory: each answer of a forge tells them anew.

use std::collections::BTreeMap;

use levain_actions::forge::{ForgeConfig, Limit, place_of_remote};

use super::Logins;
use crate::apps::AppId;
use crate::clock::Timestamp;
use crate::projects::{Project, ProjectId};

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// That of the token in a file. The number is that of the first project that has it.
    Token(i64),
    /// That of an App where it is installed.
    Installation(u64),
    /// That of an App for what it asks about itself.
    App(i64),
}

impl Login {
    /// Returns what a project is logged in with, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Token(_) => "with a token",
            Self::Installation(_) => "as an App",
            Self::App(_) => "the App itself",
        }
    }

    /// Returns a name for it that tells nothing private.
    pub fn label(self) -> String {
        match self {
            Self::Token(first) => format!("token-{first}"),
            Self::Installation(number) => format!("installation-{number}"),
            Self::App(number) => format!("app-{number}"),
        }
    }
}

/// A limit that some projects share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginLimit {
    /// The forge's host.
    pub forge: String,
    /// Whose it is.
    pub login: Login,
    /// Whose requests count.
    pub projects: Vec<ProjectId>,
    /// What the forge said of it; nothing yet, perhaps.
    pub said: Option<Limit>,
}

/// How a limit stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many requests the forge takes until the limit is reset.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub left: Option<u64>,
    /// When the limit is reset.
    pub resets_at: Option<Timestamp>,
    /// Until when the forge wants to hear nothing, if it does.
    pub silent_until: Option<Timestamp>,
    /// Until when statuses wait, if they do.
    pub waits_until: Option<Timestamp>,
}

impl LoginLimit {
    /// Tells how it stands; nothing if there is nothing to tell. `held` are the projects whose statuses wait.
    pub fn standing(&self, held: &[(ProjectId, Timestamp)], now: Timestamp) -> Option<Standing> {
        let said = self.said.unwrap_or_default();
        let later = |time| Some(Timestamp::of(time)).filter(|time| *time > now);
        let resets_at = said.resets_at.and_then(later);
        // What was counted before it was reset is over.
        let is_over = said.resets_at.is_some() && resets_at.is_none();
        // An App asks about itself, and tells no statuses.
        let tells = match self.login {
            Login::Token(_) | Login::Installation(_) => true,
            Login::App(_) => false,
        };
        let held = held.iter().filter(|(id, _)| tells && self.projects.contains(id));
        let standing = Standing {
            limit: said.limit,
            left: said.remaining.filter(|_| !is_over),
            resets_at,
            silent_until: said.blocked_until.and_then(later),
            waits_until: held.map(|(_, until)| *until).filter(|until| *until > now).max(),
        };
        (self.said.is_some() || standing.waits_until.is_some()).then_some(standing)
    }
}

impl Logins {
    /// Returns a forge's settings as they are used for a project: with the certificates that are trusted, and with the
    /// project's limit listened to.
    #[must_use]
    pub fn forge(&self, project: &Project, config: ForgeConfig) -> ForgeConfig {
        let whose = host(&project.url).and_then(|host| {
            let login = login(project)?;
            Some(key(&host, project, login))
        });
        self.listening(config, whose)
    }

    /// Returns them as they are used for what an App asks about itself.
    #[must_use]
    pub fn forge_of_app(&self, app: AppId, url: &str, config: ForgeConfig) -> ForgeConfig {
        let whose = host(url).map(|host| key_of_app(&host, app));
        self.listening(config, whose)
    }

    fn listening(&self, config: ForgeConfig, whose: Option<String>) -> ForgeConfig {
        let limits = whose.map(|whose| self.limits.listener(whose));
        ForgeConfig { ca_file: self.ca_file(), limits, ..config }
    }

    /// Returns the limits that projects share.
    pub fn limits(&self, projects: &[Project]) -> Vec<LoginLimit> {
        let mut found: BTreeMap<String, LoginLimit> = BTreeMap::new();
        for project in projects {
            let Some(host) = host(&project.url) else { continue };
            let own = login(project).map(|login| (key(&host, project, login), login));
            let of_app = project.app.map(|app| (key_of_app(&host, app), Login::App(app.0)));
            for (key, login) in own.into_iter().chain(of_app) {
                let said = self.limits.of(&key);
                let known = found.entry(key).or_insert_with(|| LoginLimit {
                    forge: host.clone(),
                    login,
                    projects: Vec::new(),
                    said,
                });
                known.projects.push(project.id);
            }
        }
        found.into_values().collect()
    }
}

/// Returns what a project is logged in with, if it is.
fn login(project: &Project) -> Option<Login> {
    match (project.app, &project.token_file) {
        // It is learned with the first token.
        (Some(_), _) => project.installation.map(Login::Installation),
        (None, Some(_)) => Some(Login::Token(project.id.number())),
        (None, None) => None,
    }
}

/// Returns the name under which the limit of a project is kept.
fn key(host: &str, project: &Project, login: Login) -> String {
    match login {
        Login::Token(_) => {
            let file = project.token_file.as_deref().unwrap_or("".as_ref());
            format!("{host} file {}", file.display())
        }
        Login::Installation(_) | Login::App(_) => format!("{host} {}", login.label()),
    }
}

fn key_of_app(host: &str, app: AppId) -> String {
    format!("{host} {}", Login::App(app.0).label())
}

fn host(url: &str) -> Option<String> {
    let place = place_of_remote(url)?;
    place.split_once('/').map(|(host, _)| host.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn stands(
        login: Login,
        said: Option<Limit>,
        held: &[(ProjectId, Timestamp)],
    ) -> Option<Standing> {
        let (forge, projects) = ("git.example.org".to_owned(), vec![ProjectId(1), ProjectId(2)]);
        LoginLimit { forge, login, projects, said }.standing(held, Timestamp::of(at(1_000)))
    }

    #[test]
    fn what_is_over_is_not_told() {
        let counted = |resets_at| Limit {
            limit: Some(60),
            remaining: Some(0),
            resets_at: Some(at(resets_at)),
            blocked_until: Some(at(resets_at)),
        };
        let found = stands(Login::Token(1), Some(counted(1_500)), &[]).unwrap();
        let then = Some(Timestamp::of(at(1_500)));
        assert_eq!((found.limit, found.left), (Some(60), Some(0)));
        assert_eq!((found.resets_at, found.silent_until, found.waits_until), (then, then, None));
        let found = stands(Login::Token(1), Some(counted(1_000)), &[]).unwrap();
        assert_eq!((found.limit, found.left), (Some(60), None));
        assert_eq!((found.resets_at, found.silent_until), (None, None));
        assert_eq!(stands(Login::Token(1), None, &[]), None);
    }

    #[test]
    fn levain_waits_as_long_as_any_of_the_projects_does() {
        let held = |seconds| Timestamp::of(at(seconds));
        let waits = |login, held: &[_]| stands(login, None, held)?.waits_until;
        let (one, two, other) = (ProjectId(1), ProjectId(2), ProjectId(3));
        let both = [(one, held(1_100)), (two, held(1_200)), (other, held(1_300))];
        assert_eq!(waits(Login::Installation(7), &both), Some(held(1_200)));
        assert_eq!(waits(Login::Token(1), &[(one, held(1_000))]), None);
        assert_eq!(waits(Login::Token(1), &[(other, held(1_300))]), None);
        assert_eq!(waits(Login::App(1), &both), None);
    }
}
