//! The mirrors of repositories that are elsewhere: where each is, and which are not needed any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use levain_actions::forge::address_of_remote;
use levain_actions::git::{GitError, Repository};

use super::Surroundings;
use crate::digest::sha256_hex;
use crate::hold::{Holds, IsNew};
use crate::state::State;

/// How the name of a mirror ends.
const SUFFIX: &str = ".git";
/// How the name of one begins that is being removed.
const REMOVED: &str = ".removed-";

/// Opens or makes the mirror of `url`.
pub fn mirror(surroundings: &Surroundings, url: &str) -> Result<Repository, GitError> {
    let place = place_of_mirror(&surroundings.mirrors, url);
    Ok(Repository::mirror(&place, url)?.conducted(surroundings.conduct()))
}

/// Returns where the mirror of `url` is below a directory, or would be made: one place for all spellings of an address.
///
/// Of different ways to a repository, such as over ssh and https, each has its own: git is to go the way that it was told.
pub fn place_of_mirror(mirrors: &Path, url: &str) -> PathBuf {
    let name: String = url
        .rsplit(['/', ':'])
        .find(|part| !part.is_empty())
        .unwrap_or("repository")
        .trim_end_matches(SUFFIX)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    let named = |address: &str| {
        let hash = sha256_hex(address.as_bytes());
        mirrors.join(format!("{name}-{}{SUFFIX}", &hash[..16]))
    };
    let as_spelt = named(url);
    // Earlier versions had one for each spelling. It stays where it is: what keeps its store paths alive names the place.
    if as_spelt.exists() {
        return as_spelt;
    }
    named(&address(url))
}

/// Returns an address without what makes no difference.
fn address(url: &str) -> String {
    if let Some(address) = address_of_remote(url) {
        return address;
    }
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Removes the mirrors that are not needed and that no levain has worked on since a time; returns where they were.
///
/// `is_needed` is asked about each, with where it is and what it says of itself.
pub fn remove_mirrors(
    mirrors: &Path,
    holds: &Holds,
    since: SystemTime,
    is_needed: impl Fn(&Path, &State) -> bool,
) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(mirrors) else { return Vec::new() };
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let (place, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(REMOVED) {
            // Whoever removed it was killed.
            remove(&place);
            continue;
        }
        if !name.ends_with(SUFFIX) {
            continue;
        }
        let state = State::of(&place);
        if is_needed(&place, &state) || !state.is_unused_since(since) {
            continue;
        }
        // Held until it is gone; another levain that is at work on it has it.
        let Ok((_writer, IsNew::Yes)) = state.lend(holds) else { continue };
        let aside = mirrors.join(format!("{REMOVED}{name}"));
        match fs::rename(&place, &aside) {
            Ok(()) => {
                remove(&aside);
                removed.push(place);
            }
            Err(error) => {
                tracing::warn!(%error, mirror = %place.display(), "cannot remove a mirror");
            }
        }
    }
    removed
}

fn remove(place: &Path) {
    if let Err(error) = fs::remove_dir_all(place) {
        tracing::warn!(%error, mirror = %place.display(), "cannot remove a mirror");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_spellings_of_an_address_have_one_mirror_and_each_way_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let place = |url: &str| place_of_mirror(dir.path(), url);
        let https = place("https://git.example.org/o/bread");
        for url in [
            "https://git.example.org/o/bread.git",
            "https://Git.Example.org/o/bread/",
            "git+https://git.example.org:443/o/bread.git/",
            "https://:secret@git.example.org/o/bread",
        ] {
            assert_eq!(place(url), https, "{url}");
        }
        let ssh = place("git@git.example.org:o/bread.git");
        assert_eq!(place("ssh://git@git.example.org/o/bread"), ssh);
        let others = [
            https,
            ssh,
            place("https://git.example.org/o/bread2"),
            place("https://git.example.org:8443/o/bread"),
            place("https://other@git.example.org/o/bread"),
            place("ssh://git@git.example.org:2222/o/bread"),
            place("http://git.example.org/o/bread"),
        ];
        assert_eq!(BTreeSet::from(others.clone()).len(), others.len(), "{others:?}");
        // A path, whichever way leads there.
        let there = dir.path().join("there");
        fs::create_dir(&there).unwrap();
        std::os::unix::fs::symlink(&there, dir.path().join("link")).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let hash =
            |place: PathBuf| place.display().to_string().rsplit_once('-').unwrap().1.to_owned();
        assert_eq!(hash(place(&path("there"))), hash(place(&path("link"))));
        assert_eq!(place(&path("there")), place(&format!("file://{}", path("there"))));
        assert_ne!(hash(place(&path("there"))), hash(place(&path("elsewhere"))));
    }

    #[test]
    fn a_mirror_of_an_earlier_version_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let url = "https://git.example.org/o/bread.git";
        let earlier = dir.path().join(format!("bread-{}.git", &sha256_hex(url.as_bytes())[..16]));
        assert_ne!(place_of_mirror(dir.path(), url), earlier);
        fs::create_dir(&earlier).unwrap();
        assert_eq!(place_of_mirror(dir.path(), url), earlier);
    }

    #[test]
    fn only_mirrors_that_nobody_needs_or_works_on_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let place = dir.path().join(name);
            Repository::mirror(&place, "https://git.example.org/o/bread").unwrap();
            drop(State::of(&place).lock().unwrap());
            place
        };
        let [needed, at_work, elsewhere, unused] =
            ["needed.git", "at-work.git", "elsewhere.git", "unused.git"].map(make);
        let no_mirror = dir.path().join("something");
        let half = dir.path().join(".removed-half.git");
        fs::create_dir(&no_mirror).unwrap();
        fs::create_dir(&half).unwrap();
        let holds = Holds::default();
        let _ours = State::of(&at_work).lend(&holds).unwrap();
        let _theirs = State::of(&elsewhere).lock().unwrap();
        let remove = |since| remove_mirrors(dir.path(), &holds, since, |place, _| place == needed);
        let hour = Duration::from_secs(3_600);
        assert_eq!(remove(SystemTime::now() - hour), [] as [PathBuf; 0], "it was worked on since");
        assert!(!half.exists());
        assert_eq!(remove(SystemTime::now() + hour), std::slice::from_ref(&unused));
        assert!(!unused.exists());
        for place in [&needed, &at_work, &elsewhere, &no_mirror] {
            assert!(place.exists(), "{}", place.display());
        }
    }
}
