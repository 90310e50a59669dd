# A file with additional names in scope.
[ (builtins.scopedImport { x = 5; } ./data/free-variable.nix) (builtins.scopedImport { x = 6; builtins = { isAttrs = x: true; }; } ./data/free-variable.nix) ]
