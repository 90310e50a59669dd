# An experimental feature.
derivation { name = "x"; system = "s"; builder = "b"; __contentAddressed = true; }
