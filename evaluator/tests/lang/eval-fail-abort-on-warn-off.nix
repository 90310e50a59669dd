# set abort-on-warn false
builtins.warn "teal is old" (throw "nothing else")
