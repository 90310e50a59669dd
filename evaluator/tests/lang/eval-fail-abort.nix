# What the program aborts with; `tryEval` does not catch it.
builtins.tryEval (abort "stop")
