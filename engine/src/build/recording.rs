//! What is recorded of one request while it is carried out: times and logs of the derivations that
//! are built for it.
//!
//! Nix may build more than it was asked for, if what it was asked for needs that. Whoever wants the
//! result gets the same record, with the same log files.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use levain_store::{BuildEvent, DerivationPath};

use super::log::{KeptLog, LogLimits, new_file};
use super::traces::Trace;
use super::unix_now;

/// How many lines of a failing build are shown.
const LAST_LINES: usize = 30;

/// How many bytes of each of them.
const SHOWN_LINE: usize = 1 << 10;

/// How many bytes of them together.
const LAST_BYTES: usize = 16 << 10;

/// What every line of `levain-cache` about a set begins with.
const CACHE_LINE: &str = "levain-cache: ";

/// How many of those lines are kept: a log is not ours, and may say anything.
const MOST_CACHE_LINES: usize = 100;

/// How many bytes of each.
const MOST_CACHE_LINE: usize = 1 << 10;

/// Where logs are kept, and how much of them.
#[derive(Clone, Debug)]
pub(super) struct LogPlace {
    /// The directory.
    pub(super) directory: PathBuf,
    /// How much.
    pub(super) limits: LogLimits,
}

/// What is known of the derivations that were built for one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    /// What is known of each.
    pub(super) traces: BTreeMap<DerivationPath, Trace>,
    /// How many bytes of logs are kept.
    pub(super) kept_bytes: u64,
    /// How many logs are not kept at all.
    pub(super) not_kept: usize,
    /// The logs without their middle, and how many bytes of each were left out.
    pub(super) shortened: Vec<(DerivationPath, u64)>,
}

impl Recorded {
    /// Has logs in `place` as well that lie elsewhere: another run began the build, and removes its logs when it likes.
    pub(super) fn kept_in(mut self, place: &Path) -> Self {
        for trace in self.traces.values_mut() {
            let Some(log) = trace.log.as_mut().filter(|log| log.parent() != Some(place)) else {
                continue;
            };
            let Some(name) = log.file_name() else { continue };
            let own = place.join(name);
            let kept = std::fs::hard_link(&*log, &own);
            match kept.or_else(|_other_disk| std::fs::copy(&*log, &own).map(drop)) {
                Ok(()) => *log = own,
                Err(error) => tracing::warn!(%error, "cannot keep a log that another run began"),
            }
        }
        self
    }
}

/// Records one request.
#[derive(Debug)]
pub(super) struct Recording {
    /// Where; none: those that wanted it have as much as they may keep.
    place: Option<LogPlace>,
    running: BTreeMap<DerivationPath, Running>,
    recorded: Recorded,
}

#[derive(Debug)]
struct Running {
    trace: Trace,
    since: Instant,
    stopped: bool,
    /// How many activities of Nix are about it.
    activities: usize,
    last_bytes: usize,
    file: Option<KeptLog<File>>,
}

impl Recording {
    /// Begins to record.
    pub(super) fn new(place: Option<LogPlace>) -> Self {
        Self { place, running: BTreeMap::new(), recorded: Recorded::default() }
    }

    /// Returns whether a derivation has been started.
    pub(super) fn has_started(&self, derivation: &DerivationPath) -> bool {
        self.running.contains_key(derivation)
    }

    /// Returns the derivations that are being built, each with the file of its log.
    pub(super) fn under_way(&self) -> impl Iterator<Item = (&DerivationPath, Option<&PathBuf>)> {
        let running = self.running.iter().filter(|(_, running)| !running.stopped);
        running.map(|(path, running)| (path, running.trace.log.as_ref()))
    }

    /// Returns the file of a derivation's log.
    pub(super) fn log(&self, derivation: &DerivationPath) -> Option<&PathBuf> {
        self.running.get(derivation)?.trace.log.as_ref()
    }

