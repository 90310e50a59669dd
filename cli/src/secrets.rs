//! Takes secrets out of the environment before anything else happens.
//!
//! What levain starts (git with its hooks and credential helpers, Nix, builders) inherits its
//! environment, and none of them needs the forge's token. Start at [`Secrets::take`].

use std::ffi::OsString;

use levain_actions::forge::Token;

use crate::args::Run;
use crate::exit::Failure;

const TOKEN: &str = "LEVAIN_TOKEN";
const TOKEN_FILE: &str = "LEVAIN_TOKEN_FILE";
const DATABASE: &str = "LEVAIN_DATABASE";

/// The secrets of the environment. Not printable.
pub(crate) struct Secrets {
    token: Option<OsString>,
    database: Option<String>,
}

impl Secrets {
    /// Takes the secrets. Must be called before a thread is started.
    ///
    /// Variables of levain that are empty are removed, too: they count as not set.
    pub(crate) fn take() -> Self {
        let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"LEVAIN_");
        let empty = std::env::vars_os().filter(|(_, value)| value.is_empty());
        for (name, _) in empty.filter(|(name, _)| is_ours(name) || name == "TMPDIR") {
            forget(&name);
        }
        let token = std::env::var_os(TOKEN);
        if token.is_some() {
            forget(TOKEN.as_ref());
            keep_from_others();
        }
        let database = std::env::var_os(DATABASE).and_then(|address| address.into_string().ok());
        Self { token, database }
    }

    /// Forgets where the token lies, and the database's address, which may hold a password, once the
    /// arguments are parsed. Must be called before a thread is started.
    pub(crate) fn forget_parsed() {
        if std::env::var_os(TOKEN_FILE).is_some() {
            forget(TOKEN_FILE.as_ref());
        }
        if std::env::var_os(DATABASE).is_some() {
            forget(DATABASE.as_ref());
            keep_from_others();
        }
    }

    /// Returns the database that the environment names.
    pub(crate) fn database(&self) -> Option<String> {
        self.database.clone()
    }

    /// Returns the token for a run, if there is one and it may be used.
    pub(crate) fn token(self, args: &Run) -> Result<Option<Token>, Failure> {
        if args.writing.read_only {
            return Ok(None);
        }
        if let Some(file) = &args.token_file {
            keep_from_others();
            return Token::from_file(file).map(Some).map_err(|error| Failure::error(&error));
        }
        let Some(value) = self.token else { return Ok(None) };
        match value.to_str() {
            Some(value) => {
                Token::from_value(value).map(Some).map_err(|error| Failure::error(&error))
            }
            None => Err(Failure::user(format!("`{TOKEN}` cannot be read: it is no UTF-8"))),
        }
    }
}

#[expect(unsafe_code, reason = "the environment is changed while there is one thread")]
fn forget(name: &std::ffi::OsStr) {
    // SAFETY: `main` calls this before it starts a thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) }
}

/// Keeps other processes of the user from reading what this one began with: `/proc/PID/environ`
/// shows variables that were removed long ago.
pub(crate) fn keep_from_others() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::debug!(%error, "other processes may read this one's memory");
        }
    }
}
