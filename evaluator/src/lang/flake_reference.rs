//! Flake references as texts and as attributes (`parseFlakeRef`, `flakeRefToString`).
//!
//! Only the two spellings: nothing is looked up, so that a path must be absolute. Unlike
//! [`crate::flake_ref`], which accepts what is locked, every reference that Nix knows is read here.
//! Start at [`parse`] and [`print`].

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, utf8_percent_encode};

use crate::percent;

/// The attributes of a reference.
pub type Attributes = BTreeMap<String, Attribute>;

/// An attribute of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A string.
    String(String),
    /// A number.
    Int(u64),
    /// A Boolean.
    Bool(bool),
}

/// A reference that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlakeReferenceError {
    /// The text follows no form that Nix knows.
    #[error("`{text}` is not a flake reference: {reason}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An attribute is missing or has the wrong type.
    #[error("flake reference needs the attribute `{name}`, {expected}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// A text with its parts.
struct Url<'a> {
    scheme: &'a str,
    authority: Option<&'a str>,
    path: &'a str,
    query: BTreeMap<String, String>,
}

/// The switches of Git references.
const SWITCHES: [&str; 6] =
    ["shallow", "submodules", "lfs", "exportIgnore", "allRefs", "verifyCommit"];

/// Reads a reference.
pub fn parse(text: &str) -> Result<Attributes, FlakeReferenceError> {
    attributes(text).map_err(|reason| FlakeReferenceError::Text { text: text.to_owned(), reason })
}

fn attributes(text: &str) -> Result<Attributes, &'static str> {
    let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
    if !fragment.is_empty() {
        return Err("it has a fragment (`#…`)");
    }
    let (place, query) = whole.split_once('?').unwrap_or((whole, ""));
    let mut query = decode_query(query)?;
    let dir = query.remove("dir");
    let scheme = place.split_once(':').filter(|(scheme, _)| is_scheme(scheme));
    let mut attributes = match scheme {
        None if !whole.contains('?') && is_id(place) => indirect(place)?,
        None if place.starts_with('/') => path(&decode(place)?, query)?,
        None => {
            return Err("it is neither an URL, nor a name of the registry, nor an absolute path");
        }
        Some((scheme, rest)) => {
            let (authority, path) = match rest.strip_prefix("//") {
                Some(rest) => {
                    let slash = rest.find('/').unwrap_or(rest.len());
                    (Some(&rest[..slash]), &rest[slash..])
                }
                None => (None, rest),
            };
            url(Url { scheme, authority, path, query })?
        }
    };
    if let Some(dir) = dir.filter(|dir| !dir.is_empty()) {
        attributes.insert("dir".to_owned(), Attribute::String(dir));
    }
    Ok(attributes)
}

fn url(url: Url<'_>) -> Result<Attributes, &'static str> {
    match url.scheme {
        "flake" => indirect(url.path),
        "github" | "gitlab" | "sourcehut" => forge(url),
        "path" if url.authority.is_some_and(|host| !host.is_empty()) => Err("a path has no host"),
        "path" => path(&decode(url.path)?, url.query),
        "git" => git("git", "git", url),
        scheme => match scheme.split_once('+') {
            Some(("git", transport)) => git("git", transport, url),
            Some(("hg", transport)) => git("hg", transport, url),
            Some((kind @ ("tarball" | "file"), transport)) => download(kind, transport, url),
            Some(_) => Err("its scheme is unknown"),
            None if matches!(scheme, "http" | "https" | "file") => download("tarball", scheme, url),
            None => Err("its scheme is unknown"),
        },
    }
}

fn strings<const N: usize>(entries: [(&str, &str); N]) -> Attributes {
    let own = |(name, value): (&str, &str)| (name.to_owned(), Attribute::String(value.to_owned()));
    entries.into_iter().map(own).collect()
}

fn indirect(path: &str) -> Result<Attributes, &'static str> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (id, rest) = parts.split_first().ok_or("it is empty")?;
    if !is_id(id) {
        return Err("names of the registry have letters, digits, `_` and `-` only");
    }
    let mut attributes = strings([("type", "indirect"), ("id", id)]);
    let (name, revision) = match rest {
        [] => (None, None),
        [revision] if is_revision(revision) => (None, Some(*revision)),
        [name] => (Some(*name), None),
        [name, revision] if is_revision(revision) => (Some(*name), Some(*revision)),
        _ => return Err("expected a branch or tag and then a commit"),
    };
    attributes.extend(strings([
        ("ref", name.unwrap_or_default()),
        ("rev", revision.unwrap_or_default()),
    ]));
    attributes.retain(|_, value| *value != Attribute::String(String::new()));
    Ok(attributes)
}

