# `__structuredAttrs` puts all attributes into one JSON document.
(derivation { name = "n"; system = "s"; builder = "/b"; __structuredAttrs = true; a.b = [ 1 2.5 null true ]; c = "x"; outputs = [ "out" "lib" ]; }).drvPath
