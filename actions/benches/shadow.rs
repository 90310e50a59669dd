//! Measures one shadow commit against the least that git itself needs for the same objects.
//!
//! Run with `cargo bench -p levain-actions --bench shadow`. Two repositories are made with `git fast-import`, 500 and
//! 50,000 files, and both costs are medians of 20. The limit is what any way of making such a commit must do: write the
//! two blobs, the root tree and the commit (`git hash-object`, `git mktree`, `git commit-tree`), once as four
//! processes and once as the same four writes within one process.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use levain_actions::git::{CommitId, Repository};
use levain_actions::shadow::{ShadowCommit, ShadowFiles, write};

type Error = Box<dyn std::error::Error>;

const ROUNDS: u32 = 20;
const SIZES: [(u32, u32); 2] = [(10, 50), (1_000, 50)];

#[allow(clippy::print_stdout, reason = "a benchmark prints its table")]
fn main() -> Result<(), Error> {
    println!(
        "{:>7} {:>12} {:>15} {:>15} {:>10} {:>10}",
        "files", "shadow", "git, 4 writes", "in one process", "to git", "to writes"
    );
    for (directories, files) in SIZES {
        let dir = tempfile::tempdir()?;
        let head = fill(dir.path(), directories, files)?;
        let repository = Repository::discover(dir.path())?;
        let opened = git2::Repository::open(dir.path())?;
        let shadow = median(|round| shadow(&repository, head, round))?;
        let git = median(|round| with_git(dir.path(), head, round))?;
        let writes = median(|round| within(&opened, head, round))?;
        println!(
            "{:>7} {:>9.2} ms {:>12.2} ms {:>12.2} ms {:>10.2} {:>10.2}",
            directories * files,
            milliseconds(shadow),
            milliseconds(git),
            milliseconds(writes),
            milliseconds(shadow) / milliseconds(git),
            milliseconds(shadow) / milliseconds(writes),
        );
    }
    Ok(())
}

fn shadow(repository: &Repository, original: CommitId, round: u32) -> Result<(), Error> {
    let pointer = pointer("shadow", round);
    let commit = ShadowCommit {
        previous: None,
        original,
        built: original,
        pointer: pointer.as_bytes(),
        message: "shadow",
    };
    write(repository, &commit, &ShadowFiles::default())?;
    Ok(())
}

/// The limit, by the programs of git.
fn with_git(at: &Path, original: CommitId, round: u32) -> Result<(), Error> {
    let pointer = git(at, &["hash-object", "-w", "--stdin"], pointer("git", round).as_bytes())?;
    let commit = git(at, &["hash-object", "-w", "--stdin"], format!("{original}\n").as_bytes())?;
    let mut root = git(at, &["ls-tree", &original.to_string()], b"")?;
    root.push_str(&format!(
        "\n100644 blob {pointer}\tcache.nix\n100644 blob {commit}\tcommit.txt\n"
    ));
    let tree = git(at, &["mktree"], root.as_bytes())?;
    let parent = original.to_string();
    git(at, &["commit-tree", &tree, "-p", &parent, "-m", "limit"], b"")?;
    Ok(())
}

/// The limit, as four bare writes of objects by libgit2, whose content is known beforehand but for the names.
fn within(repository: &git2::Repository, original: CommitId, round: u32) -> Result<(), Error> {
    let objects = repository.odb()?;
    let pointer = objects.write(git2::ObjectType::Blob, pointer("within", round).as_bytes())?;
    let commit = objects.write(git2::ObjectType::Blob, format!("{original}\n").as_bytes())?;
    let parent = repository.find_commit(git2::Oid::from_str(&original.to_string())?)?;
    let mut root = objects.read(parent.tree_id())?.data().to_vec();
    // The names of the directories begin with a `d`: these two go before them.
    let mut entries = Vec::new();
    for (name, id) in [("cache.nix", pointer), ("commit.txt", commit)] {
        entries.extend_from_slice(format!("100644 {name}\0").as_bytes());
        entries.extend_from_slice(id.as_bytes());
    }
    root.splice(0..0, entries);
    let tree = objects.write(git2::ObjectType::Tree, &root)?;
    let text = format!(
        "tree {tree}\nparent {original}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nlimit\n"
    );
    objects.write(git2::ObjectType::Commit, text.as_bytes())?;
    Ok(())
}

fn pointer(kind: &str, round: u32) -> String {
    format!("{{ \"x86_64-linux.{kind}\" = \"/nix/store/{round}\"; }}\n")
}

fn median(mut measured: impl FnMut(u32) -> Result<(), Error>) -> Result<Duration, Error> {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let begin = Instant::now();
        measured(round)?;
        times.push(begin.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Fills a new repository and returns its head.
fn fill(at: &Path, directories: u32, files: u32) -> Result<CommitId, Error> {
    git(at, &["-c", "init.defaultBranch=main", "init", "-q"], b"")?;
    let mut script = String::from(
        "commit refs/heads/main\ncommitter a <a@example.org> 1700000000 +0000\ndata 5\nfiles\n",
    );
    for directory in 0..directories {
        for file in 0..files {
            let content = format!("{directory} {file}");
            script.push_str(&format!(
                "M 100644 inline d{directory}/f{file}\ndata {}\n{content}\n",
                content.len()
            ));
        }
    }
    git(at, &["fast-import", "--quiet"], script.as_bytes())?;
    Ok(git(at, &["rev-parse", "refs/heads/main"], b"")?.parse()?)
}

#[expect(clippy::disallowed_methods, reason = "the limit is measured with git itself")]
fn git(at: &Path, args: &[&str], input: &[u8]) -> Result<String, Error> {
    let mut child = Command::new("git")
        .args(args)
        .current_dir(at)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@example.org")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Git reads all of it before it prints more than a pipe takes.
    child.stdin.take().ok_or("git has no input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("git {args:?} failed").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
