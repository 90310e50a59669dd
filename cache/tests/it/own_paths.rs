//! Sets with paths of the build's own outputs are neither kept nor restored, unless that is allowed.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::fixture::{Builds, Said, Tree, tree};

struct Project {
    builds: Builds,
    out: PathBuf,
}

const HASH: &str = "3ygw493yzidkiia6rawrpjvizib6yjiw";

fn sources() -> Tree {
    tree(&[("a", "1")])
}

impl Project {
    /// A build that has just unpacked its sources.
    fn new() -> Project {
        let builds = Builds::new();
        let out = builds.store().join(format!("{HASH}-app"));
        let project = Project { builds, out };
        project.start();
        project
    }

    fn start(&self) {
        self.builds.unpack(&sources());
        self.builds.restore_nothing();
    }

    fn call(&self, words: &[&str], cache: u32) -> Said {
        let cache = self.builds.cache(cache);
        let outputs: PathBuf = "out cache".into();
        let variables = [("outputs", outputs.as_path()), ("out", &self.out), ("cache", &cache)];
        self.builds.call_with(words, &variables)
    }

    fn persist(&self) -> Said {
        self.call(&["persist", "s", "out"], 1)
    }

    fn restore(&self, options: &[&str]) -> Said {
        self.builds.unpack(&sources());
        let from = self.builds.cache(1).display().to_string();
        self.call(&[&["restore", "s", "--from", &from], options].concat(), 2)
    }
}

#[test]
fn a_file_with_an_own_path_keeps_the_set_from_being_kept() {
    for text in [
        format!("prefix=/nix/store/{HASH}-app"),
        HASH.to_owned(),
        HASH[12..22].to_owned(),
        HASH.bytes().map(|byte| format!("{byte},")).collect(),
        // The cache output is an output, too.
        "2".repeat(32),
    ] {
        let project = Project::new();
        project.builds.outputs(&[("out/a", "harmless"), ("out/b", &text)], 300);
        project
            .call(&["persist", "s", "out"], 2)
            .has("not persisted s: `out/b` names the build's own");
        project.builds.unpack(&sources());
        let from = project.builds.cache(2).display().to_string();
        for options in [&[][..], &["--allow-own-paths"], &["--strict"]] {
            let words = [&["restore", "s", "--from", &from], options].concat();
            project.call(&words, 3).has("not restored s: `out/b` names the build's own output").has(
                "; `allowOwnPaths` in the job's settings would restore it all the same; clean build",
            );
            assert!(!project.builds.at("out").exists());
        }
    }
}

#[test]
fn names_and_links_count_as_well() {
    let project = Project::new();
    project.builds.outputs(&[(&format!("out/{HASH}.d"), "x")], 300);
    project.persist().has("not persisted s: `out/3ygw");
    project.start();
    project.builds.outputs(&[("out/x", "x")], 300);
    symlink(project.out.join("lib"), project.builds.at("out/link")).unwrap();
    project.persist().has("not persisted s: `out/link` names");
}

#[test]
fn a_file_beside_the_set_counts_if_the_build_made_it() {
    let project = Project::new();
    project.builds.outputs(&[("out/sum", "of conf"), ("conf", HASH)], 300);
    project.persist().has("not persisted s: `conf` names the build's own output `out`");
    project.call(&["persist", "s", "out", "--exclude", "conf"], 1).has("persisted s: 1 file");
    // A source says the same in every build that has it.
    let project = Project::new();
    project.builds.unpack(&tree(&[("conf", HASH)]));
    project.builds.restore_nothing();
    project.builds.outputs(&[("out/x", "x")], 300);
    project.persist().has("persisted s: 1 file");
}

#[test]
fn a_set_kept_with_permission_is_not_restored_without() {
    let project = Project::new();
    project.builds.outputs(&[("out/a", "harmless"), ("out/b", HASH)], 300);
    project
        .call(&["persist", "s", "out", "--allow-own-paths"], 1)
        .has("persisted s: 2 files")
        .has("; `out/b` names the build's own output `out`");
    project.restore(&[]).has("not restored s: `out/b` names");
    project.restore(&["--allow-own-paths"]).has("restored s: 2 files");
    // What is only restored stays in doubt.
    project.call(&["persist", "s", "out"], 2).has("not persisted s: `out/b` names");
}

#[test]
fn compressed_files_are_looked_into() {
    let project = Project::new();
    project.builds.outputs(&[("out/a", "harmless"), ("out/b", &format!("x {HASH}"))], 300);
    project.builds.shell("gzip -9 out/b");
    project.persist().has("not persisted s: `out/b.gz` names").has("inside compressed data");
    project.start();
    project.builds.outputs(&[("out/a", "harmless")], 300);
    project.builds.shell("printf '\\3757zXZ\\0' > out/a.xz");
    project.persist().has("not persisted s: `out/a.xz` is compressed in a way that hides");
}
