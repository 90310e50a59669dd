//! What a remote lists: its branches, and which of them is the default.
//!
//! One question per run, `git ls-remote`, asked with the user's own credentials. The answer is the remote's; tracking
//! branches are not, since a refspec of the user's may put pull requests among them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::remote::Session;
use super::{CommitId, GitError, RemoteError, Repository};

/// How long a remote may take to list its branches.
const LIMIT: Duration = Duration::from_secs(30);
const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// The branches of a project, as the repository lists them that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The default branch, if one is named.
    pub default: Option<String>,
    /// The commit of HEAD, if it has one.
    pub head: Option<CommitId>,
    /// The head of each branch, by its name without `refs/heads/`.
    pub branches: BTreeMap<String, CommitId>,
    /// Branches whose names are not UTF-8, as far as they can be shown.
    pub unreadable: Vec<String>,
}

impl Listing {
    /// Reads the output of `git ls-remote --symref`.
    ///
    /// Everything but branches is left out, whatever the remote chose to answer.
    fn parse(output: &str) -> Self {
        let mut listing = Self::default();
        for line in output.lines() {
            let Some((value, name)) = line.split_once('\t') else { continue };
            if let Some(target) = value.strip_prefix("ref: ") {
                if name == "HEAD" {
                    listing.default = target.strip_prefix(BRANCHES).map(str::to_owned);
                }
            } else if name == "HEAD" {
                listing.head = value.parse().ok();
            } else if let Some(branch) = name.strip_prefix(BRANCHES)
                && let Ok(commit) = value.parse()
            {
                listing.branches.insert(branch.to_owned(), commit);
            }
        }
        listing
    }

    /// Returns the listed branch that HEAD leads to.
    ///
    /// Some servers do not say which branch HEAD is on. Then it is the only one with the same commit.
    pub fn named(&self) -> Option<&str> {
        if let Some(name) = &self.default {
            return self.branches.contains_key(name).then_some(name.as_str());
        }
        let head = self.head?;
        let mut found = self.branches.iter().filter(|(_, commit)| **commit == head);
        match (found.next(), found.next()) {
            (Some((name, _)), None) => Some(name.as_str()),
            _ => None,
        }
    }
}

impl Session<'_> {
    /// Asks for the branches and the default branch.
    pub(super) fn list(&self) -> Result<Listing, RemoteError> {
        let mut command = self.command("ls-remote");
        command.args(["--symref", "--", self.remote(), "HEAD", "refs/heads/*"]);
        let output = self.run_within(command, LIMIT)?;
        if !output.status.success() {
            return Err(self.failure(&output));
        }
        let unreadable = unreadable(&output.stdout);
        Ok(Listing { unreadable, ..Listing::parse(&readable(&output.stdout)) })
    }
}

/// Reads the tags in the output of `git ls-remote`, each with the commit that it stands for.
///
/// A tag with a message is an object of its own; what it is a tag of is listed under its name with `^{}`.
fn tags(output: &str) -> BTreeMap<String, CommitId> {
    let lines = output.lines().filter_map(|line| line.split_once('\t'));
    let named = lines.filter_map(|(id, name)| Some((id.parse().ok()?, name.strip_prefix(TAGS)?)));
    let mut found: BTreeMap<String, (CommitId, bool)> = BTreeMap::new();
    for (id, name) in named {
        let (name, is_peeled) = match name.strip_suffix("^{}") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let known = found.entry(name.to_owned()).or_insert((id, is_peeled));
        if is_peeled {
            *known = (id, true);
        }
    }
    found.into_iter().map(|(name, (id, _))| (name, id)).collect()
}

impl Repository {
    /// Asks a remote, given by name, for its tags, each with the commit that it stands for.
    pub fn list_tags(&self, remote: &str) -> Result<BTreeMap<String, CommitId>, RemoteError> {
        let session = Session::fetching(self, remote);
        let mut command = session.command("ls-remote");
        command.args(["--", session.remote(), "refs/tags/*"]);
        let output = session.run_within(command, LIMIT)?;
        if !output.status.success() {
            return Err(session.failure(&output));
        }
        Ok(tags(&readable(&output.stdout)))
    }

