# A number and a string.
1 + "a"
