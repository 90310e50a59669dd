# One attribute of each set that has it.
builtins.catAttrs "a" [ { a = 1; } { b = 2; } { a = 3; b = 4; } ]
