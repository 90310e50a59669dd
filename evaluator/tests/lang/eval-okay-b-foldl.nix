# A strict left fold.
[ (builtins.foldl' (a: b: a + b) 0 [ 1 2 3 ]) (builtins.foldl' (a: b: [ b ] ++ a) [ ] [ 1 2 3 ]) (builtins.foldl' (a: b: b) (throw "not needed") [ 1 ]) ]
