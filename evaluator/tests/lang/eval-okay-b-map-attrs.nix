# A function over names and values, lazily.
[ (builtins.mapAttrs (n: v: n + toString v) { a = 1; b = 2; }) (builtins.attrNames (builtins.mapAttrs (throw "no") { a = 1; })) ]
