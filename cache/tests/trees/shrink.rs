//! Makes a tree smaller as long as the difference stays, for whoever has to understand it.

use super::builds::Site;
use super::sources::{Source, Sources, Text};

/// How often a tree is built to make it smaller.
const MOST: usize = 400;

/// Returns fewer and smaller states of which the last still differs.
pub(crate) fn shrink(site: &Site, mut states: Vec<Sources>) -> Vec<Sources> {
    let mut tries = MOST;
    let mut fails = |states: &[Sources]| {
        if tries == 0 {
            return false;
        }
        tries -= 1;
        let outcomes = site.live(states);
        outcomes.len() == states.len()
            && outcomes.last().is_some_and(|last| last.difference.is_some())
    };
    let mut index = 0;
    while states.len() > 2 && index + 1 < states.len() {
        let mut fewer = states.clone();
        fewer.remove(index);
        match fails(&fewer) {
            true => states = fewer,
            false => index += 1,
        }
    }
    loop {
        let mut is_smaller = false;
        for step in steps(&states) {
            let smaller: Vec<Sources> = states.iter().map(|state| without(state, &step)).collect();
            if smaller != states && fails(&smaller) {
                states = smaller;
                is_smaller = true;
            }
        }
        for (index, path) in differing(&states) {
            let mut calmer = states.clone();
            match calmer[index - 1].get(&path).cloned() {
                Some(source) => calmer[index].insert(path, source),
                None => calmer[index].remove(&path),
            };
            if fails(&calmer) {
                states = calmer;
                is_smaller = true;
            }
        }
        if !is_smaller {
            return states;
        }
    }
}

/// What is taken out of all states.
enum Step {
    Path(String),
    Line(u64),
}

fn steps(states: &[Sources]) -> Vec<Step> {
    let mut steps = Vec::new();
    for state in states {
        for (path, source) in state {
            match source {
                Source::File { text: Text::Script(_, lines), .. } => {
                    steps.extend(lines.iter().map(|line| Step::Line(line.id)));
                }
                Source::File { text: Text::Data(_) | Text::Program(_), .. }
                | Source::Link(_)
                | Source::Directory => {}
            }
            if !["build.sh", "s0.sh"].contains(&path.as_str()) {
                steps.push(Step::Path(path.clone()));
            }
        }
    }
    steps
}

fn without(state: &Sources, step: &Step) -> Sources {
    let mut state = state.clone();
    match step {
        Step::Path(path) => drop(state.remove(path)),
        Step::Line(id) => {
            for source in state.values_mut() {
                if let Source::File { text: Text::Script(_, lines), .. } = source {
                    lines.retain(|line| line.id != *id || line.id == 0);
                }
            }
        }
    }
    state
}

fn differing(states: &[Sources]) -> Vec<(usize, String)> {
    let mut differing = Vec::new();
    for (index, pair) in states.windows(2).enumerate() {
        let paths = pair[0].keys().chain(pair[1].keys());
        let changed = paths.filter(|path| pair[0].get(*path) != pair[1].get(*path));
        differing.extend(changed.map(|path| (index + 1, path.clone())));
    }
    differing.dedup();
    differing
}
