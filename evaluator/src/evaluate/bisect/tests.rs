//! Tests against invented flakes, for the number of questions above all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// What stands at an attribute of an invented flake.
#[derive(Debug, Clone)]
enum Node {
    Job,
    Caught,
    Uncaught,
    Set(BTreeMap<String, Node>),
    /// A set that cannot even be listed.
    Unlistable,
}

struct Flake {
    root: Node,
    asked: AtomicUsize,
    cheap: bool,
}

/// A path, and whether a job is there.
type Found = (String, bool);

impl Flake {
    fn new(root: Node) -> Self {
        Self { root, asked: AtomicUsize::new(0), cheap: false }
    }

    fn at(&self, path: &AttrPath) -> &Node {
        path.names().iter().fold(&self.root, |node, name| match node {
            Node::Set(children) => &children[name],
            Node::Job | Node::Caught | Node::Uncaught | Node::Unlistable => panic!("no set"),
        })
    }

    fn collect(
        &self,
        path: &AttrPath,
        node: &Node,
        found: &mut Vec<Found>,
        caught: &mut Vec<AttrPath>,
    ) -> Result<(), ()> {
        match node {
            Node::Job => found.push((path.to_string(), true)),
            Node::Caught => caught.push(path.clone()),
            Node::Uncaught | Node::Unlistable => return Err(()),
            Node::Set(children) => {
                for (name, child) in children {
                    self.collect(&path.child(name), child, found, caught)?;
                }
            }
        }
        Ok(())
    }

    /// Every leaf by its path, and whether it is a job.
    fn expected(&self) -> BTreeSet<Found> {
        fn leaves(path: &AttrPath, node: &Node, all: &mut BTreeSet<Found>) {
            match node {
                Node::Set(children) => {
                    for (name, child) in children {
                        leaves(&path.child(name), child, all);
                    }
                }
                Node::Job => drop(all.insert((path.to_string(), true))),
                Node::Caught | Node::Uncaught | Node::Unlistable => {
                    all.insert((path.to_string(), false));
                }
            }
        }
        let mut all = BTreeSet::new();
        leaves(&AttrPath::root(), &self.root, &mut all);
        all
    }
}

impl Questions for Flake {
    type Found = Found;
    type Failure = ();
    type Fatal = ();

    fn walk(&self, paths: &[AttrPath]) -> Answer<(Vec<Found>, Vec<AttrPath>), Self> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (mut found, mut caught) = (Vec::new(), Vec::new());
        let walked = paths
            .iter()
            .try_for_each(|path| self.collect(path, self.at(path), &mut found, &mut caught));
        Ok(walked.map(|()| (found, caught)))
    }

    fn ask(&self, path: &AttrPath) -> Answer<Vec<Found>, Self> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(matches!(self.at(path), Node::Caught), "{path}");
        Ok(Err(()))
    }

    fn children(&self, path: &AttrPath) -> Answer<Vec<String>, Self> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(match self.at(path) {
            Node::Set(children) => Ok(children.keys().cloned().collect()),
            Node::Unlistable => Err(()),
            Node::Job | Node::Caught | Node::Uncaught => Ok(Vec::new()),
        })
    }

    fn failed(&self, path: AttrPath, _failure: (), _caught: bool) -> Found {
        (path.to_string(), false)
    }

    fn hopeless(&self, _failure: ()) {}

    fn is_cheap(&self) -> bool {
        self.cheap
    }
}

fn flat(jobs: usize, failing: &[usize]) -> Flake {
    let node = |index| if failing.contains(&index) { Node::Uncaught } else { Node::Job };
    Flake::new(Node::Set((0..jobs).map(|index| (format!("j{index:04}"), node(index))).collect()))
}

fn asked_for(flake: &Flake) -> usize {
    let found = find_all(flake, Start::Walk(vec![AttrPath::root()])).unwrap();
    let unique: BTreeSet<Found> = found.iter().cloned().collect();
    assert_eq!(unique.len(), found.len(), "something was found twice");
    assert_eq!(unique, flake.expected());
    flake.asked.load(Ordering::Relaxed)
}

#[test]
fn one_question_is_enough_when_nothing_fails() {
    assert_eq!(asked_for(&flat(1000, &[])), 1);
    assert_eq!(asked_for(&flat(0, &[])), 1);
}

#[test]
fn few_questions_find_few_failures() {
    // The root twice, ten halvings of two questions each, and a look at what is left.
    assert_eq!(asked_for(&flat(1024, &[700])), 2 + 2 * 10 + 1);
    assert!(asked_for(&flat(1024, &[1, 500, 900])) <= 3 * 23);
}

#[test]
fn cheap_questions_are_asked_for_each_attribute_once() {
    let flake = Flake { cheap: true, ..flat(100, &[7, 8, 9]) };
    // All together, the root's names, each attribute, and a look at what fails.
    assert_eq!(asked_for(&flake), 2 + 100 + 3);
}

#[test]
fn what_is_known_to_be_caught_is_only_asked_for() {
    let flake = Flake::new(Node::Set(BTreeMap::from([("a".to_owned(), Node::Caught)])));
    let found = find_all(&flake, Start::Ask(vec![AttrPath::root().child("a")])).unwrap();
    assert_eq!(found, [("a".to_owned(), false)]);
    assert_eq!(flake.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_root_that_cannot_be_looked_at_is_hopeless() {
    assert!(find_all(&Flake::new(Node::Unlistable), Start::Walk(vec![AttrPath::root()])).is_err());
}

fn any_node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        8 => Just(Node::Job), 1 => Just(Node::Caught), 1 => Just(Node::Uncaught),
        1 => Just(Node::Unlistable),
    ];
    leaf.prop_recursive(3, 60, 8, |inner| {
        prop::collection::btree_map("[a-z]{1,3}", inner, 0..8).prop_map(Node::Set)
    })
}

proptest! {
    #[test]
    fn every_leaf_is_found_once(
        children in prop::collection::btree_map("[a-z]{1,3}", any_node(), 0..12),
    ) {
        asked_for(&Flake::new(Node::Set(children.clone())));
        asked_for(&Flake { cheap: true, ..Flake::new(Node::Set(children)) });
    }
}