fn forge(url: Url<'_>) -> Result<Attributes, &'static str> {
    let path = decode(url.path)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let [owner, repo, rest @ ..] = parts.as_slice() else {
        return Err("expected an owner and a repository");
    };
    let mut attributes = strings([("type", url.scheme), ("owner", owner), ("repo", repo)]);
    match rest {
        [] => {}
        [revision] if is_revision(revision) => attributes.extend(strings([("rev", revision)])),
        name => attributes.extend(strings([("ref", &name.join("/"))])),
    }
    for (name, value) in url.query {
        if !matches!(name.as_str(), "ref" | "rev" | "host" | "narHash") {
            return Err("it has an unknown parameter");
        }
        if attributes.insert(name, Attribute::String(value)).is_some() {
            return Err("it names two branches, tags or commits");
        }
    }
    if attributes.contains_key("ref") && attributes.contains_key("rev") {
        return Err("it names a commit and a branch or tag");
    }
    Ok(attributes)
}

fn path(path: &str, query: BTreeMap<String, String>) -> Result<Attributes, &'static str> {
    let mut attributes = strings([("type", "path"), ("path", path)]);
    for (name, value) in query {
        let value = match name.as_str() {
            "rev" | "narHash" => Attribute::String(value),
            "revCount" | "lastModified" => number(&value)?,
            _ => return Err("it has an unknown parameter"),
        };
        attributes.insert(name, value);
    }
    Ok(attributes)
}

fn number(text: &str) -> Result<Attribute, &'static str> {
    let Ok(number) = text.parse() else { return Err("a parameter is not a number") };
    Ok(Attribute::Int(number))
}

fn git(kind: &str, transport: &str, mut url: Url<'_>) -> Result<Attributes, &'static str> {
    let mut attributes = strings([("type", kind)]);
    for name in ["rev", "ref", "keytype", "publicKey", "publicKeys"] {
        attributes.extend(
            url.query.remove_entry(name).map(|(name, value)| (name, Attribute::String(value))),
        );
    }
    for name in SWITCHES {
        let on = |(name, value): (String, String)| (name, Attribute::Bool(value == "1"));
        attributes.extend(url.query.remove_entry(name).map(on));
    }
    attributes.insert("url".to_owned(), Attribute::String(join(transport, &url)));
    Ok(attributes)
}

fn download(kind: &str, transport: &str, mut url: Url<'_>) -> Result<Attributes, &'static str> {
    let mut attributes = strings([("type", kind)]);
    for name in ["narHash", "rev"] {
        attributes.extend(
            url.query.remove_entry(name).map(|(name, value)| (name, Attribute::String(value))),
        );
    }
    for name in ["revCount", "lastModified"] {
        if let Some((name, value)) = url.query.remove_entry(name) {
            attributes.insert(name, number(&value)?);
        }
    }
    attributes.insert("url".to_owned(), Attribute::String(join(transport, &url)));
    Ok(attributes)
}

fn join(scheme: &str, url: &Url<'_>) -> String {
    let authority = url.authority.map(|authority| format!("//{authority}")).unwrap_or_default();
    format!("{scheme}:{authority}{}{}", url.path, encode_query(&url.query))
}

/// Writes a reference.
pub fn print(attributes: &Attributes) -> Result<String, FlakeReferenceError> {
    let mut query = BTreeMap::new();
    let kind = required(attributes, "type")?;
    let mut copy = |names: &[&str]| {
        for name in names {
            let value = match attributes.get(*name) {
                Some(Attribute::String(value)) => value.clone(),
                Some(Attribute::Int(value)) => value.to_string(),
                Some(Attribute::Bool(true)) => "1".to_owned(),
                Some(Attribute::Bool(false)) | None => continue,
            };
            query.insert((*name).to_owned(), value);
        }
    };
    let place = match kind {
        "indirect" => {
            copy(&["dir"]);
            let parts = ["id", "ref", "rev"].map(|name| optional(attributes, name));
            required(attributes, "id")?;
            format!("flake:{}", parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
        }
        "github" | "gitlab" | "sourcehut" => {
            copy(&["dir", "host", "narHash"]);
            let (owner, repo) = (required(attributes, "owner")?, required(attributes, "repo")?);
            let last = optional(attributes, "ref").or_else(|| optional(attributes, "rev"));
            let last = last.map(|last| format!("/{last}")).unwrap_or_default();
            format!("{kind}:{}", encode(&format!("{owner}/{repo}{last}"), percent::PATH))
        }
        "path" => {
            copy(&["dir", "lastModified", "narHash", "rev", "revCount"]);
            format!("path:{}", encode(required(attributes, "path")?, percent::PATH))
        }
        "git" | "hg" | "tarball" | "file" => {
            let url = required(attributes, "url")?;
            let (place, own) = url.split_once('?').unwrap_or((url, ""));
            match kind {
                "tarball" | "file" => copy(&["dir", "narHash"]),
                _ => copy(&["dir", "keytype", "publicKey", "publicKeys", "ref", "rev"]),
            }
            if kind == "git" {
                copy(&SWITCHES.map(|name| if name == "allRefs" { "" } else { name }));
            }
            let wrong = |reason| FlakeReferenceError::Text { text: url.to_owned(), reason };
            query.extend(decode_query(own).map_err(wrong)?);
            let bare = matches!(kind, "tarball" | "file") || place.starts_with("git:");
            if bare { place.to_owned() } else { format!("{kind}+{place}") }
        }
        _ => {
            let expected = "one of the types of flake inputs";
            return Err(FlakeReferenceError::Attribute { name: "type", expected });
        }
    };
    Ok(place + &encode_query(&query))
}

fn optional<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    match attributes.get(name)? {
        Attribute::String(value) => Some(value),
        Attribute::Int(_) | Attribute::Bool(_) => None,
    }
}

fn required<'a>(
    attributes: &'a Attributes,
    name: &'static str,
) -> Result<&'a str, FlakeReferenceError> {
    let missing = FlakeReferenceError::Attribute { name, expected: "a string" };
    optional(attributes, name).ok_or(missing)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Returns whether a text is a name of the registry, possibly with a branch and a commit.
fn is_id(text: &str) -> bool {
    let id = text.split('/').next().unwrap_or_default();
    id.starts_with(|first: char| first.is_ascii_alphabetic())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn is_revision(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn decode(text: &str) -> Result<String, &'static str> {
    let bytes = percent::decode(text).ok_or("a `%` has no two hexadecimal digits behind it")?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) | Err(_) => Err("it is no text"),
    }
}

