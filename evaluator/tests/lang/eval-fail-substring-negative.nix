# Positions in strings.
builtins.substring (-1) 2 "abc"
