# Membership, positions.
[ (builtins.elem 1 [ 2 1 ]) (builtins.elem [ 1 ] [ [ 1 ] ]) (builtins.elem 1 [ ]) (builtins.elemAt [ 1 2 3 ] 2) (builtins.head [ 1 (throw "no") ]) (builtins.tail [ (throw "no") 2 ]) ]
