# haumea's own tests, and what it loads of its own sources.
{ tree, lib }:
let
  haumea = import tree { inherit lib; };
  tests = haumea.load {
    src = tree + "/tests";
    inputs = { inherit lib haumea; };
  };
in
{
  inherit tests;
  results = lib.runTests (tests // { tests = builtins.attrNames tests; });
  paths = haumea.load { src = tree + "/src"; loader = haumea.loaders.path; };
}
