//! What people do to a project between two commits.

use crate::project::{Module, Project};
use crate::random::Random;

/// A kind of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A value of a module, with as many digits.
    SameSize,
    /// A value of a module with more or fewer digits, and its comments.
    OtherSize,
    /// What other modules take from one.
    Interface,
    /// A new module, perhaps of a name that there was before.
    Add,
    /// A module less.
    Delete,
    /// A module moves.
    Rename,
    /// Two modules change places.
    Swap,
    /// A module is as it was earlier.
    Revert,
    /// Everything is as it was earlier.
    RevertAll,
    /// The derivation is another one, the sources are the same.
    Rebuild,
    /// A commit without a change.
    Nothing,
    /// A flag in the sources.
    Flag,
    /// A flag in the derivation.
    Recipe,
    /// Another compiler.
    Toolchain,
    /// A link to a file leads elsewhere.
    FileLink,
    /// A link to a directory leads elsewhere.
    DirectoryLink,
    /// Another version of a dependency.
    Dependency,
    /// A file that is needed is gone: the build must fail.
    Missing,
}

impl Edit {
    /// All kinds.
    pub(crate) const ALL: [Self; 18] = [
        Self::SameSize,
        Self::OtherSize,
        Self::Interface,
        Self::Add,
        Self::Delete,
        Self::Rename,
        Self::Swap,
        Self::Revert,
        Self::RevertAll,
        Self::Rebuild,
        Self::Nothing,
        Self::Flag,
        Self::Recipe,
        Self::Toolchain,
        Self::FileLink,
        Self::DirectoryLink,
        Self::Dependency,
        Self::Missing,
    ];

    /// Changes the newest of `commits` into the next one; returns it with what was done.
    pub(crate) fn apply(self, commits: &[Project], random: &mut Random) -> (Project, String) {
        let mut project = commits.last().unwrap().clone();
        if self == Self::Nothing {
            return (project, "a commit without a change".into());
        }
        project.missing = None;
        let done = self.change(&mut project, commits, random);
        project.nonce = commits.len() as u64;
        (project, done)
    }

    fn change(self, project: &mut Project, commits: &[Project], random: &mut Random) -> String {
        match self {
            Self::SameSize | Self::OtherSize | Self::Swap | Self::Revert => {
                self.contents(project, commits, random)
            }
            Self::Add | Self::Delete | Self::Rename => self.names(project, random),
            Self::Interface => {
                let index = random.between(0, 2) as usize;
                project.interfaces[index] = random.between(1000, 10_000);
                format!("interface {index}")
            }
            Self::RevertAll => {
                let back = random.between(1, commits.len().min(6) as u64 + 1) as usize;
                *project = commits[commits.len() - back].clone();
                project.missing = None;
                format!("everything as {back} commits ago")
            }
            Self::Rebuild => "the same sources once more".into(),
            Self::Nothing => "nothing".into(),
            Self::Flag => {
                project.flag = other(project.flag, random);
                format!("flag of the sources {}", project.flag)
            }
            Self::Recipe => {
                project.recipe = other(project.recipe, random);
                format!("flag of the derivation {}", project.recipe)
            }
            Self::Toolchain => {
                // 0 is the machine's compiler.
                project.toolchain = (project.toolchain + random.between(1, 3)) % 3;
                format!("toolchain {}", project.toolchain)
            }
            Self::FileLink => flip(&mut project.links[0], "file link"),
            Self::DirectoryLink => flip(&mut project.links[1], "directory link"),
            Self::Dependency => {
                project.dependency = other(project.dependency, random);
                format!("dependency {}", project.dependency)
            }
            Self::Missing => {
                let index = random.between(0, 2) as usize;
                project.missing = Some(index);
                format!("interface {index} is missing")
            }
        }
    }

    /// Changes what is in modules.
    fn contents(self, project: &mut Project, commits: &[Project], random: &mut Random) -> String {
        let names: Vec<String> = project.modules.keys().cloned().collect();
        let name = random.pick(&names);
        let mut module = project.modules[&name].clone();
        let mut done = format!("{name}: ");
        if self == Self::SameSize {
            let digits = module.value.ilog10();
            module.value = random.between(10u64.pow(digits), 10u64.pow(digits + 1));
            done += "same size";
        } else if self == Self::OtherSize {
            let digits = 3 + (module.value.ilog10() - 3 + random.between(1, 3) as u32) % 3;
            module.value = random.between(10u64.pow(digits), 10u64.pow(digits + 1));
            module.lines = random.between(0, 9);
            done += "other size";
        } else if self == Self::Swap {
            let with = random.pick(&names);
            let other = std::mem::replace(&mut module, project.modules[&with].clone());
            done += &format!("swapped with {with}");
            project.modules.insert(with, other);
        } else {
            let older: Vec<&Module> =
                commits.iter().filter_map(|commit| commit.modules.get(&name)).collect();
            module = random.pick(&older).clone();
            done += "older content";
        }
        project.modules.insert(name, module);
        done
    }

    /// Changes which modules there are.
    fn names(self, project: &mut Project, random: &mut Random) -> String {
        let names: Vec<String> = project.modules.keys().cloned().collect();
        let gone = random.pick(&names);
        let module = if self == Self::Add {
            let value = random.between(1000, 10_000);
            Module { value, lines: random.between(0, 4), interface: random.between(0, 2) as usize }
        } else if self == Self::Delete && names.len() <= 3 {
            return "too few modules to delete one".into();
        } else {
            project.modules.remove(&gone).unwrap()
        };
        if self == Self::Delete {
            return format!("{gone}: deleted");
        }
        let new = new_name(&project.modules.keys().cloned().collect::<Vec<_>>(), random);
        project.modules.insert(new.clone(), module);
        if self == Self::Add {
            format!("{new}: added")
        } else {
            format!("{gone}: renamed to {new}")
        }
    }
}

/// Returns a name that is free; names come back.
fn new_name(names: &[String], random: &mut Random) -> String {
    let base = |number: u64| format!("m{number:02}");
    let taken = |number: &u64| names.iter().any(|name| name.ends_with(&base(*number)));
    let free: Vec<u64> = (1..=names.len() as u64 + 6).filter(|number| !taken(number)).collect();
    let place = random.pick(&["", "", "lib/"]);
    format!("{place}{}", base(random.pick(&free)))
}

/// Returns another flag or version.
fn other(now: u64, random: &mut Random) -> u64 {
    1 + (now - 1 + random.between(1, 5)) % 5
}

fn flip(link: &mut usize, what: &str) -> String {
    *link = 1 - *link;
    format!("{what} to {}", crate::project::TARGETS[*link])
}
