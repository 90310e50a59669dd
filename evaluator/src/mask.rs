//! Replaces store paths in texts by labels, so that texts can be compared that name different paths.

use std::collections::BTreeMap;

use levain_store::{StoreDir, StorePath};

/// Replaces whole store paths by labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask {
    /// By the base name of the path.
    labels: BTreeMap<Vec<u8>, String>,
    /// The store directory with a slash behind it.
    prefix: Vec<u8>,
}

impl Mask {
    /// Has `label` stand for `path`.
    pub(crate) fn add(&mut self, dir: &StoreDir, path: &StorePath, label: String) {
        self.prefix = format!("{dir}/").into_bytes();
        self.labels.insert(path.to_string().into_bytes(), label);
    }

    /// Returns the text with every masked store path replaced.
    pub(crate) fn apply(&self, text: &[u8]) -> Vec<u8> {
        if self.labels.is_empty() {
            return text.to_vec();
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let after = rest.strip_prefix(self.prefix.as_slice());
            let found = after.and_then(|after| Some((self.label_of(after)?, after)));
            match found {
                Some(((label, length), after)) => {
                    masked.extend_from_slice(label.as_bytes());
                    rest = &after[length..];
                }
                None => {
                    masked.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        masked
    }

    /// Returns the label of the longest masked path that `text` begins with, and its length.
    ///
    /// What follows does not matter: in a text a path can be followed by any character, and a
    /// longer name with the same hash does not exist, because the name is part of what is hashed.
    fn label_of(&self, text: &[u8]) -> Option<(&String, usize)> {
        self.labels
            .iter()
            .filter(|(base_name, _)| text.starts_with(base_name))
            .map(|(base_name, label)| (label, base_name.len()))
            .max_by_key(|(_, length)| *length)
    }
}
