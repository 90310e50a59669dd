# `//` takes the right side, is shallow, and groups to the right.
[ ({ a = 1; b = 1; } // { b = 2; c = 2; }) ({ a.b = 1; } // { a.c = 2; }) ({ a = 1; } // { a = 2; } // { a = 3; }) ({ } // { }) ((let x = { a = throw "no"; }; in x // { a = 1; })) ]
