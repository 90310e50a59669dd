//! Locked flake references: the one thing, beside the cache pointer, that an evaluation reads.
//!
//! Text is a URL that Nix understands, `git+file:///srv/x.git?ref=refs/heads/main&rev=…`. Only git
//! and only locked: everything else is refused here, before Nix sees it. Nothing is fetched.
//! Start at [`LockedFlakeRef`]; [`FlakeUrl`] also reads remote locations.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::str::FromStr;

use levain_store::NarHash;
use percent_encoding::percent_encode;

use crate::percent;

/// A flake in a local git repository, pinned to a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockedFlakeRef {
    /// The repository, bare or not, as an absolute path.
    pub location: PathBuf,
    /// The full name of a ref from which the commit can be reached (`refs/heads/main`).
    pub reference: String,
    /// The commit, 40 hexadecimal digits.
    pub revision: String,
    /// The NAR hash of the tree, if it is known. Checked by the evaluation, not by Nix's fetcher.
    pub nar_hash: Option<NarHash>,
    /// Whether the repository is a shallow clone, which Nix refuses unless it is told so.
    pub shallow: bool,
}

/// A locked flake reference whose repository may still have to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlakeUrl {
    /// Where the repository is.
    pub location: FlakeLocation,
    /// The full name of a ref from which the commit can be reached.
    pub reference: String,
    /// The commit, 40 hexadecimal digits.
    pub revision: String,
    /// The NAR hash of the tree, if it is known.
    pub nar_hash: Option<NarHash>,
    /// Whether the repository is a shallow clone.
    pub shallow: bool,
}

/// Where the repository of a flake is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FlakeLocation {
    /// An absolute path on this machine.
    Local(PathBuf),
    /// A URL for git, such as `https://example.org/x.git` or `ssh://git@example.org/x.git`.
    Remote(String),
}

/// Why a text is not a locked flake reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockedFlakeRefError {
    /// Not a git repository by URL: a path, a registry name, a tarball.
    #[error(
        "flake reference `{text}` is not a git repository\nhint: write `git+file:///PATH?ref=refs/heads/BRANCH&rev=COMMIT`"
    )]
    Scheme {
        /// The text.
        text: String,
    },
    /// The repository's path is relative or has a host.
    #[error(
        "flake reference `{text}` does not name an absolute path\nhint: write `git+file:///PATH`, with three slashes"
    )]
    Path {
        /// The text.
        text: String,
    },
    /// There is no `rev`.
    #[error(
        "flake reference `{text}` is not locked: it has no `rev`\nhint: add `rev=COMMIT`, as printed by `git rev-parse HEAD`"
    )]
    Unlocked {
        /// The text.
        text: String,
    },
    /// The commit is not 40 hexadecimal digits; a dirty tree has `-dirty` behind it.
    #[error(
        "flake reference `{text}` has `rev={found}`, expected 40 lower-case hexadecimal digits\nhint: commit all changes and use the full name of the commit"
    )]
    Revision {
        /// The text.
        text: String,
        /// What stands there.
        found: String,
    },
    /// There is no `ref`, or not a full one.
    #[error(
        "flake reference `{text}` has no full `ref`\nhint: add `ref=refs/heads/BRANCH` (bare repositories need it)"
    )]
    Reference {
        /// The text.
        text: String,
    },
    /// The NAR hash is not one.
    #[error(
        "flake reference `{text}` has `narHash={found}`, expected `sha256-…`\nhint: leave it out, or take it from an earlier evaluation"
    )]
    NarHash {
        /// The text.
        text: String,
        /// What stands there.
        found: String,
    },
    /// A parameter that is unknown, given twice or has a wrong value.
    #[error(
        "flake reference `{text}` has the parameter `{parameter}`, which cannot stand there\nhint: only `ref`, `rev`, `shallow=1` and `narHash` are used, each once"
    )]
    Parameter {
        /// The text.
        text: String,
        /// The parameter.
        parameter: String,
    },
    /// A `#attribute` at the end.
    #[error(
        "flake reference `{text}` has a `#`\nhint: leave the attribute path out; a `#` in a path is written `%23`"
    )]
    Fragment {
        /// The text.
        text: String,
    },
    /// A `%` that is not followed by two hexadecimal digits, or that hides a NUL or bad UTF-8.
    #[error(
        "flake reference `{text}` has a broken `%` escape\nhint: a `%` itself is written `%25`"
    )]
    Escape {
        /// The text.
        text: String,
    },
    /// The repository is on another machine, where a local one is needed.
    #[error(
        "flake reference `{text}` is remote\nhint: fetch `{url}` into a local mirror and name that"
    )]
    Remote {
        /// The text.
        text: String,
        /// The repository.
        url: String,
    },
}

