derivation { name = "x"; system = "s"; builder = "b"; outputs = [ "out" "dev" ]; outputHash = ""; outputHashAlgo = "sha256"; }
