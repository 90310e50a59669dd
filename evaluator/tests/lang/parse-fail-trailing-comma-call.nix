# A list has no commas.
[ 1, 2 ]
