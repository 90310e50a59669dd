# A function is equal to itself only as far as one thunk holds it: what selects it again is another.
let
  set = { f = x: x; nested.f = x: x; list = [ (x: x) ]; b = builtins.head; p = builtins.map (x: x); };
  seen = builtins.deepSeq set set;
  two = { inherit (seen) f; };
in
builtins.seq seen [
  ([ seen.f ] == [ seen.f ])
  ([ seen.nested.f ] == [ seen.nested.f ])
  ([ seen.nested ] == [ seen.nested ])
  ([ seen.list ] == [ seen.list ])
  ([ seen.b ] == [ seen.b ])
  ([ seen.p ] == [ seen.p ])
  ({ inherit (seen) f; } == { inherit (seen) f; })
  ({ inherit (seen) nested; } == { inherit (seen) nested; })
  ([ two ] == [ two ])
  (two == two)
  (two == { inherit (two) f; })
  (let f = seen.f; in [ f ] == [ f ])
  (builtins.elem seen.f [ seen.f ])
  (builtins.elem seen.nested [ seen.nested ])
]
