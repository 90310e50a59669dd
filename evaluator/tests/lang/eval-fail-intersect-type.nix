# A list instead of a set.
builtins.intersectAttrs [ ] { }
