# The path of a derivation as reference to all of its outputs.
# since 2.20
let d = derivation { name = "n"; system = "s"; builder = "b"; }; p = builtins.unsafeDiscardOutputDependency d.drvPath; in [ (builtins.getContext p) (builtins.getContext (builtins.addDrvOutputDependencies p)) ]
