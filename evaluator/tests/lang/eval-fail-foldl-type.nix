# A list that is none.
builtins.foldl' (a: b: a) 0 1