fn decode_query(query: &str) -> Result<BTreeMap<String, String>, &'static str> {
    let mut entries = BTreeMap::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or("a parameter has no `=`")?;
        entries.insert(decode(name)?, decode(value)?);
    }
    Ok(entries)
}

fn encode(text: &str, escaped: &'static AsciiSet) -> String {
    utf8_percent_encode(text, escaped).to_string()
}

fn encode_query(query: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> = query
        .iter()
        .map(|(name, value)| {
            format!("{}={}", encode(name, percent::QUERY), encode(value, percent::QUERY))
        })
        .collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_is_read_and_written() {
        let revision = "0123456789012345678901234567890123456789";
        for text in [
            "github:NixOS/nixpkgs/23.05?dir=lib",
            &format!("gitlab:a/b/{revision}?host=example.org"),
            "flake:nixpkgs",
            &format!("flake:nixpkgs/main/{revision}"),
            "path:/a/b%20c?lastModified=1",
            "git+https://example.org/a?ref=main&shallow=1",
            "git+file:///a/b?rev=1",
            "https://example.org/a.tar.gz?narHash=sha256-47DEQpj8HBSa%2B/TImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D",
        ] {
            assert_eq!(print(&parse(text).unwrap()).unwrap(), text);
        }
        let attributes = parse("github:NixOS/nixpkgs/feature/x").unwrap();
        assert_eq!(optional(&attributes, "ref"), Some("feature/x"));
        assert_eq!(parse("nixpkgs/main").unwrap(), parse("flake:nixpkgs/main").unwrap());
        assert_eq!(optional(&parse("/a/b").unwrap(), "type"), Some("path"));
        let tarball = parse("https://example.org/x?a=b").unwrap();
        assert_eq!(optional(&tarball, "url"), Some("https://example.org/x?a=b"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "./a",
            "a b",
            "github:a",
            "github:a/b?x=y",
            "nixpkgs#hello",
            "x:y",
            "path:/a?x=y",
            "path:/a?lastModified=x",
            "github:a/b/c?ref=d",
            "path:%zz",
            "a/b/c/d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(github|path|git\\+https|flake|)[:/]{0,3}[a-z0-9/?=&%#.:+-]{0,20}") {
            if let Ok(attributes) = parse(&text) {
                let _text = print(&attributes);
            }
        }
    }
}
