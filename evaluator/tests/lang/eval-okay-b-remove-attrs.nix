# Attributes taken away, also some that are not there.
[ (removeAttrs { a = 1; b = 2; c = 3; } [ "a" "c" "x" ]) (removeAttrs { } [ ]) ]
