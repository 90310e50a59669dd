# The first fitting pattern wins; an empty one fits everywhere.
[ (builtins.replaceStrings [ "a" "b" ] [ "1" "2" ] "abc") (builtins.replaceStrings [ "ab" "a" ] [ "x" "y" ] "aab") (builtins.replaceStrings [ "" ] [ "-" ] "ab") (builtins.replaceStrings [ "a" "" ] [ "A" "." ] "abc") (builtins.replaceStrings [ "oo" ] [ "" ] "foo") (builtins.replaceStrings [ ] [ ] "x") ]
