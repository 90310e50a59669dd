# A function in a list needs parentheses.
[ x: 1 ]
