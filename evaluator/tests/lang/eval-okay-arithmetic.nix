# Numbers: the four operations, precedence, division towards zero.
[ (1 + 2 * 3) (10 - 4 - 3) (7 / 2) (-7 / 2) (7 / -2) (- 3 + 5) (2 * -3) (1.5 + 1) (7 / 2.0) (0.1 + 0.2) (9223372036854775807) (-9223372036854775807 - 1) ]
