//! Random trees, and random edits to their sources.

use super::random::Random;
use super::scripts::{FIXED, HEADERS, SEARCHED, Writer};
use super::sources::{Age, Source, Sources, Text};

/// What a tree's states have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    is_timed: bool,
    scripts: u64,
}

const CONTENTS: &[&str] = &[
    "one\ntwo\nthree\n",
    "yep\n",
    "",
    "eleven\n",
    "no end",
    "green\nred\n",
    "beef\ncheese\nbee\n",
];
const FILES: &[&str] =
    &["ro/a", "ro/b", "ro/c", "src/a", "src/b", "src/c", "src/l", "top", "work/a"];

/// Returns the states of a tree, each an edit of the one before.
pub(crate) fn states(random: &mut Random) -> Vec<Sources> {
    let shape = Shape { is_timed: random.between(0, 100) < 25, scripts: random.between(2, 6) };
    let mut next = 0;
    let mut sources = first(random, shape, &mut next);
    let mut states = vec![sources.clone()];
    for _ in 0..random.between(2, 5) {
        for _ in 0..random.between(0, 3) {
            edit(random, shape, &mut next, &mut sources);
        }
        states.push(sources.clone());
    }
    states
}

/// Returns the sources of a build of one line.
pub(crate) fn single(line: &str) -> Sources {
    let start = super::sources::Line { id: 0, text: "sh s0.sh".to_owned() };
    let line = super::sources::Line { id: 1, text: line.to_owned() };
    let named = [("build.sh", start), ("s0.sh", line)];
    named.map(|(name, line)| (name.to_owned(), script(vec![line]))).into()
}

fn age(random: &mut Random) -> Age {
    match random.between(0, 3) {
        0 => Age::New(random.between(0, 60)),
        _ => Age::Old(random.between(0, 5)),
    }
}

fn data(random: &mut Random) -> Source {
    let text = Text::Data(random.pick(CONTENTS).to_owned());
    Source::File { text, mode: random.pick(&[0o644, 0o644, 0o600, 0o755]), age: age(random) }
}

fn header(random: &mut Random) -> String {
    format!("{}/{}", random.pick(SEARCHED), random.pick(HEADERS))
}

fn script(lines: Vec<super::sources::Line>) -> Source {
    Source::File {
        text: Text::Script("#!/bin/sh".to_owned(), lines),
        mode: 0o755,
        age: Age::Old(0),
    }
}

fn first(random: &mut Random, shape: Shape, next: &mut u64) -> Sources {
    let mut sources = Sources::new();
    for file in FILES {
        if FIXED.contains(file) || random.between(0, 2) == 0 {
            sources.insert((*file).to_owned(), data(random));
        }
    }
    for _ in 0..3 {
        sources.insert(header(random), data(random));
    }
    for directory in ["out", "work", "src", "par1", "par2", "inc1"] {
        if random.between(0, 5) > 0 || directory.starts_with("par") {
            sources.entry(directory.to_owned()).or_insert(Source::Directory);
        }
    }
    let mut writer = Writer { random, is_timed: shape.is_timed, scripts: shape.scripts, next };
    for number in 0..shape.scripts {
        let lines = writer.lines(number);
        sources.insert(format!("s{number}.sh"), script(lines));
    }
    for name in ["1", "2"] {
        let lines = writer.lines_alone(&format!("par{name}"));
        sources.insert(format!("p{name}.sh"), script(lines));
    }
    // What a build that fails did is not kept.
    let own = super::sources::Line { id: 0, text: "sh s0.sh; echo ended $?".to_owned() };
    sources.insert("build.sh".to_owned(), script(vec![own]));
    let own = super::sources::Line { id: 0, text: "cat \"$1\"; echo \"run as $0\"".to_owned() };
    sources.insert("x.sh".to_owned(), script(vec![own]));
    let program = Source::File { text: Text::Program(0), mode: 0o755, age: Age::Old(0) };
    sources.insert("prog".to_owned(), program);
    sources
}

fn edit(random: &mut Random, shape: Shape, next: &mut u64, sources: &mut Sources) {
    let file = match random.between(0, 4) {
        0 => header(random),
        _ => random.pick(FILES).to_owned(),
    };
    match random.between(0, 16) {
        0..4 => drop(sources.insert(file, data(random))),
        4 => drop(sources.remove(&file)),
        5 => {
            if let Some(source) = sources.remove(&file) {
                let to = random.pick(FILES).to_owned();
                sources.insert(to, source);
            }
        }
        6 => {
            if let Some(Source::File { age: old, .. }) = sources.get_mut(&file) {
                *old = age(random);
            }
        }
        7 => {
            if let Some(Source::File { mode, .. }) = sources.get_mut(&file) {
                *mode = random.pick(&[0o644, 0o600, 0o755, 0o444]);
            }
        }
        8 => {
            // What parts that run at the same time read must not be what one of them writes.
            let target = match FIXED.contains(&file.as_str()) {
                true => random.pick(&["b", "nowhere", "../inc1/h"]),
                false => random.pick(&["../ro/b", "../src/b", "nowhere", "../out", "a"]),
            };
            sources.insert(file, Source::Link(target.to_owned()));
        }
        9 => drop(sources.insert(file, Source::Directory)),
        10 => drop(sources.insert(header(random), data(random))),
        11 => {
            let text = Text::Program(random.between(0, 3));
            let program =
                Source::File { text, mode: random.pick(&[0o755, 0o755, 0o644]), age: Age::Old(0) };
            sources.insert("prog".to_owned(), program);
        }
        12 => {
            let head = random.pick(&[
                "#!/bin/sh",
                "#!/bin/bash",
                "#!/bin/cat",
                "#!/bin/sh -e",
                "#!/nowhere",
            ]);
            if let Some(Source::File { text: Text::Script(old, _), .. }) = sources.get_mut("x.sh") {
                *old = head.to_owned();
            }
        }
        _ => edit_script(random, shape, next, sources),
    }
    for directory in ["src", "work", "out"] {
        // What was a file may have to be a directory now; one file stands in the way of all below it.
        let below = format!("{directory}/");
        if sources.keys().any(|path| path.starts_with(&below))
            && matches!(sources.get(directory), Some(Source::File { .. } | Source::Link(_)))
        {
            sources.remove(directory);
        }
    }
}

fn edit_script(random: &mut Random, shape: Shape, next: &mut u64, sources: &mut Sources) {
    let number = random.between(0, shape.scripts);
    let mut writer = Writer { random, is_timed: shape.is_timed, scripts: shape.scripts, next };
    let line = writer.line(number);
    let source = sources.get_mut(&format!("s{number}.sh"));
    let Some(Source::File { text: Text::Script(_, lines), .. }) = source else { return };
    let length = lines.len() as u64;
    match random.between(0, 4) {
        0 => lines.insert(random.between(0, length + 1) as usize, line),
        1 if length > 0 => drop(lines.remove(random.between(0, length) as usize)),
        2 if length > 1 => {
            let (a, b) = (random.between(0, length) as usize, random.between(0, length) as usize);
            lines.swap(a, b);
        }
        _ if length > 0 => lines[random.between(0, length) as usize] = line,
        _ => lines.push(line),
    }
}
