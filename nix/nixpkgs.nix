# The nixpkgs with which levain itself is built: the branch nixos-25.11 as of 2026-05-10.
#
# No input of the flake, and fetched only by those who build levain: see `flake.nix`.
system:
let
  revision = "8fd9daa3db09ced9700431c5b7ad0e8ba199b575";

  source = builtins.fetchTarball {
    url = "https://github.com/NixOS/nixpkgs/archive/${revision}.tar.gz";
    sha256 = "sha256-Ti+ZBvW6yrWWAg2szExVTwCd4qOJ3KlVr1tFHfyfi8Q=";
  };
in
import source {
  inherit system;
  config = { };
  overlays = [ ];
}
