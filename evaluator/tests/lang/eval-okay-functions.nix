# Functions, currying, application binds tighter than everything else.
let f = x: y: x - y; k = _: 1; in [ (f 5 3) ((f 5) 3) (k (throw "no")) ((x: x) 1 + 2) (map (f 10) [ 1 2 ]) ((x: x.y) { y = 2; }) ]
