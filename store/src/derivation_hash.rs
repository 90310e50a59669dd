//! Where the outputs of a derivation lie: hashing derivations modulo fixed outputs.
//!
//! Two derivations that differ only in how some fixed output among their inputs is fetched have the
//! same outputs. So each input derivation is replaced by a hash that, for a fixed output, only knows
//! its content. Pure: the hashes of the inputs are given by the caller, who keeps them (each depends
//! on the hashes of its own inputs, and so on). Start at [`Derivation::fill_output_paths`].

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use data_encoding::HEXLOWER;

use crate::aterm::{self, Tail};
use crate::content_address::{make_fixed_output_path, make_store_path, make_text_path};
use crate::derivation::Derivation;
use crate::digest::{Digest, DigestError};
use crate::store_path::{DerivationPath, StoreDir, StorePath, StorePathError};

/// The hash of a derivation modulo fixed outputs, as other derivations need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivationHash {
    /// One hash for all outputs.
    Regular(String),
    /// The derivation has a fixed output; the hash knows only its content.
    Fixed(String),
}

/// A derivation with its output paths, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Where its `.drv` file lies.
    pub path: DerivationPath,
    /// The text of that file.
    pub text: Vec<u8>,
    /// The hash by which derivations that use this one know it.
    pub hash: DerivationHash,
}

/// A derivation whose output paths cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DerivationHashError {
    /// The caller does not know the hash of an input.
    #[error("the derivation `{0}` is not known")]
    UnknownInput(DerivationPath),
    /// The hash of a fixed output cannot be read.
    #[error("the output `{output}` has an invalid hash: {source}")]
    Hash {
        /// The output.
        output: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// An output's path would have an invalid name.
    #[error("the output `{output}` cannot have a path: {source}")]
    Path {
        /// The output.
        output: String,
        /// What is wrong with it.
        source: StorePathError,
    },
    /// The `.drv` file would have an invalid name.
    #[error("the derivation cannot have a path: {0}")]
    File(#[from] StorePathError),
}

impl DerivationHash {
    /// Returns 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Regular(hash) | Self::Fixed(hash) => hash,
        }
    }
}

/// Returns the name of the path of the output `output` of the derivation named `name`.
pub fn output_path_name(name: &str, output: &str) -> String {
    if output == "out" { name.to_owned() } else { format!("{name}-{output}") }
}

