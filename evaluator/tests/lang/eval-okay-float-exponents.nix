# Floats with exponents in JSON.
builtins.fromJSON "[1e3, 1.5E+2, 1e-2, 100000000000000000000, -1e5]"
