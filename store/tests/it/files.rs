//! What we compute from files and texts, compared with what Nix says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use levain_store::content_address::make_source_path;
use levain_store::{Derivation, NarHash, nar};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::Fixture;

#[test]
fn archives_are_those_of_nix() {
    let fixture = Fixture::new();
    let trees = proptest::collection::btree_map(
        "[a-zA-Z .ä-]{1,4}",
        (proptest::collection::vec(any::<u8>(), 0..40), 0..4u8),
        0..8,
    );
    let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
    let result = runner.run(&trees, |tree| {
        let dir = tempfile::tempdir_in(fixture.dir.path()).unwrap();
        for (name, (content, kind)) in &tree {
            let file = dir.path().join(format!("x{name}"));
            match kind {
                0 => symlink("away", &file).unwrap(),
                1 => {
                    fs::create_dir(&file).unwrap();
                    fs::write(file.join("inner"), content).unwrap();
                }
                _ => {
                    fs::write(&file, content).unwrap();
                    let mode = if *kind == 2 { 0o755 } else { 0o644 };
                    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        }
        let theirs = fixture.program("nix-store", &["--dump", dir.path().to_str().unwrap()]).stdout;
        let mut ours = Vec::new();
        nar::dump(dir.path(), &mut ours).unwrap();
        prop_assert!(ours == theirs);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn sources_lie_where_nix_puts_them() {
    let fixture = Fixture::new();
    fs::write(fixture.path("file"), "content").unwrap();
    let added = fixture.program("nix-store", &["--add", "file"]).stdout;
    let path = fixture.store.dir().parse(String::from_utf8(added).unwrap().trim()).unwrap();
    let (hash, size) = nar::hash(&fixture.path("file")).unwrap();
    let dir = fixture.store.dir();
    assert_eq!(make_source_path(dir, "file", &hash, &BTreeSet::new()).unwrap(), path);

    let mut connection = fixture.connect();
    let info = connection.path_info(&path).unwrap().unwrap();
    assert_eq!((info.nar_hash, info.nar_size), (hash, size));
    assert_eq!(info.deriver, None);
    let spelled = String::from_utf8(
        fixture.program("nix-store", &["-q", "--hash", &dir.display(&path)]).stdout,
    );
    assert_eq!(spelled.unwrap().trim().parse::<NarHash>(), Ok(hash));
    assert!(fixture.store.exists_on_disk(&path));
}

#[test]
fn derivations_are_read_and_written_as_nix_writes_them() {
    let fixture = Fixture::new();
    let paths = fixture.derivations(
        r#"dep = sh "dep" { outputs = [ "out" "dev" ]; args = [ "-c" "a\tb\n\"c\" \\ ä" ]; };
           fixed = sh "fixed" { outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; outputHashMode = "recursive"; };
           top = sh "top" { inherit dep fixed; d = dep.dev; src = builtins.toFile "t.txt" "t"; };"#,
        &["dep", "fixed", "top"],
    );
    for path in &paths {
        let text = fs::read(fixture.store.real_path(path.as_ref())).unwrap();
        let derivation = fixture.store.read_derivation(path).unwrap();
        assert!(derivation.to_aterm(fixture.store.dir()) == text);
        assert_eq!(Derivation::parse_aterm(fixture.store.dir(), &text), Ok(derivation));
    }
    let top = fixture.store.read_derivation(&paths[2]).unwrap();
    assert_eq!(top.input_derivations[&paths[0]], ["dev", "out"].map(String::from).into());
    assert_eq!(top.input_sources.first().unwrap().name(), "t.txt");
    assert!(fixture.store.read_derivation(&paths[1]).unwrap().is_fixed_output());
    assert_eq!(
        fixture.store.read_derivation(&paths[0]).unwrap().args[1],
        "a\tb\n\"c\" \\ ä".as_bytes()
    );
    assert!(fixture.store.read_derivation(&absent()).is_err());
}

fn absent() -> levain_store::DerivationPath {
    "0c0i5mvkk8gkfkrqs5zqpxhzmbqdnz6p-absent.drv".parse().unwrap()
}
