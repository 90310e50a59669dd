//! Content-addressed copies.

use std::fs;

use levain_store::content_address::make_source_path;
use levain_store::{Connection, CopyError, StorePath};

use crate::fixture::Fixture;

fn build(fixture: &Fixture, connection: &mut Connection, script: &str) -> StorePath {
    let definitions = format!(
        r#"dep = sh "dep" "echo dep > $out; exit 0"; d = sh "cache" {{ inherit dep; args = [ "-c" ''{script}'' ]; }};"#
    );
    let derivations = fixture.derivations(&definitions, &["d"]);
    let results = connection.build(&derivations, &mut |_| {}).unwrap();
    assert!(results[0].status.is_success(), "{results:?}");
    results[0].outputs["out"].clone()
}

#[test]
fn a_copy_has_the_content_and_references_but_no_deriver() {
    let fixture = Fixture::new();
    let mut connection = fixture.connect();
    let script = "export PATH=/usr/bin:/bin; mkdir $out; head -c 300000 /dev/zero > $out/big; echo $dep > $out/file; ln -s file $out/link; exit 0";
    let output = build(&fixture, &mut connection, script);
    let original = connection.path_info(&output).unwrap().unwrap();
    assert_eq!(original.references.len(), 1);

    let copied = connection.copy_content_addressed(&fixture.store, &output).unwrap();
    assert_ne!(copied.path, output);
    assert_eq!(copied.path.name(), "cache");
    assert_eq!(copied.info.references, original.references);
    assert_eq!(copied.info.nar_hash, original.nar_hash);
    assert_eq!(copied.info.deriver, None);
    let expected =
        make_source_path(fixture.store.dir(), "cache", &original.nar_hash, &original.references);
    assert_eq!(copied.path, expected.unwrap());
    let file = |path: &StorePath| fs::read(fixture.store.real_path(path).join("file")).unwrap();
    assert_eq!(file(&copied.path), file(&output));

    // A second copy, and a copy of the copy, are the same object.
    assert_eq!(connection.copy_content_addressed(&fixture.store, &output).unwrap(), copied);
    assert_eq!(connection.copy_content_addressed(&fixture.store, &copied.path).unwrap(), copied);
    // What `nix store make-content-addressed` makes of it.
    let whole = fixture.store.dir().display(&copied.path);
    fixture.program("nix-store", &["--verify-path", &whole]);
    // It is protected while the connection is open, and only then.
    fixture.program("nix-store", &["--gc"]);
    assert!(fixture.store.exists_on_disk(&copied.path));
    drop(connection);
    fixture.program("nix-store", &["--gc"]);
    assert!(!fixture.store.exists_on_disk(&copied.path));
}

#[test]
fn a_self_reference_is_refused() {
    let fixture = Fixture::new();
    let mut connection = fixture.connect();
    let output = build(&fixture, &mut connection, "echo $out > $out; exit 0");
    let error = connection.copy_content_addressed(&fixture.store, &output).unwrap_err();
    assert!(matches!(error, CopyError::SelfReference { path } if path == output));
}

#[test]
fn changed_or_missing_files_are_refused() {
    let fixture = Fixture::new();
    let mut connection = fixture.connect();
    let output = build(&fixture, &mut connection, "echo content > $out; exit 0");
    let file = fixture.store.real_path(&output);
    #[expect(clippy::permissions_set_readonly_false, reason = "the file is removed with the test")]
    let make_writable = || {
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(false);
        fs::set_permissions(&file, permissions).unwrap();
    };
    make_writable();
    fs::write(&file, "changed!").unwrap();
    let error = connection.copy_content_addressed(&fixture.store, &output).unwrap_err();
    assert!(matches!(&error, CopyError::Corrupt { path, .. } if *path == output), "{error:?}");

    fs::remove_file(&file).unwrap();
    let error = connection.copy_content_addressed(&fixture.store, &output).unwrap_err();
    assert!(matches!(error, CopyError::Nar(_)), "{error:?}");
    // The archive broke off, but the connection did not.
    let absent = "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-absent".parse().unwrap();
    let error = connection.copy_content_addressed(&fixture.store, &absent).unwrap_err();
    assert!(matches!(error, CopyError::Missing { .. }), "{error:?}");
}
