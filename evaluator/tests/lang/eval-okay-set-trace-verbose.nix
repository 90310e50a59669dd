# since 2.10
# set trace-verbose true
builtins.traceVerbose "seen" (builtins.trace "always" 1)
