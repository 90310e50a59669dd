//! Pure evaluation, with and without confinement.

use std::fs;
use std::path::Path;

use levain_store::{Confinement, EvalError, EvalFailure, EvalRequest, Exit};

use crate::fixture::Fixture;

fn confined(request: EvalRequest) -> EvalRequest {
    let confinement = Confinement::detect(|name| std::env::var_os(name)).unwrap();
    EvalRequest { confinement, ..request }
}

fn failure(error: EvalError) -> EvalFailure {
    let EvalError::Failed(failure) = error else { panic!("{error:?}") };
    failure
}

fn flake(directory: &Path, commit: &str) -> String {
    format!("builtins.getFlake \"git+file://{}?rev={commit}\"", directory.display())
}

const FLAKE: &str = r#"{
  outputs = { self }: {
    v = (derivation { name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; }).drvPath;
  };
}"#;

#[test]
fn values_are_json_and_derivations_are_written_unless_read_only() {
    let fixture = Fixture::new();
    let (repository, commit) = fixture.repository("flake", "flake.nix", FLAKE);
    let expression = format!("({}).v", flake(&repository, &commit));
    let mut request = fixture.request(expression.as_str());
    request.read_only = true;
    request.max_call_depth = Some(1000);
    let read_only = fixture.nix.eval(&request).unwrap();
    let path: String = serde_json::from_slice(&read_only).unwrap();
    let path = fixture.store.dir().parse_derivation(&path).unwrap();
    assert!(!fixture.store.exists_on_disk(path.as_ref()));

    let shown = Some(fixture.shown(&repository, &commit));
    let with_confinement =
        EvalRequest { repository: shown, ..confined(fixture.request(expression)) };
    assert_eq!(fixture.nix.eval(&with_confinement).unwrap(), read_only);
    assert!(fixture.store.read_derivation(&path).is_ok());
    assert!(fixture.connect().is_valid(path.as_ref()).unwrap());
}

#[test]
fn failures_have_only_what_nix_says_about_them() {
    let fixture = Fixture::new();
    for request in
        [fixture.request("throw ''no\nway''"), confined(fixture.request("throw ''no\nway''"))]
    {
        let failure = failure(fixture.nix.eval(&request).unwrap_err());
        assert_eq!(failure.exit, Exit::Code(1));
        assert!(failure.message.starts_with("error: no\n"), "{failure:?}");
        assert!(!failure.message.contains("show-trace"), "{failure:?}");
        assert_eq!(failure.warnings, [""; 0]);
    }
    // Half a document has been printed when the error comes.
    let late = fixture.nix.eval(&fixture.request("[ 1 2 (throw ''late'') ]")).unwrap_err();
    assert!(failure(late).message.contains("late"));
}

#[test]
fn nothing_impure_is_evaluated_however_long_the_expression() {
    let fixture = Fixture::new();
    let secret = fixture.path("secret");
    fs::write(&secret, "secret").unwrap();
    let padding = format!("/*{}*/", "x".repeat(300_000));
    for padding in ["", &padding] {
        let eval = |text: &str| fixture.nix.eval(&fixture.request(format!("{text} {padding}")));
        assert_eq!(eval("[ 1 { a = null; } ]").unwrap(), b"[1,{\"a\":null}]");
        for impure in [
            "builtins.currentTime".to_owned(),
            "builtins.currentSystem".to_owned(),
            "builtins.storePath \"/nix/store/0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-x\"".to_owned(),
            format!("builtins.readFile {}", secret.display()),
        ] {
            assert_eq!(failure(eval(&impure).unwrap_err()).exit, Exit::Code(1), "{impure}");
        }
        assert_eq!(eval("builtins.getEnv \"PATH\"").unwrap(), b"\"\"");
    }
}

#[test]
fn derivations_of_long_expressions_are_the_same() {
    let fixture = Fixture::new();
    let expression = "(derivation { name = \"x\"; system = \"s\"; builder = \"b\"; }).drvPath";
    let short = fixture.eval_text(expression).unwrap();
    let long = format!("{expression} /*{}*/", "x".repeat(300_000));
    let read_only = EvalRequest { read_only: true, ..fixture.request(long.as_str()) };
    assert_eq!(fixture.nix.eval(&read_only).unwrap(), format!("\"{short}\"").as_bytes());
    let json = fixture.nix.eval(&confined(fixture.request(long))).unwrap();
    assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), short);
}

