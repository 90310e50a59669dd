# Filtering keeps the order.
[ (builtins.filter (x: x > 1) [ 3 1 2 ]) (builtins.filter (x: false) [ (throw "no") ]) ]
