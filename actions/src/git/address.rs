//! The addresses of remotes, and how their secrets are kept out of arguments, files and messages.

use percent_encoding::percent_decode_str;

/// The name that stands in arguments for an address with a secret.
const ANONYMOUS: &str = "levain-url";
const USER: &str = "LEVAIN_GIT_USER";
const PASSWORD: &str = "LEVAIN_GIT_PASSWORD";

/// A remote's name or URL, with user name and password of an `http` URL taken out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    plain: String,
    secret: Option<Secret>,
}

#[derive(Clone, PartialEq, Eq)]
struct Secret {
    user: String,
    password: String,
    /// As they stood in the URL, where git may quote them.
    encoded: String,
}

impl Address {
    /// Takes an address apart. Only `http` and `https` URLs carry secrets: the user of an `ssh` URL is none.
    pub(super) fn parse(text: &str) -> Self {
        let whole = || Self { plain: text.to_owned(), secret: None };
        let Some((scheme, rest)) = text.split_once("://") else {
            return whole();
        };
        if !is_http(scheme) {
            return whole();
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let Some((encoded, host)) = authority.rsplit_once('@') else {
            return whole();
        };
        let (user, password) = encoded.split_once(':').unwrap_or((encoded, ""));
        Self {
            plain: format!("{scheme}://{host}{path}"),
            secret: Some(Secret {
                user: decoded(user),
                password: decoded(password),
                encoded: encoded.to_owned(),
            }),
        }
    }

    /// Returns whether it had a secret.
    pub(super) fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Returns the address without its secret.
    pub(super) fn plain(&self) -> &str {
        &self.plain
    }

    /// Returns what to give git as the remote: `named`, unless there is a secret to keep.
    pub(super) fn argument<'a>(&self, named: &'a str) -> &'a str {
        if self.secret.is_some() { ANONYMOUS } else { named }
    }

    /// Returns the git settings that make [`Address::argument`] work, for the environment.
    ///
    /// A URL with a password would show in the arguments of git's own children, so that the password goes to them
    /// through git's credential protocol. The first, empty setting turns off what the user has configured for others.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        if self.secret.is_none() {
            return Vec::new();
        }
        vec![
            (format!("remote.{ANONYMOUS}.url"), self.plain.clone()),
            ("credential.helper".to_owned(), String::new()),
            (
                "credential.helper".to_owned(),
                format!(
                    "!f() {{ if test \"$1\" = get; then printf 'username=%s\\npassword=%s\\n' \"${USER}\" \"${PASSWORD}\"; fi; }}; f"
                ),
            ),
        ]
    }

    /// Returns the variables that those settings read.
    pub(super) fn environment(&self) -> Vec<(&'static str, &str)> {
        match &self.secret {
            Some(secret) => vec![(USER, &secret.user), (PASSWORD, &secret.password)],
            None => Vec::new(),
        }
    }

    /// Takes this address's secret, and that of any other URL, out of a text.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut text = masked(text);
        if let Some(secret) = &self.secret {
            let user_is_token = secret.password.is_empty();
            for word in [&secret.encoded, &secret.password, &secret.user] {
                // A user name beside a password is no secret, and may be a word like `git`.
                if word.is_empty() || (word == &secret.user && !user_is_token) {
                    continue;
                }
                text = text.replace(word.as_str(), "***");
            }
        }
        text
    }
}

/// Replaces user name and password of every `http` URL in a text by `***`.
pub fn masked(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        result.push_str(before);
        let scheme = &before[..at];
        let end = after
            .find(|letter: char| letter.is_whitespace() || "/?#'\"`".contains(letter))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) if scheme.ends_with("http") || scheme.ends_with("https") => {
                result.push_str("***@");
                result.push_str(host);
            }
            Some((user, host)) if user.contains(':') => {
                result.push_str("***@");
                result.push_str(host);
            }
            Some(_) | None => result.push_str(authority),
        }
        rest = tail;
    }
    result.push_str(rest);
    result
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// Decodes `%40` and its like, without the line ends that would break git's credential protocol.
fn decoded(text: &str) -> String {
    let mut bytes: Vec<u8> = percent_decode_str(text).collect();
    bytes.retain(|byte| !matches!(byte, b'\n' | b'\r' | 0));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_http_addresses_only() {
        let address = Address::parse("https://me:p%40ss@forge.example/a/b.git");
        assert_eq!(address.plain(), "https://forge.example/a/b.git");
        assert_eq!(address.environment(), [(USER, "me"), (PASSWORD, "p@ss")]);
        assert_eq!(address.argument("origin"), ANONYMOUS);
        for plain in [
            "ssh://git@forge.example/a",
            "git@forge.example:a/b",
            "/srv/a@b:c",
            "origin",
            "https://forge.example/a@b",
        ] {
            let address = Address::parse(plain);
            assert_eq!(address.plain(), plain);
            assert_eq!(address.argument("given"), "given");
            assert!(address.environment().is_empty() && address.settings().is_empty());
        }
    }

    #[test]
    fn no_setting_and_no_message_carries_the_secret() {
        let address = Address::parse("https://me:p%40ss@forge.example/a");
        for (_, value) in address.settings() {
            assert!(!value.contains("p@ss") && !value.contains("p%40ss"), "{value}");
        }
        assert_eq!(
            address.mask("cannot reach 'https://me:p%40ss@forge.example/a': p@ss is wrong for me"),
            "cannot reach 'https://***@forge.example/a': *** is wrong for me"
        );
        let token = Address::parse("https://secret-token@forge.example/a");
        assert_eq!(token.mask("secret-token refused"), "*** refused");
    }

    #[test]
    fn masking_finds_urls_anywhere() {
        assert_eq!(
            masked("from https://a:b@c/d, then http://t@e and ssh://git@f/g"),
            "from https://***@c/d, then http://***@e and ssh://git@f/g"
        );
        assert_eq!(masked("ftp://u:p@h/x ä://"), "ftp://***@h/x ä://");
    }
}
