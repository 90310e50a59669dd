builtins.getFlake "./data"
