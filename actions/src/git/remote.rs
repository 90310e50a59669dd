//! Fetch and push, through the `git` program.
//!
//! libgit2 would need its own ssh, TLS and credential code; the program has the user's settings, agents and proxies.
//! Oddities are explained where they are handled. Nothing is ever asked of a person, and no secret is ever an argument.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

use levain_store::nix::Bounded;

use super::address::Address;
use super::{CommitId, Conduct, Login, Repository, program};

/// What git says when it never got as far as the other side's repository.
const NO_CONTACT: [&str; 11] = [
    "Could not resolve host",
    "Could not read from remote repository",
    "does not appear to be a git repository",
    "Couldn't connect to server",
    "Failed to connect",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Operation timed out",
    "Operation too slow",
    "SSL",
];

/// Asks for nothing, and notices a server that went away.
const SSH: &str =
    "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

/// What HEAD of a mirror is on whose remote names no default branch.
const NO_DEFAULT: &str = "refs/levain-fetched/no-default-branch";

/// Whether refs that are gone at the remote are removed here too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Remove the refs on the right of the refspecs that the remote no longer has.
    Yes,
    /// Leave them.
    No,
}

/// A wish to move one ref of a remote from one value to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushUpdate {
    /// The ref's full name at the remote.
    pub name: String,
    /// What it shall point at; nothing deletes it.
    pub new: Option<CommitId>,
    /// What it must point at for that; nothing means that it must not exist.
    pub expected: Option<CommitId>,
}

/// What became of a [`PushUpdate`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum PushOutcome {
    /// The ref has its new value.
    Moved,
    /// It had that value already.
    UpToDate,
    /// It did not have the expected value: somebody else was faster.
    Stale,
    /// The remote does not want it.
    Refused {
        /// What the remote said.
        message: String,
    },
}

/// An error of a fetch or a push as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No contact with the remote.
    #[error("cannot reach `{url}`: {message}\nhint: `git ls-remote {url}`")]
    Unreachable {
        /// The remote, without secrets.
        url: String,
        /// What git said, without secrets.
        message: String,
    },

    /// Contact, but no success.
    #[error("git failed with `{url}`: {message}")]
    Failed {
        /// The remote, without secrets.
        url: String,
        /// What git said, without secrets.
        message: String,
    },

    /// No end in time.
    #[error(
        "git did not finish with `{url}` within {limit_seconds} s\nhint: `git ls-remote {url}` shows whether the remote answers; `--git-timeout` allows more time"
    )]
    TimedOut {
        /// The remote, without secrets.
        url: String,
        /// How long it may take.
        limit_seconds: u64,
    },

    /// levain is being stopped.
    #[error("stopped")]
    Stopped,

    /// There is no git program.
    #[error("there is no `git` program in PATH\nhint: install git")]
    GitMissing,
}

/// What git or ssh says of a refusal that stays one, though there was no contact.
const REFUSED: [&str; 5] = [
    "Permission denied",
    "Host key verification failed",
    "certificate",
    "Authentication failed",
    "could not read Username",
];

/// What git says of a remote that it had contact with, and that failed it.
const OUTAGE: [&str; 12] = [
    "returned error: 5",
    "returned error: 429",
    "HTTP 5",
    "HTTP 429",
    "early EOF",
    "hung up unexpectedly",
    "unexpected disconnect",
    "Empty reply from server",
    "transfer closed",
    "Recv failure",
    "Send failure",
    "Internal Server Error",
];

impl RemoteError {
    /// Returns whether it makes sense to ask once more later: the remote is away or ails, and has not refused.
    pub fn may_pass(&self) -> bool {
        let says = |message: &str, signs: &[&str]| signs.iter().any(|sign| message.contains(sign));
        match self {
            Self::TimedOut { .. } => true,
            Self::Unreachable { message, .. } => !says(message, &REFUSED),
            Self::Failed { message, .. } => says(message, &OUTAGE),
            Self::Stopped | Self::GitMissing => false,
        }
    }
}

