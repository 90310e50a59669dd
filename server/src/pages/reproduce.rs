//! The command with which anybody repeats a build, with plain Nix.

use levain_evaluator::AttrPath;
use levain_evaluator::names::Named;

use super::kept_report::{Job, KeptReport, Merge};
use crate::runs::Run;

/// Returns the command that builds a job as levain did: of the shadow commit if a cache was among its inputs, else of
/// the author's, or of its merge with its base. Nothing if the report does not say where its jobs are.
pub fn command(url: &str, run: &Run, report: &KeptReport, job: &Job) -> Option<String> {
    let output = report.evaluations.first()?.output.as_deref()?;
    let fragment = fragment(output, &job.attr_path)?;
    let shadow = report.shadow.as_ref().filter(|shadow| !job.caches.is_empty() && shadow.pushed);
    let (reference, commit) =
        match shadow.and_then(|shadow| Some((shadow, shadow.evaluated.as_ref()?))) {
            Some((shadow, commit)) => (shadow.reference.clone(), commit.clone()),
            None if !job.caches.is_empty() => return None,
            None => match where_built(run, report) {
                Built::At { reference, commit } => (reference, commit),
                Built::Nowhere(merge) => return Some(merging(url, run, merge, &fragment)),
            },
        };
    let repository = flake(url);
    let reference = match reference.as_str() {
        "" => "allRefs=1".to_owned(),
        reference => format!("ref={}", query(reference)),
    };
    let separator = if repository.contains('?') { '&' } else { '?' };
    let flake = format!("{repository}{separator}{reference}&rev={commit}#{fragment}");
    Some(format!("nix build {}", quoted(&flake)))
}

/// Where others find what a run built without caches.
enum Built<'a> {
    /// At this ref, if that is known, and commit.
    At { reference: String, commit: String },
    /// Only here: they have to merge it themselves.
    Nowhere(&'a Merge),
}

fn where_built<'a>(run: &Run, report: &'a KeptReport) -> Built<'a> {
    let own = run.commit.to_string();
    let merge = report.merge.as_ref().filter(|merge| merge.commit != own);
    // The shadow commit that a run wrote has what was merged among its parents.
    let shadow = report.shadow.as_ref().filter(|it| it.pushed && it.evaluated.is_some());
    let branch = |name: &str| format!("refs/heads/{name}");
    match (merge, shadow) {
        (Some(merge), _) if merge.commit == merge.base_commit => {
            Built::At { reference: branch(&merge.base), commit: merge.commit.clone() }
        }
        (Some(merge), Some(shadow)) => {
            Built::At { reference: shadow.reference.clone(), commit: merge.commit.clone() }
        }
        (Some(merge), None) => Built::Nowhere(merge),
        (None, _) => {
            let reference = match run.jobset.named() {
                Named::Branch(name) => branch(name),
                Named::Tag(name) => format!("refs/tags/{name}"),
                // Where its ref is depends on the forge; the commit is enough.
                Named::PullRequest(_) => String::new(),
            };
            Built::At { reference, commit: own }
        }
    }
}

/// Returns the commands that merge a pull request in a clone, and build a job of that.
fn merging(url: &str, run: &Run, merge: &Merge, fragment: &str) -> String {
    let (url, base) = (quoted(&levain_actions::git::masked(url)), quoted(&merge.base_commit));
    let (head, job) = (run.commit, quoted(&format!(".#{fragment}")));
    format!(
        "git fetch {url} {base} {head} && git switch --detach {base} && git merge {head} && nix build {job}"
    )
}

/// Returns where a job is in its flake.
fn fragment(output: &str, name: &str) -> Option<String> {
    let path: AttrPath = name.parse().ok()?;
    let first = path.names().first()?.as_str();
    let below = match (output, first) {
        ("levainJobs" | "hydraJobs", _) => return Some(format!("{output}.{name}")),
        (_, "nixosConfigurations") => ".config.system.build.toplevel",
        (_, "darwinConfigurations") => ".system",
        (_, "homeConfigurations") => ".activationPackage",
        _ => "",
    };
    Some(format!("{name}{below}"))
}

/// Returns the flake reference of a repository, without a password.
fn flake(url: &str) -> String {
    let url = levain_actions::git::masked(url);
    if url.starts_with('/') {
        return format!(
            "git+file://{}",
            url.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
        );
    }
    match url.split_once("://") {
        Some(_) => format!("git+{url}"),
        // As in `git@host:path`.
        None => match url.split_once(':') {
            Some((host, path)) => format!("git+ssh://{host}/{}", path.trim_start_matches('/')),
            None => format!("git+file://{url}"),
        },
    }
}

