# An output that cannot be.
(derivation { name = "a"; system = "s"; builder = "b"; outputs = [ "drv" ]; }).drvPath
