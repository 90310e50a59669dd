//! Keeps a set within its budget: what no build has used for longest goes first.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::collect::{Kept, What};
use crate::relative::RelativePath;

/// What was left out to stay within the budget.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The files, the least used first.
    pub files: Vec<RelativePath>,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the use of files is unknown here, so that only their age decided.
    pub blind: bool,
}

/// Returns the bytes of all files.
pub(super) fn total(kept: &[Kept]) -> u64 {
    let files = kept.iter().filter(|kept| matches!(kept.what, What::File(_)));
    files.map(|kept| kept.found.size).sum()
}

/// Leaves out files until the rest is within the budget.
pub(super) fn prune(kept: &mut Vec<Kept>, budget: u64, blind: bool) -> Pruned {
    let mut over = total(kept).saturating_sub(budget);
    if over == 0 {
        return Pruned::default();
    }
    let mut files: Vec<&Kept> =
        kept.iter().filter(|kept| matches!(kept.what, What::File(_))).collect();
    // Among files of equal use the oldest goes first, and the path decides between equals, so that
    // the same state always gives the same choice.
    files.sort_by_key(|kept| {
        let unused = match &kept.what {
            What::File(read) => read.unused,
            What::Directory | What::Link(_) | What::Same(_) => 0,
        };
        (Reverse(unused), kept.found.stamp.modified, kept.found.path.clone())
    });
    let mut pruned = Pruned { blind, ..Pruned::default() };
    for kept in files {
        if over == 0 {
            break;
        }
        if kept.found.size == 0 {
            continue;
        }
        over = over.saturating_sub(kept.found.size);
        pruned.bytes += kept.found.size;
        pruned.files.push(kept.found.path.clone());
    }
    let gone: HashSet<RelativePath> = pruned.files.iter().cloned().collect();
    leave_out(kept, &gone);
    pruned
}

/// Leaves out those files, under all their names.
pub(super) fn leave_out(kept: &mut Vec<Kept>, gone: &HashSet<RelativePath>) {
    kept.retain(|kept| match &kept.what {
        What::File(_) => !gone.contains(&kept.found.path),
        What::Same(of) => !gone.contains(of),
        What::Directory | What::Link(_) => true,
    });
}
