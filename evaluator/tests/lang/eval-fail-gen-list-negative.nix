# A length below zero.
builtins.genList (x: x) (-1)
