# What an expression sees instead of Nix's own global names, when it may read files but neither clock
# nor machine: Nix's pure mode reads no files at all. value.rs splices it; `import` hands it on.
let
  forbidden = name: throw "'${name}' is not allowed in pure evaluation mode";
  pure = removeAttrs builtins [ "currentTime" "currentSystem" ] // {
    builtins = pure;
    nixPath = [ ];
    storePath = _: forbidden "builtins.storePath";
    import = builtins.scopedImport scope;
    scopedImport = more: builtins.scopedImport (scope // more);
  };
  scope = {
    builtins = pure;
    inherit (pure) import scopedImport;
    __nixPath = [ ];
    __storePath = pure.storePath;
    __currentTime = forbidden "builtins.currentTime";
    __currentSystem = forbidden "builtins.currentSystem";
  };
in
scope