impl LockedFlakeRef {
    /// Returns the URL for Nix: without the NAR hash, which Nix would take for a part of the
    /// repository's own URL.
    pub fn to_nix_url(&self) -> String {
        let mut url = String::from("git+file://");
        url.extend(percent_encode(self.location.as_os_str().as_bytes(), percent::SLASHED));
        url.push_str("?ref=");
        url.extend(percent_encode(self.reference.as_bytes(), percent::SLASHED));
        url.push_str("&rev=");
        url.extend(percent_encode(self.revision.as_bytes(), percent::COMPONENT));
        if self.shallow {
            url.push_str("&shallow=1");
        }
        url
    }
}

impl fmt::Display for LockedFlakeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_nix_url())?;
        match &self.nar_hash {
            Some(hash) => {
                let mut encoded = String::new();
                encoded.extend(percent_encode(hash.to_string().as_bytes(), percent::COMPONENT));
                write!(f, "&narHash={encoded}")
            }
            None => Ok(()),
        }
    }
}

impl FromStr for LockedFlakeRef {
    type Err = LockedFlakeRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let FlakeUrl { location, reference, revision, nar_hash, shallow } = text.parse()?;
        match location {
            FlakeLocation::Local(location) => {
                Ok(Self { location, reference, revision, nar_hash, shallow })
            }
            FlakeLocation::Remote(url) => {
                Err(LockedFlakeRefError::Remote { text: text.to_owned(), url })
            }
        }
    }
}

impl FromStr for FlakeUrl {
    type Err = LockedFlakeRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owned = || text.to_owned();
        if text.contains('#') {
            return Err(LockedFlakeRefError::Fragment { text: owned() });
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let location = parse_location(text, place)?;
        let mut parameters = Parameters::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            parameters.add(text, parameter)?;
        }
        let revision =
            parameters.revision.ok_or_else(|| LockedFlakeRefError::Unlocked { text: owned() })?;
        let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if revision.len() != 40 || !revision.bytes().all(digits) {
            return Err(LockedFlakeRefError::Revision { text: owned(), found: revision });
        }
        let reference = parameters
            .reference
            .filter(|name| name.starts_with("refs/"))
            .ok_or_else(|| LockedFlakeRefError::Reference { text: owned() })?;
        let nar_hash = match parameters.nar_hash {
            None => None,
            Some(found) => match found.parse() {
                Ok(hash) => Some(hash),
                Err(_wrong) => return Err(LockedFlakeRefError::NarHash { text: owned(), found }),
            },
        };
        Ok(Self { location, reference, revision, nar_hash, shallow: parameters.shallow })
    }
}

fn parse_location(text: &str, place: &str) -> Result<FlakeLocation, LockedFlakeRefError> {
    let owned = || text.to_owned();
    if let Some(path) = place.strip_prefix("git+file:") {
        // `git+file:/x`, as some versions of Nix print it, means the same as `git+file:///x`.
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(LockedFlakeRefError::Path { text: owned() });
        }
        let bytes = decode(path).ok_or_else(|| LockedFlakeRefError::Escape { text: owned() })?;
        return Ok(FlakeLocation::Local(PathBuf::from(OsString::from_vec(bytes))));
    }
    match place.strip_prefix("git+") {
        Some(url) if url.starts_with("https://") || url.starts_with("ssh://") => {
            Ok(FlakeLocation::Remote(url.to_owned()))
        }
        Some(_) | None => Err(LockedFlakeRefError::Scheme { text: owned() }),
    }
}

#[derive(Default)]
struct Parameters {
    reference: Option<String>,
    revision: Option<String>,
    nar_hash: Option<String>,
    shallow: bool,
}

impl Parameters {
    fn add(&mut self, text: &str, parameter: &str) -> Result<(), LockedFlakeRefError> {
        let refused = || LockedFlakeRefError::Parameter {
            text: text.to_owned(),
            parameter: parameter.to_owned(),
        };
        let (name, value) = parameter.split_once('=').ok_or_else(refused)?;
        let value = decode(value)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| LockedFlakeRefError::Escape { text: text.to_owned() })?;
        let previous = match name {
            "ref" => self.reference.replace(value),
            "rev" => self.revision.replace(value),
            "narHash" => self.nar_hash.replace(value),
            "shallow" if value == "1" && !self.shallow => {
                self.shallow = true;
                None
            }
            _other => return Err(refused()),
        };
        match previous {
            None => Ok(()),
            Some(_) => Err(refused()),
        }
    }
}

