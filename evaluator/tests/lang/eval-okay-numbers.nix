# Leading zeros and what is not a number.
[ 007 1 (0 - 1) (1.) ]
