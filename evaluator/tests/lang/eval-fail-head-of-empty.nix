# Lists.
builtins.head [ ]
