//! What is read from declarations and remotes. The requests are tested where they are sent, in
//! `status/tests.rs`.

use super::*;

fn config(kind: ForgeKind, api_url: Option<&str>, repository: &str) -> ForgeConfig {
    ForgeConfig {
        kind,
        api_url: api_url.map(str::to_owned),
        repository: repository.to_owned(),
        context_prefix: ForgeConfig::default_context_prefix(),
        ca_file: None,
        limits: None,
    }
}

#[test]
fn kinds_are_named_in_lower_case() {
    for kind in ForgeKind::ALL {
        assert_eq!(kind.name().parse::<ForgeKind>().unwrap(), kind);
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        assert_eq!(serde_json::from_value::<ForgeKind>(kind.name().into()).unwrap(), kind);
    }
    let error = "GitHub".parse::<ForgeKind>().unwrap_err().to_string();
    assert!(
        error.starts_with(
            "unknown forge `GitHub`, expected one of `github`, `gitlab`, `gitea`, `forgejo`"
        ),
        "{error}"
    );
}

#[test]
fn remotes_tell_interface_and_repository() {
    use ForgeKind::{Forgejo, GitHub, GitLab, Gitea};
    for (kind, url, api_url, repository) in [
        (GitHub, "https://github.com/o/r.git", "https://api.github.com", "o/r"),
        (GitHub, "https://github.com/o/r/", "https://api.github.com", "o/r"),
        (GitHub, "git@github.com:o/r.git", "https://api.github.com", "o/r"),
        (GitHub, "github.com:o/r", "https://api.github.com", "o/r"),
        (GitHub, "ssh://git@ssh.github.com:443/o/r.git", "https://api.github.com", "o/r"),
        (GitHub, "https://x:s3cret@GitHub.com/o/r", "https://api.github.com", "o/r"),
        (GitHub, "git@ghe.example.org:o/r.js", "https://ghe.example.org/api/v3", "o/r.js"),
        (GitLab, "https://gitlab.com/g/s/n.git", "https://gitlab.com/api/v4", "g/s/n"),
        (GitLab, "git@gitlab.com:g/n", "https://gitlab.com/api/v4", "g/n"),
        (Gitea, "http://127.0.0.1:3000/o/r.git", "http://127.0.0.1:3000/api/v1", "o/r"),
        (Gitea, "ssh://git@git.example.org:2222/o/r.git", "https://git.example.org/api/v1", "o/r"),
        (Forgejo, "git+https://codeberg.org/o/r", "https://codeberg.org/api/v1", "o/r"),
        (Forgejo, "https://git.example.org:8443/o/r", "https://git.example.org:8443/api/v1", "o/r"),
        (Forgejo, "http://[::1]:3000/o/r", "http://[::1]:3000/api/v1", "o/r"),
    ] {
        let found = repository_from_remote(kind, url).unwrap_or_else(|| panic!("{url}"));
        assert_eq!((found.api_url.as_str(), found.repository.as_str()), (api_url, repository));
        ForgeConfig::from_remote(kind, url).unwrap().validate().unwrap();
    }
}

#[test]
fn other_remotes_tell_nothing() {
    for url in [
        "",
        "/srv/git/o/r.git",
        "../o/r",
        "./a:b/c",
        "file:///srv/git/o/r.git",
        "github:o/r",
        "https://github.com/",
        "https://github.com/o",
        "https://github.com/a/b/c",
        "https://github.com/o/..",
        "git@github.com:o/r name",
        "git@:o/r",
        "git@a b:o/r",
    ] {
        assert_eq!(repository_from_remote(ForgeKind::GitHub, url), None, "{url}");
    }
    assert_eq!(ForgeKind::of_remote("git@codeberg.org:o/r"), Some(ForgeKind::Forgejo));
    assert_eq!(ForgeKind::of_remote("https://github.com/o/r"), Some(ForgeKind::GitHub));
    assert_eq!(ForgeKind::of_remote("https://notgithub.com/o/r"), None);
}

