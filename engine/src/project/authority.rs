//! Who says which branches a project has, and what is done where nobody can say it.
//!
//! `docs/decisions/0020-what-is-the-projects-own.md` says why.

use levain_actions::git::{Doubt, GitError, Listing, RemoteError, Repository};

use super::Remote;

/// Who says which branches the project has.
#[derive(Clone, Debug)]
pub(super) enum Authority {
    /// The remote, which was asked.
    Remote,
    /// The repository: a mirror of the remote's branches, or one that people push to.
    Itself,
    /// The remote, which did not answer.
    Silent(RemoteError),
    /// Nobody: the branches of the remote, or of the repository if it has none, may hold anybody's commits.
    Doubted(Doubted),
    /// Nobody: what is asked for does not depend on it.
    NotAsked,
}

/// Whose branches may hold anybody's commits, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubted {
    /// The remote, or nothing for the repository itself.
    pub(super) remote: Option<String>,
    /// A remote that nobody calls the project's.
    pub(super) unasked: Option<String>,
    /// Whether the repository is a mirror of levain's.
    pub(super) is_mirror: bool,
    /// Why.
    pub(super) doubt: Doubt,
}

impl Doubted {
    /// Says why, in a part of a sentence.
    pub(super) fn reason(&self) -> String {
        match (&self.remote, self.doubt) {
            (None, Doubt::Fetched) => "commits of others were fetched into this repository".into(),
            (None, Doubt::WorkTree | Doubt::Unreadable) => {
                "no remote tells which branches the project has".into()
            }
            (Some(remote), Doubt::WorkTree) => {
                format!("`{remote}` has a work tree, so its branches may hold anybody's commits")
            }
            (Some(remote), Doubt::Fetched) => {
                format!("commits of others were fetched into `{remote}`")
            }
            (Some(remote), Doubt::Unreadable) => {
                format!("`{remote}` cannot be looked at")
            }
        }
    }

    /// Says what to type where the operator knows better; `default` is what may be the default branch.
    pub(super) fn remedy(&self, default: Option<&str>) -> String {
        if self.is_mirror {
            return "hint: `levain -C DIRECTORY run` in that repository".into();
        }
        if let Some(name) = &self.unasked {
            return format!(
                "hint: `git config checkout.defaultRemote {name}` if the project lives there"
            );
        }
        match (&self.remote, self.doubt) {
            (None, Doubt::Fetched) => {
                "hint: `git config levain.ownBranches true` if all its branches are the project's"
                    .into()
            }
            _ => format!(
                "hint: `git config levain.defaultBranch {}` if all that this branch holds here is the project's",
                default.unwrap_or("NAME")
            ),
        }
    }
}

/// Asks who decides in a repository without a remote.
pub(super) fn alone(
    repository: &Repository,
    said: Option<&str>,
) -> Result<(Listing, Authority), GitError> {
    let Some(doubt) = repository.doubt()? else {
        let mut listing = repository.list_own()?;
        if !repository.is_bare() {
            // What is checked out is whatever somebody works on.
            listing.default = None;
        }
        return Ok((listing, Authority::Itself));
    };
    let unasked = repository.remote_names()?.pop();
    let doubted = Doubted { remote: None, unasked, is_mirror: false, doubt };
    Ok((vouched(repository, said)?, Authority::Doubted(doubted)))
}

/// Asks a remote.
pub(super) fn of_remote(
    repository: &Repository,
    remote: &Remote,
    said: Option<&str>,
) -> Result<(Listing, Authority), GitError> {
    let name = &remote.name;
    let is_mirror = repository.is_mirror();
    let asked = || -> Result<(Listing, Option<Doubt>), RemoteError> {
        // The branches of a mirror are those that the remote had a moment ago.
        let listing = if is_mirror { Listing::default() } else { repository.list_remote(name)? };
        Ok((listing, repository.doubt_of_remote(name)?))
    };
    match asked() {
        Ok((_, None)) if is_mirror => Ok((repository.list_own()?, Authority::Itself)),
        Ok((listing, None)) => Ok((listing, Authority::Remote)),
        Ok((_, Some(doubt))) => {
            let doubted = Doubted { remote: Some(name.clone()), unasked: None, is_mirror, doubt };
            Ok((vouched(repository, said)?, Authority::Doubted(doubted)))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot list the branches of the remote");
            Ok((Listing::default(), Authority::Silent(error)))
        }
    }
}

/// Returns the one branch of a repository that is known to be the project's: the one that its settings vouch for, else
/// the default branch if all its commits were made here.
fn vouched(repository: &Repository, said: Option<&str>) -> Result<Listing, GitError> {
    let mut listing = repository.list_own()?;
    let mut known = None;
    for name in candidates(&listing, said) {
        let Some(head) = listing.branches.get(&name) else { continue };
        if said.is_some() || repository.is_all_committed_here(*head)? {
            known = Some(name);
            break;
        }
    }
    listing.branches.retain(|name, _| known.as_ref() == Some(name));
    Ok(Listing { default: known, ..listing })
}

