# The chain of calls that led to an error.
let f = x: g x; g = y: h { z = y; }; h = { z }: z.w; in f 1
