# Traces show and give their second argument.
[ (builtins.trace "shown" 1) (builtins.trace { a = [ 1 (throw "not forced") ]; } 2) ]
