# `__overrides` replaces attributes of a recursive set, for the others as well.
let s = rec { a = 1; b = a + 1; __overrides = { a = 10; z = 3; }; }; in [ s.a s.b s.z ]
