//! A machine of its own for one test: a Nix store, a home, a git repository with a flake.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A store, a home and everything else that levain, Nix and git look at.
#[must_use]
pub(crate) struct Environment {
    dir: TempDir,
    variables: BTreeMap<String, String>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

impl Ran {
    /// Requires an exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Requires success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Requires a text in standard error.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in stderr:\n{}", self.stderr);
        self
    }

    /// Reads standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("{error}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
        })
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

impl Environment {
    /// Makes an empty store and home.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("levain-test-").tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["conf", "home", "tmp"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(
            root.join("conf/nix.conf"),
            "experimental-features = nix-command flakes\nsubstituters =\nsandbox = false\nbuild-users-group =\n",
        )
        .unwrap();
        fs::write(
            root.join("home/.gitconfig"),
            "[user]\nname = Test\nemail = test@example.org\n[init]\ndefaultBranch = main\n[protocol \"file\"]\nallow = always\n",
        )
        .unwrap();
        let at = |name: &str| root.join(name).display().to_string();
        let variables = [
            ("NIX_STORE_DIR", at("store")),
            ("NIX_STATE_DIR", at("var")),
            ("NIX_LOG_DIR", at("log")),
            ("NIX_CONF_DIR", at("conf")),
            ("HOME", at("home")),
            ("TMPDIR", at("tmp")),
            ("PATH", std::env::var("PATH").unwrap()),
            ("LC_ALL", "C.UTF-8".into()),
            ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z".into()),
            ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z".into()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        Self { dir, variables }
    }

    /// Changes an environment variable for everything started from here.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Lets every levain here sign with the same key, as an operator's machines do.
    pub(crate) fn with_one_signing_key(self) -> Self {
        self.with("LEVAIN_SIGNING_KEY", SIGNING_KEY)
    }

    /// Returns a path in this environment.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Prepares a command with exactly this environment.
    #[expect(clippy::disallowed_methods, reason = "tests start the real programs")]
    pub(crate) fn command(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        directory: &Path,
    ) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.variables).current_dir(directory).stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, directory: &Path, args: &[&str]) -> Ran {
        self.command(program, directory).args(args).output().unwrap().into()
    }

    /// Prepares the built `levain`.
    pub(crate) fn levain_command(&self, directory: &Path, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_levain"), directory);
        command.args(args);
        command
    }

    /// Runs the built `levain`.
    #[track_caller]
    pub(crate) fn levain(&self, directory: &Path, args: &[&str]) -> Ran {
        self.levain_command(directory, args).output().unwrap().into()
    }

    /// Runs `levain run --format json` and returns its report, whatever the exit code.
    #[track_caller]
    pub(crate) fn report(&self, directory: &Path, args: &[&str]) -> Value {
        let args: Vec<&str> = ["run", "--format", "json"].iter().chain(args).copied().collect();
        self.levain(directory, &args).json()
    }

    /// Makes a repository with levain's Nix library in `lib` and null pointer files.
    pub(crate) fn repository(&self, name: &str) -> Repository<'_> {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        let repository = Repository { environment: self, path };
        repository.git(&["init", "--quiet"]);
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib");
        copy_tree(&library, &repository.path.join("lib"));
        repository.write("cache.nix", "null\n");
        repository.write("commit.txt", "");
        repository
    }
}

/// Copies a directory with everything in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A git repository with a flake.
#[must_use]
pub(crate) struct Repository<'a> {
    /// Where it lives.
    pub environment: &'a Environment,
    /// Its work tree.
    pub path: PathBuf,
}

impl Repository<'_> {
    /// Runs git; it must succeed. Returns what it printed, without the last newline.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.environment.run("git", &self.path, args).ok().stdout.trim_end().to_owned()
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits everything; returns the commit.
    #[track_caller]
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs levain here.
    #[track_caller]
    pub(crate) fn levain(&self, args: &[&str]) -> Ran {
        self.environment.levain(&self.path, args)
    }

    /// Runs `levain run --format json` here and returns the report.
    #[track_caller]
    pub(crate) fn report(&self, args: &[&str]) -> Value {
        self.environment.report(&self.path, args)
    }

    /// Returns what a ref points at.
    pub(crate) fn reference(&self, name: &str) -> Option<String> {
        let args = ["rev-parse", "--verify", "--quiet", name];
        let ran = self.environment.run("git", &self.path, &args);
        (ran.code == Some(0)).then(|| ran.stdout.trim_end().to_owned())
    }
}

/// A flake with one job per name. Each copies the files of `./src` to its cache
/// output and says in its log which it had to copy; with a cache, only the
/// changed ones. `incremental` is the declaration's attribute set of that name.
pub(crate) fn flake(jobs: &[&str], incremental: &str) -> String {
    let jobs: Vec<String> = jobs.iter().map(|job| format!("\"{job}\"")).collect();
    FLAKE.replace("@jobs@", &jobs.join(" ")).replace("@incremental@", incremental)
}

/// A secret key for these tests alone, made by Nix, and its public part.
pub(crate) const SIGNING_KEY: &str = "tests.example.org-1:sLfR9cCIq9V1jUIjSNQktAvQ5hw7KGjqZbtAxcZ82+cqnus5Y+w7dvY4A9YPK0YFsknVy9245s6tL1TJwfV/ZA==";
pub(crate) const PUBLIC_KEY: &str =
    "tests.example.org-1:Kp7rOWPsO3b2OAPWDytGBbJJ1cvduObOrS9UycH1f2Q=";

const FLAKE: &str = r#"{
  outputs = { self }:
    let
      levain = import ./lib;
      job = name: {
        inherit name;
        value = derivation {
          inherit name;
          system = "x86_64-linux";
          builder = "/bin/sh";
          outputs = [ "out" "cache" ];
          src = levain.source ./src;
          previous = levain.cache ./cache.nix "x86_64-linux.${name}";
          args = [ ./builder.sh ];
        };
      };
    in {
      levainProject = levain.mkProject { incremental = @incremental@; };
      levainJobs.x86_64-linux = builtins.listToAttrs (map job [ @jobs@ ]);
    };
}
"#;

/// The builder of [`flake`]'s jobs. A file `fail` in the source makes it fail,
/// a file `wait` makes it wait until the file that this one names is there.
pub(crate) const BUILDER: &str = r#"
export PATH=/usr/bin:/bin
if [ -e "$src/wait" ]; then
  while [ ! -e "$(cat "$src/wait")" ]; do sleep 0.05; done
fi
mkdir "$cache"
for file in "$src"/*.txt; do
  name=$(basename "$file")
  if [ -n "$previous" ] && cmp -s "$file" "$previous/$name"; then
    cp "$previous/$name" "$cache/$name"
  else
    echo "compiling $name"
    cp "$file" "$cache/$name"
  fi
done
if [ -e "$src/fail" ]; then
  echo "this build fails"
  exit 1
fi
cat "$cache"/*.txt > "$out"
exit 0
"#;
