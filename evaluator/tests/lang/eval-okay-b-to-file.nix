# A file in the store, with references.
let a = builtins.toFile "a" "x"; in [ a (builtins.toFile "b" "see ${a}") ]
