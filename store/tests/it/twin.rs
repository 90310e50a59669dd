//! A twin derivation: Nix accepts it, and builds the same to other paths.

use levain_store::BuildStatus;

use crate::fixture::Fixture;

/// Several outputs that name each other, through fixed and plain inputs.
const GRAPH: &str = r#"
  fixed = sh "fixed" { args = [ "-c" "echo hello > $out; exit 0" ]; outputHash = "sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM="; outputHashAlgo = "sha256"; outputHashMode = "flat"; };
  dep = sh "dep" { inherit fixed; args = [ "-c" "echo dep > $out; exit 0" ]; };
  top = sh "top" { outputs = [ "out" "dev" ]; inherit dep; src = builtins.toFile "text" "x"; args = [ "-c" "echo $dep $dev > $out; echo dev > $dev; exit 0" ]; };
"#;

#[test]
fn a_twin_builds_the_same_elsewhere() {
    let fixture = Fixture::new();
    let [top] = &fixture.derivations(GRAPH, &["top"])[..] else { panic!() };
    let mut connection = fixture.connect();
    let (path, twin) = fixture.store.twin(&mut connection, top).unwrap();
    assert_ne!(path, *top);
    assert_eq!(path.name(), top.name());
    assert_eq!(fixture.store.read_derivation(&path).unwrap(), twin);
    let results = connection.build(&[top.clone(), path.clone()], &mut |_| {}).unwrap();
    assert_eq!(
        results.iter().map(|result| result.status).collect::<Vec<_>>(),
        [BuildStatus::Built, BuildStatus::Built],
        "{results:#?}"
    );
    for (name, output) in &twin.outputs {
        assert_eq!(Some(&results[1].outputs[name]), output.path.as_ref());
        assert_ne!(results[0].outputs[name], results[1].outputs[name]);
    }
    let read = |output: &str| {
        std::fs::read_to_string(fixture.store.real_path(&results[1].outputs[output])).unwrap()
    };
    assert_eq!(read("dev"), "dev\n");
    assert!(read("out").contains(&results[1].outputs["dev"].to_string()));
    // Made once more, it is the same.
    assert_eq!(fixture.store.twin(&mut connection, top).unwrap().0, path);
}
