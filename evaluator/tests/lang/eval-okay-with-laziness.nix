# The set of a `with` is evaluated only for a name that nothing else binds.
let s = with throw "not needed"; { a = 1; b = s.a; }; in with { f = x: x; }; f s
