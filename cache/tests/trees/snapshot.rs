//! What a build left, and in what that differs from what another left.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Times that are nearer to each other are in no order that a build could rely on.
const NEAR: Duration = Duration::from_millis(10);

/// A file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its kind and permissions.
    mode: u32,
    /// What it holds, or where it leads.
    content: Vec<u8>,
    /// The first of its names.
    name: String,
}

/// What is in a directory, and what its build printed.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
    entries: BTreeMap<String, Entry>,
    times: BTreeMap<String, SystemTime>,
}

impl Snapshot {
    pub(crate) fn of(top: &Path, code: Option<i32>, output: String, errors: String) -> Self {
        let mut snapshot =
            Self { code, output, errors, entries: BTreeMap::new(), times: BTreeMap::new() };
        let mut first_names = BTreeMap::new();
        snapshot.add(top, "", &mut first_names);
        snapshot
    }

    fn add(&mut self, top: &Path, below: &str, first_names: &mut BTreeMap<u64, String>) {
        let names = fs::read_dir(top.join(below)).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for name in names {
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let place = top.join(&path);
            let metadata = fs::symlink_metadata(&place).unwrap();
            let content = if metadata.is_symlink() {
                fs::read_link(&place).unwrap().into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(&place).unwrap()
            } else {
                Vec::new()
            };
            let name = match metadata.is_dir() {
                true => path.clone(),
                false => first_names.entry(metadata.ino()).or_insert_with(|| path.clone()).clone(),
            };
            let entry = Entry { mode: metadata.permissions().mode(), content, name };
            self.entries.insert(path.clone(), entry);
            self.times.insert(path.clone(), metadata.modified().unwrap());
            if metadata.is_dir() {
                self.add(top, &path, first_names);
            }
        }
    }

    /// Says in what another differs from this one, but for times.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.code != other.code {
            return Some(format!("exit code {:?} instead of {:?}", other.code, self.code));
        }
        for (what, expected, found) in [
            ("standard output", &self.output, &other.output),
            ("standard error", &self.errors, &other.errors),
        ] {
            if expected != found {
                return Some(format!("{what}:\n{found}--- instead of ---\n{expected}"));
            }
        }
        let paths = self.entries.keys().chain(other.entries.keys());
        for path in paths {
            let (expected, found) = (self.entries.get(path), other.entries.get(path));
            if expected != found {
                return Some(format!("{path}: {} instead of {}", shown(found), shown(expected)));
            }
        }
        None
    }

    /// Returns pairs of paths of which the first is older here and not in another.
    pub(crate) fn disorder(&self, other: &Self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (a, older) in &self.times {
            for (b, newer) in &self.times {
                let (Some(a_there), Some(b_there)) = (other.times.get(a), other.times.get(b))
                else {
                    continue;
                };
                // Parts that run at the same time are in no order.
                let is_parallel = [a, b].iter().all(|path| path.starts_with("par"));
                if *older + NEAR < *newer && a_there >= b_there && !is_parallel {
                    pairs.push((a.clone(), b.clone()));
                }
            }
        }
        pairs
    }

    /// Whether one path is older than another, so that a build could rely on it.
    pub(crate) fn is_older(&self, (a, b): &(String, String)) -> bool {
        match (self.times.get(a), self.times.get(b)) {
            (Some(a), Some(b)) => *a + NEAR < *b,
            (_, _) => false,
        }
    }
}

fn shown(entry: Option<&Entry>) -> String {
    match entry {
        None => "nothing".to_owned(),
        Some(Entry { mode, content, name }) => {
            let text = String::from_utf8_lossy(content.get(..content.len().min(200)).unwrap());
            format!("{mode:o} {text:?} (first name {name})")
        }
    }
}
