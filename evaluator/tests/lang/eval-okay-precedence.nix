# How operators bind without parentheses.
[ (1 + 2 == 3 && true) (! false == true) ([ 1 ] ++ [ 2 ] == [ 1 2 ]) (({ a = 1; } // { b = 2; }) ? b) ({ a = 1; } // { b = { c = 2; }; }.b) (- 2 * 3) (1 - 1 - 1) (2 * 3 + 4 < 11 -> true) ({ a.b = 1; } ? a.b && true) (let f = x: x + 1; in f 1 * 2) ("a" + "b" == "ab" || false) ]
