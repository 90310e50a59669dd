# Elements are separated by blanks, application needs parentheses.
[ [ ] [ 1 2 ] [ (1 + 1) "a" { } ] [ [ 1 ] [ ] ] [ (-1) ] ]
