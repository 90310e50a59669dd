//! Which run a command is about: one that is named by its number, or the newest of the commit that is checked out.

use std::path::Path;

use levain_actions::git::{CommitId, Repository};
use levain_server::Database;
use levain_server::projects::Project;
use levain_server::runs::{Run, RunId};

use crate::args::RunChoice;
use crate::exit::Failure;

/// Among how many runs of a project, the newest, one of a commit is looked for.
const LOOKED_THROUGH: u32 = 200;

/// What a command is about.
pub(crate) enum Choice {
    /// A run.
    Run(RunId),
    /// The newest run of a commit, which there may not be yet.
    Commit(Box<Project>, CommitId),
}

impl Choice {
    /// Finds out what is meant.
    pub(crate) async fn of(
        choice: &RunChoice,
        directory: &Path,
        database: &Database,
    ) -> Result<Self, Failure> {
        if let Some(number) = choice.run {
            return Ok(Self::Run(RunId::from_number(number)));
        }
        let repository = Repository::discover(directory).map_err(|error| Failure::error(&error))?;
        let commit = repository.head().map_err(|error| Failure::error(&error))?;
        let project = match &choice.project {
            Some(name) => super::status::project_named(database, name).await?,
            None => project_of(&repository, database).await?,
        };
        Ok(Self::Commit(Box::new(project), commit))
    }

    /// Returns the run, which must be there.
    pub(crate) async fn existing(&self, database: &Database) -> Result<Run, Failure> {
        self.run(database).await?.ok_or_else(|| {
            let what = match self {
                Self::Run(id) => format!("there is no run {}", id.number()),
                Self::Commit(project, commit) => {
                    format!("`{}` has no run of {commit} yet", project.name)
                }
            };
            Failure::user(format!("{what}\nhint: `levain status` shows those there are"))
        })
    }

    /// Returns the run; nothing if the server does not know of the commit yet.
    pub(crate) async fn run(&self, database: &Database) -> Result<Option<Run>, Failure> {
        let failed = |error| Failure::error(&error);
        match self {
            Self::Run(id) => {
                let found = database.run(*id).await.map_err(failed)?;
                found.map(Some).ok_or_else(|| {
                    Failure::user(format!(
                        "there is no run {}\nhint: `levain status` shows those there are",
                        id.number()
                    ))
                })
            }
            Self::Commit(project, commit) => {
                let runs = database.runs(project.id, LOOKED_THROUGH).await.map_err(failed)?;
                Ok(runs.into_iter().find(|run| run.commit == *commit))
            }
        }
    }
}

/// Returns the project that a repository is a clone of, or the repository of.
async fn project_of(repository: &Repository, database: &Database) -> Result<Project, Failure> {
    let remote = repository.project_remote().map_err(|error| Failure::error(&error))?;
    let url = remote.and_then(|name| repository.remote_url(&name));
    let url = url.unwrap_or_else(|| repository.location().display().to_string());
    let mut projects = database.projects().await.map_err(|error| Failure::error(&error))?;
    projects.retain(|project| place(&project.url) == place(&url));
    let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
    match names.as_slice() {
        [_] => projects.pop().ok_or_else(|| Failure::user("there is no such project")),
        [] => Err(Failure::user(format!(
            "no project is at `{}`\nhint: `levain project list` shows those there are; name one with `--project`",
            levain_actions::git::masked(&url)
        ))),
        names => Err(Failure::user(format!(
            "several projects are at `{}`: {}\nhint: name one with `--project`",
            levain_actions::git::masked(&url),
            names.join(", ")
        ))),
    }
}

/// Returns the host and the path of a repository's URL, however git gets there: people clone by ssh what servers fetch
/// over https.
fn place(url: &str) -> (String, String) {
    let path = |path: &str| path.trim_matches('/').trim_end_matches(".git").to_owned();
    let host = |host: &str| {
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        host.split(':').next().unwrap_or_default().to_lowercase()
    };
    let url = url.strip_prefix("file://").unwrap_or(url);
    if let Some((_, rest)) = url.split_once("://") {
        let (authority, rest) = rest.split_once('/').unwrap_or((rest, ""));
        return (host(authority), path(rest));
    }
    match url.split_once(':') {
        Some((authority, rest)) if !authority.contains('/') => (host(authority), path(rest)),
        Some(_) | None => {
            let whole = std::fs::canonicalize(url).unwrap_or_else(|_| url.into());
            (String::new(), path(&whole.display().to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_repository_is_known_by_all_its_urls() {
        let one = place("https://git.example.org/o/bread");
        for url in [
            "https://git.example.org/o/bread.git",
            "https://token@Git.example.org/o/bread/",
            "ssh://git@git.example.org:2222/o/bread.git",
            "git@git.example.org:o/bread.git",
        ] {
            assert_eq!(place(url), one, "{url}");
        }
        for url in ["https://git.example.org/o/rye", "https://example.org/o/bread", "/o/bread"] {
            assert_ne!(place(url), one, "{url}");
        }
        assert_eq!(place("/"), place("file:///"));
        assert_eq!(place("/nowhere/bread.git"), place("file:///nowhere/bread"));
    }
}
