//! Runs a program that may wait for somebody else: bounded in time, and ended by [`Stop`].
//!
//! Not for evaluations, which have no business with the network; see [`super::eval`]. Start at [`Stop::run`].

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::Stop;
use super::alone::alone;

/// How long a program's output is read after its end. A program that it left behind may keep the
/// streams open for ever, as ssh does for connections that it shares.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a program ended.
#[derive(Debug)]
#[must_use]
pub enum Bounded {
    /// By itself.
    Ended(Output),
    /// It was ended by [`Stop::stop`].
    Stopped,
    /// It was ended because it took longer than it may.
    TimedOut,
}

/// What the threads that watch a program tell.
enum Event {
    Exited,
    StreamEnded,
}

impl Stop {
    /// Runs a program to its end, for at most `limit`, and returns what it printed.
    ///
    /// The program gets a session of its own: it cannot ask anything on the terminal, and it is
    /// ended together with everything that it started. It is also ended when levain is killed.
    pub fn run(&self, command: Command, limit: Duration) -> io::Result<Bounded> {
        self.run_keeping(command, limit, usize::MAX)
    }

    /// Does the same, and returns at most the first `most` bytes of each stream.
    pub fn run_keeping(
        &self,
        mut command: Command,
        limit: Duration,
        most: usize,
    ) -> io::Result<Bounded> {
        alone(&mut command);
        let until = Instant::now().checked_add(limit);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let process = Pid::from_child(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let watched = self.watch(child);
        let (send, receive) = mpsc::channel();
        let stdout = stdout.map(|stream| read(stream, most, send.clone()));
        let stderr = stderr.map(|stream| read(stream, most, send.clone()));
        let mut open = usize::from(stdout.is_some()) + usize::from(stderr.is_some());
        await_exit(process, send);
        let mut timed_out = false;
        let mut exited = false;
        let mut until = until;
        while open > 0 || !exited {
            let left = until.map_or(limit, |time| time.saturating_duration_since(Instant::now()));
            match receive.recv_timeout(left) {
                Ok(Event::StreamEnded) => open -= 1,
                Ok(Event::Exited) => {
                    exited = true;
                    until = Instant::now().checked_add(LAST_WORDS);
                }
                Err(RecvTimeoutError::Timeout) if !exited && !timed_out => {
                    timed_out = true;
                    watched.end();
                    until = Instant::now().checked_add(LAST_WORDS);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let stopped = self.is_stopped();
        let status = watched.wait()?;
        if timed_out {
            return Ok(Bounded::TimedOut);
        }
        if was_stopped(stopped, status) {
            return Ok(Bounded::Stopped);
        }
        Ok(Bounded::Ended(Output { status, stdout: taken(stdout), stderr: taken(stderr) }))
    }
}

/// Says whether a program was ended by a stop: killed itself, or failing because its child was.
fn was_stopped(stopped: bool, status: ExitStatus) -> bool {
    stopped && !status.success()
}

type Kept = Arc<Mutex<Vec<u8>>>;

fn read(mut stream: impl Read + Send + 'static, most: usize, events: Sender<Event>) -> Kept {
    let kept = Kept::default();
    let shared = Arc::clone(&kept);
    std::thread::spawn(move || {
        let mut block = vec![0; 16 * 1024];
        loop {
            match stream.read(&mut block) {
                Ok(0) => break,
                Ok(count) => {
                    let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    // The rest is read as well: a program must not wait for ever for somebody to do so.
                    let room = most.saturating_sub(kept.len());
                    kept.extend_from_slice(&block[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "reading what a program prints");
                    break;
                }
            }
        }
        // Nobody listens any more if the program ended long ago.
        events.send(Event::StreamEnded).unwrap_or_default();
    });
    kept
}

fn taken(kept: Option<Kept>) -> Vec<u8> {
    kept.map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)))
        .unwrap_or_default()
}

/// Tells when a process has exited, and leaves it to be waited for: until then its number is its own.
fn await_exit(process: Pid, events: Sender<Event>) {
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(process), options) {}
        events.send(Event::Exited).unwrap_or_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for every test that ends by itself, and far more than any needs.
    const LONG: Duration = Duration::from_secs(60);

    #[expect(clippy::disallowed_methods, reason = "a program to run")]
    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    #[test]
    fn what_a_program_prints_is_kept_whole() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done; exit 3";
        let Bounded::Ended(output) = Stop::default().run(shell(script), LONG).unwrap() else {
            panic!("it ends by itself");
        };
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.ends_with(b"line 19999\n"));
        assert!(output.stderr.ends_with(b"error 19999\n"));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end >&2";
        let ended = Stop::default().run_keeping(shell(script), LONG, 11).unwrap();
        let Bounded::Ended(output) = ended else { panic!("it ends by itself") };
        assert_eq!(
            (output.stdout.as_slice(), output.stderr.as_slice()),
            (&b"line 0\nline"[..], &b"end\n"[..])
        );
        assert!(output.status.success());
    }

    #[test]
    fn time_is_limited_for_the_program_and_its_children() {
        let dir = tempfile::tempdir().unwrap();
        // Opening a pipe to read waits for a writer. The pipe ends when the last writer is gone.
        let script = format!(
            "cd '{}'; mkfifo f; (exec 3<>f; echo > ready; read x <&3) & wait",
            dir.path().display()
        );
        let ended = Stop::default().run(shell(&script), Duration::from_millis(300)).unwrap();
        assert!(matches!(ended, Bounded::TimedOut), "{ended:?}");
    }

    #[test]
    fn stopping_ends_what_runs_and_what_is_begun_later() {
        let stop = Stop::default();
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("begun");
        let script =
            format!("mkfifo '{0}.silent'; echo $$ > '{0}'; read x < '{0}.silent'", pipe.display());
        let ended = std::thread::scope(|scope| {
            let running = scope.spawn(|| stop.run(shell(&script), LONG).unwrap());
            while !pipe.exists() {
                std::thread::yield_now();
            }
            stop.stop();
            running.join().unwrap()
        });
        assert!(matches!(ended, Bounded::Stopped), "{ended:?}");
        let later = stop.run(shell("read x < /dev/zero; sleep 60"), LONG).unwrap();
        assert!(matches!(later, Bounded::Stopped), "{later:?}");
    }

    #[test]
    fn only_a_success_outlives_a_stop() {
        use std::os::unix::process::ExitStatusExt;
        let [success, failure, killed] = [0, 128 << 8, 9].map(ExitStatus::from_raw);
        assert!(was_stopped(true, killed));
        // As git ends when the child was killed that spoke with the remote.
        assert!(was_stopped(true, failure));
        assert!(!was_stopped(true, success));
        assert!(!was_stopped(false, killed));
    }

    #[test]
    fn a_signal_that_ends_a_program_is_told() {
        let ended = Stop::default().run(shell("kill -s SEGV $$"), LONG).unwrap();
        let Bounded::Ended(output) = ended else { panic!("{ended:?}") };
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(signal, Some(rustix::process::Signal::SEGV.as_raw()));
    }

    #[test]
    fn a_program_that_is_missing_is_told() {
        #[expect(clippy::disallowed_methods, reason = "a program to run")]
        let error = Stop::default().run(Command::new("/nowhere/at/all"), LONG).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_program_left_behind_does_not_keep_us() {
        let script = "exec 3>&1; (trap '' HUP; read x < /dev/tty || sleep 5) >&3 & echo done";
        let ended = Stop::default().run(shell(script), LONG).unwrap();
        let Bounded::Ended(output) = ended else { panic!("{ended:?}") };
        assert_eq!(output.stdout, b"done\n");
    }
}
