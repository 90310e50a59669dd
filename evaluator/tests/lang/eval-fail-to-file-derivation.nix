# A file that would depend on a build.
builtins.toFile "a" "${derivation { name = "n"; system = "s"; builder = "b"; }}"
