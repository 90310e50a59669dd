# A minus in a list needs parentheses.
[ -1 ]
