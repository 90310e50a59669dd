//! Where an evaluation's Nix notes what it fetched.
//!
//! Nix believes what it finds there, and some versions note a tree under its commit alone, whoever served it. So whoever
//! can have something noted decides what others get: no two projects and no two tiers share a place, and what strangers
//! fetch is forgotten with the evaluation. Start at [`Fetched::of`].

use std::path::{Path, PathBuf};

use levain_store::scratch::Scratch;
use sha2::{Digest as _, Sha256};

use super::{EvaluateError, Limits};
use crate::pointer::Tier;

/// The places for one evaluation.
#[derive(Debug)]
pub(super) struct Fetched {
    place: PathBuf,
    _thrown_away: Option<Scratch>,
}

impl Fetched {
    /// Returns the places below `dir`, or ones that are removed with it.
    pub(super) fn of(dir: &Path, limits: &Limits) -> Result<Self, EvaluateError> {
        if let Some(kept) = kept(dir, limits.project.as_deref(), limits.tier) {
            return Ok(Self { place: kept, _thrown_away: None });
        }
        let made = Scratch::new("fetched").map_err(|source| {
            let path = levain_store::scratch::place();
            EvaluateError::NixProgram(Box::new(levain_store::EvalError::Directory { path, source }))
        })?;
        Ok(Self { place: made.path().to_owned(), _thrown_away: Some(made) })
    }

    /// Returns the place of the evaluation itself.
    pub(super) fn by_evaluations(&self) -> PathBuf {
        self.place.join("evaluations")
    }

    /// Returns the place of what is fetched before it with the operator's credentials, which no evaluation sees.
    pub(super) fn with_credentials(&self) -> PathBuf {
        self.place.join("inputs")
    }
}

/// Returns the place for a project and a tier; nothing if it is not to last.
fn kept(dir: &Path, project: Option<&Path>, tier: Tier) -> Option<PathBuf> {
    let lasts = match tier {
        Tier::DefaultBranch | Tier::Branch => true,
        Tier::PullRequest | Tier::Fork => false,
    };
    let project = project.filter(|_| lasts)?;
    let hash = Sha256::digest(project.as_os_str().as_encoded_bytes());
    let name = data_encoding::HEXLOWER.encode(&hash[..16]);
    Some(dir.join("fetched").join(name).join(tier.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_projects_and_no_two_tiers_share_a_place() {
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let at = |project, tier| kept(Path::new("/cache"), project, tier);
        let places = [
            at(Some(a), Tier::DefaultBranch),
            at(Some(a), Tier::Branch),
            at(Some(b), Tier::DefaultBranch),
            at(Some(b), Tier::Branch),
        ];
        let different: std::collections::BTreeSet<_> = places.iter().flatten().collect();
        assert_eq!(different.len(), places.len());
        for tier in [Tier::PullRequest, Tier::Fork] {
            assert_eq!(at(Some(a), tier), None);
        }
        assert_eq!(at(None, Tier::DefaultBranch), None);
        let limits = Limits::default();
        let one = Fetched::of(Path::new("/cache"), &limits).unwrap();
        let other = Fetched::of(Path::new("/cache"), &limits).unwrap();
        assert_ne!(one.by_evaluations(), other.by_evaluations());
    }
}
