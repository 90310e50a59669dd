//! Store paths in texts.

use levain_store::{StoreDir, StorePath};

use crate::lang::eval::Evaluator;

/// Returns the directory of the store in which paths of the evaluation lie.
pub(super) fn dir(ev: &Evaluator) -> StoreDir {
    StoreDir::new(ev.options.store_dir.as_str()).unwrap_or_default()
}

/// Returns the store path that a text is, if it is a whole one.
pub(super) fn parse(ev: &Evaluator, text: &str) -> Option<StorePath> {
    let base_name = text.strip_prefix(ev.options.store_dir.as_str())?.strip_prefix('/')?;
    base_name.parse().ok()
}

/// Returns the store path in which a file lies, whole, if it lies in one.
pub(super) fn containing(ev: &Evaluator, path: &str) -> Option<String> {
    let dir = ev.options.store_dir.as_str();
    let below = path.strip_prefix(dir)?.strip_prefix('/')?;
    let base_name = below.split('/').next()?;
    base_name.parse::<StorePath>().ok()?;
    Some(format!("{dir}/{base_name}"))
}
