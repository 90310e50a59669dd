# The arguments of a pattern, and whether they have defaults.
[ (builtins.functionArgs ({ a, b ? 1, ... }: a)) (builtins.functionArgs (x: x)) (builtins.functionArgs builtins.map) (builtins.functionArgs ({ }: 1)) ]
