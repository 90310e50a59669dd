//! Flake references as people type them: which git repository one means, and what of it.
//!
//! levain works on git repositories. A reference that means anything else is refused by name; one
//! that names a file on disk is the caller's to recognise first.

use reqwest::Url;

use super::pull_request_of;

/// A repository, and what to build of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// A URL, or a path, for git.
    pub url: String,
    /// The branch.
    pub branch: Option<String>,
    /// The pull request.
    pub pull_request: Option<u64>,
    /// The commit.
    pub revision: Option<String>,
}

/// Why a reference leads to no repository that levain builds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot build `{reference}`: {message}\nhint: {hint}")]
pub struct ReferenceError {
    /// The reference.
    pub reference: String,
    /// What is wrong with it.
    pub message: String,
    /// What works.
    pub hint: String,
}

/// Schemes of references that lead to no repository.
const NO_REPOSITORY: [(&str, &str); 9] = [
    ("tarball", "an archive"),
    ("tarball+https", "an archive"),
    ("tarball+http", "an archive"),
    ("tarball+file", "an archive"),
    ("file+https", "a file"),
    ("file+http", "a file"),
    ("file+file", "a file"),
    ("hg+https", "a Mercurial repository"),
    ("hg+ssh", "a Mercurial repository"),
];

/// How archives end, which Nix fetches as such.
const ARCHIVES: [&str; 7] = [".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst"];

