# Recursive sets.
rec { a = 1; b = a + c; c = d.e; d = { e = 5; }; inherit (d) e; "quoted name" = 1; }
