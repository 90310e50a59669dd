# `inherit` from the scope and from sets, also quoted.
let x = 1; s = { a = 1; b = { c = 2; }; "d e" = 3; }; in [ { inherit x; } { inherit (s) a b; } { inherit (s.b) c; } { inherit ({ y = 5; }) y; } { inherit (s) "d e"; } { inherit; } { inherit ({ }); } ]
