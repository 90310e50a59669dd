# `?` looks down a path and never fails on what is not a set.
let s = { a.b = 1; c = 2; }; in [ (s ? a) (s ? a.b) (s ? a.x) (s ? c.d) (s ? "a") (s ? ${"a"}.b) (1 ? a) (null ? a.b) (s ? x.y.z) ]
