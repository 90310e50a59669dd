//! Random lines of shell scripts that read, write, move and start each other.
//!
//! Programs are functions of what they are given and what they see, or the comparison would mean nothing: nothing
//! prints a time, a number of a process or the order in which a file system lists names; parts that run at the same
//! time share nothing but what nobody changes; and times of files that a build makes are compared only in trees whose
//! lines wait before they write.

use super::random::Random;
use super::sources::Line;

/// Files that no line changes.
pub(crate) const FIXED: &[&str] = &["ro/a", "ro/b", "ro/c"];
/// Directories that are searched in order, and names in them.
pub(crate) const SEARCHED: &[&str] = &["inc1", "inc2", "inc3"];
pub(crate) const HEADERS: &[&str] = &["h", "k"];
const CHANGED: &[&str] = &[
    "src/a", "src/b", "src/c", "src/l", "out/a", "out/b", "out/c", "out/d/a", "out/d/b", "out/l",
    "work/a", "work/b", "new/a", "top",
];
const DIRECTORIES: &[&str] = &["src", "out", "out/d", "out/e", "work", "new", "new/x"];
/// Directories, of which none is in another: what is copied into itself depends on the order of names in it.
const COPIED: &[&str] = &["src", "work", "out/d"];
const COPIES: &[&str] = &["out/e", "new", "new/x"];
const WORDS: &[&str] = &["red", "green", "blue", "long words in a row", "7", "x"];
const MODES: &[&str] = &["644", "600", "755", "444", "640"];
const TESTS: &[&str] = &["-e", "-f", "-d", "-L", "-x", "-s"];

/// Writes lines for the scripts of one tree.
pub(crate) struct Writer<'a> {
    pub(crate) random: &'a mut Random,
    /// Whether lines wait before they write, so that times of files are in an order that can be told.
    pub(crate) is_timed: bool,
    /// How many scripts there are; each starts only later ones.
    pub(crate) scripts: u64,
    pub(crate) next: &'a mut u64,
}