/// Reads a reference, or a URL as git takes it.
pub fn source(text: &str) -> Result<Source, ReferenceError> {
    // Of a URL, what comes after its path may be a secret.
    let end = if text.contains("://") { text.find(['?', '#']) } else { None };
    let shown = crate::git::masked(text.get(..end.unwrap_or(text.len())).unwrap_or(text));
    let refused = |message: &str, hint: String| ReferenceError {
        reference: shown.clone(),
        message: message.to_owned(),
        hint,
    };
    let as_it_is = || Ok(Source { url: text.to_owned(), ..Source::default() });
    let Some((scheme, rest)) = text.split_once(':') else {
        return unnamed(text, refused).map_or_else(as_it_is, Err);
    };
    // `me@host:path` and `host.example:path` are git's own; `./a:b` is a path.
    if scheme.contains(['@', '.', '/', '?', '#']) {
        return as_it_is();
    }
    if let Some((bare, _)) = text.split_once('#') {
        let message = "jobs are chosen by the flake, not by a fragment";
        return Err(refused(message, format!("`levain run {}`", crate::git::masked(bare))));
    }
    if let Some((_, what)) = NO_REPOSITORY.iter().find(|(known, _)| *known == scheme) {
        let message = format!("it is {what}, and levain builds git repositories");
        return Err(refused(&message, "name the git repository that it was made from".into()));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let found = match scheme {
        "github" | "gitlab" | "sourcehut" => on_forge(scheme, place, query),
        "flake" => {
            let hint = format!("`nix registry list | grep {rest}` shows what it stands for");
            return Err(refused("names of the flake registry are not looked up", hint));
        }
        "path" => with_query(place, query),
        "git+file" => with_query(place.strip_prefix("//").unwrap_or(place), query),
        "git+https" | "git+http" | "git+ssh" | "git+git" => {
            with_query(&format!("{}:{place}", scheme.trim_start_matches("git+")), query)
        }
        "https" | "http" if ARCHIVES.iter().any(|end| place.ends_with(end)) => {
            let message = "it is an archive, and levain builds git repositories";
            return Err(refused(message, "name the git repository that it was made from".into()));
        }
        // A token there would be shown wherever the address is.
        "https" | "http" if rest.contains('?') => {
            let message = "what follows the `?` is no part of a repository's address";
            let hint = format!("a branch: `git+{shown}?ref=BRANCH`; a token: `--token-file FILE`");
            return Err(refused(message, hint));
        }
        _ => return as_it_is(),
    };
    found.map_err(|(message, hint)| refused(&message, hint))
}

/// Refuses what Nix looks up in its registry; returns nothing for what may be a path.
fn unnamed(text: &str, refused: impl Fn(&str, String) -> ReferenceError) -> Option<ReferenceError> {
    let (name, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
    let is_word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let parts: Vec<&str> = name.split('/').collect();
    if !parts.iter().all(|part| is_word(part)) {
        return None;
    }
    let message = "there is no such directory, and names of the flake registry are not looked up";
    match parts.as_slice() {
        [_, _] => Some(refused(message, format!("`levain run github:{name}{rest}`"))),
        [name] => {
            let hint = format!("`nix registry list | grep {name}` shows what it stands for");
            Some(refused(message, hint))
        }
        _ => None,
    }
}

type Refusal = (String, String);

/// `owner/name`, perhaps with a branch or commit behind it, on one of the forges that Nix knows.
fn on_forge(scheme: &str, place: &str, query: &str) -> Result<Source, Refusal> {
    let example = format!("write `{scheme}:OWNER/NAME`");
    let mut parts = place.splitn(3, '/');
    let (Some(owner), Some(name)) = (parts.next(), parts.next()) else {
        return Err(("it has no owner and name".into(), example));
    };
    if owner.is_empty() || name.is_empty() {
        return Err(("it has no owner and name".into(), example));
    }
    let default = match scheme {
        "github" => "github.com",
        "gitlab" => "gitlab.com",
        _ => "git.sr.ht",
    };
    let host = parameters(query)?.into_iter().find(|(key, _)| key == "host");
    let host = host.map_or_else(|| default.to_owned(), |(_, value)| value);
    if host.is_empty() || host.contains(['/', '@', '?', '#']) || host.starts_with("hg.") {
        return Err((format!("`host={host}` is no host of git repositories"), example));
    }
    // Groups of a forge stand in one part of the reference, with their slashes written as %2F.
    let owner = owner.replace("%2F", "/").replace("%2f", "/");
    let suffix = if scheme == "sourcehut" { "" } else { ".git" };
    let mut source = with_query(&format!("https://{host}/{owner}/{name}{suffix}"), query)?;
    if let Some(last) = parts.next().filter(|last| !last.is_empty()) {
        if source.branch.is_some() || source.revision.is_some() || source.pull_request.is_some() {
            return Err(("it names a branch or commit twice".into(), example));
        }
        set_reference(&mut source, last)?;
    }
    Ok(source)
}

fn with_query(url: &str, query: &str) -> Result<Source, Refusal> {
    let mut source = Source { url: url.to_owned(), ..Source::default() };
    for (key, value) in parameters(query)? {
        match key.as_str() {
            "ref" => set_reference(&mut source, &value)?,
            "rev" if is_commit(&value) => source.revision = Some(value),
            "rev" => {
                let hint = "give all 40 digits of the commit".to_owned();
                return Err((format!("`rev={value}` is no commit"), hint));
            }
            "dir" if value.is_empty() || value == "." => {}
            "dir" => {
                return Err((
                    format!(
                        "its flake is in the directory `{value}`, and levain builds the one at the root of a repository"
                    ),
                    "have a `flake.nix` at the root import the other one".into(),
                ));
            }
            // A mirror has all of the history in any case.
            "host" | "shallow" | "allRefs" => {}
            "submodules" | "lfs" if matches!(value.as_str(), "0" | "false") => {}
            _ => {
                return Err((
                    format!("it has the parameter `{key}`, which levain does not follow"),
                    "leave it out; `ref` and `rev` are followed".into(),
                ));
            }
        }
    }
    Ok(source)
}

fn set_reference(source: &mut Source, name: &str) -> Result<(), Refusal> {
    if is_commit(name) {
        source.revision = Some(name.to_owned());
    } else if let Some(number) = pull_request_of(name) {
        source.pull_request = Some(number);
    } else if let Some(branch) = name.strip_prefix("refs/heads/") {
        source.branch = Some(branch.to_owned());
    } else if name.starts_with("refs/") {
        return Err((
            format!("`{name}` is neither a branch nor a pull request"),
            "name a branch with `--branch`".into(),
        ));
    } else if name != "HEAD" {
        source.branch = Some(name.to_owned());
    }
    Ok(())
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Parses `key=value&…`.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let parsed = Url::parse(&format!("x:?{query}"));
    let url =
        parsed.map_err(|error| (format!("`{query}`: {error}"), "write `ref=BRANCH`".into()))?;
    Ok(url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REV: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn references_lead_to_repositories() {
        let plain = |url: &str| Source { url: url.into(), ..Source::default() };
        let branch = |url: &str, branch: &str| Source { branch: Some(branch.into()), ..plain(url) };
        for (text, expected) in [
            ("github:o/r".to_owned(), plain("https://github.com/o/r.git")),
            ("github:o/r/b".into(), branch("https://github.com/o/r.git", "b")),
            ("github:o/r/a/b".into(), branch("https://github.com/o/r.git", "a/b")),
            ("github:o/r?ref=a/b".into(), branch("https://github.com/o/r.git", "a/b")),
            ("github:o/r?ref=a%2Fb&dir=.".into(), branch("https://github.com/o/r.git", "a/b")),
            (
                format!("github:o/r/{REV}"),
                Source { revision: Some(REV.into()), ..plain("https://github.com/o/r.git") },
            ),
            ("github:o/r?host=git.example".into(), plain("https://git.example/o/r.git")),
            ("gitlab:g%2Fs/r".into(), plain("https://gitlab.com/g/s/r.git")),
            ("sourcehut:~u/r".into(), plain("https://git.sr.ht/~u/r")),
            (
                format!("git+https://h/r.git?ref=b&rev={REV}&shallow=1"),
                Source { revision: Some(REV.into()), ..branch("https://h/r.git", "b") },
            ),
            ("git+ssh://git@h/r".into(), plain("ssh://git@h/r")),
            ("git+file:///srv/r?ref=refs/heads/b".into(), branch("/srv/r", "b")),
            (
                "git+https://h/r?ref=refs/pull/7/head".into(),
                Source { pull_request: Some(7), ..plain("https://h/r") },
            ),
            ("path:/srv/r".into(), plain("/srv/r")),
            // What git takes, it gets.
            ("https://h/r.git".into(), plain("https://h/r.git")),
            ("ssh://git@h:22/r".into(), plain("ssh://git@h:22/r")),
            ("git@h:o/r".into(), plain("git@h:o/r")),
            ("h.example:o/r".into(), plain("h.example:o/r")),
            ("work:o/r".into(), plain("work:o/r")),
            ("./a/b".into(), plain("./a/b")),
            ("/a/b".into(), plain("/a/b")),
            ("a/b/c".into(), plain("a/b/c")),
        ] {
            assert_eq!(source(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_references_are_refused_by_name() {
        for (text, message, hint) in [
            ("nixpkgs", "flake registry", "nix registry list | grep nixpkgs"),
            ("flake:nixpkgs", "flake registry", "nix registry list"),
            ("o/r", "flake registry", "levain run github:o/r"),
            ("o/r?ref=b&dir=x", "flake registry", "levain run github:o/r?ref=b&dir=x"),
            ("github:o", "no owner and name", "github:OWNER/NAME"),
            ("github:/r", "no owner and name", "github:OWNER/NAME"),
            ("github:o/r/b?ref=c", "twice", "github:OWNER/NAME"),
            ("github:o/r?dir=sub", "directory `sub`", "at the root"),
            ("github:o/r?rev=12", "`rev=12` is no commit", "40 digits"),
            ("github:o/r?host=a/b", "no host", "github:OWNER/NAME"),
            ("github:o/r?narHash=x", "the parameter `narHash`", "leave it out"),
            ("github:o/r?submodules=1", "the parameter `submodules`", "leave it out"),
            ("sourcehut:~u/r?host=hg.sr.ht", "no host of git", "sourcehut:OWNER/NAME"),
            ("github:o/r#hello", "fragment", "`levain run github:o/r`"),
            ("git+https://h/r?ref=refs/tags/v1", "neither a branch", "--branch"),
            ("https://h/r.tar.gz", "an archive", "git repository"),
            ("tarball+https://h/r", "an archive", "git repository"),
            ("hg+https://h/r", "Mercurial", "git repository"),
        ] {
            let error = source(text).expect_err(text).to_string();
            assert!(error.contains(message) && error.contains(hint), "{text}: {error}");
        }
        for text in
            ["https://me:secret@h/r.zip", "https://h/r?token=secret", "http://u:secret@h/r#x"]
        {
            let error = source(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
