//! A token in a file, for git to show to one web server.
//!
//! Git hears of the file through its credential protocol: the token itself is in no argument, no setting and no
//! variable. What the user has configured is asked first.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use reqwest::Url;

const USER: &str = "LEVAIN_LOGIN_USER";
const TOKEN_FILE: &str = "LEVAIN_LOGIN_TOKEN_FILE";

/// The command that answers git. It reads the token when it is asked for: it may have been exchanged meanwhile.
const ANSWER: &str = "!f() { if test \"$1\" = get; then printf 'username=%s\\npassword=%s\\n' \"$LEVAIN_LOGIN_USER\" \"$(cat \"$LEVAIN_LOGIN_TOKEN_FILE\")\"; fi; }; f";

/// Who git says it is, to one web server and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Scheme, host and port.
    origin: String,
    user: &'static str,
    token_file: PathBuf,
}

impl Login {
    /// Makes the login for the web server of a repository; nothing if `url` is no address of one.
    pub fn new(url: &str, user: &'static str, token_file: PathBuf) -> Option<Self> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        Some(Self { origin: url.origin().ascii_serialization(), user, token_file })
    }

    /// Returns the setting that makes git ask for the token, at that server alone.
    pub(super) fn setting(&self) -> (String, String) {
        (format!("credential.{}.helper", self.origin), ANSWER.to_owned())
    }

    /// Returns the variables that the setting reads.
    pub(super) fn environment(&self) -> [(&'static str, OsString); 2] {
        let file: &OsStr = self.token_file.as_os_str();
        [(USER, self.user.into()), (TOKEN_FILE, file.to_owned())]
    }
}