impl Writer<'_> {
    /// Returns the lines of a script.
    pub(crate) fn lines(&mut self, script: u64) -> Vec<Line> {
        let count = match self.is_timed {
            true => self.random.between(2, 5),
            false => self.random.between(3, 9),
        };
        (0..count).map(|_| self.line(script)).collect()
    }

    pub(crate) fn line(&mut self, script: u64) -> Line {
        *self.next += 1;
        let id = *self.next;
        let starts_another =
            script + 1 < self.scripts && self.chance(if script == 0 { 60 } else { 25 });
        let text = match (starts_another, self.is_timed) {
            (true, _) => self.start(script),
            (false, true) => self.timed(),
            (false, false) if self.chance(12) => self.compound(script),
            (false, false) => self.plain(),
        };
        Line { id, text }
    }

    /// Returns lines of a script that touches nothing but one directory and what is fixed.
    pub(crate) fn lines_alone(&mut self, directory: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        for _ in 0..self.random.between(2, 5) {
            *self.next += 1;
            let own =
                |random: &mut Random| format!("{directory}/{}", random.pick(&["a", "b", "c"]));
            let (a, b) = (own(self.random), own(self.random));
            let fixed = self.random.pick(FIXED);
            let text = match self.random.between(0, 8) {
                0 => format!("cat {fixed} > {a}"),
                1 => format!("cat {fixed} {a} >> {b}"),
                2 => format!("mv {a} {b}"),
                3 => format!("rm -f {a}"),
                4 => format!("ls {directory} > {a}"),
                5 => format!("mkdir -p {directory}/d && cp {fixed} {directory}/d/x"),
                6 => format!("sh -c 'cat {fixed}; echo $0' {a} | sort > {b}"),
                _ => format!("sed s/e/E/ {fixed} > {a}"),
            };
            lines.push(Line { id: *self.next, text });
        }
        lines
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.between(0, 100) < percent
    }

    fn word(&mut self) -> &'static str {
        self.random.pick(WORDS)
    }

    fn directory(&mut self) -> String {
        let directory = self.random.pick(DIRECTORIES);
        self.somewhere(directory)
    }

    fn somewhere(&mut self, path: &str) -> String {
        match self.chance(20) {
            true => format!("$R/{path}"),
            false => path.to_owned(),
        }
    }

    /// A file to be read.
    fn file(&mut self) -> String {
        let path = match self.random.between(0, 10) {
            0..3 => self.random.pick(FIXED).to_owned(),
            3 => format!("{}/{}", self.random.pick(SEARCHED), self.random.pick(HEADERS)),
            // Not one of the others: whatever is copied may be run, and would start itself again and again.
            4 => "x.sh".to_owned(),
            _ => self.random.pick(CHANGED).to_owned(),
        };
        self.somewhere(&path)
    }

    /// A file to be changed.
    fn made(&mut self) -> String {
        let path = self.random.pick(CHANGED);
        self.somewhere(path)
    }

    fn script(&mut self, above: u64) -> u64 {
        self.random.between(above + 1, self.scripts)
    }

    /// A line that starts a later script.
    fn start(&mut self, script: u64) -> String {
        let number = self.script(script);
        let name = format!("s{number}.sh");
        let run = match self.random.between(0, 12) {
            0 => format!("bash {name}"),
            1 => format!("./{name}"),
            2 => format!("$TOOL spawn sh {name}"),
            3 => format!("$TOOL vfork ./{name}"),
            4 => format!("$TOOL threadexec sh {name}"),
            5 => format!("(exec sh {name})"),
            6 => format!("X={} sh {name}", self.random.pick(&["1", "2"])),
            _ => format!("sh {name}"),
        };
        let (file, made, word) = (self.file(), self.made(), self.word());
        match self.random.between(0, 22) {
            0 => format!("{run} < {file}"),
            1 => format!("{run} > {made}"),
            2 => format!("{run} > {made} 2>&1"),
            3 => format!("{run} >> {made}"),
            4 => format!("x=$({run}); echo \"$x\" | tr a-z A-Z"),
            5 => format!("printf 'p\\nq\\n' | {run}"),
            6 => format!("{run} || echo failed $?"),
            7 => format!("x=$({run} 2>&1); echo \"got $x\""),
            8 => format!("{run} 3> {made}"),
            9 => format!("{run} 3>> {made}"),
            10 => format!("{run} 3< {file}"),
            11 => format!("exec 3> {made}; echo {word} >&3; {run}; echo {word} >&3; exec 3>&-"),
            12 => {
                format!("exec 3< {file}; read x <&3; {run}; read y <&3; echo \"$x $y\"; exec 3<&-")
            }
            13 => format!("{{ read x; {run}; cat; }} < {file}"),
            14 => format!("(umask {}; {run})", self.random.pick(&["077", "027", "022"])),
            15 => format!("(cd {} && sh $R/{name})", self.directory()),
            16 if !self.is_timed => {
                format!(
                    "(sh p1.sh > par1/log 2>&1) 2> /dev/null & (sh p2.sh > par2/log 2>&1) 2> /dev/null & wait; {run}"
                )
            }
            17 => format!("if test -e {made}; then echo there; else {run}; fi"),
            18 => format!("(ulimit -n {}; {run})", self.random.pick(&["64", "128"])),
            _ => run,
        }
    }

    /// A line of a tree whose times count: it waits, and then writes to one file at most.
    fn timed(&mut self) -> String {
        let (file, made, other) = (self.file(), self.made(), self.made());
        let wait = "sleep 0.02";
        let word = self.word();
        match self.random.between(0, 16) {
            0 | 1 => format!("{wait}; cat {file} > {made}"),
            2 => format!("{wait}; echo {word} > {made}"),
            3 => format!("{wait}; echo {word} >> {made}"),
            4 => format!("{wait}; touch {made}"),
            5 => format!("{wait}; cp -p {file} {made}"),
            6 => format!("{wait}; touch -r {file} {made}"),
            7 => format!(
                "{wait}; touch -d @{} {made}",
                self.random.pick(&["1000000003", "1500000000", "4000000000"])
            ),
            8 => format!("{wait}; mv {made} {other}"),
            9 => format!("test {made} -nt {file} && echo newer"),
            10 => format!("{wait}; if test {file} -nt {made}; then cat {file} > {made}; fi"),
            11 => format!(
                "{wait}; if test ! -e {made} -o {file} -nt {made}; then sh -c 'cat {file}' > {made}; fi"
            ),
            12 => format!("$TOOL newer {made} {other} > {}", "out/time"),
            13 => format!("sh -c 'test {made} -ot {other} && cat {other}; echo {word}'"),
            14 => format!(
                "{wait}; ln -sf $R/{} {}",
                self.random.pick(FIXED),
                self.random.pick(&["out/l", "src/l"])
            ),
            _ => format!("$TOOL newer {made} {file}"),
        }
    }

    /// A line that does one thing.
    fn plain(&mut self) -> String {
        let (file, other, made, word) = (self.file(), self.file(), self.made(), self.word());
        let (directory, moved) = (self.directory(), self.random.pick(DIRECTORIES));
        match self.random.between(0, 66) {
            0 => format!("cat {file}"),
            1 => format!("cat {file} {other} > {made}"),
            2 => format!("cat {file} >> {made}"),
            3 => format!("echo {word} > {made}"),
            4 => format!("echo {word} >> {made}"),
            5 => format!(": > {made}"),
            6 => format!("mv {made} {}", self.made()),
            7 => format!("mv {moved} {}", self.random.pick(DIRECTORIES)),
            8 => format!("rm -f {made}"),
            9 => format!("rm -rf {moved}"),
            10 | 11 => format!("mkdir -p {directory}"),
            12 => format!("mkdir {directory}"),
            13 => format!("rmdir {moved}"),
            14 => format!("ln -s {} {}", self.target(), self.made()),
            15 => format!("ln -sf {} {}", self.target(), self.made()),
            16 => format!(
                "ln -sfn {} {}",
                self.target(),
                self.random.pick(&["out/l", "src/l", "top"])
            ),
            17 => format!("ln {made} {}", self.made()),
            18 => format!("ln -f {made} {}", self.made()),
            19 => format!("chmod {} {made}", self.random.pick(MODES)),
            20 => format!("touch {made}"),
            21 => format!("touch -d @{} {made}", self.random.pick(&["1000000003", "4000000000"])),
            22 => format!("cp -p {file} {made}"),
            23 => format!("cp {file} {made}"),
            24 => format!("cp -R {} {}", self.random.pick(COPIED), self.random.pick(COPIES)),
            25 => format!("cp -a {} {}", self.random.pick(COPIED), self.random.pick(COPIES)),
            26 => format!("test {} {file} && echo so", self.random.pick(TESTS)),
            27 => format!("sh -c 'test {} {file} && echo so || echo no'", self.random.pick(TESTS)),
            28 => format!("ls {directory}"),
            29 => format!("ls {directory} > {made}"),
            30 => format!("echo {directory}/*"),
            31 => format!("sh -c 'echo {directory}/*' > {made}"),
            32 => format!("stat -c '%n %a %F' {directory} {file}"),
            33 => format!("$TOOL stat {file}"),
            34 => format!("$TOOL names {directory}"),
            35 => format!("cmp {file} {other}"),
            36 => format!("grep -c e {file}"),
            37 => format!("sed s/e/E/ {file} > {made}"),
            38 => format!("wc -c < {file}"),
            39 => format!("sort {file} -o {made}"),
            40 => format!("x=$(cat {file} | tr a-z A-Z | sort); echo \"$x\" > {made}"),
            41 => format!("x=$(cat {file}); echo \"$x\" | while read y; do echo \"[$y]\"; done"),
            42 => format!("cat <<E > {made}\n{word} $(cat {file})\nE"),
            43 => format!("read x < {file}; echo \"$x\" >> {made}"),
            44 => "echo \"X=$X\"; pwd; umask".to_owned(),
            45 => format!("$TOOL search {} {}", self.random.pick(HEADERS), SEARCHED.join(" ")),
            46 => format!("$TOOL threads {file} {other}"),
            47 => format!("$TOOL pwrite {made} {} {word:?}", self.random.between(0, 4)),
            48 => format!("$TOOL mmap {made} Z"),
            49 => format!(
                "$TOOL {} {made} {}",
                self.random.pick(&["truncate", "cut"]),
                self.random.between(0, 6)
            ),
            50 => format!(
                "$TOOL {} {made} {}",
                self.random.pick(&["exchange", "noreplace"]),
                self.made()
            ),
            51 => format!("$TOOL here {directory} {}", self.random.pick(&["a", "b"])),
            52 => format!("$TOOL copyrange {file} {made}"),
            53 => format!("$TOOL sendfile {file}"),
            54 => format!("$TOOL temporary {directory} {made} {word:?}"),
            55 => format!("$TOOL unlinked {made}"),
            56 => format!(
                "cp {} {made}; chmod 755 {made}; ./{} variant",
                self.random.pick(&["prog", "ro/a"]),
                made.trim_start_matches("$R/")
            ),
            57 => "./prog variant".to_owned(),
            58 => format!("echo {word} >&3"),
            59 => "$TOOL line 3".to_owned(),
            60 => "$TOOL line 0".to_owned(),
            61 => format!("$TOOL {} 0", self.random.pick(&["where", "length"])),
            62 => format!("t=$(mktemp work/tXXXXXX) && cat {file} > $t && mv $t {made}"),
            63 => format!("./x.sh {file}"),
            64 => "$TOOL limit".to_owned(),
            _ => format!("readlink {made}"),
        }
    }

    fn target(&mut self) -> String {
        match self.random.between(0, 6) {
            0 => "../ro/a".to_owned(),
            1 => "$R/ro/b".to_owned(),
            2 => "nowhere".to_owned(),
            3 => "../src".to_owned(),
            4 => format!("$R/{}", self.random.pick(DIRECTORIES)),
            _ => format!("../{}", self.random.pick(CHANGED)),
        }
    }

    /// A line that does several things around each other.
    fn compound(&mut self, script: u64) -> String {
        let (a, b) = (self.plain(), self.plain());
        let is_document = a.contains('\n') || b.contains('\n');
        if is_document {
            return a;
        }
        let (file, made, word) = (self.file(), self.made(), self.word());
        match self.random.between(0, 20) {
            0 => format!("{{ {a}; {b}; }} > {made} 2>&1"),
            1 => format!("{{ {a}; {b}; }} >> {made}"),
            2 => format!("({a}; exit 3) || echo $?"),
            3 => format!("exec 3> {made}; {a}; {b}; exec 3>&-"),
            4 => format!("exec 3<> {made}; {a}; echo {word} >&3; {b}; exec 3>&-"),
            5 => format!(
                "n=3; while read x && [ $((n -= 1)) -gt 0 ]; do echo \"<$x>\"; {a}; done < {file}"
            ),
            6 => format!("{{ $TOOL line 0; $TOOL line 0; sed 1q; }} < {file}"),
            7 => format!("bash -c 'cat <(cat x.sh) <(echo {word})'"),
            8 => format!("echo {word} | tee /dev/stderr"),
            9 => format!("cat /dev/stdin < {file}"),
            10 => format!("sh -c 'echo {word} > /dev/stderr; cat {file}'"),
            11 => format!(
                "exec 3> {made}; $TOOL {} 3 {}; echo {word} >&3; exec 3>&-",
                self.random.pick(&["cutopen", "modeopen"]),
                self.random.pick(&["2", "600"])
            ),
            12 => format!(
                "exec 3>> {made}; sh -c 'mv {made} {}; echo {word} >&3'; exec 3>&-",
                self.made()
            ),
            13 => format!("$TOOL readafter {made} sh -c 'echo {word} >> {made}'"),
            14 => format!(
                "$TOOL writeafter {made} {word:?} sh -c 'cat {made}; rm -f {made}; echo {word} > {made}'"
            ),
            15 => format!(
                "(cd {} && cat {} && echo {word} > a; pwd)",
                self.directory(),
                self.random.pick(&["a", "../ro/a"])
            ),
            16 => format!(
                "mkdir -p new && (cd new && mv ../new ../out/moved && echo {word} > f; sh -c 'cat f')"
            ),
            17 => format!("for i in 1 2 3; do {a}; done"),
            18 => format!("sh -c 'cat {file} > {made}; cat {made}; exit {}'; echo $?", script + 1),
            _ => format!("{a} && {b}"),
        }
    }
}
