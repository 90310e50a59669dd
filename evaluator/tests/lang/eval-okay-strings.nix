# Escapes and interpolation.
[ "a\nb" "tab\t" "\r" "\"q\"" "back\\slash" "\${x}" "$${x}" "$" "$$" "\a" "a${"b"}c" "${"a"}${"b"}" "a${toString 1}b${"${"c"}"}" "\$" "é" "two
lines" ]
