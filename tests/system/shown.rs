//! What others wrote, and what nobody may see: control characters and secrets, in everything that levain shows, sends
//! and hands on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::environment::{Environment, Ran, Repository};
use crate::jobs::simple;
use crate::shadow::EVERYWHERE;
use crate::status::{Forge, SECRET};

/// Returns the characters of a text that would act on a terminal.
fn hidden(text: &str) -> Vec<char> {
    let acts = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(acts).collect()
}

#[track_caller]
fn assert_visible(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(hidden(text).is_empty(), "{:?} in {text:?}", hidden(text));
    }
}

/// A title, an empty screen, the same in C1, text from right to left, and a line of levain's own.
const EVIL: &str = r"\u001b]0;TITLE\u0007\u001b[2J\u009b31m\u202e\u200bb\nx: fresh";

fn evil<'a>(environment: &'a Environment, declaration: &str) -> Repository<'a> {
    let repository = environment.repository("project");
    let outputs = format!(
        "levainProject = {{ {declaration} }};
         levainJobs = let esc = builtins.fromJSON ''\"{EVIL}\"''; shell = script: derivation {{
           name = \"shell\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" script ];
         }}; in {{
           ${{esc}} = job \"a\";
           log = shell \"printf '\\\\033]0;T\\\\007\\\\nlevain-cache: restored \\\\033[2Jfine\\\\n50%%\\\\r\\\\377\\\\n'; exit 1\";
           thrown = throw esc;
         }};"
    );
    repository.write("flake.nix", &simple(&outputs));
    repository.commit("evil");
    repository.git(&["branch", "b\u{9b}2J\u{202e}"]);
    repository
}

#[test]
fn jobs_that_differ_in_colours_only_are_shown_by_different_names() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    let outputs = r#"levainJobs = let esc = builtins.fromJSON ''"\u001b"''; in {
        "a b" = job "a"; "a${esc}[m b" = job "b"; "a${esc}[1m b" = job "c"; };"#;
    repository.write("flake.nix", &simple(outputs));
    repository.commit("colours");
    let ran = repository.levain(&["run"]).ok();
    for name in ["a b", "a\\u{1b}[m b", "a\\u{1b}[1m b"] {
        let starts = |line: &&str| line.trim_start_matches('"').starts_with(name);
        assert_eq!(ran.stdout.lines().filter(starts).count(), 1, "{name}: {ran:?}");
        assert_eq!(ran.stderr.lines().filter(starts).count(), 1, "{name}: {ran:?}");
    }
}

#[test]
fn nothing_that_others_wrote_acts_on_the_terminal() {
    let forge = Forge::new();
    let environment = Environment::new().with("LEVAIN_TOKEN", SECRET);
    let declared = format!("{};", forge.declared("github", "octo/bread"));
    let repository = evil(&environment, &declared);
    for args in [
        &["run", "-vv"][..],
        &["run", "--format", "json"],
        &["run", "--branch", "b\u{9b}2J\u{202e}"],
        &["run", "--branch", "no\u{1b}[2J\u{202e}"],
        &["run", "--\u{1b}[2J\u{202e}"],
        &["why", "log"],
        &["why", "\u{1b}[2J\u{202e}"],
        &["cache", "list"],
        &["audit"],
    ] {
        let ran = repository.levain(args);
        assert!(!ran.stdout.is_empty() || !ran.stderr.is_empty(), "{args:?}");
        assert_visible(&ran);
    }
    let ran = repository.levain(&["run"]);
    assert!(!ran.stdout.lines().any(|line| line.starts_with("x: fresh")), "{}", ran.stdout);
    for request in forge.requests() {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        for text in body.as_object().unwrap().values().filter_map(serde_json::Value::as_str) {
            assert!(hidden(text).is_empty(), "{:?} in {text:?}", hidden(text));
        }
    }
}

#[test]
fn a_document_says_the_same_with_visible_characters() {
    let environment = Environment::new();
    let repository = evil(&environment, "");
    let report = repository.levain(&["run", "--format", "json"]).json();
    let name: String = serde_json::from_str(&format!("\"{EVIL}\"")).unwrap();
    let jobs = report["jobs"].as_array().unwrap();
    let names: Vec<&str> = jobs.iter().map(|job| job["attrPath"].as_str().unwrap()).collect();
    assert!(names.iter().any(|found| found.contains(name.lines().next().unwrap())), "{names:?}");
}

