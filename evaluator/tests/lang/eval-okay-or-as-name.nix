# `or` is also a name where no default can stand.
let or = 1; s = { or = 2; }; f = x: x; in [ s.or ({ or = 3; }.or or 4) (map (x: x) [ f or ]) ]