    /// Records an event. Returns whether it is one that others should hear of.
    pub(super) fn take(&mut self, event: &BuildEvent) -> bool {
        match event {
            BuildEvent::Started { derivation, machine } => {
                // A build on another machine is told of twice: by Nix here and by Nix there.
                if let Some(running) = self.running.get_mut(derivation)
                    && running.activities > 0
                {
                    running.activities += 1;
                    return false;
                }
                let mut running = self.start(derivation);
                running.trace.is_remote = machine.is_some();
                self.running.insert(derivation.clone(), running);
                true
            }
            BuildEvent::Line { derivation, line } => {
                if let Some(running) = self.running.get_mut(derivation) {
                    running.add(line);
                }
                true
            }
            BuildEvent::Phase { .. } => true,
            BuildEvent::Stopped { derivation } => {
                if let Some(running) = self.running.get_mut(derivation) {
                    running.activities = running.activities.saturating_sub(1);
                    if running.activities > 0 {
                        return false;
                    }
                }
                self.stop(derivation);
                true
            }
            BuildEvent::Message { text } => {
                tracing::debug!(%text, "nix");
                false
            }
        }
    }

    /// Returns what is known so far.
    pub(super) fn so_far(&self) -> Recorded {
        let traces = self.running.iter().map(|(path, running)| {
            let mut trace = running.trace.clone();
            if !running.stopped {
                trace.seconds = running.since.elapsed().as_secs_f64();
            }
            (path.clone(), trace)
        });
        Recorded { traces: traces.collect(), ..Recorded::default() }
    }

    /// Ends what has not ended, and returns all that is known.
    pub(super) fn finish(mut self) -> Recorded {
        let open: Vec<DerivationPath> = self.under_way().map(|(path, _)| path.clone()).collect();
        for derivation in open {
            self.stop(&derivation);
        }
        let traces = self.running.into_iter().map(|(path, running)| (path, running.trace));
        Recorded { traces: traces.collect(), ..self.recorded }
    }

    fn start(&mut self, derivation: &DerivationPath) -> Running {
        let opened = match &self.place {
            None => {
                self.recorded.not_kept += 1;
                None
            }
            Some(LogPlace { directory, limits }) => match new_file(directory, derivation) {
                Ok((path, file)) => Some((path, KeptLog::new(file, limits.log_bytes))),
                Err(error) => {
                    let directory = directory.display();
                    tracing::warn!(%directory, %error, "cannot keep a log");
                    None
                }
            },
        };
        let (log, file) = opened.unzip();
        let trace = Trace { started_at: Some(unix_now()), log, ..Trace::default() };
        Running { trace, since: Instant::now(), stopped: false, activities: 1, last_bytes: 0, file }
    }

    fn stop(&mut self, derivation: &DerivationPath) {
        let Some(running) = self.running.get_mut(derivation) else { return };
        if running.stopped {
            return;
        }
        running.stopped = true;
        running.trace.seconds = running.since.elapsed().as_secs_f64();
        match running.file.take().map(KeptLog::finish) {
            Some(Ok((kept, left_out))) => {
                self.recorded.kept_bytes += kept;
                if left_out > 0 {
                    self.recorded.shortened.push((derivation.clone(), left_out));
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "cannot finish a log"),
            None => {}
        }
    }
}

impl Running {
    fn add(&mut self, line: &str) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.add(line)
        {
            tracing::warn!(%error, "cannot write a log further");
            self.file = None;
        }
        let trace = &mut self.trace;
        if let Some(said) = line.strip_prefix(CACHE_LINE)
            && trace.cache_lines.len() < MOST_CACHE_LINES
        {
            trace.cache_lines.push(beginning(said, MOST_CACHE_LINE).to_owned());
        }
        let line = match beginning(line, SHOWN_LINE) {
            whole if whole.len() == line.len() => line.to_owned(),
            beginning => format!("{beginning}…"),
        };
        self.last_bytes += line.len();
        trace.last_lines.push_back(line);
        while (trace.last_lines.len() > LAST_LINES || self.last_bytes > LAST_BYTES)
            && let Some(first) = trace.last_lines.pop_front()
        {
            self.last_bytes -= first.len();
        }
    }
}

