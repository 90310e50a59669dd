//! The graph of what has to be built, read from the derivations themselves.

use std::collections::{BTreeSet, HashMap};

use levain_store::machines::{Builders, Capabilities, Requirements};
use levain_store::{Derivation, DerivationPath};

use super::schedule::Node;

/// The derivations that have to be built, numbered.
pub(super) struct Graph {
    /// Their paths.
    pub(super) paths: Vec<DerivationPath>,
    /// What the scheduler knows of each.
    pub(super) nodes: Vec<Node>,
    numbers: HashMap<DerivationPath, usize>,
    /// Which of them are built once more, although their outputs are there.
    checks: BTreeSet<usize>,
    /// What those ask for that nobody can build.
    unmet: HashMap<usize, Requirements>,
}

impl Graph {
    /// Reads the graph of `will_build`, to which `checks` are added alone: their outputs are there, and
    /// Nix sees to their inputs. `read` reads a derivation. Without `capabilities` everyone
    /// may build anything, and Nix will say what it cannot.
    ///
    /// A derivation that cannot be read gets no inputs: Nix will say what is wrong with it.
    pub(super) fn load(
        mut will_build: BTreeSet<DerivationPath>,
        wanted: &BTreeSet<DerivationPath>,
        checks: &BTreeSet<DerivationPath>,
        capabilities: Option<&Capabilities>,
        read: &mut dyn FnMut(&DerivationPath) -> Option<Derivation>,
    ) -> Self {
        will_build.extend(checks.iter().cloned());
        let paths: Vec<DerivationPath> = will_build.into_iter().collect();
        let numbers: HashMap<DerivationPath, usize> =
            paths.iter().enumerate().map(|(number, path)| (path.clone(), number)).collect();
        let anyone = Builders { local: true, remote: false };
        let mut unmet = HashMap::new();
        let mut nodes = Vec::with_capacity(paths.len());
        for (number, path) in paths.iter().enumerate() {
            let derivation = read(path);
            let inputs = derivation.iter().flat_map(|derivation| {
                derivation.input_derivations.keys().filter_map(|input| numbers.get(input).copied())
            });
            let inputs = match checks.contains(path) {
                true => Vec::new(),
                false => inputs.filter(|input| *input != number).collect(),
            };
            let builders = match (&derivation, capabilities) {
                (Some(derivation), Some(capabilities)) => {
                    let requirements = Requirements::of(derivation);
                    let builders = capabilities.builders_of(&requirements);
                    if builders.is_nobody() {
                        unmet.insert(number, requirements);
                    }
                    builders
                }
                (None, _) | (_, None) => anyone,
            };
            let wanted = wanted.contains(path) || checks.contains(path);
            nodes.push(Node { inputs, builders, wanted, is_excused: false });
        }
        let checks = checks.iter().filter_map(|path| numbers.get(path).copied()).collect();
        Self { paths, nodes, numbers, checks, unmet }
    }

    /// Returns the number of a derivation, if it has to be built.
    pub(super) fn number(&self, path: &DerivationPath) -> Option<usize> {
        self.numbers.get(path).copied()
    }

    /// Returns whether a derivation is built once more, although its outputs are there.
    pub(super) fn is_check(&self, number: usize) -> bool {
        self.checks.contains(&number)
    }

    /// Returns what a derivation asks for that nobody can build, in a few words.
    pub(super) fn unmet(&self, number: usize) -> Option<String> {
        self.unmet.get(&number).map(Requirements::describe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> DerivationPath {
        format!("0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-{name}.drv").parse().unwrap()
    }

    #[test]
    fn edges_lead_to_what_has_to_be_built_only() {
        let derivation = |system: &str, inputs: &[&str]| Derivation {
            system: system.into(),
            input_derivations: inputs
                .iter()
                .map(|name| (path(name), ["out".to_owned()].into()))
                .collect(),
            ..Derivation::default()
        };
        let capabilities =
            Capabilities { systems: ["here".to_owned()].into(), ..Capabilities::default() };
        let mut read = |wanted: &DerivationPath| match wanted.name() {
            "a.drv" | "a" => Some(derivation("here", &["b", "there-already"])),
            "b.drv" | "b" => Some(derivation("far", &[])),
            _ => None,
        };
        let will_build = [path("a"), path("b"), path("unreadable")].into();
        let wanted = [path("a")].into();
        let graph =
            Graph::load(will_build, &wanted, &BTreeSet::new(), Some(&capabilities), &mut read);
        let [a, b, unreadable] =
            ["a", "b", "unreadable"].map(|name| graph.number(&path(name)).unwrap());
        assert_eq!(graph.nodes[a].inputs, [b]);
        assert!(graph.nodes[a].wanted && !graph.nodes[b].wanted);
        assert!(graph.nodes[b].builders.is_nobody());
        assert_eq!(graph.unmet(b).as_deref(), Some("far"));
        assert!(graph.nodes[unreadable].builders.local);
        assert_eq!(graph.number(&path("there-already")), None);
        let graph = Graph::load([path("b")].into(), &wanted, &[path("a")].into(), None, &mut read);
        let [a, b] = ["a", "b"].map(|name| graph.number(&path(name)).unwrap());
        assert!(!graph.nodes[b].builders.is_nobody());
        assert!(graph.is_check(a) && !graph.is_check(b));
        assert!(graph.nodes[a].inputs.is_empty());
    }
}
