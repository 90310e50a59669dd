//! The command line: what it prints, and how it ends.

use crate::fixture::{Builds, tree};

fn started() -> Builds {
    let builds = Builds::new();
    builds.unpack(&tree(&[("src/a", "a")]));
    builds.restore_nothing();
    builds.outputs(&[("out/x", "x")], 300);
    builds
}

#[test]
fn no_cache_is_no_error() {
    let builds = started();
    for from in ["", "null"] {
        builds
            .call(&["restore", "s", "--strict", "--from", from])
            .has("no cache was given; clean build");
    }
    let absent = builds.store().join("absent").display().to_string();
    builds
        .call(&["restore", "s", "--strict", "--from", &absent])
        .has("does not exist; clean build");
    builds.persist(1, &["out"]).has("persisted");
    let to = builds.cache(1).display().to_string();
    builds
        .call(&["restore", "other", "--strict", "--from", &to])
        .has("has no such set; clean build");
}

#[test]
fn usage_errors() {
    let builds = started();
    assert_eq!(builds.call(&["restore", "../s"]).code, 2);
    assert_eq!(builds.call(&["persist", "s"]).code, 2);
    assert_eq!(builds.call(&["persist", "s", "out", "--level", "99"]).code, 2);
    builds
        .persist(1, &["out", "--origin", "commit"])
        .fails("`commit` is not of the form `name=value`");
    builds.restore(1, &["--gone", "outputs"]).fails("needs to know which outputs a source has");
    builds
        .restore(1, &["--gone-outputs", "{stem}.o"])
        .fails("has no effect without `--gone outputs`");
    builds.call(&["restore", "s", "--source", "missing"]).fails("cannot find `missing`");
}

#[test]
fn inspect_shows_what_is_there() {
    let builds = started();
    let options = ["out", "--origin", "commit=abc", "--origin", "a=b", "--key", "gcc"];
    builds.persist(1, &options).has("persisted");
    let cache = builds.cache(1).display().to_string();
    let said = builds.call(&["inspect", &cache]).has("s\n  files: 1 (1 bytes, ");
    let said = said.has("  origin: a=b commit=abc\n").has("  key: gcc\n").has("  paths: out\n");
    said.has("  sources: 1\n");

    let said = builds.call(&["inspect", &cache, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let set = &json["sets"][0];
    assert_eq!(set["name"], "s");
    assert_eq!(set["origin"], serde_json::json!({ "a": "b", "commit": "abc" }));
    assert_eq!(set["entries"][1]["path"], "out/x");
    assert_eq!(set["entries"][1]["size"], 1);
    builds.call(&["inspect", "/nonexistent"]).fails("cannot inspect `/nonexistent`");
}

#[test]
fn a_damaged_state_is_an_error() {
    let builds = started();
    let state = builds.top().join(".levain-cache/s");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, &text[..text.len() / 2]).unwrap();
    builds.persist(1, &["out"]).fails("is damaged at line");
    std::fs::write(&state, "").unwrap();
    builds.persist(1, &["out"]).fails("is damaged at line 1");
}

#[test]
fn a_numbered_build_directory_gets_a_fixed_name_or_a_word_why_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let builds = Builds::new();
    let all = builds.root().join("builds");
    let ran = ["nix-1-2", "nix-34-56"].map(|name| {
        let top = all.join(name);
        std::fs::create_dir_all(top.join("tree")).unwrap();
        std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o700)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the program itself is tested")]
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_levain-cache"))
            .args(["build", "--place-only", "--", "/bin/sh", "-c"])
            .arg("pwd; echo $NIX_BUILD_TOP; echo $TMP; touch made; exit 3")
            .current_dir(top.join("tree"))
            .env("NIX_BUILD_TOP", &top)
            .env("TMP", &top)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(top.join("tree/made").exists());
        (top, String::from_utf8(output.stdout).unwrap())
    });
    assert!(!all.join("levain-build").exists(), "seen outside");
    let fixed = all.join("levain-build");
    let [(first, said), (_, again)] = &ran;
    let lines = |top: &std::path::Path| {
        format!("{}/tree\n{top}\n{top}\n", top.display(), top = top.display())
    };
    // As the system allows.
    match said.strip_prefix("levain-cache: the build directory has another name in every build") {
        None => assert_eq!((said, again), (&lines(&fixed), &lines(&fixed))),
        Some(rest) => assert!(rest.ends_with(&lines(first)), "{said}"),
    }
}
