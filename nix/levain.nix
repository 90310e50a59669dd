# `levain` for nixpkgs: `pkgs.callPackage ./levain.nix { }`.
#
# Tested without nixpkgs, as `levain-cache.nix` is.
{
  lib,
  rustPlatform,
  makeWrapper,
  bubblewrap,
  git,
}:
rustPlatform.buildRustPackage {
  pname = "levain";
  version = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package.version;
  src = lib.cleanSource ../.;
  cargoLock.lockFile = ../Cargo.lock;
  buildAndTestSubdir = "cli";
  nativeBuildInputs = [ makeWrapper ];
  # The tests need Nix itself.
  doCheck = false;
  # Nix is the machine's own: it must fit its daemon.
  postInstall = ''
    wrapProgram $out/bin/levain --suffix PATH : ${lib.makeBinPath [ bubblewrap git ]}
  '';
  meta = {
    description = "Continuous integration for Nix flakes, incremental and pure";
    license = [ lib.licenses.mit lib.licenses.asl20 ];
    mainProgram = "levain";
  };
}
