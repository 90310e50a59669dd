# Definitions of the same set are merged.
{ a.b = 1; a.c.d = 2; a = { e = 3; }; f.g = { h = 4; }; f.g.i = 5; "x y".z = 6; }