/// Resolves `%` escapes; nothing when one is broken or hides a NUL, which no file name has.
fn decode(text: &str) -> Option<Vec<u8>> {
    percent::decode(text).filter(|bytes| !bytes.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REV: &str = "0123456789abcdef0123456789abcdef01234567";
    const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn example() -> LockedFlakeRef {
        LockedFlakeRef {
            location: PathBuf::from("/srv/a b%c.git"),
            reference: "refs/heads/main".to_owned(),
            revision: REV.to_owned(),
            nar_hash: HASH.parse().ok(),
            shallow: true,
        }
    }

    #[test]
    fn prints_an_escaped_url() {
        assert_eq!(
            example().to_string(),
            format!(
                "git+file:///srv/a%20b%25c.git?ref=refs/heads/main&rev={REV}&shallow=1&narHash=sha256-47DEQpj8HBSa%2B%2FTImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D"
            )
        );
        assert!(!example().to_nix_url().contains("narHash"));
        assert_eq!(example().to_string().parse(), Ok(example()));
    }

    #[test]
    fn reads_remote_locations() {
        let url: FlakeUrl = format!("git+https://example.org/x.git?ref=refs%2fheads%2fb&rev={REV}")
            .parse()
            .unwrap();
        assert_eq!(url.location, FlakeLocation::Remote("https://example.org/x.git".to_owned()));
        assert_eq!(url.reference, "refs/heads/b");
        let ssh = format!("git+ssh://git@example.org/x?ref=refs/heads/b&rev={REV}");
        assert!(ssh.parse::<FlakeUrl>().is_ok());
        let error = ssh.parse::<LockedFlakeRef>().unwrap_err().to_string();
        assert!(error.contains("fetch `ssh://git@example.org/x`"), "{error}");
    }

    #[test]
    fn says_what_is_wrong_and_what_to_write() {
        let good = format!("ref=refs/heads/main&rev={REV}");
        for (text, expected) in [
            ("github:a/b".to_owned(), "is not a git repository"),
            ("/srv/x".to_owned(), "is not a git repository"),
            (format!("path:/srv/x?rev={REV}"), "is not a git repository"),
            (format!("git+http://example.org/x?{good}"), "is not a git repository"),
            (format!("git+file:x?{good}"), "absolute path"),
            (format!("git+file://host/x?{good}"), "absolute path"),
            ("git+file:///x?ref=refs/heads/main".to_owned(), "no `rev`"),
            ("git+file:///x".to_owned(), "no `rev`"),
            (format!("git+file:///x?ref=refs/heads/main&rev={REV}-dirty"), "commit all changes"),
            ("git+file:///x?ref=refs/heads/main&rev=0123abc".to_owned(), "40 lower-case"),
            (format!("git+file:///x?rev={REV}"), "no full `ref`"),
            (format!("git+file:///x?rev={REV}&ref=main"), "no full `ref`"),
            (format!("git+file:///x?{good}&narHash=md5-x"), "narHash=md5-x"),
            (format!("git+file:///x?{good}&dir=sub"), "`dir=sub`"),
            (format!("git+file:///x?{good}&rev={REV}"), "each once"),
            (format!("git+file:///x?{good}&shallow=0"), "`shallow=0`"),
            (format!("git+file:///x?{good}#hello"), "leave the attribute path out"),
            (format!("git+file:///x%2?{good}"), "broken `%` escape"),
            (format!("git+file:///x%00?{good}"), "broken `%` escape"),
        ] {
            let parsed = text.parse::<LockedFlakeRef>();
            let message = parsed.expect_err(&text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(message.contains("\nhint: "), "{message}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(
            path in prop::collection::vec(1u8.., 0..20), name in "[^\0]{0,20}", shallow in any::<bool>(),
        ) {
            let mut location = b"/".to_vec();
            location.extend(path);
            let flake = LockedFlakeRef {
                location: PathBuf::from(OsString::from_vec(location)),
                reference: format!("refs/{name}"),
                shallow,
                ..example()
            };
            prop_assert_eq!(flake.to_string().parse(), Ok(flake));
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _any = format!("git+file:///{text}").parse::<LockedFlakeRef>();
        }
    }
}
