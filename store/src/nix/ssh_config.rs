//! A copy of the system's configuration of ssh, for the sandbox of an ordinary user.
//!
//! In a user namespace of such a user, what belongs to root seems to belong to nobody, and ssh refuses to read a
//! configuration of somebody else's. Not for root, whose files keep their owner there.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The system's file.
const SYSTEM: &str = "/etc/ssh/ssh_config";
/// What that includes wherever it is packaged with parts.
const PARTS: &str = "/etc/ssh/ssh_config.d";

/// Writes the copy into a directory; returns the command with which git starts ssh.
pub(super) fn command(directory: &Path) -> io::Result<OsString> {
    let mut parts: Vec<PathBuf> = match fs::read_dir(PARTS) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_none) => Vec::new(),
    };
    parts.retain(|part| part.extension().is_some_and(|extension| extension == "conf"));
    parts.sort();
    // ssh takes the first value that it reads, and so the parts come before the file that includes them first of all.
    parts.push(SYSTEM.into());
    let texts: Vec<String> =
        parts.iter().filter_map(|part| fs::read_to_string(part).ok()).collect();
    let copy = directory.join("ssh_config");
    // Others may be reading one.
    let mut new = NamedTempFile::new_in(directory)?;
    new.write_all(text(&texts).as_bytes())?;
    new.persist(&copy).map_err(|error| error.error)?;
    let mut command = OsString::from("ssh -F ");
    command.push(quoted(&copy.display().to_string()));
    Ok(command)
}

/// Returns one configuration of the user's own file and these texts, which name no further file.
fn text(texts: &[String]) -> String {
    let mut text = String::from("Include ~/.ssh/config\n");
    for part in texts {
        // What stands at a file's beginning is about all hosts.
        text.push_str("Host *\n");
        for line in part.lines().filter(|line| !is_include(line)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn is_include(line: &str) -> bool {
    let word = line.trim_start().split([' ', '\t', '=', '"']).next().unwrap_or_default();
    word.eq_ignore_ascii_case("include")
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_configuration_is_made_of_several_files() {
        let texts =
            ["Port 7\nHost a\n  User b\n".to_owned(), " INCLUDE x\nHashKnownHosts yes".to_owned()];
        assert_eq!(
            text(&texts),
            "Include ~/.ssh/config\nHost *\nPort 7\nHost a\n  User b\nHost *\nHashKnownHosts yes\n"
        );
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }

    #[test]
    fn ssh_reads_the_copy() {
        let directory = tempfile::tempdir().unwrap();
        let command = command(directory.path()).unwrap().into_string().unwrap();
        #[expect(clippy::disallowed_methods, reason = "what git would start")]
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("{command} -G some.example.org")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("hostname some.example.org\n"), "{said}");
    }
}
