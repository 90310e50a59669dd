# Forcing to the bottom, even where a value contains itself.
let s = { a = 1; self = s; }; in [ (builtins.deepSeq s 1) (builtins.seq { a = throw "no"; } 2) (builtins.tryEval (builtins.deepSeq { a.b = [ (throw "x") ]; } 3)).success ]
