//! Texts and notes for reports, and for what somebody might have a build print.

use serde_json::json;

use super::*;
use crate::pages::comparison::compare;

fn report(jobs: &[serde_json::Value]) -> KeptReport {
    KeptReport::read(&json!({ "jobs": jobs }).to_string()).unwrap()
}

fn job(name: &str, status: &str) -> serde_json::Value {
    json!({ "attrPath": name, "status": status })
}

fn said(report: &KeptReport, against: Option<AgainstBase<'_>>) -> String {
    of_run(report, against, &Masks::default()).text().to_owned()
}

#[test]
fn a_note_is_at_the_first_place_of_the_repository() {
    for (error, expected) in [
        ("attribute 'x' missing\n       at flake.nix:41:18:", Some(("flake.nix", 41))),
        ("anonymous function at nix/a b.nix:2:3 called", None),
        ("function at nix/lib.nix:2:3 called without 'x'", Some(("nix/lib.nix", 2))),
        (
            "bad\n at /nix/store/h-nixpkgs/lib/a.nix:1:2:\n at «none»\n at sub/flake.nix:7:1:",
            Some(("sub/flake.nix", 7)),
        ),
        ("at ../flake.nix:1:2:", None),
        ("at a/../../etc/passwd:1:2:", None),
        ("at /etc/passwd:1:2:", None),
        ("at a//b.nix:1:2:", None),
        ("at flake.nix:0:2:", None),
        ("at flake.nix:99999999999:2:", None),
        ("at flake.nix:3:", None),
        ("at :3:5:", None),
        ("at «string»:1:71:", None),
        ("at https://example.org:443:1", None),
        ("look at noon", None),
        ("flake.nix:3:5", None),
        ("", None),
    ] {
        let found = place(error);
        let found = found.as_ref().map(|(path, number)| (path.as_str(), *number));
        assert_eq!(found, expected, "{error}");
    }
}

#[test]
fn a_file_that_breaks_all_jobs_is_noted_once_and_no_more_than_fifty_are() {
    let broken = |number: usize, line: usize| {
        json!({
            "attrPath": format!("j{number}"), "status": "error",
            "error": format!("no flour\n  at flake.nix:{line}:1:"),
        })
    };
    let same: Vec<_> = (0..200).map(|number| broken(number, 3)).collect();
    let details = of_run(&report(&same), None, &Masks::default());
    let note = Note { path: "flake.nix".into(), line: 3, message: "no flour".into() };
    assert_eq!(details.notes(), [note]);
    assert!(details.text().contains("180 more jobs failed."), "{}", details.text());
    let different: Vec<_> = (1..200).map(|number| broken(number, number)).collect();
    assert_eq!(of_run(&report(&different), None, &Masks::default()).notes().len(), 50);
}

#[test]
fn the_verdict_says_what_the_pull_request_is_to_blame_for() {
    let base =
        report(&[job("a", "clean"), job("b", "failed"), job("c", "failed"), job("old", "fresh")]);
    let head =
        report(&[job("a", "failed"), job("b", "failed"), job("c", "clean"), job("new", "clean")]);
    let found = compare(&base, &head);
    let text = said(&head, Some(AgainstBase { base: "main", found: &found }));
    let expected = "### Compared with `main`\n\
        - **1 newly failing**: `a`\n\
        - **1 still failing**: `b`\n\
        - **1 newly fixed**: `c`\n\
        - **1 added**: `new`\n\
        - **1 removed**: `old`\n\n\
        2 failed, 2 clean.\n\n\
        #### `a`\n\n\
        #### `b`\n";
    assert_eq!(text, expected);
    let found = compare(&head, &head);
    let text = said(&head, Some(AgainstBase { base: "main", found: &found }));
    assert!(text.contains("still failing"), "{text}");
    let fine = report(&[job("a", "clean")]);
    let found = compare(&fine, &fine);
    let text = said(&fine, Some(AgainstBase { base: "main", found: &found }));
    assert_eq!(text, "### Compared with `main`\nNo job fares otherwise.\n\n1 clean.\n");
}

#[test]
fn what_a_build_printed_stays_in_its_block() {
    let evil = "```\n</code></pre>![x](https://evil.example/x) @everybody ````` \u{1b}[31m\u{0}";
    let job = json!({
        "attrPath": "a`b\n# c", "status": "failed", "error": evil, "lastLines": [evil, "~~~"],
    });
    let text = said(&report(&[job]), None);
    let fence = "`".repeat(6);
    let lines: Vec<&str> = text.lines().collect();
    let fences: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with(&fence))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(fences.len(), 4, "{text}");
    for (number, line) in lines.iter().enumerate() {
        let is_inside = fences.chunks(2).any(|pair| pair[0] < number && number < pair[1]);
        assert!(is_inside || !line.contains("evil.example"), "{line}");
    }
    assert!(text.contains("#### `` a`b# c ``"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{0}'));
}

#[test]
fn texts_fit_whatever_was_printed() {
    let long = "ü".repeat(100_000);
    let jobs: Vec<_> = (0..100)
        .map(|number| {
            json!({
                "attrPath": format!("{number}{long}"), "status": "failed", "error": long,
                "lastLines": [long],
            })
        })
        .collect();
    let report = report(&jobs);
    let details = of_run(&report, None, &Masks::default());
    assert!(details.text().len() <= TEXT_LIMIT, "{}", details.text().len());
    assert!(of_job(&report.jobs[0], &Masks::default()).text().len() <= TEXT_LIMIT);
    assert!(of_error(&long, &Masks::default()).text().len() <= TEXT_LIMIT);
    let details = of_unapproved();
    assert!(details.asks_approval() && details.text().contains("approves it"));
}

#[test]
fn no_part_of_a_secret_is_said_whatever_is_between_its_letters() {
    const SECRET: &str = "ghs_0123456789abcdefghijklmnopqrstuv";
    let masks = Masks::of_texts([SECRET]);
    let (half, rest) = SECRET.split_at(18);
    let coloured = format!("{half}\u{1b}[31m{rest}");
    let error = format!("{coloured}\n at {SECRET}/flake.nix:3:5:");
    let broken = job(SECRET, "failed");
    let mut broken = report(&[broken]).jobs.remove(0);
    broken.error = Some(error.clone());
    broken.last_lines = vec![coloured, half.to_owned(), rest.to_owned()];
    let mut whole = report(&[]);
    whole.jobs.push(broken.clone());
    for details in [of_job(&broken, &masks), of_run(&whole, None, &masks), of_error(&error, &masks)]
    {
        let said = format!("{details:?}");
        assert_eq!(details.notes().len(), 1, "{said}");
        for part in [half, &rest[2..]] {
            assert!(!said.contains(part), "{said}");
        }
    }
}