#[test]
fn nothing_that_levain_starts_gets_the_token() {
    let forge = Forge::new();
    let environment = Environment::new();
    let repository = environment.project("project", &["app"], EVERYWHERE);
    let flake = fs::read_to_string(repository.path.join("flake.nix")).unwrap();
    let declared = forge.declared("github", "octo/bread");
    repository
        .write("flake.nix", &flake.replace("incremental =", &format!("{declared}; incremental =")));
    let seen = environment.path("seen");
    let spy = format!("env >> {}\n", seen.display());
    let builder = fs::read_to_string(repository.path.join("builder.sh")).unwrap();
    repository.write("builder.sh", &builder.replace("\nmkdir", &format!("\n{spy}mkdir")));
    repository.commit("first");
    let remote = environment.remote_of(&repository, "remote.git");
    let hooks = remote.path.join("hooks");
    fs::create_dir_all(&hooks).unwrap();
    let hook = hooks.join("pre-receive");
    fs::write(&hook, format!("#!/bin/sh\n{spy}exit 0\n")).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = environment
        .levain_command(&repository.path, &["run", "--format", "json"])
        .env("LEVAIN_TOKEN", SECRET)
        .output();
    let report = Ran::from(ran.unwrap()).ok().json();
    assert_eq!(report["shadow"]["pushed"], true, "{report:#}");
    assert!(!forge.requests().is_empty());
    let seen = String::from_utf8_lossy(&fs::read(seen).unwrap()).into_owned();
    assert!(seen.contains("GIT_"), "the hook saw nothing");
    assert!(!seen.contains(SECRET), "the token was seen");
}

#[test]
fn a_token_that_a_build_prints_is_shown_nowhere() {
    let forge = Forge::new();
    let environment = Environment::new().with("LEVAIN_TOKEN", SECRET);
    let repository = environment.repository("project");
    let encoded = data_encoding::BASE64.encode(format!("user:{SECRET}").as_bytes());
    let outputs = format!(
        "levainProject.{};
         levainJobs.${{\"name-{SECRET}\"}} = job \"a\";
         levainJobs.thrown = throw \"{SECRET} {encoded}\";",
        forge.declared("github", "octo/bread")
    );
    repository.write("flake.nix", &simple(&outputs));
    repository.commit("first");
    let part = &encoded[8..20];
    for args in [&["run"][..], &["run", "--format", "json"], &["run", "-vv"]] {
        let ran = repository.levain(args);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(SECRET) && !text.contains(part), "{text}");
        }
        assert!(ran.stdout.contains("[token]"), "{}", ran.stdout);
    }
    for request in forge.requests() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!body.contains(SECRET) && !body.contains(part), "{body}");
    }
}

#[test]
fn empty_variables_count_as_not_set() {
    let environment = Environment::new()
        .with("LEVAIN_TOKEN", "")
        .with("LEVAIN_TOKEN_FILE", "")
        .with("LEVAIN_READ_ONLY", "")
        .with("LEVAIN_STATUS_TIMEOUT", "")
        .with("LEVAIN_GIT_TIMEOUT", "")
        .with("LEVAIN_LOG", "")
        .with("XDG_CACHE_HOME", "")
        .with("XDG_STATE_HOME", "")
        .with("TMPDIR", "");
    let forge = Forge::new();
    let repository = environment.repository("project");
    let declared = forge.declared("github", "octo/bread");
    let outputs = format!("levainProject.{declared}; levainJobs.good = job \"good\";");
    repository.write("flake.nix", &simple(&outputs));
    repository.commit("first");
    let ran = repository.levain(&["run"]).ok().says("token");
    assert!(!ran.stdout.contains("read-only"), "{}", ran.stdout);
    assert!(forge.requests().is_empty());
    assert!(repository.path.join(".git/levain/successes").read_dir().unwrap().next().is_some());
}

#[test]
fn plain_jobs_say_nothing_about_caches() {
    let environment = Environment::new();
    let repository = environment.repository("project");
    repository.write("flake.nix", &simple("levainJobs.good = job \"good\";"));
    repository.commit("first");
    let ran = repository.levain(&["run"]).ok();
    assert!(!ran.stdout.contains("cache") && !ran.stderr.contains("cache"), "{ran:?}");
}
