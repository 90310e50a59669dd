//! Takes shadow commits apart.

use super::{ShadowError, ShadowFiles};
use crate::git::{CommitId, Repository};

/// What a shadow commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The shadow commit itself.
    pub id: CommitId,
    /// The author's commit, to which every status goes.
    pub original: CommitId,
    /// The content of the cache pointer's file, if there is one.
    pub pointer: Option<Vec<u8>>,
    /// The shadow commit before this one: the first parent, unless that is the original.
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
    let Some(text) = repository.file(id, files.commit())? else {
        return Err(not_a_shadow(format!("it has no `{}`", files.commit())));
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
    let previous = repository.find(id)?.parent_ids().next();
    Ok(Shadow {
        id,
        original,
        pointer: repository.file(id, files.pointer())?,
        previous: previous.map(CommitId::new).filter(|id| *id != original),
    })
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
            Err(error @ (ShadowError::Git(_) | ShadowError::Occupied { .. })) => Some(Err(error)),
        }
    })
}
