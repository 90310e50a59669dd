//! People at a forge: what they may do with a repository, and what they wrote.
//!
//! Somebody is known by the number that the forge gave them. Names change hands: they are for showing, and where a forge
//! can be asked by name only, the number in its answer is compared.

use reqwest::Url;
use serde::Deserialize;

use super::Endpoint;

/// What somebody may do with a repository. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Nothing: for them there is no such repository.
    None,
    /// See it.
    Read,
    /// Push to it.
    Write,
    /// Change its settings.
    Admin,
}

impl Right {
    /// Every right, the smallest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Read, Self::Write, Self::Admin];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Somebody with an account at a forge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Account {
    /// The number, which stays when they are renamed.
    pub id: u64,
    /// What they are called now.
    pub login: String,
}

/// Something that somebody wrote under a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Who wrote it.
    pub author: Account,
    /// What.
    pub text: String,
    /// Under which pull request, if that is not what was asked for.
    pub pull_request: Option<u64>,
}

/// How a forge is asked about people.
pub(super) struct People {
    /// Where a comment under a pull request is.
    pub(super) comment: fn(&Endpoint, u64, u64) -> Url,
    /// Where a page of the comments under a pull request is.
    pub(super) comments: fn(&Endpoint, u64, u32) -> Url,
    /// Reads it.
    pub(super) read_comment: fn(&[u8]) -> Option<Comment>,
    /// Where it says what somebody may do.
    pub(super) right: fn(&Endpoint, &Account) -> Url,
    /// Reads that: who it is about, and what they may do.
    pub(super) read_right: fn(&[u8]) -> Option<(u64, Right)>,
    /// Where it describes the repository.
    pub(super) repository: fn(&Endpoint) -> Url,
    /// Where it describes the repository of a number, whatever that is called by now.
    pub(super) numbered: fn(&Endpoint, u64) -> Url,
    /// Reads the description.
    pub(super) read_repository: fn(&[u8]) -> Option<DescribedRepository>,
}

/// A repository, as its forge describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedRepository {
    /// The number, which stays when it is renamed, and which no other one gets when it is deleted.
    pub number: u64,
    /// Its path, such as `owner/name`.
    pub path: String,
    /// Whether everybody may see it.
    pub is_public: bool,
}

/// A comment in a list. Who wrote it is asked of the comment itself.
#[derive(Deserialize)]
pub(super) struct ListedComment {
    /// Its number.
    pub(super) id: u64,
    /// What it says.
    #[serde(default)]
    pub(super) body: Option<String>,
}

/// Returns the number at the end of an address, such as that of the pull request that a comment is under.
pub(super) fn last_number(url: &str) -> Option<u64> {
    url.rsplit('/').next()?.parse().ok()
}

/// Reads the name of a right, as most forges have them. Whatever is not known gives no right.
pub(super) fn named(name: &str) -> Right {
    match name {
        "owner" | "admin" => Right::Admin,
        "write" => Right::Write,
        "read" => Right::Read,
        _ => Right::None,
    }
}
