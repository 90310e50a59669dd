# Lists joined; `++` groups to the right.
[ ([ 1 ] ++ [ 2 3 ]) ([ ] ++ [ ]) ([ 1 ] ++ [ 2 ] ++ [ 3 ]) (builtins.length ([ (throw "a") ] ++ [ (throw "b") ])) ]
