# Within lists, sets and arguments, what is one and the same is equal: it is evaluated, but not what is in it.
let
  f = x: x;
  broken = [ (throw "never") ];
  throws = value: !(builtins.tryEval value).success;
  thrown = throw "wanted";
  set = { a = thrown; };
in [
  (f == f) ([ f ] == [ f ]) ({ a = f; } == { a = f; }) ([ f ] == [ (if true then f else f) ])
  (builtins.elem f [ f ]) (builtins.elem f [ (x: x) ])
  ([ broken ] == [ broken ]) ({ a = broken; } == { a = broken; }) ([ set ] == [ set ])
  (throws (broken == broken)) (throws (set == set)) (throws ([ thrown ] == [ thrown ]))
  (throws (set // { } == set)) (throws ({ inherit thrown; } == { inherit thrown; }))
  ([ f 1 ] < [ f 2 ]) ([ f ] < [ f ]) ([ broken 1 ] < [ broken 2 ]) (throws ([ thrown 1 ] < [ thrown 2 ]))
]
