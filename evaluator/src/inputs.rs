//! The inputs that a lock file names, as plain data.
//!
//! Only what a lock file says is read, and only inputs with a hash count: fetching them depends on
//! nothing else, and their place in the store is known before. What is a follower or part of the
//! flake's own tree is no input here. Start at [`LockedInput::all`].

use std::collections::BTreeMap;

use levain_store::content_address::make_source_path;
use levain_store::{NarHash, StoreDir, StorePath};
use serde_json::Value;

use crate::nix_data::Data;

mod origin;

pub use origin::{Host, Origin, Protocol};

/// The longest lock file that is read.
const MAX_LOCK_FILE: usize = 16 << 20;
/// The most inputs that are read.
const MAX_INPUTS: usize = 4096;
/// Attributes that say where in the input the flake is, or are for Nix alone.
const NOT_FETCHED: &[&str] = &["dir", "__final"];

/// An input with a hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedInput {
    attributes: BTreeMap<String, String>,
    numbers: BTreeMap<String, u64>,
    switches: BTreeMap<String, bool>,
}

impl LockedInput {
    /// Returns the inputs of a lock file, each once. Whatever is not understood is left to Nix.
    pub fn all(lock_file: &[u8]) -> Vec<Self> {
        if lock_file.len() > MAX_LOCK_FILE {
            return Vec::new();
        }
        let lock: Value = serde_json::from_slice(lock_file).unwrap_or_default();
        let nodes = lock.get("nodes").and_then(Value::as_object);
        let locked = nodes.into_iter().flatten().filter_map(|(_, node)| node.get("locked"));
        let mut inputs: Vec<Self> = locked.filter_map(Self::read).take(MAX_INPUTS).collect();
        inputs.sort();
        inputs.dedup();
        inputs
    }

    fn read(locked: &Value) -> Option<Self> {
        let mut input = Self {
            attributes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            switches: BTreeMap::new(),
        };
        for (name, value) in locked.as_object()? {
            if NOT_FETCHED.contains(&name.as_str()) {
                continue;
            }
            match value {
                // Nix has no such strings.
                Value::String(text) if text.contains('\0') => return None,
                Value::String(text) => drop(input.attributes.insert(name.clone(), text.clone())),
                Value::Number(number) => drop(input.numbers.insert(name.clone(), number.as_u64()?)),
                Value::Bool(switch) => drop(input.switches.insert(name.clone(), *switch)),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            }
        }
        let relative = input.text("type") == "path" && !input.text("path").starts_with('/');
        let whole = input.nar_hash().is_some() && !input.text("type").is_empty();
        (whole && !relative && input.is_known()).then_some(input)
    }

    /// Returns whether fetching it starts no program but git and ssh, as other kinds might.
    fn is_known(&self) -> bool {
        let schemes: &[&str] = match self.text("type") {
            "github" | "gitlab" | "sourcehut" | "path" => return true,
            "git" => &["https", "http", "ssh", "file", "git"],
            "tarball" | "file" => &["https", "http", "file"],
            _ => return false,
        };
        self.text("url").split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
    }

