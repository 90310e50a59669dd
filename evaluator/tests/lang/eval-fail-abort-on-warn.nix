# set abort-on-warn true
builtins.tryEval (builtins.addErrorContext "while choosing a colour" (builtins.warn "teal is old" 1))
