# Nor do these.
1 < 2 < 3
