# A derivation whose name looks like that of a derivation file.
(derivation { name = "a.drv"; system = "s"; builder = "b"; }).drvPath
