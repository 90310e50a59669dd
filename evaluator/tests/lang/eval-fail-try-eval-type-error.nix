# `tryEval` does not catch errors of the program itself.
builtins.tryEval (1 + "a")
