# A stand-in for nixpkgs: what packages, checks and shells are made by, which makes nothing.
let
  inherit (import ./lib.nix) lib;

  named =
    name:
    derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "/bin/sh";
    };

  pkgs = {
    inherit lib;
    rustPlatform.buildRustPackage = arguments: named arguments.pname // { inherit arguments; };
    mkShell = { packages }: builtins.deepSeq packages (named "shell");
    runCommand =
      name: { nativeBuildInputs }: script:
      builtins.deepSeq [ nativeBuildInputs script ] (named name);
    callPackage =
      package: given:
      let
        function = if builtins.isFunction package then package else import package;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // given);
  }
  // builtins.listToAttrs (
    map (name: {
      inherit name;
      value = named name;
    }) [
      "bubblewrap"
      "cargo"
      "clippy"
      "git"
      "makeWrapper"
      "nix"
      "openssh"
      "perl"
      "postgresql"
      "rustc"
      "rustfmt"
      "shellcheck"
      "systemd"
    ]
  );
in
pkgs
