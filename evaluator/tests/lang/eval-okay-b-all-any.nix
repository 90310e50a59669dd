# Quantifiers stop as soon as they know.
[ (builtins.all (x: x > 0) [ 1 2 ]) (builtins.all (x: x > 0) [ 0 (throw "no") ]) (builtins.any (x: x > 1) [ 1 2 (throw "no") ]) (builtins.any (x: true) [ ]) (builtins.all (x: false) [ ]) ]
