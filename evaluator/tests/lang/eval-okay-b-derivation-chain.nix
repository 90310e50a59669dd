# Derivations as inputs of others, also by a single output.
let a = derivation { name = "a"; system = "s"; builder = "/b"; outputs = [ "out" "dev" ]; }; b = derivation { name = "b"; system = "s"; builder = "/b"; inherit a; dev = a.dev; text = "x${a}y"; file = builtins.toFile "f" "content"; }; in [ b.drvPath b.outPath (builtins.attrNames (builtins.getContext b.outPath)) ]
