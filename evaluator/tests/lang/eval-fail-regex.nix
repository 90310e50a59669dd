# A regular expression that is none.
builtins.match "(a" "a"
