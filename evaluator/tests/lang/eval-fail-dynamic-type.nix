# A name that is a number.
{ ${toString 1} = 1; ${1} = 2; }
