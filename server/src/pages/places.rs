//! Places of this machine in what is shown to those who may read a project: they say who runs the server, and where.
//!
//! The log of the server and the command line have them. Paths in the store are the same everywhere, and stay; so does what
//! a build printed, whose paths are those of its sandbox.

use levain_actions::git::masked;
use levain_engine::local_paths::without_paths;
use levain_store::StorePath;
use serde_json::Value;

use super::kept_report::KeptReport;
use super::links;

/// Returns a text without places of this machine.
pub fn text(text: &str) -> String {
    without_paths(text)
}

/// Returns such a text, if there is one.
pub fn some(kept: Option<&String>) -> Option<String> {
    kept.map(|kept| text(kept))
}

/// Returns a locked flake reference as it is at the project's address, in place of the mirror that was evaluated.
pub fn flake(flake: &str, address: &str) -> String {
    let (place, query) = match flake.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (flake, String::new()),
    };
    let is_here = place.starts_with('/')
        || ["git+file:", "path:", "file:"].iter().any(|scheme| place.starts_with(scheme));
    if !is_here {
        return flake.to_owned();
    }
    let address = masked(address);
    // A project may itself be a directory, by which everybody knows it.
    let scheme = if address.starts_with('/') { "git+file://" } else { "git+" };
    let scheme = if address.starts_with("git+") { "" } else { scheme };
    format!("{scheme}{address}{query}")
}

impl KeptReport {
    /// Returns the report for those who may read the project at `address`. Where logs are, it still says: that is not shown.
    #[must_use]
    pub fn without_places(mut self, address: &str) -> Self {
        let clean = |kept: &mut String| *kept = text(kept);
        for evaluation in &mut self.evaluations {
            evaluation.flake = flake(&evaluation.flake, address);
        }
        for job in &mut self.jobs {
            for kept in [&mut job.reason, &mut job.reason_detail, &mut job.skipped, &mut job.error]
            {
                kept.iter_mut().for_each(clean);
            }
            job.failed_dependencies.iter_mut().for_each(|failed| clean(&mut failed.error));
        }
        for lie in &mut self.lies {
            clean(&mut lie.detail);
            lie.not_dropped.iter_mut().for_each(clean);
        }
        self.undelivered.iter_mut().for_each(|undelivered| clean(&mut undelivered.error));
        self.withheld.iter_mut().for_each(clean);
        self
    }
}

/// Takes the places out of a whole report of a run, which may have been written by another levain.
pub fn of_report(report: &mut Value, run: i64, address: &str) {
    if let Some(jobs) = report.get_mut("jobs").and_then(Value::as_array_mut) {
        for job in jobs {
            let name = job.get("attrPath").and_then(Value::as_str).map(str::to_owned);
            if let (Some(name), Some(log)) = (name, job.get_mut("log"))
                && log.is_string()
            {
                // Where it can be read.
                *log = links::log(run, &name).into();
            }
        }
    }
    walk(report, "", address);
}

fn walk(value: &mut Value, key: &str, address: &str) {
    match (value, key) {
        (_, "lastLines" | "log" | "cacheSets") => {}
        (Value::String(kept), "flake" | "repository") => *kept = flake(kept, address),
        (Value::String(kept), _) if is_in_a_store(kept) => {}
        (Value::String(kept), _) => *kept = text(kept),
        (Value::Array(items), key) => items.iter_mut().for_each(|item| walk(item, key, address)),
        (Value::Object(fields), _) => {
            fields.iter_mut().for_each(|(key, field)| walk(field, key, address));
        }
        (Value::Null | Value::Bool(_) | Value::Number(_), _) => {}
    }
}

/// Whether a text is a path in a store, wherever the store is: an output is found by nothing else.
fn is_in_a_store(text: &str) -> bool {
    let is_path = text.starts_with('/') && !text.contains(char::is_whitespace);
    is_path && text.split('/').any(|part| part.parse::<StorePath>().is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mirror_is_shown_as_what_it_mirrors() {
        let mirror = "git+file:///var/lib/levain/mirrors/a.git?ref=refs/x&rev=12";
        for (found, address, expected) in [
            (
                mirror,
                "https://ann:s3cret@git.example.org/o/r",
                "git+https://***@git.example.org/o/r",
            ),
            (mirror, "git@git.example.org:o/r", "git+git@git.example.org:o/r"),
            (mirror, "/srv/git/r.git", "git+file:///srv/git/r.git"),
            ("/var/lib/levain?ref=refs/x&rev=12", "https://h/o/r", "git+https://h/o/r"),
        ] {
            let shown = flake(found, address);
            assert!(!shown.contains("levain") && !shown.contains("s3cret"), "{shown}");
            let (place, query) = shown.split_once('?').unwrap();
            assert!(place.ends_with(expected.trim_start_matches("git+")), "{shown}");
            assert_eq!(query, "ref=refs/x&rev=12");
        }
        let elsewhere = "github:o/r/12?narHash=x";
        assert_eq!(flake(elsewhere, "https://h/o/r"), elsewhere);
    }

    #[test]
    fn a_report_has_no_place_of_the_machine_and_keeps_what_is_the_same_everywhere() {
        let report = json!({
            "repository": "/var/lib/levain/mirrors/a.git",
            "evaluations": [{ "flake": "git+file:///var/lib/levain/mirrors/a.git?rev=12" }],
            "jobs": [{
                "attrPath": "x.y",
                "log": "/var/lib/levain/mirrors/a.git/levain/logs/b.log",
                "error": "cannot open /var/lib/levain/x",
                "builtDrvPath": "/nix/store/prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv",
                "lastLines": ["/build/source/x.c:3: error"],
            }],
            "undelivered": [{ "error": "cannot push '/var/lib/levain'" }],
            "withheld": ["a ref at /var/lib/levain"],
        });
        let mut shown = report.clone();
        of_report(&mut shown, 7, "https://h/o/r");
        let text = shown.to_string();
        assert!(!text.contains("/var/"), "{text}");
        assert_eq!(shown["jobs"][0]["log"], "/runs/7/jobs/x.y/log");
        for kept in ["builtDrvPath", "lastLines", "attrPath"] {
            assert_eq!(shown["jobs"][0][kept], report["jobs"][0][kept], "{kept}");
        }
        let read = KeptReport::read(&report.to_string()).unwrap().without_places("https://h/o/r");
        assert_eq!(read.evaluations[0].flake, "git+https://h/o/r?rev=12");
        assert_eq!(read.jobs[0].error.as_deref(), Some("cannot open …"));
        assert_eq!(read.undelivered[0].error, "cannot push '…'");
    }
}
