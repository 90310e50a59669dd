# A number with an exponent needs a point.
1e10
