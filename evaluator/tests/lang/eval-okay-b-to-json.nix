# JSON: sorted names, escapes, sets with `outPath` or `__toString`.
map builtins.toJSON [ { b = 1; a = [ true null 1.5 "x\"y\n\t\\/é" ]; } { outPath = "p"; x = 1; } { __toString = s: "t"; } [ ] { } "\r" (-5) ]
