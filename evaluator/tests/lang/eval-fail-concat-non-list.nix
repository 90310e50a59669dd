# `++` of a number.
[ ] ++ 1
