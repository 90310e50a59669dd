# A comparison that gives no truth value.
builtins.sort (a: b: 1) [ 1 2 ]
