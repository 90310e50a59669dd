//! Inside real builds of Nix: what the cache outputs refer to, and that they can be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A store of its own, and a derivation with a cache output.
struct Store {
    directory: tempfile::TempDir,
}

/// Compiles nothing: what counts is what the program finds in a builder.
const EXPRESSION: &str = r#"
{ program, prev ? "", text }:
let needed = builtins.toFile "needed" "a file that outputs mention";
in derivation {
  name = "job";
  system = builtins.currentSystem;
  outputs = [ "out" "cache" ];
  # Where Nix numbers build directories, this gives them one name.
  builder = program;
  prev = if prev == "" then "" else builtins.storePath prev;
  source = builtins.toFile "source" text;
  inherit needed program;
  args = [ "build" "--place-only" "--" "/bin/sh" "-c" ''
    export PATH=/usr/bin:/bin
    mkdir tree && cd tree && cp $source source.txt || exit 1
    $program restore s --from "$prev" --strict || exit 1
    mkdir -p made
    if test -e made/copy && ! test source.txt -nt made/copy
    then echo kept > $out
    else cp source.txt made/copy && echo copied > $out || exit 1
    fi
    echo "needs $needed, started from $prev" > made/log
    $program persist s made --origin job=x || exit 1
    exit 0
  '' ];
}
"#;

impl Store {
    fn new() -> Store {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["conf", "home", "tmp"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let conf = "substituters =\nsandbox = false\nbuild-users-group =\n";
        fs::write(root.join("conf/nix.conf"), conf).unwrap();
        fs::write(root.join("job.nix"), EXPRESSION).unwrap();
        Store { directory }
    }

    fn nix(&self, program: &str, words: &[&str]) -> String {
        let root = self.directory.path();
        #[expect(clippy::disallowed_methods, reason = "Nix calls the program under test")]
        let output = Command::new(program)
            .args(words)
            .env("NIX_STORE_DIR", root.join("store"))
            .env("NIX_STATE_DIR", root.join("var"))
            .env("NIX_LOG_DIR", root.join("log"))
            .env("NIX_CONF_DIR", root.join("conf"))
            .env("NIX_REMOTE", "")
            .env("HOME", root.join("home"))
            .env("TMPDIR", root.join("tmp"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds the job; returns what it did and its cache output.
    fn build(&self, prev: Option<&Path>, text: &str) -> (String, PathBuf) {
        let file = self.directory.path().join("job.nix").display().to_string();
        let prev = prev.map(|prev| prev.display().to_string()).unwrap_or_default();
        let program = env!("CARGO_BIN_EXE_levain-cache");
        let arguments = ["--argstr", "program", program, "--argstr", "text", text];
        let arguments = [&arguments[..], &["--argstr", "prev", &prev]].concat();
        let derivation = self.nix("nix-instantiate", &[&[file.as_str()][..], &arguments].concat());
        let paths = self.nix("nix-store", &["--realise", derivation.trim()]);
        let place = |cache: bool| {
            let mut lines = paths.lines();
            PathBuf::from(lines.find(|path| path.ends_with("-cache") == cache).unwrap())
        };
        (fs::read_to_string(place(false)).unwrap().trim().to_owned(), place(true))
    }

    fn references(&self, cache: &Path) -> String {
        self.nix("nix-store", &["--query", "--references", &cache.display().to_string()])
    }
}

#[test]
fn a_chain_of_builds_holds_what_it_needs_and_nothing_more() {
    let store = Store::new();
    let (did, first) = store.build(None, "one");
    assert_eq!(did, "copied");
    let mut caches = vec![first];
    for (text, expected) in [("one", "kept"), ("two", "copied"), ("two", "kept"), ("one", "copied")]
    {
        let (did, cache) = store.build(caches.last().map(PathBuf::as_path), text);
        assert_eq!(did, expected, "with `{text}`");
        let references = store.references(&cache);
        let names: Vec<&str> = references.lines().collect();
        assert!(matches!(names[..], [needed] if needed.ends_with("-needed")), "{references}");
        caches.push(cache);
    }
}
