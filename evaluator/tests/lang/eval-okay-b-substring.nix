# Parts of strings by bytes; a negative length is the rest.
[ (builtins.substring 1 2 "abcd") (builtins.substring 2 100 "abcd") (builtins.substring 10 1 "abcd") (builtins.substring 0 (-1) "abcd") (builtins.substring 0 0 "abcd") ]
