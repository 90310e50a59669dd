# A `with` on itself.
let s = with s; { inherit a; }; in s.a