#[test]
fn the_interface_is_completed_and_checked() {
    let base = |kind, url| config(kind, url, "o/r").endpoint().map(|found| found.base.to_string());
    let good = [
        (ForgeKind::GitHub, None, "https://api.github.com/"),
        (
            ForgeKind::GitHub,
            Some("https://ghe.example.org/api/v3/"),
            "https://ghe.example.org/api/v3",
        ),
        (ForgeKind::GitLab, Some("https://x.org"), "https://x.org/api/v4"),
        (ForgeKind::GitLab, Some("https://x.org/git/api/v4/"), "https://x.org/git/api/v4"),
        (ForgeKind::Gitea, Some("http://x.org:3000/"), "http://x.org:3000/api/v1"),
        (ForgeKind::Forgejo, Some("https://x.org/api/v1"), "https://x.org/api/v1"),
    ];
    for (kind, url, expected) in good {
        assert_eq!(base(kind, url).unwrap(), expected);
    }
    for (kind, url, expected) in [
        (ForgeKind::GitLab, None, "forge `gitlab` needs its `apiUrl`"),
        (ForgeKind::Forgejo, None, "forge `forgejo` needs its `apiUrl`"),
        (ForgeKind::GitHub, Some("https://github.com"), "is the web site, not the interface"),
        (ForgeKind::GitHub, Some("api.github.com"), "is not a URL"),
        (ForgeKind::Gitea, Some("ssh://x.org"), "is neither http nor https"),
        (ForgeKind::Gitea, Some("https://u:s3cret@x.org"), "holds a user or password"),
        (ForgeKind::Gitea, Some("https://x.org/?token=1"), "has a query or a fragment"),
    ] {
        let error = base(kind, url).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_password_in_a_remote_is_not_shown() {
    for url in ["https://u:s3cret@x.org/", "s3cret@x.org:o", "https://s3cret@x.org?o"] {
        let error = ForgeConfig::from_remote(ForgeKind::Gitea, url).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("x.org") && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn repositories_are_checked() {
    let valid = |kind, name| config(kind, Some("https://x.org"), name).validate().is_ok();
    for name in ["o/r", "O-o/r_r.x"] {
        assert!(ForgeKind::ALL.into_iter().all(|kind| valid(kind, name)), "{name}");
    }
    for name in
        ["", "o", "o/", "/r", "o/r?x", "o/r#x", "o/..", "o r/x", "o%2Fr/x", "https://x.org/o/r"]
    {
        assert!(!ForgeKind::ALL.into_iter().any(|kind| valid(kind, name)), "{name}");
    }
    assert!(valid(ForgeKind::GitLab, "g/s/n") && valid(ForgeKind::GitLab, "42"));
    assert!(!valid(ForgeKind::GitHub, "g/s/n") && !valid(ForgeKind::Gitea, "42"));
}

#[test]
fn a_declaration_is_strict() {
    let read = |text: &str| serde_json::from_str::<ForgeConfig>(text);
    let found = read(r#"{ "kind": "gitea", "apiUrl": "https://x.org", "repository": "o/r" }"#);
    assert_eq!(found.unwrap(), config(ForgeKind::Gitea, Some("https://x.org"), "o/r"));
    let error = read(r#"{ "kind": "gitea", "repository": "o/r", "url": "x" }"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `url`"), "{error}");
    let error = read(r#"{ "kind": "hub", "repository": "o/r" }"#).unwrap_err();
    assert!(error.to_string().contains("unknown variant `hub`"), "{error}");
}

#[test]
fn pull_requests_have_refs() {
    let refs = |kind| pull_request_refs(kind, 7);
    assert_eq!(refs(Some(ForgeKind::GitHub)), ["refs/pull/7/head"]);
    assert_eq!(refs(Some(ForgeKind::Forgejo)), ["refs/pull/7/head"]);
    assert_eq!(refs(Some(ForgeKind::GitLab)), ["refs/merge-requests/7/head"]);
    assert_eq!(refs(None), ["refs/pull/7/head", "refs/merge-requests/7/head"]);
}
