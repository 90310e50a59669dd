//! Strings and paths: bytes, not necessarily UTF-8.

use std::borrow::Cow;

use super::context::Context;

/// A string: its bytes, and the store objects that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NixString {
    bytes: Box<[u8]>,
    context: Context,
}

impl NixString {
    /// Makes a string without context.
    pub fn new(bytes: &[u8]) -> Self {
        NixString { bytes: bytes.into(), context: Context::new() }
    }

    /// Makes a string with a context.
    pub fn with_context(bytes: &[u8], context: Context) -> Self {
        NixString { bytes: bytes.into(), context }
    }

    /// Makes a string of bytes that need not be copied.
    pub fn from_vec(bytes: Vec<u8>, context: Context) -> Self {
        NixString { bytes: bytes.into_boxed_slice(), context }
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes as a text, with replacement characters where they are none.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Returns the context, if there is any.
    pub fn context(&self) -> Option<&Context> {
        (!self.context.is_empty()).then_some(&self.context)
    }

    /// Returns the context, possibly an empty one, to share it with another string.
    pub fn shared_context(&self) -> Context {
        self.context.clone()
    }
}

/// A path: absolute, without `.`, `..`, double slashes and a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NixPath(Box<[u8]>);

impl NixPath {
    /// Makes a path from a text that is canonical already.
    pub fn new(bytes: &[u8]) -> Self {
        NixPath(bytes.into())
    }

    /// Makes a path from any absolute text, removing `.`, `..` and superfluous slashes.
    ///
    /// Symbolic links are not looked at.
    pub fn canonical(text: &[u8]) -> Self {
        let path = Vec::with_capacity(text.len() + 1);
        NixPath(canonicalise(path, text).into_boxed_slice())
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes as a text, with replacement characters where they are none.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Returns the path of the directory that contains this.
    pub fn parent(&self) -> NixPath {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            None | Some(0) => NixPath::new(b"/"),
            Some(slash) => NixPath::new(&self.0[..slash]),
        }
    }

    /// Returns the path of a file below this.
    pub fn join(&self, below: &[u8]) -> NixPath {
        let mut path = Vec::with_capacity(self.0.len() + 1 + below.len());
        if *self.0 != *b"/" {
            path.extend_from_slice(&self.0);
        }
        NixPath(canonicalise(path, below).into_boxed_slice())
    }
}

/// Adds to a path without the slash of the root what is below it, removing `.`, `..` and superfluous
/// slashes; `..` of the root is the root.
fn canonicalise(mut path: Vec<u8>, text: &[u8]) -> Vec<u8> {
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(slash);
            }
            name => {
                path.push(b'/');
                path.extend_from_slice(name);
            }
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_paths_have_no_dots_and_no_double_slashes() {
        for (text, path) in
            [("/", "/"), ("//a/./b//c/", "/a/b/c"), ("/a/../..", "/"), ("/a/b/../c", "/a/c")]
        {
            assert_eq!(NixPath::canonical(text.as_bytes()).text(), path);
        }
        assert_eq!(NixPath::new(b"/a").parent().text(), "/");
        assert_eq!(NixPath::new(b"/a/b").join(b"../c").text(), "/a/c");
    }
}
