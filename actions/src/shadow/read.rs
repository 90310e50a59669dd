//! Takes shadow commits apart.

use super::{ShadowError, ShadowFiles};
use crate::git::{CommitId, PlainFile, Repository};

/// Bytes of the largest cache pointer that is read: the entries of some forty thousand jobs.
pub const MOST_POINTER: usize = 16 << 20;
/// Bytes of the largest commit file that is read.
const MOST_COMMIT: usize = 1 << 10;

/// What a shadow commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The shadow commit itself.
    pub id: CommitId,
    /// The author's commit, to which every status goes.
    pub original: CommitId,
    /// The commit whose tree it has, as far as that can be told: the original, or its merge with its base.
    pub built: CommitId,
    /// The content of the cache pointer's file, if there is a plain one of a pointer's size.
    pub pointer: Option<Vec<u8>>,
    /// The shadow commit before this one: the first parent, unless that is what was built.
    pub previous: Option<CommitId>,
}

/// Reads a shadow commit.
///
/// The original commit is what the commit file says, in exactly the form that [`super::write()`] gives it. It is never
/// guessed from parents or messages: a status on the wrong commit is worse than none.
pub fn read(
    repository: &Repository,
    id: CommitId,
    files: &ShadowFiles,
) -> Result<Shadow, ShadowError> {
    let not_a_shadow = |why| ShadowError::NotAShadow { id, why };
    let text = match repository.plain_file(id, files.commit(), MOST_COMMIT)? {
        PlainFile::Content(text) => text,
        PlainFile::Nothing | PlainFile::TooLarge | PlainFile::Other { .. } => {
            return Err(not_a_shadow(format!("it has no file `{}`", files.commit())));
        }
    };
    let original = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.strip_suffix('\n'))
        .and_then(|text| text.parse::<CommitId>().ok())
        .ok_or_else(|| {
            not_a_shadow(format!(
                "`{}` is not the name of one commit and a line end",
                files.commit()
            ))
        })?;
    let commit = repository.find(id)?;
    let built = match merge_of(&commit, original) {
        // A shadow commit looks like one, too, and is told by its file. No author can name a commit in itself.
        Some(id) if names(repository, id, files, &text)? => original,
        Some(id) => id,
        None => original,
    };
    let previous = commit.parent_ids().next().map(CommitId::new);
    Ok(Shadow {
        id,
        original,
        built,
        pointer: match repository.plain_file(id, files.pointer(), MOST_POINTER)? {
            PlainFile::Content(text) => Some(text),
            PlainFile::Nothing | PlainFile::TooLarge | PlainFile::Other { .. } => None,
        },
        previous: previous.filter(|id| *id != original && *id != built),
    })
}

/// Returns the last parent, if that merges the original into something.
fn merge_of(commit: &git2::Commit<'_>, original: CommitId) -> Option<CommitId> {
    let parent = commit.parents().next_back()?;
    let merges = parent.parent_count() == 2
        && parent.parent_id(1).is_ok_and(|id| CommitId::new(id) == original);
    merges.then(|| CommitId::new(parent.id()))
}

/// Returns whether the commit file of a commit is this one.
fn names(
    repository: &Repository,
    id: CommitId,
    files: &ShadowFiles,
    text: &[u8],
) -> Result<bool, ShadowError> {
    let found = repository.plain_file(id, files.commit(), MOST_COMMIT)?;
    Ok(matches!(found, PlainFile::Content(found) if found == text))
}

/// Returns the shadow commits from `head` back along first parents, newest first.
///
/// It ends at the first commit that is no shadow commit, or after the first error.
pub fn history<'a>(
    repository: &'a Repository,
    head: CommitId,
    files: &'a ShadowFiles,
) -> impl Iterator<Item = Result<Shadow, ShadowError>> + 'a {
    let mut next = Some(head);
    std::iter::from_fn(move || {
        let id = next.take()?;
        match read(repository, id, files) {
            Ok(shadow) => {
                next = shadow.previous;
                Some(Ok(shadow))
            }
            Err(ShadowError::NotAShadow { .. }) => None,
            Err(error @ ShadowError::Git(_)) => Some(Err(error)),
        }
    })
}
