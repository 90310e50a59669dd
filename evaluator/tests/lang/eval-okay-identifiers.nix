# Names may hold dashes and quotes.
let a-b = 1; a' = 2; _ = 3; a1 = 4; x-1 = 5; in [ a-b a' _ a1 x-1 (a1 - 1) (a1 -1) ]
