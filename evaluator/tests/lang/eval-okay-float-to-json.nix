# JSON has as many digits as are needed to read the same number again.
# since 2.10
map builtins.toJSON [ 1.0 0.1 (1.0 / 3) 1.0e10 1.0e30 (-0.5) 0.000001 1.0e20 123456.789 ]
