# A pair without a name.
builtins.listToAttrs [ { value = 1; } ]
