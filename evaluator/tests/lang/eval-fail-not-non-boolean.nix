# Negation of a number.
! 1
