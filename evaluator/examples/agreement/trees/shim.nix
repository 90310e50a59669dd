# `import` for a Nix that lacks builtins which today's libraries need (2.8 has no `readFileType`).
let
  missing = {
    readFileType = path: (builtins.readDir (dirOf path)).${baseNameOf path};
    warn = message: value: builtins.trace "warning: ${message}" value;
    convertHash = _: throw "this Nix has no `convertHash`";
    addDrvOutputDependencies = _: throw "this Nix has no `addDrvOutputDependencies`";
    outputOf = _: _: throw "this Nix has no `outputOf`";
    flakeRefToString = _: throw "this Nix has no `flakeRefToString`";
    parseFlakeRef = _: throw "this Nix has no `parseFlakeRef`";
  };
  scope = {
    builtins = missing // builtins;
    import = file: builtins.scopedImport scope file;
  };
in
scope.import
