# except 2.26
# Nix 2.26 leaves these variables out.
(derivation { name = "x"; system = "s"; builder = "b"; __contentAddressed = false; __impure = false; }).drvPath
