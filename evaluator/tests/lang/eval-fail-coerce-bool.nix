# A truth value in a string.
"${true}"
