# since 2.30
# Attributes that were made into JSON by hand are written again in Nix's own way.
(derivation { name = "x"; system = "s"; builder = "b"; __json = "{\"b\": 1.50, \"a\": [true, null]}"; }).drvPath