    /// Asks a remote, given by name, for its branches and its default branch.
    pub fn list_remote(&self, remote: &str) -> Result<Listing, RemoteError> {
        Session::fetching(self, remote).list()
    }

    /// Returns the branches of this repository itself, and the one that its HEAD is on.
    pub fn list_own(&self) -> Result<Listing, GitError> {
        let mut listing = Listing { default: self.head_branch()?, ..Listing::default() };
        for (name, commit) in self.references(BRANCHES)? {
            if let Some(branch) = name.strip_prefix(BRANCHES) {
                listing.branches.insert(branch.to_owned(), commit);
            }
        }
        Ok(listing)
    }

    /// Returns the names of all remotes.
    pub fn remote_names(&self) -> Result<Vec<String>, GitError> {
        let doing = "list the remotes";
        let remotes = self.inner.remotes().map_err(GitError::doing(doing))?;
        let mut names = Vec::new();
        for name in &remotes {
            names.extend(name.map_err(GitError::doing(doing))?.map(str::to_owned));
        }
        Ok(names)
    }

    /// Returns the name of the remote that the project lives at.
    ///
    /// That is `origin`; without it the one that `checkout.defaultRemote` names, or the only one there is, if the
    /// repository was cloned from it. Another one may well be a contributor's.
    pub fn project_remote(&self) -> Result<Option<String>, GitError> {
        let mut names = self.remote_names()?;
        if names.iter().any(|name| name == "origin") {
            return Ok(Some("origin".to_owned()));
        }
        let config = self.inner.config().map_err(GitError::doing("read the settings"))?;
        match config.get_string("checkout.defaultRemote") {
            Ok(name) if names.contains(&name) => return Ok(Some(name)),
            Ok(_) | Err(_) if names.len() > 1 => return Err(GitError::AmbiguousRemote { names }),
            Ok(_) | Err(_) => {}
        }
        Ok(names.pop().filter(|name| self.was_cloned_from(name)))
    }

    /// Tells whether a reflog says that this repository was cloned from a remote.
    fn was_cloned_from(&self, remote: &str) -> bool {
        const CLONED: &str = "clone: from ";
        let url = || self.inner.config().ok()?.get_string(&format!("remote.{remote}.url")).ok();
        let log = |path: String| super::reflog::read_log(&self.git_dir().join(path));
        let is_clone = |message: &str| message.starts_with(CLONED);
        log(format!("logs/refs/remotes/{remote}/HEAD")).iter().any(|line| is_clone(&line.message))
            || log("logs/HEAD".to_owned()).iter().any(|line| {
                let from = line.message.strip_prefix(CLONED).map(without_user);
                from.is_some() && from == url().as_deref().map(without_user)
            })
    }
}

/// Returns the lines that are text: a name that is none could not be asked for again, and must not pass for another.
fn readable(output: &[u8]) -> String {
    let lines = output.split(|byte| *byte == b'\n');
    lines.filter_map(|line| std::str::from_utf8(line).ok()).collect::<Vec<_>>().join("\n")
}

