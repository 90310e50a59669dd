# `map` is lazy.
[ (map (x: x + 1) [ 1 2 ]) (builtins.length (map (x: throw "no") [ 1 2 ])) (map (x: x) [ ]) ]
