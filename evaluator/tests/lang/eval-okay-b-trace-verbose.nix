# Without the option it only gives its second argument.
# since 2.10
builtins.traceVerbose (throw "not needed") 1
