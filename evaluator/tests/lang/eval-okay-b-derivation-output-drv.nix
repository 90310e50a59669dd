# since 2.26
# Older versions refused this name.
(derivation { name = "a"; system = "s"; builder = "b"; outputs = [ "drv" ]; }).drv.outPath
