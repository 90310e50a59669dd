//! What builtins remember within one evaluation.

use std::collections::BTreeMap;
use std::rc::Rc;

use levain_store::{DerivationHash, DerivationPath};

use crate::lang::regex::Regex;

/// What builtins remember within one evaluation; each topic adds its own field.
#[derive(Debug, Default)]
pub struct BuiltinState {
    /// Regular expressions that were compiled, by their text.
    pub(super) regexes: BTreeMap<Box<[u8]>, Rc<Regex>>,
    /// Derivations that were made or read.
    pub(super) derivations: BTreeMap<DerivationPath, KnownDerivation>,
    /// What texts in the store refer to, by the texts' whole paths.
    pub(super) texts: BTreeMap<Rc<str>, Vec<Rc<str>>>,
}

/// What other derivations need to know of one.
#[derive(Debug, Clone)]
pub(super) struct KnownDerivation {
    /// Its whole path.
    pub(super) path: Rc<str>,
    /// Its hash modulo fixed outputs.
    pub(super) hash: DerivationHash,
    /// The names of its outputs.
    pub(super) outputs: Vec<String>,
    /// The whole paths of the derivations and sources that it refers to.
    pub(super) references: Vec<Rc<str>>,
}
