# `levain-cache` for nixpkgs: `pkgs.callPackage levain.package { }`.
#
# Tested without nixpkgs: `tests/system/readme.rs` looks at what `buildRustPackage` is given, and asks
# cargo about it. It was not yet built by nixpkgs itself.
{ lib, rustPlatform }:
rustPlatform.buildRustPackage {
  pname = "levain-cache";
  version = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package.version;
  src = lib.cleanSource ../.;
  cargoLock.lockFile = ../Cargo.lock;
  buildAndTestSubdir = "cache";
  # The tests of builds need Nix itself.
  doCheck = false;
  meta = {
    description = "Keeps what a build made for the next build, inside Nix builds";
    license = [ lib.licenses.mit lib.licenses.asl20 ];
    mainProgram = "levain-cache";
  };
}