/// Returns the branches that [`readable`] leaves out.
fn unreadable(output: &[u8]) -> Vec<String> {
    let lines = output.split(|byte| *byte == b'\n');
    let names = lines.filter(|line| std::str::from_utf8(line).is_err()).filter_map(|line| {
        let name = line.splitn(2, |byte| *byte == b'\t').nth(1)?;
        name.strip_prefix(BRANCHES.as_bytes())
    });
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Returns what git writes of a URL into reflogs: all but the user.
fn without_user(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find('/').unwrap_or(rest.len());
    rest[..end].rfind('@').map_or(rest, |at| &rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_branches_are_taken_from_an_answer() {
        let id = |digit: &str| digit.repeat(40);
        let text = [
            "ref: refs/heads/trunk\tHEAD".to_owned(),
            format!("{}\tHEAD", id("1")),
            "ref: refs/heads/evil\trefs/remotes/origin/HEAD".to_owned(),
            format!("{}\trefs/heads/trunk", id("1")),
            format!("{}\trefs/heads/pr/7", id("2")),
            format!("{}\trefs/pull/7/head", id("3")),
            format!("{}\trefs/remotes/origin/refs/heads/x", id("4")),
            format!("{}\trefs/tags/v1", id("5")),
            "rubbish\trefs/heads/rubbish".to_owned(),
            "no tab at all".to_owned(),
        ];
        let listing = Listing::parse(&text.join("\n"));
        assert_eq!(listing.default.as_deref(), Some("trunk"));
        let found: Vec<_> = listing.branches.keys().map(String::as_str).collect();
        assert_eq!(found, ["pr/7", "trunk"]);
        assert_eq!(listing.named(), Some("trunk"));
        // A detached HEAD, and one that is no branch.
        assert_eq!(Listing::parse(&format!("{}\tHEAD\n", id("1"))).default, None);
        assert_eq!(Listing::parse("ref: refs/pull/7/head\tHEAD\n").default, None);
    }

    #[test]
    fn a_branch_whose_name_is_no_text_is_told_and_not_taken() {
        let output = b"1\trefs/heads/main\n2\trefs/heads/bad\xff\n3\trefs/tags/\xff\n\xff\n";
        assert_eq!(unreadable(output), ["bad\u{fffd}"]);
        assert_eq!(readable(output), "1\trefs/heads/main\n");
    }

    #[test]
    fn a_head_leads_to_a_listed_branch_or_to_none() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let named = |lines: &[(&str, &str)]| {
            let lines = lines.iter().map(|(value, name)| format!("{value}\t{name}"));
            let text = lines.collect::<Vec<_>>().join("\n");
            Listing::parse(&text).named().map(str::to_owned)
        };
        let (main, trunk) = ("refs/heads/main", "refs/heads/trunk");
        let symbolic = "ref: refs/heads/trunk";
        assert_eq!(named(&[(symbolic, "HEAD"), (&one, trunk)]).as_deref(), Some("trunk"));
        // The branch is not there, or not yet: another one does not take its place.
        assert_eq!(named(&[(symbolic, "HEAD"), (&one, main)]), None);
        assert_eq!(named(&[(&one, main)]), None);
        // A server that says no names.
        assert_eq!(named(&[(&one, "HEAD"), (&one, trunk), (&two, main)]).as_deref(), Some("trunk"));
        assert_eq!(named(&[(&one, "HEAD"), (&one, trunk), (&one, main)]), None);
        assert_eq!(named(&[(&one, "HEAD"), (&two, main)]), None);
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn tags_stand_for_what_they_are_tags_of() {
        let id = |digit: &str| digit.repeat(40);
        let text = [
            format!("{}\trefs/tags/light", id("1")),
            format!("{}\trefs/tags/v1", id("2")),
            format!("{}\trefs/tags/v1^{{}}", id("3")),
            format!("{}\trefs/tags/v1^{{}}x", id("4")),
            format!("{}\trefs/heads/v2", id("5")),
            "rubbish\trefs/tags/v3".to_owned(),
        ];
        let found = tags(&text.join("\n"));
        let found: Vec<_> =
            found.iter().map(|(name, id)| (name.as_str(), id.to_string())).collect();
        assert_eq!(found, [("light", id("1")), ("v1", id("3")), ("v1^{}x", id("4"))]);
    }

    #[test]
    fn names_that_are_no_text_are_left_out() {
        let id = "1".repeat(40);
        let lines = [
            [id.as_bytes(), b"\trefs/heads/a\xff"].concat(),
            [id.as_bytes(), b"\trefs/heads/a\xfe"].concat(),
            [id.as_bytes(), "\trefs/heads/staging\u{202e}".as_bytes()].concat(),
            [id.as_bytes(), b"\trefs/heads/main"].concat(),
        ];
        let listing = Listing::parse(&readable(&lines.join(&b'\n')));
        let found: Vec<_> = listing.branches.keys().map(String::as_str).collect();
        assert_eq!(found, ["main", "staging\u{202e}"]);
    }

    #[test]
    fn urls_are_compared_without_their_users() {
        for (url, rest) in [
            ("https://me:secret@host/p", "host/p"),
            ("https://host/p@2", "host/p@2"),
            ("git@host:p", "host:p"),
            ("/srv/p", "/srv/p"),
        ] {
            assert_eq!(without_user(url), rest, "{url}");
        }
    }
}
