# Not a name.
builtins.placeholder 1
