# What is in scope without `builtins`.
[ (map builtins.isFunction [ abort baseNameOf derivation dirOf fetchTarball fromTOML import isNull map placeholder removeAttrs scopedImport throw toString fetchGit fetchTree derivationStrict ]) (__length [ 1 ]) (__add 1 2) (let true = 1; in true) (let builtins = { x = 1; }; in builtins.x) ]
