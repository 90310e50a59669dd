# How values are printed.
[ 1 1.5 true null "a\"b\n\${c}\\" /a { } [ ] { a = 1; "b c" = 2; "1" = 3; "if" = 4; or = 5; _x' = 6; "a.b" = 7; } (x: x) ({ a }: a) map (map (x: x)) "\t" ]
