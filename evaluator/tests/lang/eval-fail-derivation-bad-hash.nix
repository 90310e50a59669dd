# A hash of the wrong length.
(derivation { name = "a"; system = "s"; builder = "b"; outputHash = "abc"; outputHashAlgo = "sha256"; }).drvPath