#[test]
fn import_from_derivation_is_asked_for() {
    let fixture = Fixture::new();
    let expression = r#"import (derivation { name = "n"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo 42 > $out; exit 0" ]; })"#;
    let mut request = fixture.request(expression);
    assert!(failure(fixture.nix.eval(&request).unwrap_err()).message.contains("import"));
    request.allow_import_from_derivation = true;
    assert_eq!(fixture.nix.eval(&request).unwrap(), b"42");
    let elsewhere = Fixture::new();
    let request = EvalRequest {
        allow_import_from_derivation: true,
        ..confined(elsewhere.request(expression))
    };
    assert_eq!(elsewhere.nix.eval(&request).unwrap(), b"42");
}

#[test]
fn confined_it_sees_no_other_repository() {
    let fixture = Fixture::new();
    let (other, other_commit) = fixture.repository("other", "secret", "the secret");
    let text = format!(
        "{{ outputs = {{ self }}: {{ v = builtins.readFile ((builtins.fetchGit {{ url = \"file://{}\"; rev = \"{other_commit}\"; }}) + \"/secret\"); }}; }}",
        other.display()
    );
    let (repository, commit) = fixture.repository("flake", "flake.nix", &text);
    let expression = format!("({}).v", flake(&repository, &commit));
    let shown = Some(fixture.shown(&repository, &commit));
    let request =
        EvalRequest { repository: shown, ..confined(fixture.request(expression.as_str())) };
    let failure = failure(fixture.nix.eval(&request).unwrap_err());
    assert!(!failure.message.contains("the secret"));

    // So it was the confinement that refused.
    assert_eq!(fixture.eval_text(expression).unwrap(), "the secret");
}

/// Returns an expression that fails with the first name in a directory that is not expected there:
/// adding a directory to the store asks about each, and pure evaluation allows that on older versions
/// where a hash is given.
fn listing(directory: &str, expected: &[&str]) -> String {
    let hash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let expected: Vec<String> = expected.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "builtins.path {{ path = \"{directory}\"; name = \"s\"; sha256 = \"{hash}\"; filter = p: t: if builtins.elem (baseNameOf p) [ {} ] then false else throw \"seen ${{p}}\"; }}",
        expected.join(" ")
    )
}

#[test]
fn confined_it_sees_of_its_repository_what_the_commit_has() {
    let fixture = Fixture::new();
    let (repository, commit) = fixture.repository("flake", "flake.nix", FLAKE);
    let at = repository.to_str().unwrap();
    // Committed on another branch, staged, and only there.
    fs::write(repository.join("elsewhere"), "elsewhere").unwrap();
    fixture.program("git", &["-C", at, "add", "."]);
    let other = fixture.program("git", &["-C", at, "stash", "create"]).stdout;
    let other = String::from_utf8(other).unwrap().trim().to_owned();
    fs::write(repository.join("staged"), "staged").unwrap();
    fixture.program("git", &["-C", at, "add", "."]);
    fs::write(repository.join(".env"), "password").unwrap();
    let secrets = repository.join(".git/levain");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("signing-key"), "key").unwrap();
    let bare = fixture.path("bare");
    fixture.program("git", &["clone", "-q", "--bare", at, bare.to_str().unwrap()]);
    for place in [&repository, &bare] {
        let shown = Some(fixture.shown(place, &commit));
        let ask = |text: String| {
            let confined = confined(fixture.request(text));
            fixture.nix.eval(&EvalRequest { repository: shown.clone(), ..confined })
        };
        ask(format!("({}).v", flake(place, &commit))).unwrap();
        let version = fixture.nix.version().unwrap();
        for (directory, names) in [
            ("", [".git"].as_slice()),
            ("/.git", &["HEAD", "config", "objects", "packed-refs", "refs"]),
            ("/.git/objects", &["info", "pack"]),
        ] {
            let directory = format!("{}{directory}", place.display());
            let error = failure(ask(listing(&directory, names)).unwrap_err());
            // The message may show the expression.
            assert!(!error.message.contains("seen /"), "{error}");
            if (version.major, version.minor) == (2, 8) {
                let error = failure(ask(listing(&directory, &[])).unwrap_err());
                assert!(error.message.contains(&format!("seen {directory}/")), "{error}");
            }
        }
        // The commit that the ref leads to can be read by its name, another one not.
        let fetch = |commit: &str| {
            ask(format!(
                "builtins.attrNames (builtins.readDir (builtins.fetchGit {{ url = \"file://{}\"; rev = \"{commit}\"; }}).outPath)",
                place.display()
            ))
        };
        assert_eq!(fetch(&commit).unwrap(), b"[\"flake.nix\"]");
        let error = failure(fetch(&other).unwrap_err());
        assert!(!error.message.contains("elsewhere"), "{error}");
    }
}

