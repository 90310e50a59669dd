//! The command with which anybody repeats a build, with plain Nix.

use levain_evaluator::AttrPath;
use levain_evaluator::names::Named;

use super::kept_report::{Job, KeptReport};
use crate::runs::Run;

/// Returns the command that builds a job as levain did: of the shadow commit if a cache was among its inputs, else of
/// the author's. Nothing if the report does not say where its jobs are.
pub fn command(url: &str, run: &Run, report: &KeptReport, job: &Job) -> Option<String> {
    let output = report.evaluations.first()?.output.as_deref()?;
    let fragment = fragment(output, &job.attr_path)?;
    let shadow = report.shadow.as_ref().filter(|shadow| !job.caches.is_empty() && shadow.pushed);
    let (reference, commit) =
        match shadow.and_then(|shadow| Some((shadow, shadow.evaluated.as_ref()?))) {
            Some((shadow, commit)) => (shadow.reference.clone(), commit.clone()),
            None if !job.caches.is_empty() => return None,
            None => {
                let reference = match run.jobset.named() {
                    Named::Branch(name) => format!("refs/heads/{name}"),
                    // Where its ref is depends on the forge; the commit is enough.
                    Named::PullRequest(_) => String::new(),
                };
                (reference, run.commit.to_string())
            }
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
            state: RunState::Failed,
            created_at: Timestamp::from_millis(0),
            attempts: 1,
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
