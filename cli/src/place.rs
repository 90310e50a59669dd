//! What a person named on the command line: a directory, a URL, or a flake reference.

use levain_actions::forge::{Source, source};
use levain_engine::project::{Place, Selection};

use crate::exit::Failure;

/// Returns the repository that `text` names, and what is selected of it.
///
/// What the reference says must not differ from what options say.
pub(crate) fn of(text: &str, selection: Selection) -> Result<(Place, Selection), Failure> {
    let Source { url, branch, pull_request, revision } = find(text)?;
    if let (Some(_), Some(_)) = (&branch, selection.pull_request) {
        return Err(Failure::user(format!(
            "`{text}` names a branch, and `--pull-request` a pull request\nhint: leave out one of them"
        )));
    }
    let selection = Selection {
        branch: one("--branch", text, selection.branch, branch)?,
        pull_request: one("--pull-request", text, selection.pull_request, pull_request)?,
        revision: one("--rev", text, selection.revision, revision)?,
        ..selection
    };
    Ok((Place::Url(url), selection))
}

/// Returns the repository that `--declaration` names.
pub(crate) fn of_declaration(text: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let found = find(text)?;
    if found != (Source { url: found.url.clone(), ..Source::default() }) {
        return Err(Failure::user(format!(
            "`--declaration {text}` names a branch or commit, but a declaration is read from the default branch\nhint: leave out `ref` and `rev`"
        )));
    }
    Ok(Some(found.url))
}

/// Returns the repository of a project: as a whole, with all its branches.
pub(crate) fn of_project(text: &str) -> Result<String, Failure> {
    let found = find(text)?;
    if found != (Source { url: found.url.clone(), ..Source::default() }) {
        return Err(Failure::user(format!(
            "`{text}` names a branch or commit, but a project is a whole repository\nhint: leave out `ref` and `rev`"
        )));
    }
    Ok(found.url)
}

/// Takes what is a path for a path, whatever else it might mean, as git and Nix do.
fn find(text: &str) -> Result<Source, Failure> {
    if let Some(url) = existing(text) {
        return Ok(Source { url, ..Source::default() });
    }
    if let Some((path, query)) = text.split_once('?')
        && let Some(url) = existing(path)
    {
        let found = source(&format!("path:?{query}")).map_err(|error| Failure::error(&error))?;
        return Ok(Source { url, ..found });
    }
    let found = source(text).map_err(|error| Failure::error(&error))?;
    let url = existing(&found.url).unwrap_or(found.url);
    Ok(Source { url, ..found })
}

/// A local path is a fine URL for git, but only while one stands in the right directory.
fn existing(text: &str) -> Option<String> {
    std::fs::canonicalize(text).ok().map(|path| path.display().to_string())
}

fn one<T: PartialEq>(
    option: &str,
    text: &str,
    given: Option<T>,
    named: Option<T>,
) -> Result<Option<T>, Failure> {
    match (given, named) {
        (Some(given), Some(named)) if given != named => Err(Failure::user(format!(
            "`{option}` and `{text}` name different things\nhint: leave out one of them"
        ))),
        (given, named) => Ok(given.or(named)),
    }
}
