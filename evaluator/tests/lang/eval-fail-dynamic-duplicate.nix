# A computed name that is taken.
{ a = 1; ${"a"} = 2; }
