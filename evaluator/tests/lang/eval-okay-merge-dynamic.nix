# Definitions merge also where computed names have a fixed value.
{ a.b = 1; ${"a"}.c = 2; "a"."d" = 3; }
