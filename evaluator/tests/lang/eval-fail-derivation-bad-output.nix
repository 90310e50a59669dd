# since 2.26
# An output that cannot be.
(derivation { name = "a"; system = "s"; builder = "b"; outputs = [ "drvPath" ]; }).drvPath
