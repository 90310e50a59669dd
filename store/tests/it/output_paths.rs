//! Output paths and derivation paths that we compute, compared with those of Nix.

use std::collections::BTreeMap;

use levain_store::{Derivation, DerivationHash, DerivationPath};

use crate::fixture::Fixture;

/// Every way in which a derivation can be an input: fixed, through a fixed one, several outputs, two
/// inputs with equal hashes.
const GRAPH: &str = "
  empty = \"da39a3ee5e6b4b0d3255bfef95601890afd80709\";
  fetch = url: sh \"fetched\" { inherit url; outputHash = empty; outputHashAlgo = \"sha1\"; outputHashMode = \"flat\"; };
  tree = sh \"tree\" { outputHash = \"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"; outputHashMode = \"recursive\"; };
  both = sh \"both\" { outputs = [ \"out\" \"dev\" ]; a = fetch \"a\"; b = fetch \"b\"; src = builtins.toFile \"text\" \"x\\ty\\n\"; };
  top = sh \"top\" { args = [ \"-c\" \"${both.dev} ${tree}\" ]; one = both; odd = \"\\\"\\\\$\"; };
";

#[test]
fn outputs_lie_where_nix_puts_them() {
    let fixture = Fixture::new();
    let mut known = BTreeMap::new();
    for path in fixture.derivations(GRAPH, &["top", "tree", "both"]) {
        check(&fixture, &path, &mut known);
    }
    assert_eq!(known.len(), 5);
    let fixed = known.values().filter(|hash| matches!(hash, DerivationHash::Fixed(_))).count();
    assert_eq!(fixed, 3);
}

fn check(
    fixture: &Fixture,
    path: &DerivationPath,
    known: &mut BTreeMap<DerivationPath, DerivationHash>,
) {
    if known.contains_key(path) {
        return;
    }
    let dir = fixture.store.dir();
    let theirs = fixture.store.read_derivation(path).unwrap();
    for input in theirs.input_derivations.keys() {
        check(fixture, input, known);
    }
    let mut ours = Derivation { ..theirs.clone() };
    for output in ours.outputs.values_mut() {
        output.path = None;
    }
    for name in theirs.outputs.keys() {
        ours.env.insert(name.clone().into_bytes(), Vec::new());
    }
    ours.fill_output_paths(dir, path.name(), |input| known.get(input)).unwrap();
    assert_eq!(ours, theirs);
    assert_eq!(ours.to_file(dir, path.name()).unwrap().0, *path);
    let hash = ours.hash_modulo(dir, |input| known.get(input)).unwrap();
    known.insert(path.clone(), hash);
}
