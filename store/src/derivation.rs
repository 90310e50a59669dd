//! A derivation: everything that a build may depend on.
//!
//! Plain data; reading and writing `.drv` files is in [`crate::aterm`].

use std::collections::{BTreeMap, BTreeSet};

use crate::store_path::{DerivationPath, StorePath};

/// A derivation, as a `.drv` file holds it.
///
/// Builder, arguments and environment are bytes, because Nix strings are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derivation {
    /// The outputs by name.
    pub outputs: BTreeMap<String, DerivationOutput>,
    /// The derivations whose outputs are inputs, each with the names of those outputs.
    pub input_derivations: BTreeMap<DerivationPath, BTreeSet<String>>,
    /// The store objects that are inputs as they are.
    pub input_sources: BTreeSet<StorePath>,
    /// The system to build on (`x86_64-linux`).
    pub system: String,
    /// The program that makes the outputs.
    pub builder: Vec<u8>,
    /// The arguments of the builder.
    pub args: Vec<Vec<u8>>,
    /// The environment of the builder.
    pub env: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One output of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DerivationOutput {
    /// The output path; `None` if it is known only after the build.
    pub path: Option<StorePath>,
    /// The hash algorithm of a fixed output (`r:sha256`), or empty.
    pub hash_algorithm: String,
    /// The base-16 hash of a fixed output, or empty.
    pub hash: String,
}

/// Why the output paths of a derivation are not known before it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownOutputs {
    /// Its outputs lie where their content says (`__contentAddressed`).
    #[error("the derivation is content-addressed")]
    ContentAddressed,
    /// Each build may make something else (`__impure`).
    #[error("the derivation is impure")]
    Impure,
    /// An input is content-addressed or impure, so its own outputs have no paths either.
    #[error("the derivation depends on a content-addressed or impure one")]
    Deferred,
    /// It has no outputs at all.
    #[error("the derivation has no outputs")]
    None,
}

/// What stands in a `.drv` file for the hash of an output that each build makes anew.
const IMPURE: &str = "impure";

impl Derivation {
    /// Returns the path of every output, or why they are not known before the build.
    pub fn output_paths(&self) -> Result<BTreeMap<String, StorePath>, UnknownOutputs> {
        if self.outputs.is_empty() {
            return Err(UnknownOutputs::None);
        }
        let mut paths = BTreeMap::new();
        for (name, output) in &self.outputs {
            let path = match (output.hash_algorithm.as_str(), output.hash.as_str(), &output.path) {
                (_, IMPURE, _) => return Err(UnknownOutputs::Impure),
                ("", _, None) => return Err(UnknownOutputs::Deferred),
                (_, _, None) => return Err(UnknownOutputs::ContentAddressed),
                (algorithm, "", _) if !algorithm.is_empty() => {
                    return Err(UnknownOutputs::ContentAddressed);
                }
                (_, _, Some(path)) => path,
            };
            paths.insert(name.clone(), path.clone());
        }
        Ok(paths)
    }

    /// Returns the value of the variable `name`, if the builder gets it.
    pub fn env(&self, name: &str) -> Option<&[u8]> {
        self.env.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// Returns whether the content of its output is fixed in advance.
    pub fn is_fixed_output(&self) -> bool {
        self.outputs.values().any(|output| !output.hash.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_outputs(outputs: &[(&str, &str, &str, &str)]) -> Derivation {
        let output = |(name, path, algorithm, hash): &(&str, &str, &str, &str)| {
            let path = (!path.is_empty()).then(|| path.parse().unwrap());
            let (hash_algorithm, hash) = ((*algorithm).to_owned(), (*hash).to_owned());
            ((*name).to_owned(), DerivationOutput { path, hash_algorithm, hash })
        };
        Derivation { outputs: outputs.iter().map(output).collect(), ..Derivation::default() }
    }

    const PATH: &str = "xvkp4j2ckk64igdl9gklmdj3cbv2kln0-x";

    #[test]
    fn output_paths_of_each_sort() {
        let known = with_outputs(&[("out", PATH, "", ""), ("dev", PATH, "", "")]);
        let names: Vec<String> = known.output_paths().unwrap().into_keys().collect();
        assert_eq!(names, ["dev", "out"]);
        assert!(with_outputs(&[("out", PATH, "r:sha256", "00")]).output_paths().is_ok());
        for (output, why) in [
            (("out", "", "r:sha256", ""), UnknownOutputs::ContentAddressed),
            (("out", PATH, "r:sha256", ""), UnknownOutputs::ContentAddressed),
            (("out", "", "sha256", "00"), UnknownOutputs::ContentAddressed),
            (("out", "", "r:sha256", "impure"), UnknownOutputs::Impure),
            (("out", "", "", ""), UnknownOutputs::Deferred),
        ] {
            assert_eq!(with_outputs(&[output]).output_paths(), Err(why), "{output:?}");
            let both = with_outputs(&[("a", PATH, "", ""), output]);
            assert_eq!(both.output_paths(), Err(why), "{output:?}");
        }
        assert_eq!(Derivation::default().output_paths(), Err(UnknownOutputs::None));
    }
}
