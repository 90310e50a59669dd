# As much of nixpkgs' `stdenv` as the library relies on: `overrideAttrs`, `env`, outputs and phases.
let
  mkDerivation = attrs:
    let
      environment = attrs.env or { };
      plain = removeAttrs attrs [ "env" "meta" "passthru" "realBuilder" ];
      passthru = attrs.passthru or { };
      twice = builtins.attrNames (builtins.intersectAttrs environment plain);
    in
    if twice != [ ] then throw "`env` and the derivation both have `${builtins.head twice}`"
    else
      derivation (
        {
          system = "x86_64-linux";
          builder = attrs.realBuilder or "/bin/bash";
          args = [ "-e" ./setup.sh ];
          outputs = [ "out" ];
        }
        // plain
        // environment
      )
      // passthru
      // {
        inherit passthru;
        overrideAttrs = change: mkDerivation (attrs // change attrs);
      };
in
{
  inherit mkDerivation;
}
