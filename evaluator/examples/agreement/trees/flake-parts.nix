# flake-parts' own tests: pairs of an expression and what it should be.
{ tree, lib }:
let
  flake = import (tree + "/flake.nix");
  self = flake.outputs { nixpkgs-lib = { inherit lib; }; } // {
    outPath = tree;
    inputs = {
      nixpkgs-lib = { inherit lib; };
      nixpkgs = { legacyPackages = builtins.listToAttrs (map (name: { inherit name; value = import ./no-packages { system = name; }; }) [ "a" "b" "aarch64-linux" "x86_64-linux" "aarch64-darwin" ]); inherit lib; outPath = toString ./no-packages; };
    };
  };
  tests = import (tree + "/dev/tests/nix-unit.nix") { flake-parts = self; };
  plain = depth: v:
    if depth == 0 then "..."
    else if v.type or null == "derivation" then { inherit (v) drvPath; }
    else if builtins.isAttrs v then builtins.mapAttrs (_: plain (depth - 1)) v
    else if builtins.isList v then map (plain (depth - 1)) v
    else if builtins.isFunction v then builtins.functionArgs v
    else v;
  try = v: let r = builtins.tryEval (builtins.deepSeq v v); in if r.success then r.value else "throws";
  pair = test:
    if test ? expectedError then { expr = try (plain 8 test.expr); }
    else { expr = try (plain 8 test.expr); expected = try (plain 8 (test.expected or null)); equal = try (test.expr == test.expected); };
  walk = prefix: set: builtins.concatLists (map
    (name:
      let v = set.${name}; in
      if lib.hasPrefix "test" name then [ { name = "${prefix}${name}"; value = pair v; } ]
      else if builtins.isAttrs v && !(v ? expr) && (lib.hasPrefix "test" name || builtins.length (builtins.attrNames v) > 0) then walk "${prefix}${name}." v
      else [ ])
    (builtins.attrNames set));
in
builtins.listToAttrs (walk "" (tests.tests or tests))
