# Text that is no JSON.
builtins.fromJSON "{ a: 1 }"