/// Returns at most so many bytes of a text, in whole characters.
fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> DerivationPath {
        "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-far.drv".parse().unwrap()
    }

    fn started(machine: Option<&str>) -> BuildEvent {
        BuildEvent::Started { derivation: path(), machine: machine.map(str::to_owned) }
    }

    fn line(line: &str) -> BuildEvent {
        BuildEvent::Line { derivation: path(), line: line.to_owned() }
    }

    fn stopped() -> BuildEvent {
        BuildEvent::Stopped { derivation: path() }
    }

    fn of_lines(lines: impl IntoIterator<Item = String>) -> Trace {
        let mut recording = Recording::new(None);
        recording.take(&started(None));
        for text in lines {
            recording.take(&line(&text));
        }
        recording.finish().traces.remove(&path()).unwrap()
    }

    #[test]
    fn the_last_lines_are_few_and_small() {
        let numbers = || (0..40).map(|number| number.to_string());
        let trace = of_lines(numbers());
        assert_eq!(trace.last_lines.len(), LAST_LINES);
        assert_eq!(trace.last_lines[0], "10");
        let trace = of_lines(numbers().chain(["ä".repeat(SHOWN_LINE), "after".to_owned()]));
        let (long, after) = (&trace.last_lines[28], &trace.last_lines[29]);
        assert_eq!(*long, format!("{}…", "ä".repeat(SHOWN_LINE / 2)));
        assert_eq!(after, "after");
        let trace = of_lines(vec!["x".repeat(SHOWN_LINE); LAST_LINES]);
        assert_eq!(trace.last_lines.len(), 16);
    }

    #[test]
    fn a_build_elsewhere_is_told_of_twice_and_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = LogPlace { directory: dir.path().to_owned(), limits: LogLimits::default() };
        let mut recording = Recording::new(Some(place));
        let heard = [
            started(Some("ssh://far")),
            line("one"),
            started(None),
            line("two"),
            stopped(),
            line("three"),
            stopped(),
        ];
        let told: Vec<bool> = heard.iter().map(|event| recording.take(event)).collect();
        assert_eq!(told, [true, true, false, true, false, true, true]);
        let recorded = recording.finish();
        let trace = &recorded.traces[&path()];
        assert!(trace.is_remote);
        assert_eq!(trace.last_lines, ["one", "two", "three"]);
        let log = std::fs::read_to_string(trace.log.as_ref().unwrap()).unwrap();
        assert_eq!(log, "one\ntwo\nthree\n");
        assert_eq!(recorded.kept_bytes, 14);
    }

    #[test]
    fn lines_can_be_read_while_the_build_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let place = LogPlace { directory: dir.path().to_owned(), limits: LogLimits::default() };
        let mut recording = Recording::new(Some(place));
        recording.take(&started(None));
        recording.take(&line("half"));
        let so_far = recording.so_far();
        let log = so_far.traces[&path()].log.clone().unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "half\n");
        recording.take(&line("whole"));
        recording.finish();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "half\nwhole\n");
    }

    #[test]
    fn a_log_that_another_run_began_is_kept_here_as_well() {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = LogPlace { directory: theirs.path().to_owned(), limits: LogLimits::default() };
        let mut recording = Recording::new(Some(place));
        recording.take(&started(None));
        recording.take(&line("one"));
        let recorded = recording.finish();
        let same = recorded.clone().kept_in(theirs.path());
        assert_eq!(same.traces[&path()].log, recorded.traces[&path()].log);
        let kept = recorded.kept_in(ours.path());
        drop(theirs);
        let log = kept.traces[&path()].log.as_ref().unwrap();
        assert_eq!(log.parent(), Some(ours.path()));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "one\n");
    }

    #[test]
    fn what_the_cache_says_is_kept_apart() {
        let lines = (0..200).flat_map(|number| {
            [format!("levain-cache: set {number}{}", "x".repeat(2000)), "other".to_owned()]
        });
        let trace = of_lines(lines);
        assert_eq!(trace.cache_lines.len(), MOST_CACHE_LINES);
        assert!(trace.cache_lines[0].starts_with("set 0x"));
        assert_eq!(trace.cache_lines[0].len(), MOST_CACHE_LINE);
    }
}
