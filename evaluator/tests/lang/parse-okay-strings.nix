# Parts of strings.
with { };
[ "" "a" "a${b}c" "${a}" "\${a}" ''
  a
   ${b}
'' "$${a}" ]
