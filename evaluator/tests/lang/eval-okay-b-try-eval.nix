# Only `throw` and assertions can be caught.
[ (builtins.tryEval 1) (builtins.tryEval (throw "x")) (builtins.tryEval (assert false; 1)) (builtins.tryEval { a = throw "x"; }).success (builtins.tryEval (builtins.tryEval (throw "y"))).value.success ]
