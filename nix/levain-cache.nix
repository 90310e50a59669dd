# `levain-cache` for nixpkgs: `pkgs.callPackage levain.package { }`.
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
