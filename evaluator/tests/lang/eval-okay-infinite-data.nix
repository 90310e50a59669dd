# Lists and sets that contain themselves, as far as somebody looks.
let ones = [ 1 ] ++ ones'; ones' = [ 2 ]; s = { a = s; b = 1; }; in [ ones s.a.a.b (let f = x: { inherit x; next = f (x + 1); }; in (f 0).next.next.x) ]
