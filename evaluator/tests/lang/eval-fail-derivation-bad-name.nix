# A derivation with an illegal name.
(derivation { name = "a/b"; system = "s"; builder = "b"; }).drvPath
