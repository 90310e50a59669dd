# A missing attribute by computed name.
builtins.getAttr "b" { a = 1; }
