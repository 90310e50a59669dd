//! `docs/declaration.md` lists every key of the declaration, with the default that the code has.

use std::collections::BTreeMap;

use levain_engine::declaration::{Declaration, Incremental, ShadowSettings};
use serde_json::json;

use crate::{none, root};

/// Asks the declaration itself which keys it knows in a section: a wrong one makes it list them.
/// Returns nothing if there is no section of that path.
fn section(path: &[String]) -> Option<Vec<String>> {
    let wrong = path.iter().rev().fold(json!({ "?": 0 }), |value, key| json!({ key: value }));
    let error = Declaration::from_json(wrong).unwrap_err();
    let expected = error.message.strip_prefix("unknown field `?`, expected ")?;
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Returns the paths of all keys that are no sections.
fn keys() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        match section(&path) {
            None => found.push(path),
            Some(keys) => {
                open.extend(keys.into_iter().map(|key| [path.as_slice(), &[key]].concat()));
            }
        }
    }
    assert!(found.len() > 30, "{found:?}");
    found
}

/// Returns the second column of each row, in tables with three, whose first is a key in backticks.
fn documented() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("docs/declaration.md")).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            // An option of the command line is no key.
            if line.starts_with("| `--") {
                return None;
            }
            let key = cells.next()?.trim_end_matches('`').to_owned();
            let default = cells.next()?.trim().to_owned();
            cells.next().map(|_meaning| (key, default))
        })
        .collect()
}

#[test]
fn every_key_is_documented() {
    let known: Vec<String> = keys().iter().map(|path| path.join(".")).collect();
    let documented = documented();
    let missing = known.iter().filter(|key| !documented.contains_key(*key));
    let unknown = documented.keys().filter(|key| !known.contains(key));
    let wrong: Vec<String> = missing
        .map(|key| format!("`{key}` is missing"))
        .chain(unknown.map(|key| format!("`{key}` is not a key")))
        .collect();
    none("docs/declaration.md lists every key", &wrong);
}

/// Returns a number as the documentation writes it, `null` for none.
fn optional(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}

#[test]
fn documented_defaults_are_the_codes() {
    let Declaration {
        incremental,
        files,
        shadow,
        evaluation,
        build,
        forge,
        status: _,
        logs,
        systems,
        outputs,
    } = Declaration::default();
    let Incremental {
        enable,
        default_branch,
        pull_requests,
        branches,
        depth_limit,
        max_age_days,
        cache_output,
        trusted_keys,
        retry_clean,
        audit,
    } = incremental;
    let ShadowSettings { reference, message, push } = shadow;
    assert!(forge.is_none());
    let documented = documented();
    let branches: Vec<String> = branches.iter().map(|name| format!("\"{name}\"")).collect();
    let mut wrong = Vec::new();
    for (key, default) in [
        ("incremental.enable", enable.to_string()),
        ("incremental.defaultBranch", default_branch.to_string()),
        ("incremental.pullRequests", pull_requests.to_string()),
        ("incremental.branches", format!("[ {} ]", branches.join(" "))),
        ("incremental.depthLimit", depth_limit.to_string()),
        ("incremental.maxAgeDays", max_age_days.to_string()),
        ("incremental.cacheOutput", format!("\"{cache_output}\"")),
        (
            "incremental.trustedKeys",
            if trusted_keys.is_empty() { "[ ]".into() } else { format!("{trusted_keys:?}") },
        ),
        ("incremental.retryClean", retry_clean.to_string()),
        ("incremental.audit.every", audit.every.to_string()),
        ("files.pointer", format!("\"{}\"", files.pointer)),
        ("files.commit", format!("\"{}\"", files.commit)),
        ("shadow.ref", format!("\"{reference}\"")),
        ("shadow.message", format!("{message:?}")),
        ("shadow.push", push.to_string()),
        (
            "evaluation.allowImportFromDerivation",
            evaluation.allow_import_from_derivation.to_string(),
        ),
        ("evaluation.timeout", optional(evaluation.timeout)),
        ("evaluation.memory", optional(evaluation.memory)),
        ("evaluation.maxJobs", optional(evaluation.max_jobs)),
        ("build.timeout", optional(build.timeout)),
        ("build.silence", optional(build.silence)),
        ("systems", format!("[ {}]", systems.join(" "))),
        ("outputs.keep", outputs.keep.to_string()),
        ("outputs.keepDays", outputs.keep_days.to_string()),
        ("logs.lineBytes", logs.line_bytes.to_string()),
        ("logs.logBytes", logs.log_bytes.to_string()),
        ("logs.totalBytes", logs.total_bytes.to_string()),
    ] {
        let expected = format!("`{default}`");
        match documented.get(key) {
            Some(found) if *found == expected => {}
            found => wrong.push(format!("{key}: expected {expected}, found {found:?}")),
        }
    }
    none("docs/declaration.md tells the defaults of the code", &wrong);
}

#[test]
fn the_library_checks_the_same_keys() {
    let library = std::fs::read_to_string(root().join("lib/mkProject.nix")).unwrap();
    let mut missing = Vec::new();
    for path in keys() {
        for key in &path {
            let named = [format!("{key} ="), format!("\"{key}\""), format!("types.{key}")];
            let grouped = library.split('"').any(|text| text.split(' ').any(|word| word == key));
            if !grouped && !named.iter().any(|text| library.contains(text)) {
                missing.push(path.join("."));
            }
        }
    }
    none("lib/mkProject.nix knows every key", &missing);
}
