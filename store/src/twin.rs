//! A derivation that does the same as another one, and has outputs of its own.
//!
//! Nix's own way of building twice (`--check`) stops at the first output that differs, and says
//! nothing of the others. A twin is one variable more, which no builder looks at; so its outputs lie
//! elsewhere, and all of them can be compared. Start at [`Store::twin`].

use std::collections::BTreeMap;

use crate::derivation::Derivation;
use crate::derivation_hash::{DerivationHash, DerivationHashError};
use crate::protocol::{Connection, ProtocolError};
use crate::store::{Store, StoreError};
use crate::store_path::{DerivationPath, StorePathError};

/// The variable that tells a twin from the original.
const VARIABLE: &[u8] = b"levainTwin";

/// A twin that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// A derivation of the graph cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its output paths cannot be computed.
    #[error(transparent)]
    Hash(#[from] DerivationHashError),
    /// It cannot have a path.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// The store did not take it.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl Store {
    /// Adds the twin of a derivation to the store, and returns where it is.
    ///
    /// It is protected from the garbage collector until the connection ends. A fixed output would
    /// lie where the original's does, so a derivation with one is no use here.
    pub fn twin(
        &self,
        connection: &mut Connection,
        original: &DerivationPath,
    ) -> Result<(DerivationPath, Derivation), TwinError> {
        let mut twin = self.read_derivation(original)?;
        twin.env.insert(VARIABLE.to_vec(), b"1".to_vec());
        let mut known = BTreeMap::new();
        for input in twin.input_derivations.keys() {
            self.hash_graph(input, &mut known)?;
        }
        twin.fill_output_paths(self.dir(), original.name(), |input| known.get(input))?;
        let (path, text) = twin.to_file(self.dir(), original.name())?;
        connection.add_derivation(&path, &twin, &text)?;
        Ok((path, twin))
    }

    /// Computes the hash of a derivation, and of all that this takes. Graphs can be deep, so what is
    /// still to be done is kept in a list.
    fn hash_graph(
        &self,
        path: &DerivationPath,
        known: &mut BTreeMap<DerivationPath, DerivationHash>,
    ) -> Result<(), TwinError> {
        let mut waiting = vec![(path.clone(), self.read_derivation(path)?)];
        while let Some((path, derivation)) = waiting.pop() {
            if known.contains_key(&path) {
                continue;
            }
            let missing: Vec<DerivationPath> = match derivation.is_fixed_output() {
                true => Vec::new(),
                false => {
                    let inputs = derivation.input_derivations.keys();
                    inputs.filter(|input| !known.contains_key(*input)).cloned().collect()
                }
            };
            if missing.is_empty() {
                let hash = derivation.hash_modulo(self.dir(), |input| known.get(input))?;
                known.insert(path, hash);
                continue;
            }
            waiting.push((path, derivation));
            for input in missing {
                let derivation = self.read_derivation(&input)?;
                waiting.push((input, derivation));
            }
        }
        Ok(())
    }
}
