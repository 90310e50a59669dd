# XML with types.
builtins.toXML { a = [ 1 2.5 true null "x<y&\"z\"\n" /p ]; f = { x, y ? 1, ... }@z: x; g = x: x; b = map; "c d" = { }; }
