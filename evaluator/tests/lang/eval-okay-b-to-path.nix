# A string that is an absolute path.
[ (builtins.toPath "/a/../b") (builtins.typeOf (builtins.toPath "/a")) ]
