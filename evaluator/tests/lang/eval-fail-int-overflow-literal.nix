# A number that does not fit.
9223372036854775808
