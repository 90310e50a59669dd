# A function as JSON.
builtins.toJSON { a = x: x; }
