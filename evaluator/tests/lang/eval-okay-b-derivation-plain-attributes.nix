# What Nix's builder looks at later is an ordinary variable for the evaluator.
let
  make = attrs: (derivation ({ name = "x"; system = "s"; builder = "b"; } // attrs)).drvPath;
in
map make [
  { passAsFile = [ "text" ]; text = "long"; }
  { allowedReferences = [ ]; disallowedRequisites = [ "x" ]; }
  { exportReferencesGraph = [ "graph" (builtins.toFile "a" "b") ]; }
  { impureEnvVars = [ "http_proxy" ]; preferLocalBuild = true; allowSubstitutes = false; }
  { requiredSystemFeatures = [ "kvm" ]; __sandboxProfile = ""; __noChroot = false; }
  { __structuredAttrs = false; __ignoreNulls = true; nothing = null; }
  { meta = { toString = 1; outPath = "/x"; }; list = [ 1 [ 2 3 ] true null "" ]; number = 1.5; }
]
