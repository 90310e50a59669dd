//! What of a message reaches the terminal.
//!
//! Messages of users' programs may hold any escape sequence. As with Nix, colours remain where
//! somebody sees them, and everything else is taken out.

use std::io::{self, IsTerminal};

use levain_store::{keep_colours, strip_ansi};

/// Returns a message for standard error as it may be shown there.
pub(crate) fn for_standard_error(message: &str) -> String {
    let refused = ["NO_COLOR", "NOCOLOR"].iter().any(|name| std::env::var_os(name).is_some());
    let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    if able && !refused && io::stderr().is_terminal() {
        keep_colours(message)
    } else {
        strip_ansi(message)
    }
}
