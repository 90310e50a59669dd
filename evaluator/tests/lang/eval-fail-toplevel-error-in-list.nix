# The place of an error deep in a value.
[ 1 { a.b = [ (throw "deep") ]; } ]