/// Encodes a ref for a query.
fn query(text: &str) -> String {
    let parts: Vec<String> = text.split('/').map(super::links::segment).collect();
    parts.join("/")
}

/// Returns a text as one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::projects::ProjectId;
    use crate::runs::RunId;
    use crate::runs::state::RunState;

    fn run(jobset: &str) -> Run {
        Run {
            id: RunId::from_number(1),
            project: ProjectId(1),
            jobset: jobset.parse().unwrap(),
            commit: "a".repeat(40).parse().unwrap(),
            author: None,
            trust: crate::approve::Trust::Branch,
            base: None,
            base_commit: None,
            state: RunState::Failed,
            is_scheduled: false,
            created_at: Timestamp::from_millis(0),
            attempts: 1,
            put_off: 0,
            put_off_until: None,
            started_at: None,
            ended_at: None,
            summary: None,
        }
    }

    fn said(
        url: &str,
        jobset: &str,
        output: &str,
        name: &str,
        caches: &str,
        pushed: bool,
    ) -> Option<String> {
        let report = KeptReport::read(&format!(
            r#"{{"evaluations": [{{"output": "{output}"}}],
                "shadow": {{"ref": "refs/levain/heads/main", "evaluated": "bbb", "pushed": {pushed}}},
                "jobs": [{{"attrPath": "x", "caches": {caches}}}]}}"#
        ))
        .unwrap();
        let job = Job { attr_path: name.to_owned(), ..report.jobs[0].clone() };
        command(url, &run(jobset), &report, &job)
    }

    #[test]
    fn a_clean_build_is_of_the_authors_commit() {
        let commit = "a".repeat(40);
        assert_eq!(
            said(
                "https://example.org/o/r",
                "heads/a#b",
                "levainJobs",
                "x86_64-linux.app",
                "[]",
                true
            )
            .unwrap(),
            format!(
                "nix build 'git+https://example.org/o/r?ref=refs/heads/a%23b&rev={commit}#levainJobs.x86_64-linux.app'"
            )
        );
        assert_eq!(
            said(
                "git@example.org:o/r",
                "pull/3",
                "declared",
                "nixosConfigurations.box",
                "[]",
                true
            )
            .unwrap(),
            format!(
                "nix build 'git+ssh://git@example.org/o/r?allRefs=1&rev={commit}#nixosConfigurations.box.config.system.build.toplevel'"
            )
        );
        assert_eq!(
            said("/srv/it's", "heads/m", "checksAndPackages", "checks.x86_64-linux.a", "[]", true)
                .unwrap(),
            format!(
                "nix build 'git+file:///srv/it'\\''s?ref=refs/heads/m&rev={commit}#checks.x86_64-linux.a'"
            )
        );
    }

    #[test]
    fn a_merge_is_where_others_find_it_or_has_to_be_made() {
        let (head, base, made) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let said = |built: &str, pushed: bool| {
            let report = KeptReport::read(&format!(
                r#"{{"evaluations": [{{"output": "levainJobs"}}],
                    "merge": {{"base": "next", "baseCommit": "{base}", "commit": "{built}"}},
                    "shadow": {{"ref": "refs/levain/pull/3", "evaluated": "ddd", "pushed": {pushed}}},
                    "jobs": [{{"attrPath": "app"}}]}}"#
            ))
            .unwrap();
            command("https://h/r", &run("pull/3"), &report, &report.jobs[0]).unwrap()
        };
        let flake = |place: &str, commit: &str| {
            format!("nix build 'git+https://h/r?{place}&rev={commit}#levainJobs.app'")
        };
        assert_eq!(said(&head, true), flake("allRefs=1", &head));
        assert_eq!(said(&base, true), flake("ref=refs/heads/next", &base));
        assert_eq!(said(&made, true), flake("ref=refs/levain/pull/3", &made));
        assert_eq!(
            said(&made, false),
            format!(
                "git fetch 'https://h/r' '{base}' {head} && git switch --detach '{base}' && git merge {head} && nix build '.#levainJobs.app'"
            )
        );
    }

    #[test]
    fn an_incremental_build_is_of_the_shadow_commit_if_others_have_it() {
        let said =
            |pushed| said("https://example.org/r", "heads/main", "levainJobs", "a", "[{}]", pushed);
        assert_eq!(
            said(true).unwrap(),
            "nix build 'git+https://example.org/r?ref=refs/levain/heads/main&rev=bbb#levainJobs.a'"
        );
        assert_eq!(said(false), None);
    }
}
