# `toString` prints six decimals.
[ (toString 1.0) (toString 0.1) (toString 1.0e10) (toString 123456.789) (toString (1.0 / 3)) ]