impl Derivation {
    /// Computes the path of every output, and writes it into the outputs and into the variables named
    /// after them, where the variables exist.
    ///
    /// Fixed outputs follow from their hash; `hash_of` gives the hash of each input derivation for the
    /// others.
    pub fn fill_output_paths<'h>(
        &mut self,
        dir: &StoreDir,
        name: &str,
        hash_of: impl FnMut(&DerivationPath) -> Option<&'h DerivationHash>,
    ) -> Result<(), DerivationHashError> {
        let regular = if self.is_fixed_output() {
            None
        } else {
            let inputs = self.hashed_inputs(hash_of)?;
            Some(self.digest(dir, true, &self.aterm_tail(dir), &inputs))
        };
        self.fill(dir, name, regular.as_deref())
    }

    /// Does all of [`fill_output_paths`](Self::fill_output_paths), [`to_file`](Self::to_file) and
    /// [`hash_modulo`](Self::hash_modulo), writing what their texts share only once.
    pub fn finish<'h>(
        &mut self,
        dir: &StoreDir,
        name: &str,
        hash_of: impl FnMut(&DerivationPath) -> Option<&'h DerivationHash>,
    ) -> Result<Finished, DerivationHashError> {
        let tail = self.aterm_tail(dir);
        if self.is_fixed_output() {
            self.fill(dir, name, None)?;
            let (path, text) = self.file(dir, name, &tail)?;
            let hash = self.hash_modulo(dir, hash_of)?;
            return Ok(Finished { path, text, hash });
        }
        let inputs = self.hashed_inputs(hash_of)?;
        let masked = self.digest(dir, true, &tail, &inputs);
        self.fill(dir, name, Some(&masked))?;
        let (path, text) = self.file(dir, name, &tail)?;
        let hash = DerivationHash::Regular(self.digest(dir, false, &tail, &inputs));
        Ok(Finished { path, text, hash })
    }

    /// Fills in the output paths; `regular` is the masked hash, which fixed outputs do not need.
    fn fill(
        &mut self,
        dir: &StoreDir,
        name: &str,
        regular: Option<&str>,
    ) -> Result<(), DerivationHashError> {
        for (output, entry) in &mut self.outputs {
            let wrong = |source| DerivationHashError::Path { output: output.clone(), source };
            let name = output_path_name(name, output);
            let path = match regular {
                Some(hash) => make_store_path(dir, format!("output:{output}"), hash, &name),
                None => {
                    let (recursive, algorithm) = match entry.hash_algorithm.strip_prefix("r:") {
                        Some(algorithm) => (true, algorithm),
                        None => (false, entry.hash_algorithm.as_str()),
                    };
                    let hash = algorithm
                        .parse()
                        .and_then(|algorithm| Digest::parse(&entry.hash, Some(algorithm)))
                        .map_err(|source| DerivationHashError::Hash {
                            output: output.clone(),
                            source,
                        })?;
                    make_fixed_output_path(dir, &name, recursive, &hash)
                }
            };
            let path = path.map_err(wrong)?;
            if let Some(variable) = self.env.get_mut(output.as_bytes()) {
                *variable = dir.display(&path).into_bytes();
            }
            entry.path = Some(path);
        }
        Ok(())
    }

    /// Returns the hash by which derivations that use this one know it; output paths must be filled in.
    pub fn hash_modulo<'h>(
        &self,
        dir: &StoreDir,
        hash_of: impl FnMut(&DerivationPath) -> Option<&'h DerivationHash>,
    ) -> Result<DerivationHash, DerivationHashError> {
        if let Some(fixed) = self.fixed_hash(dir) {
            return Ok(fixed);
        }
        let inputs = self.hashed_inputs(hash_of)?;
        Ok(DerivationHash::Regular(self.digest(dir, false, &self.aterm_tail(dir), &inputs)))
    }

    /// Returns the hash of a derivation with a fixed output.
    fn fixed_hash(&self, dir: &StoreDir) -> Option<DerivationHash> {
        let output = self.outputs.values().find(|output| !output.hash.is_empty())?;
        let path = output.path.as_ref().map(|path| dir.display(path)).unwrap_or_default();
        let text = format!("fixed:out:{}:{}:{path}", output.hash_algorithm, output.hash);
        Some(DerivationHash::Fixed(HEXLOWER.encode(&Sha256::digest(text.as_bytes()))))
    }

    /// Returns the list of the hashes that stand for the input derivations, as it is hashed.
    ///
    /// Inputs with equal hashes become one, with the outputs of both.
    fn hashed_inputs<'h>(
        &self,
        mut hash_of: impl FnMut(&DerivationPath) -> Option<&'h DerivationHash>,
    ) -> Result<Vec<u8>, DerivationHashError> {
        let mut inputs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (path, outputs) in &self.input_derivations {
            let hash = hash_of(path);
            let hash = hash.ok_or_else(|| DerivationHashError::UnknownInput(path.clone()))?;
            inputs.entry(hash.as_str()).or_default().extend(outputs.iter().map(String::as_str));
        }
        Ok(aterm::input_hashes(&inputs))
    }

    /// Returns the base-16 SHA-256 of the text with each input derivation replaced by its hash, and the
    /// own output paths left out if `masked`.
    fn digest(&self, dir: &StoreDir, masked: bool, tail: &Tail, inputs: &[u8]) -> String {
        HEXLOWER.encode(&Sha256::digest(self.aterm_modulo(dir, masked, tail, inputs)))
    }

    /// Returns the path of the `.drv` file that holds this derivation, and its text.
    pub fn to_file(
        &self,
        dir: &StoreDir,
        name: &str,
    ) -> Result<(DerivationPath, Vec<u8>), StorePathError> {
        self.file(dir, name, &self.aterm_tail(dir))
    }

    fn file(
        &self,
        dir: &StoreDir,
        name: &str,
        tail: &Tail,
    ) -> Result<(DerivationPath, Vec<u8>), StorePathError> {
        let text = self.aterm_with(dir, tail);
        let derivations = self.input_derivations.keys().map(DerivationPath::as_store_path);
        let mut references: Vec<&StorePath> =
            self.input_sources.iter().chain(derivations).collect();
        references.sort_unstable();
        references.dedup();
        let path = make_text_path(dir, &format!("{name}.drv"), &text, references)?;
        Ok((path.try_into()?, text))
    }
}
