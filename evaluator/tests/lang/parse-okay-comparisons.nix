# Comparisons are calls, two of them negated.
with { };
[ (a < b) (a <= b) (a > b) (a >= b) (a != b) ]
