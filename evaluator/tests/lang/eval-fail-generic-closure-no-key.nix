# An element without a key.
builtins.genericClosure { startSet = [ { } ]; operator = x: [ ]; }