    fn text(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    fn nar_hash(&self) -> Option<NarHash> {
        self.text("narHash").parse().ok()
    }

    /// Returns where in the store the input lies, or will lie.
    pub fn store_path(&self, dir: &StoreDir) -> Option<StorePath> {
        make_source_path(dir, "source", &self.nar_hash()?, &[].into()).ok()
    }

    /// Returns where it comes from, as far as that decides who may fetch it.
    pub fn origin(&self) -> Origin {
        for (name, what) in [("submodules", "submodules"), ("lfs", "files of Git LFS")] {
            let wanted = |switch: &bool| *switch;
            let named = self.attributes.contains_key(name) || self.numbers.contains_key(name);
            if named || self.switches.get(name).is_some_and(wanted) {
                return Origin::Content { what };
            }
        }
        // No value of an input begins so, and a program may take it for an option.
        if self.attributes.values().any(|text| text.starts_with('-')) {
            return Origin::Unclear;
        }
        match self.text("type") {
            "path" => Origin::Local(self.text("path").into()),
            "git" | "tarball" | "file" => Origin::of_url(self.text("url")),
            _ => Origin::Web,
        }
    }

    /// Returns where it comes from, for people, and as Nix's messages name it.
    pub fn place(&self) -> String {
        match (self.text("url"), self.text("path"), self.text("owner"), self.text("repo")) {
            ("", "", owner, repo) => format!("{}:{owner}/{repo}", self.text("type")),
            ("", path, ..) => path.to_owned(),
            (url, ..) => url.to_owned(),
        }
    }

    /// Returns whether a message of Nix is about this input.
    pub fn is_named_in(&self, message: &str) -> bool {
        let place = self.place();
        let place = place.trim_start_matches("file://");
        // Of a host that does not answer, ssh and git tell the name alone.
        let host = if let Origin::Host(host) = self.origin() { host.name } else { String::new() };
        let names = [place, self.text("rev"), &host];
        names.iter().any(|text| text.len() > 3 && message.contains(text))
    }

    /// Returns the attributes in the Nix language.
    pub fn to_data(&self) -> Data {
        let texts = self.attributes.iter().map(|(name, text)| (name, Data::from(text.as_str())));
        let numbers = self.numbers.iter().map(|(name, number)| (name, Data::Integer(*number)));
        let switches = self.switches.iter().map(|(name, switch)| (name, Data::Bool(*switch)));
        Data::set(texts.chain(numbers).chain(switches).map(|(name, value)| (name.as_str(), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn inputs(nodes: &Value) -> Vec<LockedInput> {
        let lock = serde_json::json!({ "nodes": nodes, "root": "root", "version": 7 });
        LockedInput::all(lock.to_string().as_bytes())
    }

    #[test]
    fn inputs_with_a_hash_are_found_each_once() {
        let git = serde_json::json!({ "locked": {
            "type": "git", "url": "ssh://git@h/x", "rev": "0123", "narHash": HASH, "revCount": 7,
            "submodules": true, "dir": "sub", "__final": true,
        } });
        let found = inputs(&serde_json::json!({
            "a": git, "b": git,
            "root": { "inputs": { "a": "a" } },
            "unhashed": { "locked": { "type": "github", "owner": "o", "repo": "r", "rev": "1" } },
            "relative": { "locked": { "type": "path", "path": "./x", "narHash": HASH } },
            "odd": { "locked": { "type": "git", "url": ["x"], "narHash": HASH } },
            "program": { "locked": { "type": "git", "url": "ext::sh -c x://", "narHash": HASH } },
            "other": { "locked": { "type": "hg", "url": "https://h", "narHash": HASH } },
            "wrong": { "locked": { "type": "git", "url": "x", "narHash": "sha256-x" } },
        }));
        let [input] = found.as_slice() else { panic!("{found:?}") };
        expect_test::expect![[r#"
            {
              narHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
              rev = "0123";
              revCount = 7;
              submodules = true;
              type = "git";
              url = "ssh://git@h/x";
            }"#]]
        .assert_eq(&input.to_data().print());
        // Submodules are wherever the input's own content says.
        assert_eq!(input.origin(), Origin::Content { what: "submodules" });
        assert!(input.is_named_in("cannot fetch ssh://git@h/x") && !input.is_named_in("other"));
    }

    #[test]
    fn kinds_of_places_are_told_apart() {
        let found = |locked: Value| {
            let mut locked = locked;
            locked["narHash"] = HASH.into();
            let mut found = inputs(&serde_json::json!({ "a": { "locked": locked } }));
            let input = found.pop().unwrap();
            (input.origin(), input.place())
        };
        let git = |url: &str| found(serde_json::json!({ "type": "git", "url": url }));
        let host =
            |protocol, name: &str| Origin::Host(Host { protocol, name: name.into(), port: None });
        assert_eq!(git("https://h/x"), (Origin::Web, "https://h/x".into()));
        assert_eq!(git("file:///x"), (Origin::Local("/x".into()), "file:///x".into()));
        let ssh = serde_json::json!({ "type": "git", "url": "ssh://h.example/x", "narHash": HASH });
        let ssh = inputs(&serde_json::json!({ "a": { "locked": ssh } })).pop().unwrap();
        assert!(ssh.is_named_in("ssh: connect to host h.example port 22: Connection refused"));
        assert_eq!(git("ssh://h/x").0, host(Protocol::Ssh, "h"));
        assert_eq!(git("git://h/x").0, host(Protocol::Git, "h"));
        let file = |url: &str| found(serde_json::json!({ "type": "file", "url": url })).0;
        assert_eq!(file("file:///x"), Origin::Local("/x".into()));
        assert_eq!(
            found(serde_json::json!({ "type": "path", "path": "/x" })),
            (Origin::Local("/x".into()), "/x".into())
        );
        let option =
            serde_json::json!({ "type": "git", "url": "https://h/x", "ref": "--upload-pack=x" });
        assert_eq!(found(option).0, Origin::Unclear);
        assert_eq!(
            found(serde_json::json!({ "type": "github", "owner": "o", "repo": "r" })),
            (Origin::Web, "github:o/r".into())
        );
    }

    #[test]
    fn what_is_no_lock_file_has_no_inputs() {
        for text in ["", "[]", "{\"nodes\": 1}", "{\"nodes\": {\"a\": 1}}", "\u{0}"] {
            assert_eq!(LockedInput::all(text.as_bytes()), [], "{text}");
        }
    }
}
