# `a ? b ? c` asks a boolean for `c`, and only sets have attributes.
[ ({ a.b = 1; } ? a ? b) ({ } ? a ? b) ]
