# Sorting is stable.
[ (builtins.sort builtins.lessThan [ 3 1 2 ]) (builtins.sort (a: b: a.k < b.k) [ { k = 2; v = 1; } { k = 1; v = 2; } { k = 2; v = 3; } { k = 1; v = 4; } ]) (builtins.sort (a: b: a > b) [ "a" "c" "b" ]) (builtins.sort builtins.lessThan [ ]) ]
