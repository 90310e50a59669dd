//! Commands that are skipped, and edits after which they must not be: each build beside the clean one, at the same place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Something at a path of the sources.
#[derive(Clone, Copy)]
enum Entry {
    File(&'static str),
    Link(&'static str),
}

use Entry::{File, Link};

type Sources = Vec<(&'static str, Entry)>;

/// What is left of a build: its code, and what it wrote to `out`.
type Left = (Option<i32>, String);

/// Builds one tree after another.
struct Site {
    directory: TempDir,
    builds: usize,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), builds: 0 }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn build(&self, sources: &Sources, before: &[String]) -> (Left, String) {
        let top = self.path("build");
        drop(fs::remove_dir_all(&top));
        drop(fs::remove_dir_all(self.path("elsewhere")));
        fs::create_dir(&top).unwrap();
        fs::create_dir(self.path("elsewhere")).unwrap();
        for (path, entry) in sources {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match entry {
                File(text) => fs::write(path, text).unwrap(),
                Link(target) => symlink(target, path).unwrap(),
            }
        }
        // Descriptors that a test runner leaves open would be given to every command.
        let close = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\"";
        let words = before.iter().map(String::as_str).chain(["sh", "-c", "sh step.sh > out 2>&1"]);
        #[expect(clippy::disallowed_methods, reason = "the program itself is tested")]
        let output = Command::new("bash")
            .args(["-c", close, "bash"])
            .args(words)
            .current_dir(&top)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ELSEWHERE", self.path("elsewhere"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let out = fs::read_to_string(top.join("out")).unwrap_or_default();
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        ((output.status.code(), out), said.into_owned())
    }

    /// Builds with what the build before left, and clean; returns both, and how many commands were skipped.
    fn both(&mut self, sources: &Sources) -> (Left, Left, usize) {
        let (clean, _) = self.build(sources, &[]);
        let pack = |number: usize| self.path(&format!("pack{number}")).display().to_string();
        let mut words = vec![env!("CARGO_BIN_EXE_levain-cache").to_owned(), "replay".to_owned()];
        if self.builds > 0 {
            words.extend(["--from".to_owned(), pack(self.builds - 1)]);
        }
        words.extend(["--to".to_owned(), pack(self.builds), "--".to_owned()]);
        let (replayed, said) = self.build(sources, &words);
        self.builds += 1;
        let skipped = said.split_once(" commands skipped").and_then(|(before, _)| {
            before.rsplit(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok()
        });
        (clean, replayed, skipped.unwrap_or_else(|| panic!("no summary: {said}")))
    }

    /// Builds twice, which skips something, and then after an edit, which must show.
    fn shows(&mut self, what: &str, before: &Sources, after: &Sources) {
        let (clean, replayed, _) = self.both(before);
        assert_eq!(clean, replayed, "{what}");
        let (_, replayed, skipped) = self.both(before);
        assert_eq!(clean, replayed, "{what}: the same again");
        assert!(skipped > 0, "{what}: nothing is skipped");
        let (edited, replayed, _) = self.both(after);
        assert_ne!(clean, edited, "{what}: the edit changes nothing");
        assert_eq!(edited, replayed, "{what}");
    }
}

fn has(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|found| found == text)
}

#[test]
fn a_way_back_out_of_a_directory_needs_the_directory() {
    let step = ("step.sh", File("cat a/b/../x; head -c 9 a/../y"));
    let before = vec![step, ("a/b/file", File("")), ("a/x", File("1")), ("y", File("2"))];
    let gone = vec![step, ("a/x", File("1")), ("y", File("2"))];
    let link = vec![
        step,
        ("a/b", Link("../c/d")),
        ("c/d/file", File("")),
        ("c/x", File("other")),
        ("a/x", File("1")),
        ("y", File("2")),
    ];
    let file = vec![step, ("a/b", File("")), ("a/x", File("1")), ("y", File("2"))];
    for (what, after) in [("gone", gone), ("a link", link), ("a file", file)] {
        Site::new().shows(what, &before, &after);
    }
}

#[test]
fn what_is_left_elsewhere_is_left_by_the_command_itself() {
    let sources =
        vec![("step.sh", File("cp step.sh \"$ELSEWHERE/copy\"; cp step.sh here; cat here"))];
    let mut site = Site::new();
    for round in 0..3 {
        let (clean, replayed, skipped) = site.both(&sources);
        assert_eq!(clean, replayed);
        assert!(has(
            &site.path("elsewhere/copy"),
            "cp step.sh \"$ELSEWHERE/copy\"; cp step.sh here; cat here"
        ));
        // The second `cp` and `cat`, and never the whole.
        assert_eq!(skipped, if round == 0 { 0 } else { 2 });
    }
}

#[test]
fn it_can_be_seen_why_a_command_ran() {
    let mut site = Site::new();
    let step = ("step.sh", File("cat x; cat y"));
    site.both(&vec![step, ("x", File("1")), ("y", File("2"))]);
    site.both(&vec![step, ("x", File("1")), ("y", File("3"))]);
    let explain = |arguments: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "the program itself is tested")]
        let output = Command::new(env!("CARGO_BIN_EXE_levain-cache"))
            .arg("explain")
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (String::from_utf8(output.stdout).unwrap(), errors)
    };
    let pack = site.path("pack1").display().to_string();
    let (text, _) = explain(&[&pack]);
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().trim();
    assert!(line("cat x").starts_with("skipped "), "{text}");
    let y = site.path("build/y").display().to_string();
    let ran = line("cat y");
    assert!(
        ran.starts_with("ran ") && ran.contains(&y) && ran.contains("contents differ"),
        "{text}"
    );
    let (json, _) = explain(&[&pack, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let fates: Vec<_> =
        json["commands"].as_array().unwrap().iter().map(|one| &one["fate"]).collect();
    assert!(fates.contains(&&"skipped".into()) && fates.contains(&&"ran".into()), "{json}");
    let (_, errors) = explain(&[&site.path("build").display().to_string()]);
    assert!(errors.contains("does not say") && errors.contains("hint:"), "{errors}");
}

/// Kinds of what a command learns or does beside reading and writing files: a script, and what the file `n` says before and
/// after. Whatever is skipped, what it does must show.
const KINDS: &[(&str, &str, &str, &str)] = &[
    (
        "a lock on a descriptor that is given",
        "echo 0 >c; j() { ( flock 9; x=$(cat c); sleep .2; echo $((x+1)) >c ) 9>lock; }\nj & j & wait; cat c n",
        "1",
        "2",
    ),
    (
        "the parent's limits",
        "sh -c 'prlimit --pid $PPID --nofile=100:100'; ulimit -n; cat n",
        "1",
        "2",
    ),
    ("processors", "taskset -c $(cat n) nproc", "0", "0-1"),
    ("niceness", "nice -n $(cat n) nice", "5", "7"),
    ("a time to come", "touch -d @$(cat n) f; stat -c %Y f", "2500000000", "2600000000"),
    (
        "the time of what is renamed",
        "touch -d @$(cat n) f; sh -c 'mv f g; stat -c %Y g; true'",
        "1000000",
        "2000000",
    ),
    (
        "the time of what has a mode set",
        "touch -d @$(cat n) f; sh -c 'chmod 755 f; stat -c %Y f; true'",
        "1000000",
        "2000000",
    ),
    ("how many names there are", "cp n a; $(cat n) a b; sh -c 'stat -c %h a; true'", "cp", "ln"),
    (
        "whether two are one",
        "cp n a; $(cat n) a b; sh -c 'test a -ef b && echo same; true'",
        "cp",
        "ln",
    ),
    ("the length of a link", "ln -s $(cat n) l; sh -c 'stat -c %s l; true'", "ab", "abcdef"),
    (
        "the interpreter's link",
        "printf '#!%s/i\\necho ${BASH_VERSION+bash}\\n' \"$PWD\" >s; chmod +x s; ln -s $(cat n) i; sh -c './s; :'",
        "/bin/dash",
        "/bin/bash",
    ),
    (
        "another process",
        "sh -c 'tr \"\\\\0\" \" \" </proc/$PPID/comm; :'; sh -c 'echo $0 >/dev/null; read x </proc/$PPID/cmdline; echo ${#x}' $(cat n); : $(cat n)",
        "a",
        "bbbbbb",
    ),
    (
        "the time of a compiled file",
        "echo '__TIMESTAMP__' >a.c; touch -d @$(cat n) a.c; gcc -E -P a.c",
        "1000000",
        "2000000",
    ),
    (
        "whether headers are one",
        "mkdir a b; echo '#pragma once' >h; echo 'static int c;' >>h; cp h a/x.h; cp h b/x.h; touch -d @5 a/x.h\n\
         touch -d @$(cat n) b/x.h; printf '#include \"a/x.h\"\\n#include \"b/x.h\"\\n' >m.c; gcc -E -P m.c",
        "5",
        "7",
    ),
    (
        "whether there is input",
        "$(cat n) | sh -c 'test -p /dev/stdin && echo pipe; true'; sh -c 'test -p /dev/stdin && echo pipe; true'",
        "true",
        "cat n",
    ),
];

#[test]
fn whatever_a_command_learns_is_compared() {
    for (what, script, before, after) in KINDS {
        let sources = |text| vec![("step.sh", File(script)), ("n", File(text))];
        let mut site = Site::new();
        for text in [before, before, after, before] {
            let (clean, replayed, _) = site.both(&sources(text));
            assert_eq!(clean.0, Some(0), "{what}: {}", clean.1);
            assert_eq!(clean, replayed, "{what}: {text}");
        }
    }
}