#[test]
fn a_repository_in_the_store_starts_no_program() {
    let fixture = Fixture::new();
    let (repository, _) = fixture.repository("settings", ".gitattributes", "* filter=x\n");
    let at = repository.to_str().unwrap();
    fs::write(repository.join("file"), "content").unwrap();
    fixture.program("git", &["-C", at, "add", "."]);
    fixture.program("git", &["-C", at, "commit", "-q", "-m", "file"]);
    let commit = fixture.program("git", &["-C", at, "rev-parse", "HEAD"]).stdout;
    let commit = String::from_utf8(commit).unwrap().trim().to_owned();
    // Where an evaluation may write.
    let mark = fixture.store.config().real_dir.join("started");
    let smudge = format!("touch {}; cat", mark.display());
    fixture.program("git", &["-C", at, "config", "filter.x.smudge", &smudge]);
    let added = fixture.program("nix-store", &["--add", at]).stdout;
    let added = String::from_utf8(added).unwrap().trim().to_owned();
    for place in [&added, &format!("{added}/../{}", added.rsplit('/').next().unwrap())] {
        let expression = format!(
            "builtins.readFile ((builtins.fetchGit {{ url = \"file://{place}\"; rev = \"{commit}\"; }}) + \"/file\")"
        );
        for request in
            [confined(fixture.request(expression.as_str())), fixture.request(expression.as_str())]
        {
            // Newer versions read it without git, and start nothing.
            if let Err(error) = fixture.nix.eval(&request) {
                let message = failure(error).message;
                assert!(message.contains("is in the store, and no repository"), "{message}");
            }
            assert!(!mark.exists());
        }
    }
    // Git itself does start it.
    fixture.program("git", &["-C", at, "archive", "--output=/dev/null", "HEAD"]);
    assert!(mark.exists());
}

#[test]
fn confined_it_sees_no_file_of_the_host() {
    let fixture = Fixture::new();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "the secret").unwrap();
    let program = std::env::current_exe().unwrap();
    // The passwords can be read by root alone; without them there is nothing to hide.
    for hidden in [program.as_path(), Path::new("/etc/shadow")] {
        let Ok((hash, _)) = levain_store::nar::hash(hidden) else { continue };
        let hidden = hidden.display();
        let expression =
            format!("builtins.path {{ path = \"{hidden}\"; name = \"s\"; sha256 = \"{hash}\"; }}");
        let error = fixture.nix.eval(&confined(fixture.request(expression))).unwrap_err();
        assert_eq!(failure(error).exit, Exit::Code(1));
    }
    let (hash, _) = levain_store::nar::hash(secret.path()).unwrap();
    // Nix 2.8 allows this in pure evaluation, later versions do not.
    let expression = format!(
        "builtins.readFile (builtins.path {{ path = \"{}\"; name = \"s\"; sha256 = \"{hash}\"; }})",
        secret.path().display()
    );
    let error = fixture.nix.eval(&confined(fixture.request(expression.as_str()))).unwrap_err();
    assert!(!failure(error).message.contains("the secret"));
    let unconfined = fixture.eval_text(expression);
    if let Ok(text) = unconfined {
        assert_eq!(text, "the secret");
    } else {
        let version = fixture.nix.version().unwrap();
        assert!((version.major, version.minor) > (2, 8), "{unconfined:?}");
    }
}

#[test]
fn the_identity_changes_with_the_program() {
    let fixture = Fixture::new();
    let identity = fixture.nix.identity().to_owned();
    let dir = fixture.path("bin");
    fs::create_dir(&dir).unwrap();
    fs::copy(fs::canonicalize(fixture.nix.path()).unwrap(), dir.join("nix")).unwrap();
    let copy = levain_store::NixProgram::find(|_| Some(dir.clone().into())).unwrap();
    assert_ne!(copy.identity(), identity);
}