/// Returns which local branches may be the default branch, for want of anybody who says it.
fn candidates(listing: &Listing, said: Option<&str>) -> Vec<String> {
    if let Some(name) = said {
        return vec![name.to_owned()];
    }
    let usual = ["main", "master"].map(str::to_owned);
    let found: Vec<String> =
        usual.into_iter().filter(|name| listing.branches.contains_key(name)).collect();
    match listing.branches.len() {
        1 => listing.branches.keys().cloned().collect(),
        _ => found,
    }
}

/// Returns the default branch.
///
/// The one that HEAD leads to where branches are listed, else what settings say, else what the remote said when it was
/// cloned: each only if it is listed. No other has a say: whoever may push a branch may call it `main`. Where none are
/// listed, a name does no harm, for it makes no commit the project's own; `guessed` is the last.
pub(super) fn default_of(
    listing: &Listing,
    said: Option<String>,
    tracked: Option<String>,
    guessed: impl FnOnce() -> Result<Option<String>, GitError>,
) -> Result<Option<String>, GitError> {
    let named = listing.named().map(str::to_owned);
    if listing.branches.is_empty() {
        let known = said.or_else(|| listing.default.clone()).or(tracked);
        return known.map_or_else(guessed, |name| Ok(Some(name)));
    }
    let is_listed = |name: &String| listing.branches.contains_key(name);
    Ok([named, said, tracked].into_iter().flatten().find(is_listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(default: Option<&str>, branches: &[&str]) -> Listing {
        let commit = |digit: usize| digit.to_string().repeat(40).parse().unwrap();
        Listing {
            default: default.map(str::to_owned),
            head: None,
            branches: branches
                .iter()
                .enumerate()
                .map(|(index, name)| ((*name).to_owned(), commit(index + 1)))
                .collect(),
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn a_default_branch_is_named_and_not_guessed_among_what_is_listed() {
        let names = ["main", "topic", "trunk"];
        for (head, branches, said, tracked, found) in [
            (Some("trunk"), &names[..], None, None, Some("trunk")),
            // Settings and clones do not overrule the remote.
            (Some("trunk"), &names, Some("topic"), Some("main"), Some("trunk")),
            // The branch that HEAD names is not there: `main` does not take its place.
            (Some("gone"), &names, None, None, None),
            (None, &names, None, None, None),
            (None, &names, None, Some("trunk"), Some("trunk")),
            (None, &names, Some("topic"), Some("trunk"), Some("topic")),
            (None, &names, Some("gone"), Some("away"), None),
            (Some("gone"), &["main"], None, None, None),
            // Nothing is listed, and no name makes a commit the project's.
            (None, &[], None, None, Some("guessed")),
            (None, &[], None, Some("trunk"), Some("trunk")),
            (Some("new"), &[], None, Some("trunk"), Some("new")),
            (None, &[], Some("topic"), Some("trunk"), Some("topic")),
        ] {
            let own = |name: Option<&str>| name.map(str::to_owned);
            let listing = listing(head, branches);
            let guessed = || Ok(own(Some("guessed")));
            let default = default_of(&listing, own(said), own(tracked), guessed).unwrap();
            assert_eq!(default.as_deref(), found, "{head:?} {branches:?} {said:?} {tracked:?}");
        }
    }

    #[test]
    fn what_may_be_the_default_branch_here() {
        for (branches, said, found) in [
            (&["main", "master", "x"][..], None, &["main", "master"][..]),
            (&["trunk"], None, &["trunk"]),
            (&["trunk", "x"], None, &[]),
            (&["trunk", "x"], Some("x"), &["x"]),
            (&["main"], Some("gone"), &["gone"]),
            (&[], None, &[]),
        ] {
            assert_eq!(candidates(&listing(None, branches), said), found, "{branches:?} {said:?}");
        }
    }

    #[test]
    fn who_is_doubted_is_told_what_to_type() {
        let doubted = |remote: Option<&str>, doubt| Doubted {
            remote: remote.map(str::to_owned),
            unasked: None,
            is_mirror: false,
            doubt,
        };
        let work_tree = doubted(Some("origin"), Doubt::WorkTree);
        assert!(work_tree.reason().contains("`origin` has a work tree"));
        assert!(work_tree.remedy(Some("trunk")).contains("git config levain.defaultBranch trunk`"));
        assert!(work_tree.remedy(None).contains("levain.defaultBranch NAME`"));
        let bare = doubted(None, Doubt::Fetched);
        assert!(bare.reason().contains("were fetched"));
        assert!(bare.remedy(None).contains("levain.ownBranches true"));
        let mirror = Doubted { is_mirror: true, ..work_tree.clone() };
        assert!(mirror.remedy(None).contains("levain -C DIRECTORY run"));
        let unasked = Doubted { unasked: Some("alice".into()), ..work_tree };
        assert!(unasked.remedy(None).contains("checkout.defaultRemote alice"));
    }
}
