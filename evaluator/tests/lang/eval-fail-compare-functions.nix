# Nor have functions.
(x: x) < (x: x)
