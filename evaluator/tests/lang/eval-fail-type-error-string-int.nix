# A number in a string.
"${1}"
