//! `GET /projects/NAME/settings`: what of a project is built, when, and who gets whose caches.
//!
//! It shows and changes nothing: `levain project set` does. No secret is on it, nor where one is kept.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::format::{Format, answer, twin};
use super::rows::{Link, NoDefault};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::pages::links;
use crate::pages::moment::Moment;
use crate::pages::renderer::View;
use crate::projects::{Merge, Project, PullRequests};
use crate::rights::Right;

pub(super) fn routes(table: Table) -> Table {
    let needs = Needs::Project(Right::Read);
    table.get("/projects/{project}/settings", needs, settings).get(
        "/projects/{project}/settings.json",
        needs,
        settings,
    )
}

/// A setting, in words.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    /// The option of `levain project set` that changes it.
    option: Option<&'static str>,
}

/// A class of trust: what is done with commits that are in it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Class {
    name: String,
    /// When a commit is built.
    built: String,
    /// Whose caches its builds may start from.
    from: &'static str,
    /// Who may start from its caches.
    gives: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingsPage {
    project: Link,
    looked_at: Option<Moment>,
    no_default_branch: Option<NoDefault>,
    settings: Vec<Setting>,
    classes: Vec<Class>,
}

async fn settings(
    State(app): State<App>,
    OfProject(project): OfProject,
    format: Format,
) -> Result<Response, Refused> {
    let now = Timestamp::now();
    let no_default_branch = app.database.no_default_branch(&project).await?;
    let path = format!("{}/settings", links::project(&project.name));
    let view = View {
        title: format!("Settings · {}", project.name),
        json: twin(&path),
        section: "projects",
        live: None,
        page: SettingsPage {
            project: Link::new(&project.name, links::project(&project.name)),
            looked_at: project.looked_at.map(|time| Moment::new(time, now)),
            no_default_branch: no_default_branch.map(NoDefault::new),
            settings: all_settings(&project),
            classes: classes(&project),
        },
        path,
    };
    answer(&app, format, "settings", view).await
}

fn all_settings(project: &Project) -> Vec<Setting> {
    let setting = |name, value: String, option| Setting { name, value, option };
    let login = match (&project.app, &project.token_file) {
        (Some(_), _) => "as an App",
        (None, Some(_)) => "with a token",
        (None, None) => "not at all",
    };
    let visible = if project.is_public { "everybody" } else { "whoever may at its forge" };
    let merge = match project.merge {
        Merge::Base => "merged with the newest commit of their base",
        Merge::Head => "as they are",
    };
    let schedule = project.schedule.as_ref().map(ToString::to_string);
    let none = || "none".to_owned();
    vec![
        setting("repository", levain_actions::git::masked(&project.url), None),
        setting("forge", project.sender.name().to_owned(), None),
        setting("signs in there", login.to_owned(), None),
        setting("seen by", visible.to_owned(), None),
        setting(
            "default branch",
            project.default_branch.clone().unwrap_or_else(|| "not known".to_owned()),
            None,
        ),
        setting("pull requests", project.pull_requests.name().to_owned(), Some("--pull-requests")),
        setting("they are built", merge.to_owned(), Some("--merge")),
        setting("tags", project.tags.clone().unwrap_or_else(none), Some("--tags")),
        setting("schedule", schedule.unwrap_or_else(none), Some("--schedule")),
    ]
}

/// Says what is done with each class of commits. `docs/pointer.md` has the rules.
fn classes(project: &Project) -> Vec<Class> {
    const PULL_REQUESTS_FROM: &str = "itself, and branches";
    const NOBODY: &str = "nobody else";
    let class = |name: &str, built: String, from, gives| Class {
        name: name.to_owned(),
        built,
        from,
        gives,
    };
    let pushed = || "at each push".to_owned();
    let main = match &project.default_branch {
        Some(name) => format!("default branch, {name}"),
        None => "default branch".to_owned(),
    };
    let main_built = match &project.schedule {
        Some(schedule) => format!("at each push, and by its schedule, {schedule}"),
        None => pushed(),
    };
    let (own, forks) = pull_requests(project.pull_requests, project.has_login());
    let tags = match &project.tags {
        Some(pattern) => format!("where they match {pattern}"),
        None => "never".to_owned(),
    };
    vec![
        class(&main, main_built, "itself", "everybody"),
        class("other branches", pushed(), "itself, and branches", "other branches, pull requests"),
        class("pull requests of this repository", own.to_owned(), PULL_REQUESTS_FROM, NOBODY),
        class("pull requests of forks", forks.to_owned(), PULL_REQUESTS_FROM, NOBODY),
        class("what a merge queue tries", pushed(), "branches", "nobody, not its next try either"),
        class("tags", tags, "branches", "nobody"),
    ]
}

/// Says when pull requests are built: those of the repository, and those of forks.
fn pull_requests(choice: PullRequests, has_login: bool) -> (&'static str, &'static str) {
    const PUSHED: &str = "at each push";
    const NEVER: &str = "never";
    if !has_login {
        let why = "never: without a token nobody says which are open";
        return (why, why);
    }
    match choice {
        PullRequests::None => (NEVER, NEVER),
        PullRequests::Own => (PUSHED, NEVER),
        PullRequests::Approved => (PUSHED, "each commit once somebody who may push approved it"),
        PullRequests::All => (PUSHED, "at each push, whoever made it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_built_is_said_so() {
        let never = |(own, forks): (&str, &str)| (own.contains("never"), forks.contains("never"));
        for (choice, has_login, expected) in [
            (PullRequests::All, false, (true, true)),
            (PullRequests::None, true, (true, true)),
            (PullRequests::Own, true, (false, true)),
            (PullRequests::Approved, true, (false, false)),
            (PullRequests::All, true, (false, false)),
        ] {
            assert_eq!(never(pull_requests(choice, has_login)), expected, "{choice:?}");
        }
        assert!(pull_requests(PullRequests::Approved, true).1.contains("approved"));
        assert!(!pull_requests(PullRequests::All, true).1.contains("approved"));
    }
}
