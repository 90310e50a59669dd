//! Jobs: what of a flake is built, under which names, and what happens beside an error.

/// A flake with these outputs. They may call `job NAME`, a derivation with one output.
pub(crate) fn simple(outputs: &str) -> String {
    SIMPLE.replace("@outputs@", outputs)
}

const SIMPLE: &str = r#"{
  outputs = { self }:
    let
      job = name: derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ "-c" "echo ${name} > $out; exit 0" ];
      };
    in {
      @outputs@
    };
}
"#;
