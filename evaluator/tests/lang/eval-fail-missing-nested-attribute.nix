# An attribute deep in a path.
let s.a.b = 1; in s.a.c.d
