# What of the flake needs nixpkgs: packages, checks, a shell to work in, and levain's own jobs.
#
# `tests/system/installing.rs` evaluates this with a stand-in for nixpkgs. It was not yet built by nixpkgs itself.
{ pkgsFor }:
let
  systems = [ "x86_64-linux" "aarch64-linux" ];

  each =
    outputs:
    builtins.listToAttrs (
      map (system: {
        name = system;
        value = outputs (pkgsFor system);
      }) systems
    );

  packages =
    pkgs:
    let
      levain = pkgs.callPackage ./levain.nix { };
    in
    {
      default = levain;
      inherit levain;
      levain-cache = pkgs.callPackage ./levain-cache.nix { };
    };

  # What can be checked without Nix inside a build.
  checks = pkgs: {
    format = pkgs.runCommand "levain-format" { nativeBuildInputs = [ pkgs.cargo pkgs.rustfmt ]; } ''
      cd ${pkgs.lib.cleanSource ../.}
      cargo fmt --all --check
      touch $out
    '';
    scripts = pkgs.runCommand "levain-scripts" { nativeBuildInputs = [ pkgs.shellcheck ]; } ''
      cd ${pkgs.lib.cleanSource ../.}
      grep -rlE --max-count=1 '^(#!.*sh$|# shellcheck shell=)' scripts | xargs shellcheck -x
      touch $out
    '';
    units = pkgs.runCommand "levain-units" { nativeBuildInputs = [ pkgs.systemd ]; } ''
      systemd-analyze security --offline=true --no-pager --threshold=25 ${../server/systemd/levain.service}
      systemd-analyze security --offline=true --no-pager --threshold=15 ${../server/systemd/levain-front.service}
      touch $out
    '';
  };

  devShells = pkgs: {
    default = pkgs.mkShell {
      packages = [
        pkgs.bubblewrap
        pkgs.cargo
        pkgs.clippy
        pkgs.git
        pkgs.nix
        pkgs.perl
        pkgs.postgresql
        pkgs.rustc
        pkgs.rustfmt
        pkgs.shellcheck
      ];
    };
  };

  jobs = pkgs: {
    inherit (packages pkgs) levain levain-cache;
    checks = checks pkgs;
  };
in
{
  packages = each packages;
  checks = each checks;
  devShells = each devShells;
  # levain builds those of its own system (docs/declaration.md, `systems`).
  levainJobs = each jobs;
}
