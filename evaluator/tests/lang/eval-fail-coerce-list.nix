# A list in a string.
"${[ "a" ]}"