impl Repository {
    /// Fetches refs from a remote, given by name or URL, without touching any ref that no refspec names.
    ///
    /// Without refspecs those of the remote's settings count. In a mirror, HEAD follows the remote's default branch.
    pub fn fetch(
        &self,
        remote: &str,
        refspecs: &[String],
        prune: Prune,
    ) -> Result<(), RemoteError> {
        let session = Session::fetching(self, remote);
        let mut command = session.command("fetch");
        command.args(["--quiet", "--no-tags", "--no-write-fetch-head"]);
        command.args(["--no-recurse-submodules", "--no-show-forced-updates"]);
        command.arg(match prune {
            Prune::Yes => "--prune",
            Prune::No => "--no-prune",
        });
        if self.is_partial().unwrap_or(false) {
            // What is fetched is going to be read, and not by git.
            command.arg("--no-filter");
        }
        if !refspecs.is_empty() {
            // Git would also update the remote's tracking branches.
            command.arg("--refmap=");
        }
        command.arg("--").arg(session.remote()).args(refspecs);
        let output = session.run(command)?;
        if !output.status.success() {
            return Err(session.failure(&output));
        }
        if self.is_mirror() {
            self.follow_head(&session)?;
        }
        Ok(())
    }

    /// Fetches the ref `source` of a remote into a temporary repository on top of this one, as `reference`;
    /// writes nothing here. Returns the commit; nothing if the remote has no such ref.
    pub fn fetch_aside(
        &self,
        remote: &str,
        source: &str,
        overlay: &Repository,
        reference: &str,
    ) -> Result<Option<CommitId>, RemoteError> {
        let session = Session::fetching(self, remote);
        let mut command = session.command("ls-remote");
        command.args(["--", session.remote(), source]);
        let output = session.run(command)?;
        if !output.status.success() {
            return Err(session.failure(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let found = text.lines().filter_map(|line| line.split_once('\t'));
        let found = found.filter(|(_, name)| *name == source).map(|(id, _)| id.parse::<CommitId>());
        let Some(Ok(id)) = found.into_iter().next() else { return Ok(None) };
        // The settings are this repository's, for only they may know how to get in; the objects go
        // elsewhere, and no ref is named to receive them.
        let mut command = session.command("fetch");
        command.args(["--quiet", "--no-tags", "--no-write-fetch-head", "--no-prune"]);
        command.args(["--no-recurse-submodules", "--no-show-forced-updates", "--refmap="]);
        command.arg("--").args([session.remote(), source]);
        command.env("GIT_OBJECT_DIRECTORY", overlay.git_dir().join("objects"));
        let output = session.run(command)?;
        if !output.status.success() {
            return Err(session.failure(&output));
        }
        let git = &overlay.inner;
        let object = git2::Oid::from_str(&id.to_string());
        let made = object.and_then(|id| git.reference(reference, id, true, "levain"));
        made.map_err(|error| RemoteError::Failed {
            url: session.url(),
            message: format!("`{source}` changed meanwhile: {}", error.message()),
        })?;
        Ok(Some(id))
    }

    fn follow_head(&self, session: &Session<'_>) -> Result<(), RemoteError> {
        let listing = session.list()?;
        let name = match listing.named() {
            Some(name) => format!("refs/heads/{name}"),
            // Of an empty remote there is nothing to be said yet.
            None if listing.branches.is_empty() => return Ok(()),
            // The branch that HEAD has been on would be taken for the default branch.
            None => NO_DEFAULT.to_owned(),
        };
        let moved = self.inner.reference_symbolic("HEAD", &name, true, "levain: as the remote");
        moved.map_err(|error| RemoteError::Failed {
            url: session.url(),
            message: format!("cannot set HEAD to `{name}`: {}", error.message()),
        })?;
        Ok(())
    }

    /// Asks a remote which of some refs it has.
    pub fn which_has(
        &self,
        remote: &str,
        names: &[String],
    ) -> Result<BTreeSet<String>, RemoteError> {
        let session = Session::fetching(self, remote);
        let mut command = session.command("ls-remote");
        command.arg("--").arg(session.remote()).args(names);
        let output = session.run(command)?;
        if !output.status.success() {
            return Err(session.failure(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let listed = text.lines().filter_map(|line| line.split_once('\t'));
        // A name also matches refs that merely end with it.
        Ok(listed.map(|(_, name)| name.to_owned()).filter(|name| names.contains(name)).collect())
    }

    /// Moves refs of a remote, each only if it has its expected value, and tells what became of each.
    ///
    /// Updates do not depend on each other: some may succeed where others do not.
    pub fn push(
        &self,
        remote: &str,
        updates: &[PushUpdate],
    ) -> Result<Vec<(String, PushOutcome)>, RemoteError> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let session = Session::pushing(self, remote);
        // A clone made with `--mirror` would push all refs, and refuses to push some.
        let mirror = format!("remote.{remote}.mirror");
        let mut command = session.command_with("push", &[(&mirror, "false")]);
        command.args(["--porcelain", "--no-verify", "--no-follow-tags"]);
        command.args(["--recurse-submodules=no", "--no-signed"]);
        for update in updates {
            let expected = update.expected.map(String::from).unwrap_or_default();
            command.arg(format!("--force-with-lease={}:{expected}", update.name));
        }
        command.arg("--").arg(session.remote());
        for update in updates {
            let new = update.new.map(String::from).unwrap_or_default();
            command.arg(format!("{new}:{}", update.name));
        }
        let output = session.run(command)?;
        let report = String::from_utf8_lossy(&output.stdout);
        let remarks = String::from_utf8_lossy(&output.stderr);
        let mut outcomes = Vec::with_capacity(updates.len());
        for update in updates {
            let Some(line) = report.lines().find_map(|line| Line::of(line, &update.name)) else {
                return Err(session.failure(&output));
            };
            outcomes.push((update.name.clone(), line.outcome(&remarks, &session.address)));
        }
        Ok(outcomes)
    }
}

/// One line of git's `--porcelain` report: flag, `from:to`, summary, separated by tabs.
struct Line<'a> {
    flag: &'a str,
    summary: &'a str,
}

impl<'a> Line<'a> {
    fn of(line: &'a str, name: &str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t');
        let flag = fields.next()?;
        let (_, to) = fields.next()?.split_once(':')?;
        let summary = fields.next()?;
        (to == name).then_some(Self { flag, summary })
    }

    fn outcome(&self, remarks: &str, address: &Address) -> PushOutcome {
        match self.flag {
            "=" => PushOutcome::UpToDate,
            "!" => self.rejection(remarks, address),
            // Forward, forced, deleted, new.
            " " | "+" | "-" | "*" => PushOutcome::Moved,
            _ => self.refused(remarks, address),
        }
    }

    fn rejection(&self, remarks: &str, address: &Address) -> PushOutcome {
        // Our own git compares with what the remote announced; the remote compares again when it moves the ref.
        // It then says why only in a remark: another value, or a lock. A ref in the way stays in the way, so that
        // trying again would be of no use.
        let lost = self.summary.contains("(stale info)")
            || self.summary.contains("remote ref updated since")
            || (self.summary.contains("[remote rejected]")
                && (remarks.contains("cannot lock ref")
                    || self.summary.contains("cannot lock ref"))
                && !remarks.contains("cannot create '")
                && !remarks.contains("; cannot create"));
        if lost { PushOutcome::Stale } else { self.refused(remarks, address) }
    }

    fn refused(&self, remarks: &str, address: &Address) -> PushOutcome {
        let mut message = vec![self.summary.trim().to_owned()];
        message.extend(remarks.lines().filter_map(|line| {
            let said = line.strip_prefix("remote: ")?.trim_end();
            (!said.is_empty()).then(|| said.to_owned())
        }));
        PushOutcome::Refused { message: address.mask(&message.join("\n")) }
    }
}

/// One conversation with a remote.
pub(super) struct Session<'a> {
    repository: &'a Repository,
    named: &'a str,
    address: Address,
}

impl<'a> Session<'a> {
    pub(super) fn fetching(repository: &'a Repository, named: &'a str) -> Self {
        let url = repository.remote_url(named);
        Self { repository, named, address: Address::parse(url.as_deref().unwrap_or(named)) }
    }

    fn pushing(repository: &'a Repository, named: &'a str) -> Self {
        let push_url = repository.inner.find_remote(named).ok().and_then(|remote| {
            remote.pushurl_bytes().map(|url| String::from_utf8_lossy(url).into_owned())
        });
        match push_url {
            Some(url) => Self { repository, named, address: Address::parse(&url) },
            None => Self::fetching(repository, named),
        }
    }

    pub(super) fn remote(&self) -> &str {
        self.address.argument(self.named)
    }

    fn url(&self) -> String {
        self.address.mask(self.address.plain())
    }

    pub(super) fn command(&self, verb: &str) -> Command {
        self.command_with(verb, &[])
    }

    /// Returns the command `git VERB` with further settings.
    pub(super) fn command_with(&self, verb: &str, further: &[(&str, &str)]) -> Command {
        let mut settings: Vec<(String, String)> = [
            // A remote that stops talking is an error after a minute.
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", "60"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        settings
            .extend(further.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let login = self.login();
        settings.extend(self.address.settings());
        settings.extend(login.map(Login::setting));
        let mut command = program::git(self.repository.inner.path(), verb, settings);
        // A relative path in the settings begins there, wherever levain was started.
        let location = self.repository.location();
        if location.is_dir() {
            command.current_dir(location);
        }
        if !self.has_ssh_command() {
            command.env("GIT_SSH_COMMAND", SSH);
        }
        command.envs(self.address.environment());
        command.envs(login.map(Login::environment).into_iter().flatten());
        command
    }

    /// Returns what to show a server that asks; nothing if the address has a password of its own.
    fn login(&self) -> Option<&Login> {
        self.repository.conduct.login.as_ref().filter(|_| !self.address.has_secret())
    }

    fn has_ssh_command(&self) -> bool {
        std::env::var_os("GIT_SSH_COMMAND").is_some()
            || std::env::var_os("GIT_SSH").is_some()
            || self
                .repository
                .inner
                .config()
                .and_then(|config| config.get_string("core.sshCommand"))
                .is_ok()
    }

    pub(super) fn run(&self, command: Command) -> Result<Output, RemoteError> {
        self.run_within(command, self.repository.conduct.limit)
    }

    /// Runs git for no longer than `limit`, nor than any other git may run.
    pub(super) fn run_within(
        &self,
        command: Command,
        limit: Duration,
    ) -> Result<Output, RemoteError> {
        let Conduct { stop, limit: general, login: _ } = &self.repository.conduct;
        let limit = limit.min(*general);
        match stop.run(command, limit) {
            Ok(Bounded::Ended(output)) => Ok(output),
            Ok(Bounded::Stopped) => Err(RemoteError::Stopped),
            Ok(Bounded::TimedOut) => {
                Err(RemoteError::TimedOut { url: self.url(), limit_seconds: limit.as_secs() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(RemoteError::GitMissing)
            }
            Err(error) => Err(RemoteError::Failed {
                url: self.url(),
                message: format!("cannot run git: {error}"),
            }),
        }
    }

    pub(super) fn failure(&self, output: &Output) -> RemoteError {
        let text = String::from_utf8_lossy(&output.stderr);
        let message = self.address.mask(text.trim());
        let url = self.url();
        if NO_CONTACT.iter().any(|sign| message.contains(sign)) {
            return RemoteError::Unreachable { url, message };
        }
        if message.is_empty() {
            let message = match output.status.code() {
                Some(code) => format!("it ended with code {code} and no message"),
                None => "it was killed".to_owned(),
            };
            return RemoteError::Failed { url, message };
        }
        RemoteError::Failed { url, message }
    }
}
