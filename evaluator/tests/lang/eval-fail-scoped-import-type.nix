# A scope that is no set.
builtins.scopedImport 1 ./data/number.nix
