# A function as environment variable.
(derivation { name = "a"; system = "s"; builder = "b"; f = x: x; }).drvPath
